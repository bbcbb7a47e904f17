"""``vault materialize --manifest``: the host says what goes where, strictly read, and never the vault's repository."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.vaults import Made, Result, made_key, make_vault, run_vault

VALUE = made_key()
OTHER = made_key()
FILES: dict[str, object] = {
    "tskey": {"secret": "t/one"},
    "line": {"secret": "t/two", "format": "line", "mode": "0440", "owner": "", "group": ""},
    "service.env": {"format": "env", "values": {"TS_AUTHKEY": "t/one"}},
    "service.json": {"format": "json", "values": {"a": "t/one", "b": "t/two"}},
}


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Give a vault with the secrets ``t/one`` and ``t/two``, and a home that opens it; nothing here writes to it."""
    top = tmp_path_factory.mktemp("manifest")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CONFIG_HOME", f"{top}/config")
        patched.setenv("XDG_STATE_HOME", f"{top}/state")
        made = make_vault(top / "vault")
        for name, value in (("t/one", VALUE), ("t/two", OTHER)):
            assert run_vault("insert", name, "--vault", made.directory, input=value).code == 0
        yield made


@pytest.fixture
def runtime() -> Iterator[Path]:
    """Give a directory on tmpfs."""
    directory = Path(tempfile.mkdtemp(prefix="tskeyvault-test-", dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def home(vault: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand nowhere near the vault, as the user of :func:`vault`."""
    top = vault.directory.parent
    monkeypatch.setenv("XDG_CONFIG_HOME", f"{top}/config")
    monkeypatch.setenv("XDG_STATE_HOME", f"{top}/state")
    monkeypatch.setenv("TSKEYVAULT_DIR", str(vault.directory))


def written(path: Path, content: object) -> Path:
    """Write a manifest: *content* as JSON, or as it is when it is text."""
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def manifest(runtime: Path, **changes: object) -> dict[str, object]:
    return {"service": "web", "directory": str(runtime), "files": FILES, **changes}


def run(*arguments: str | Path, command: str = "materialize") -> Result:
    """Run the command, which must never tell a value."""
    done = run_vault(command, *arguments)
    for value in (VALUE, OTHER):
        assert value not in done.out + done.err.encode(errors="surrogateescape")
    assert "Traceback" not in done.err
    return done


def test_a_manifest_delivers_all_its_files_and_cleans_them_up(tmp_path: Path, runtime: Path) -> None:
    path = written(tmp_path / "web.json", manifest(runtime))
    assert (
        run("--manifest", path, "--check").err
        == f"vault: can be delivered to {runtime}: {', '.join(FILES)}\n"
    )
    assert os.listdir(runtime) == []
    done = run("--manifest", path)
    assert done == Result(0, b"", "".join(f"vault: wrote: {runtime}/{name}\n" for name in FILES))
    assert {name: (runtime / name).read_bytes() for name in FILES} == {
        "tskey": VALUE,
        "line": OTHER,
        "service.env": b"TS_AUTHKEY=" + VALUE + b"\n",
        "service.json": json.dumps({"a": VALUE.decode(), "b": OTHER.decode()}).encode() + b"\n",
    }
    modes = {name: (runtime / name).stat().st_mode & 0o7777 for name in FILES}
    assert modes == {"tskey": 0o400, "line": 0o440, "service.env": 0o400, "service.json": 0o400}
    assert run("--manifest", path).err.count("already right") == len(FILES)
    (runtime / "foreign").write_text("somebody else's")
    assert run("--clean", "--manifest", path, "--vault", "/nonexistent").code == 0
    assert os.listdir(runtime) == ["foreign"]


def test_what_a_manifest_delivers_is_that_of_the_service_of_its_name(tmp_path: Path, runtime: Path) -> None:
    path = written(tmp_path / "web.json", manifest(runtime, files={"tskey": {"secret": "t/one"}}))
    assert run("--manifest", path).code == 0
    assert run("web", "--clean", "--directory", runtime).err == f"vault: removed: {runtime}/tskey\n"


ONE: dict[str, object] = {"tskey": {"secret": "t/one"}}


def apply(*arguments: str) -> Result:
    return run(*arguments, command="apply")


def test_what_a_manifest_has_delivered_is_brought_up_to_date(tmp_path: Path, runtime: Path) -> None:
    path = written(tmp_path / "web.json", manifest(runtime, files={"old": {"secret": "t/two"}, **ONE}))
    assert run("--manifest", path).code == 0
    assert apply() == apply("web") == apply("--dry-run") == Result(0, b"", "")
    written(path, manifest(runtime, files={**ONE, "new": {"secret": "t/two"}}))
    would = f"would write: {runtime}/new\nwould remove: {runtime}/old\n".encode()
    for done in (apply("--dry-run"), run("--changed"), run("web", "--changed")):
        assert done == Result(1, would, "")
    (runtime / "tskey").unlink()
    done = apply("web")
    assert done == Result(
        0, b"", "".join(f"vault: {it}\n" for it in (f"wrote: {runtime}/tskey", f"wrote: {runtime}/new", f"removed: {runtime}/old"))
    )  # fmt: skip
    assert (runtime / "new").read_bytes() == OTHER
    shutil.rmtree(runtime)
    runtime.mkdir(mode=0o700)
    assert apply() == Result(0, b"", "")
    assert apply("web") == Result(0, b"", "vault: service 'web' is not delivered on this host\n")


@pytest.mark.parametrize(
    "how", ["gone", "another directory", "another service", "open to others", "committed"]
)
def test_a_manifest_that_is_not_what_it_was_changes_nothing(
    copy: Path, tmp_path: Path, runtime: Path, how: str
) -> None:
    path = written(tmp_path / "web.json", manifest(runtime, files=ONE))
    assert run("--manifest", path).code == 0
    (runtime / "tskey").unlink()
    if how == "committed":
        (copy / ".git").rename(copy.parent / ".git")
    changes = {"another directory": {"directory": "/run/x"}, "another service": {"service": "x"}}
    path.unlink() if how == "gone" else written(path, manifest(runtime, files=ONE, **changes.get(how, {})))
    if how == "open to others":
        path.chmod(0o666)
    done = apply()
    assert done.err.startswith("vault: service 'web': ")
    code, said = {
        "gone": (3, "hint: restart the unit of service 'web'"),
        "open to others": (2, "can be changed by others"),
        "committed": (2, "lies in the vault's repository"),
    }.get(how, (7, f"is not that of {runtime} any more\nhint: restart the unit of service 'web'"))
    assert (done.code, said in done.err) == (code, True)
    assert os.listdir(runtime) == [".vault.web"]


def test_all_or_none(tmp_path: Path, runtime: Path) -> None:
    files = {"tskey": {"secret": "t/one"}, "other": {"secret": "t/missing"}}
    done = run("--manifest", written(tmp_path / "web.json", manifest(runtime, files=files)))
    assert (done.code, os.listdir(runtime)) == (3, [])


REFUSED: dict[str, tuple[dict[str, object] | str, str]] = {
    "an unknown key": ({"run": "/bin/true"}, "unknown key 'run'"),
    "no service": ({"service": None}, "service: is not a text"),
    "a service that is a path": ({"service": "../web"}, "service"),
    "a relative directory": ({"directory": "web"}, "directory: not an absolute path without dots"),
    "a directory with dots": ({"directory": "/run/../etc"}, "directory: not an absolute path without dots"),
    "no files": ({"files": {}}, "has no files"),
    "a unit that is none": ({"units": ["web"]}, "not the name of a service unit"),
    "files in a list": ({"files": [{"secret": "t/one"}]}, "files: is not a table"),
    "a file elsewhere": ({"files": {"/run/other/tskey": {"secret": "t/one"}}}, "is a path"),
    "a file further down": ({"files": {"a/b": {"secret": "t/one"}}}, "is a path"),
    "a hidden file": ({"files": {".vault.web": {"secret": "t/one"}}}, "must not begin with a dot"),
    "a mode for everybody": ({"files": {"f": {"secret": "t/one", "mode": "0444"}}}, "to every user"),
    "a format of no kind": ({"files": {"f": {"secret": "t/one", "format": "xml"}}}, "format is not one of"),
    "an unknown key of a file": (
        {"files": {"f": {"secret": "t/one", "command": "id"}}},
        "unknown key 'command'",
    ),
    "a secret and values": ({"files": {"f": {"secret": "t/one", "values": {"A": "t/one"}}}}, "take"),
    "a loader's variable": (
        {"files": {"f": {"format": "env", "values": {"LD_PRELOAD": "t/one"}}}},
        "load code",
    ),
    "a key where a name comes": ({"files": {"f": {"secret": VALUE.decode()}}}, "looks like a key itself"),
    "no JSON": ("{", "broken JSON (at line 1, column 2)"),
    "a text": ('"x"', "is not a table"),
    "a key twice": ('{"service": "a", "service": "b"}', "has a key twice"),
    "a file twice": ('{"files": {"f": {"secret": "a", "secret": "b"}}}', "has a key twice"),
    "too deep": ("[" * 100_000, "broken JSON"),
    "a long number": ('{"service": ' + "9" * 100_000 + "}", "broken JSON"),
    "not UTF-8": ("\udcff", "not JSON in UTF-8"),
    "too large": ('{"service": "' + "a" * (1 << 20) + '"}', "larger than 1048576 bytes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_manifest_that_is_not_exactly_right_delivers_nothing(
    tmp_path: Path, runtime: Path, case: str
) -> None:
    changes, message = REFUSED[case]
    path = tmp_path / "web.json"
    text = changes if isinstance(changes, str) else json.dumps(manifest(runtime, **changes))
    path.write_bytes(text.encode(errors="surrogateescape"))
    done = run("--manifest", path)
    assert done.code in {2, 5}, done
    assert message in done.err
    assert os.listdir(runtime) == []


def test_a_manifest_that_others_can_change_is_refused(tmp_path: Path, runtime: Path) -> None:
    path = written(tmp_path / "web.json", manifest(runtime))
    path.chmod(0o666)
    done = run("--manifest", path)
    assert (done.code, os.listdir(runtime)) == (2, [])
    assert "can be changed by others" in done.err


def test_a_manifest_that_is_no_file_is_refused(tmp_path: Path, runtime: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "nothing"):
        done = run("--manifest", path)
        assert done.code in {2, 3}, path
    assert os.listdir(runtime) == []


@pytest.fixture
def copy(vault: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a copy of the vault, to put things into, which is used from now on."""
    shutil.copytree(vault.directory, tmp_path / "copy")
    monkeypatch.setenv("TSKEYVAULT_DIR", str(tmp_path / "copy"))
    return tmp_path / "copy"


@pytest.mark.parametrize("place", ["web.json", "below/web.json", ".git/web.json", "../beside/web.json"])
def test_a_manifest_in_the_vaults_repository_is_refused(copy: Path, runtime: Path, place: str) -> None:
    if place.startswith(".."):  # the vault is a folder of the repository, and the manifest lies in another
        (copy / ".git").rename(copy.parent / ".git")
    path = copy / place
    Path(os.path.normpath(path.parent)).mkdir(exist_ok=True)
    done = run("--manifest", written(path, manifest(runtime)))
    assert (done.code, os.listdir(runtime)) == (2, [])
    assert "lies in the vault's repository" in done.err
    assert "hint: keep it outside" in done.err


@pytest.mark.parametrize("way", ["a link in", "a link out", "a folder out", "a way through"])
def test_no_link_leads_to_a_manifest(copy: Path, tmp_path: Path, runtime: Path, way: str) -> None:
    (tmp_path / "outside").mkdir()
    outside = written(tmp_path / "outside/web.json", manifest(runtime))
    inside = written(copy / "web.json", manifest(runtime))
    first, last = tmp_path / "first.json", copy / "last"
    for link, target in {
        "a link in": {first: inside},
        "a link out": {last: outside},
        "a folder out": {last: outside.parent},
        "a way through": {first: last, last: outside},
    }[way].items():
        link.symlink_to(target)
    named = {"a link out": last, "a folder out": last / "web.json"}.get(way, first)
    for options in ((), ("--clean",)):
        done = run("--manifest", named, *options)
        assert done.code == 2
        assert "holds a link" in done.err or "lies in the vault's repository" in done.err
    assert os.listdir(runtime) == []


WRONG_USE = {
    "with a service": ("web", "--manifest", "x"),
    "with a secret": ("--secret", "t/one", "--to", "/run/x", "--manifest", "x"),
    "with a directory": ("--manifest", "x", "--directory", "/run/x"),
    "clean with a secret": ("--clean", "--secret", "t/one", "--to", "/run/x"),
}


@pytest.mark.parametrize("case", WRONG_USE)
def test_a_manifest_stands_for_all_that_could_be_said(case: str) -> None:
    assert run(*WRONG_USE[case]).code == 2
