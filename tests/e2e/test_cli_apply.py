"""``vault apply`` and ``vault materialize --changed``, without systemd: what is compared, written and left alone."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.vaults import Made, Result, copy_world, made_key, make_world, run_vault, services

VALUE, OTHER = made_key(), made_key()

TABLES = """
[services.a.files.one]
secret = "t/one"
[services.b]
layout = "generations"
[services.b.files.two]
secret = "t/two"
[services.b.files."b.conf"]
format = "template"
template = "key = ${ONE}\\n"
values = { ONE = "t/one" }
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a home and a vault with two secrets and two services, to be copied."""
    top = tmp_path_factory.mktemp("original")
    make_world(top, {"t/one": VALUE, "t/two": OTHER})
    services(top / "vault", TABLES)
    return top


@pytest.fixture
def vault(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Give a copy of the vault, in which the test stands."""
    copy_world(original, tmp_path)
    monkeypatch.chdir(tmp_path / "vault")
    return Made(tmp_path / "vault", "")


@pytest.fixture
def runtime(vault: Made) -> Iterator[Path]:
    """Give a directory on tmpfs with one for each service, which both are delivered to."""
    assert vault.directory.is_dir()
    directory = Path(tempfile.mkdtemp(prefix="tskeyvault-test-", dir="/dev/shm"))
    for name in ("a", "b"):
        (directory / name).mkdir(mode=0o700)
        assert run("materialize", name, "--directory", directory / name).code == 0
    yield directory
    shutil.rmtree(directory)


def run(*arguments: str | Path) -> Result:
    """Run the command, which must never tell a value."""
    done = run_vault(*arguments)
    for value in (VALUE, OTHER):
        assert value not in done.out + done.err.encode(errors="surrogateescape")
    assert "Traceback" not in done.err
    return done


def put(name: str, value: bytes) -> None:
    assert run_vault("insert", name, "--no-commit", "--force", input=value).code == 0


def picture(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return all that lies below *directory*: inodes, times and contents."""
    found = {}
    for path in sorted(directory.rglob("*")):
        info = path.lstat()
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(directory))] = (info.st_ino, info.st_mtime_ns, data)
    return found


def test_both_layouts_are_delivered_and_found(runtime: Path) -> None:
    assert (runtime / "a/one").read_bytes() == VALUE
    assert (runtime / "b/current/two").read_bytes() == OTHER
    assert (runtime / "b/current/b.conf").read_bytes() == b"key = " + VALUE + b"\n"
    before = picture(runtime)
    for words in (["apply"], ["apply", "--dry-run"], ["materialize", "--changed"], ["apply", "a", "b"]):
        assert run(*words) == Result(0, b"", "")
    assert picture(runtime) == before


@pytest.mark.usefixtures("vault")
def test_the_values_of_a_template_can_be_given_to_a_process() -> None:
    done = run_vault("run", "b", "--", "sh", "-c", 'printf %s "$ONE"')
    assert done == Result(0, VALUE, "")


def test_what_would_change_is_told_and_not_done(runtime: Path) -> None:
    put("t/two", VALUE[::-1])
    before = picture(runtime)
    told = f"would write: {runtime}/b/current/two\n".encode()
    for words in (["materialize", "--changed"], ["materialize", "b", "--changed"], ["apply", "--dry-run"]):
        assert run(*words) == Result(1, told, "")
    for words in (["materialize", "a", "--changed"], ["apply", "a", "--dry-run"]):
        assert run(*words) == Result(0, b"", "")
    assert picture(runtime) == before


def test_what_has_changed_is_written_and_nothing_else(runtime: Path) -> None:
    put("t/two", VALUE[::-1])
    before = picture(runtime / "a")
    assert run("apply") == Result(0, b"", f"vault: wrote: {runtime}/b/current/two\n")
    assert (runtime / "b/current/two").read_bytes() == VALUE[::-1]
    assert (runtime / "b/.1.b/two").read_bytes() == OTHER
    assert picture(runtime / "a") == before
    put("t/one", OTHER[::-1])
    done = run("apply", "a")
    assert done == Result(0, b"", f"vault: wrote: {runtime}/a/one\n")
    assert (runtime / "b/current/b.conf").read_bytes() == b"key = " + VALUE + b"\n"
    assert run("apply", "--dry-run").code == 1


def test_as_json(runtime: Path) -> None:
    put("t/one", OTHER[::-1])
    expected = [
        {
            "service": name,
            "directories": [f"{runtime}/{name}"],
            "files": [f"{runtime}/{path}"],
            "removed": [],
            "units": [],
            "action": None,
            "error": None,
        }
        for name, path in (("a", "a/one"), ("b", "b/current/b.conf"))
    ]
    for words, code in (("materialize --changed", 1), ("apply --dry-run", 1), ("apply", 0)):
        done = run(*words.split(), "--json")
        assert (done.code, json.loads(done.out), done.err) == (code, expected, "")
    done = run("apply", "--json")
    assert [(it["service"], it["files"]) for it in json.loads(done.out)] == [("a", []), ("b", [])]


def test_a_failing_secret_leaves_everything_of_its_service_and_the_others_go_on(
    vault: Made, runtime: Path
) -> None:
    put("t/one", OTHER[::-1])
    (vault.directory / "secrets/t/two.age").unlink()
    before = picture(runtime / "b")
    done = run("apply", "--json")
    assert (done.code, done.err.splitlines()[0]) == (
        3,
        "vault: service 'b': secret 't/two': not in the vault",
    )
    told = {it["service"]: it["error"] for it in json.loads(done.out)}
    assert told == {"a": None, "b": "secret 't/two': not in the vault"}
    assert picture(runtime / "b") == before
    assert (runtime / "a/one").read_bytes() == OTHER[::-1]


def test_a_value_that_cannot_be_said_leaves_everything_of_its_service(runtime: Path) -> None:
    put("t/one", b"two\nlines")
    before = picture(runtime / "b")
    done = run("apply")
    assert (done.code, "has more than one line" in done.err) == (7, True)
    assert picture(runtime / "b") == before
    assert (runtime / "a/one").read_bytes() == b"two\nlines"


def test_a_service_that_is_not_delivered_here_is_left_alone(vault: Made, runtime: Path) -> None:
    services(vault.directory, '[services.c.files.one]\nsecret = "t/one"\n')
    (runtime / "c").mkdir(mode=0o700)
    assert run("apply", "c") == Result(0, b"", "vault: service 'c' is not delivered on this host\n")
    assert run("apply", "none").code == 3
    for cleaned in (True, False):
        if cleaned:
            assert run("materialize", "a", "--clean", "--directory", runtime / "a").code == 0
        else:
            shutil.rmtree(runtime / "a")
        put("t/one", made_key())
        assert run("apply", "a") == Result(0, b"", "vault: service 'a' is not delivered on this host\n")
        assert not (runtime / "a/one").exists()
    assert os.listdir(runtime / "c") == []


def test_where_nothing_is_delivered_all_of_a_service_would_change(vault: Made, runtime: Path) -> None:
    services(vault.directory, '[services.c.files.one]\nsecret = "t/one"\n')
    done = run("materialize", "c", "--changed", "--directory", runtime / "none")
    assert done == Result(1, f"would write: {runtime}/none/one\n".encode(), "")
    assert run("materialize", "--changed") == Result(0, b"", "")


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(
    "words",
    [
        ["--changed", "--clean", "a"],
        ["--changed", "--check", "a"],
        ["--changed", "--directory", "/run/a"],
        ["--changed", "--secret", "t/one", "--to", "/run/a/b"],
        ["--json", "a"],
    ],
)
def test_changed_goes_with_few_options(words: list[str]) -> None:
    assert run("materialize", *words).code == 2


def rewrite(vault: Made, old: str, new: str) -> None:
    """Replace *old*, which is there, in vault.toml."""
    path = vault.directory / "vault.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


ONE = '[services.a.files.one]\nsecret = "t/one"\n'
TWO = '[services.b.files.two]\nsecret = "t/two"\n'


@pytest.mark.parametrize("command", ["apply", "materialize"])
def test_a_file_that_is_gone_from_the_vault_is_removed(vault: Made, runtime: Path, command: str) -> None:
    (runtime / "a/foreign").write_text("x")
    rewrite(vault, ONE, ONE.replace("files.one", "files.other"))
    rewrite(vault, TWO, "")
    before = picture(runtime)
    would = f"would write: {runtime}/a/other\nwould remove: {runtime}/a/one\n"
    whole = f"would write: {runtime}/b/current/b.conf\nwould remove: {runtime}/b/current/two\n"
    for words in (["apply", "--dry-run"], ["materialize", "--changed"]):
        assert run(*words) == Result(1, (would + whole).encode(), "")
    (entry, _) = json.loads(run("apply", "--dry-run", "--json").out)
    assert (entry["files"], entry["removed"]) == ([f"{runtime}/a/other"], [f"{runtime}/a/one"])
    assert picture(runtime) == before
    for name, told in (("a", would), ("b", whole)):
        words = [command, name, *(["--directory", f"{runtime}/{name}"] if command == "materialize" else [])]
        said = told.replace("would write", "vault: wrote").replace("would remove", "vault: removed")
        assert run(*words) == Result(0, b"", said)
    assert set(os.listdir(runtime / "a")) == {"other", "foreign", ".vault.a"}
    assert os.listdir(runtime / "b/current") == ["b.conf"]
    assert run("apply", "--dry-run") == Result(0, b"", "")


@pytest.mark.parametrize(("gone", "path"), [("a", "one"), ("b", "current/two")])
def test_a_service_that_is_gone_from_the_vault_is_told_and_its_files_are_removed(
    vault: Made, runtime: Path, gone: str, path: str
) -> None:
    whole = (vault.directory / "vault.toml").read_text()
    (runtime / gone / "foreign").write_text("x")
    rewrite(vault, f"services.{gone}", "services.gone")
    kept = "b" if gone == "a" else "a"
    before = picture(runtime / kept)
    warned = (
        f"vault: warning: service '{gone}' is not in vault.toml any more: its unit will not start again\n"
    )
    would = run("apply", "--dry-run")
    assert (would.code, f"would remove: {runtime}/{gone}/{path}\n".encode() in would.out) == (1, True)
    done = run("apply")
    assert (done.code, done.err.startswith(warned)) == (0, True)
    assert f"vault: removed: {runtime}/{gone}/{path}\n" in done.err
    assert set(os.listdir(runtime / gone)) == {"foreign", f".vault.{gone}"}
    assert run("apply") == Result(0, b"", warned)
    (vault.directory / "vault.toml").write_text(whole)
    done = run("apply")
    assert (done.code, f"vault: wrote: {runtime}/{gone}/{path}\n" in done.err) == (0, True)
    assert (runtime / gone / path).is_file()
    assert picture(runtime / kept) == before


def test_a_service_that_gets_credentials_alone_by_now_has_no_files(vault: Made, runtime: Path) -> None:
    rewrite(vault, "[services.a.files.one]\nsecret = ", "[services.a.credentials]\none = ")
    put("t/two", VALUE[::-1])
    done = run("apply")
    assert done == Result(0, b"", f"vault: removed: {runtime}/a/one\nvault: wrote: {runtime}/b/current/two\n")


def test_of_a_service_with_credentials_alone_nothing_is_called_up_to_date(vault: Made) -> None:
    rewrite(vault, "[services.b]\n", '[services.c.credentials]\none = "t/one"\n[services.b]\n')
    done = run("apply", "--restart", "c")
    said = "vault: service 'c' gets credentials alone, which its units ask for at their start\n"
    assert done == Result(0, b"", f"{said}hint: systemctl try-restart c.service\n")
    done = run("materialize", "--changed", "c")
    assert (done.code, "service 'c' has no files" in done.err) == (3, True)


def test_a_failing_secret_leaves_the_files_that_are_gone_from_the_vault(vault: Made, runtime: Path) -> None:
    rewrite(vault, ONE, ONE.replace("files.one", "files.other").replace("t/one", "t/none"))
    before = picture(runtime)
    assert run("apply", "a").code == 3
    assert run("materialize", "a", "--directory", runtime / "a").code == 3
    assert picture(runtime) == before


@pytest.mark.parametrize("how", ["on a disk", "open to others", "a link", "a link by now"])
def test_a_directory_that_was_given_by_mistake_is_not_remembered(
    vault: Made, runtime: Path, how: str
) -> None:
    wrong = vault.directory.with_name("typo") if how == "on a disk" else runtime / "typo"
    if how == "a link":
        wrong.symlink_to(runtime / "b")
    else:
        wrong.mkdir(mode=0o700)
    if how == "open to others":
        wrong.chmod(0o777)
    delivered = run("materialize", "a", "--directory", wrong).code == 0
    assert delivered == (how == "a link by now")
    if delivered:
        shutil.rmtree(wrong)
        wrong.symlink_to(runtime / "b")
        assert run("materialize", "a", "--directory", runtime / "a").code == 0
    put("t/one", OTHER[::-1])
    assert run("apply", "a") == Result(0, b"", f"vault: wrote: {runtime}/a/one\n")


def test_another_clone_knows_nothing_of_it(vault: Made, runtime: Path) -> None:
    clone = vault.directory.with_name("clone")
    shutil.copytree(vault.directory, clone)
    put("t/one", made_key())
    before = picture(runtime)
    assert run("--vault", clone, "apply") == Result(0, b"", "")
    assert picture(runtime) == before


def test_a_directory_that_has_changed_hands_is_not_written_to(runtime: Path) -> None:
    put("t/one", made_key())
    os.chown(runtime / "a", 65534, 65534)
    before = picture(runtime / "a")
    done = run("apply", "a")
    assert (done.code, "belongs to somebody else since" in done.err) == (7, True)
    assert picture(runtime / "a") == before


def test_a_directory_that_others_may_write_now_is_not_written_to(runtime: Path) -> None:
    put("t/one", made_key())
    (runtime / "a").chmod(0o777)
    before = picture(runtime / "a")
    assert run("apply", "a").code == 7
    assert run("materialize", "--changed").code == 7
    assert picture(runtime / "a") == before


def test_another_layout_leaves_nothing_of_the_one_before(vault: Made, runtime: Path) -> None:
    path = vault.directory / "vault.toml"
    text = path.read_text().replace('layout = "generations"', 'layout = "files"')
    path.write_text(text + '[services.a]\nlayout = "generations"\n')
    assert run("apply", "--dry-run").code == 1
    assert run("apply").code == 0
    assert set(os.listdir(runtime / "a")) == {"current", ".1.a"}
    assert set(os.listdir(runtime / "b")) == {"two", "b.conf", ".vault.b"}
    assert run("apply") == Result(0, b"", "")
    for name in ("a", "b"):
        assert run("materialize", name, "--clean", "--directory", runtime / name).code == 0
        assert os.listdir(runtime / name) == []


def test_a_damaged_memory_is_told_and_stops_no_service_from_starting(runtime: Path) -> None:
    (state,) = Path(os.environ["XDG_STATE_HOME"]).glob("tskeyvault/*.delivered.json")
    for damaged in ("{", "[]", '{"x": 1}', '{"x": {"a": [["/x", "0", 1, 1]]}}', '{"x": {"a": [[]]}}'):
        state.write_text(damaged)
        assert run("apply").code == 5
        done = run("materialize", "a", "--directory", runtime / "a")
        assert (done.code, "vault apply will leave service 'a' alone" in done.err) == (0, True)
    state.unlink()
    assert run("materialize", "a", "--directory", runtime / "a").code == 0
    assert json.loads(run("apply", "--json").out)[0]["service"] == "a"


def test_the_memory_is_its_users_alone_and_holds_no_value(runtime: Path) -> None:
    (state,) = Path(os.environ["XDG_STATE_HOME"]).glob("tskeyvault/*.delivered.json")
    assert state.stat().st_mode & 0o7777 == 0o600
    (places,) = json.loads(state.read_text()).values()
    assert places == {name: [[f"{runtime}/{name}", os.geteuid(), False, False, ""]] for name in ("a", "b")}


def test_restart_without_systemctl_writes_nothing(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("t/one", made_key())
    before = picture(runtime)
    monkeypatch.setenv("PATH", "/nonexistent")
    done = run("apply", "--restart")
    assert (done.code, "there is no systemctl on this host" in done.err) == (7, True)
    assert picture(runtime) == before


@pytest.mark.parametrize("units", [["a.service"], ["a.service", "reader.service"]])
def test_what_is_delivered_by_hand_is_no_restart_of_a_unit(
    vault: Made, runtime: Path, monkeypatch: pytest.MonkeyPatch, units: list[str]
) -> None:
    services(vault.directory, f"[services.a]\nunits = {json.dumps(units)}\n")
    put("t/one", OTHER[::-1])
    assert run("apply", "a").code == 0
    assert run("materialize", "a", "--directory", runtime / "a").code == 0
    monkeypatch.setenv("PATH", "/nonexistent")  # so a restart that is due fails
    assert run("apply", "a", "--restart").code == 7


@pytest.mark.parametrize(
    "files",
    [
        "format = 'json'\n" + "".join(f'values.V{i} = "t/one"\n' for i in range(70)),
        'secret = "t/one"\n' + "".join(f'[services.huge.files.f{i}]\nsecret = "t/one"\n' for i in range(70)),
    ],
    ids=["in one file", "in many files"],
)
def test_one_secret_many_times_cannot_fill_the_memory(vault: Made, runtime: Path, files: str) -> None:
    put("t/one", b"x" * (1 << 20))
    services(vault.directory, f"[services.huge.files.f]\n{files}")
    (runtime / "huge").mkdir(mode=0o700)
    done = run("materialize", "huge", "--directory", runtime / "huge")
    assert (done.code, "have more than 64 MiB together" in done.err) == (7, True)
    assert os.listdir(runtime / "huge") == []
