"""``vault materialize``: all files of a service or none, exactly as asked for, and nothing told."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import needs
from support.terminal import VAULT
from support.vaults import Made, Result, copy_world, made_key, make_world, run_python, run_vault, services
from tskeyvault.names import shown

VALUE = made_key()
OTHER = made_key()

THREE = """
[services.s.files.one]
secret = "t/one"
[services.s.files.two]
secret = "t/two"
[services.s.files.three]
format = "json"
values = { ONE = "t/one", TWO = "t/two" }
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a home and a vault with the secrets ``t/one`` and ``t/two``, to be copied."""
    top = tmp_path_factory.mktemp("original")
    make_world(top, {"t/one": VALUE, "t/two": OTHER})
    return top


@pytest.fixture
def vault(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Give a vault, in which the test stands, with the secrets ``t/one`` and ``t/two``."""
    copy_world(original, tmp_path)
    monkeypatch.chdir(tmp_path / "vault")
    recipients = (tmp_path / "vault/secrets/.age-recipients").read_text().splitlines()
    return Made(tmp_path / "vault", recipients[-1])


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a directory on tmpfs, as systemd would make it for the service."""
    directory = Path(tempfile.mkdtemp(prefix="tskeyvault-test-", dir="/dev/shm"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(directory))
    yield directory
    shutil.rmtree(directory)


def put(name: str, value: bytes, *options: str) -> None:
    done = run_vault("insert", name, "--no-commit", *options, input=value)
    assert done.code == 0, done.err


def materialize(*arguments: str | Path, **environ: str) -> Result:
    """Run the command, which must never tell a value."""
    done = run_vault("materialize", *arguments, env=environ)
    _holds_no_value(done)
    return done


def _holds_no_value(done: Result) -> None:
    for value in (VALUE, OTHER):
        assert value not in done.out + done.err.encode(errors="surrogateescape")
    assert "Traceback" not in done.err


def said(verb: str, directory: Path, *names: str) -> str:
    return "".join(f"vault: {verb}: {directory / name}\n" for name in names)


def mode(path: Path) -> int:
    return path.lstat().st_mode & 0o7777


def picture(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return name, inode, mode and content of all that lies in *directory*."""
    return {path.name: (path.lstat().st_ino, mode(path), path.read_bytes()) for path in directory.iterdir()}


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of *directory* as another run of the command would."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


# formats, modes and owners


def test_a_service_gets_its_secret_as_a_file(vault: Made, runtime: Path) -> None:
    services(vault.directory, '[services.tailscale.files.tskey]\nsecret = "t/one"\n')
    assert materialize("tailscale") == Result(0, b"", said("wrote", runtime, "tskey"))
    assert (runtime / "tskey").read_bytes() == VALUE
    assert mode(runtime / "tskey") == 0o400
    assert (runtime / "tskey").stat().st_uid == runtime.stat().st_uid
    assert set(os.listdir(runtime)) == {"tskey", ".vault.tailscale"}
    assert mode(runtime / ".vault.tailscale") == 0o600
    assert VALUE not in (runtime / ".vault.tailscale").read_bytes()


def test_the_directory_is_the_one_that_is_named(vault: Made, runtime: Path) -> None:
    services(vault.directory, THREE)
    inner = runtime / "inner"
    inner.mkdir(mode=0o750)
    done = materialize("s", "--directory", inner, RUNTIME_DIRECTORY="/nowhere")
    assert done == Result(0, b"", said("wrote", inner, "one", "two", "three"))
    assert os.listdir(runtime) == ["inner"]


def test_all_four_formats(vault: Made, runtime: Path) -> None:
    text = 'sp ace "quoted" $HOME `id` back\\slash ü\n'.encode()
    put("text", text)
    services(
        vault.directory,
        """
[services.s.files.raw]
secret = "text"
mode = "0440"
[services.s.files.line]
secret = "age:text"
format = "line"
mode = "600"
[services.s.files."the.env"]
format = "env"
values = { TS_AUTHKEY = "t/one", TEXT = "text" }
[services.s.files."the.json"]
format = "json"
values = { b = "text", a = "t/one" }
""",
    )
    assert materialize("s").code == 0
    assert (runtime / "raw").read_bytes() == text
    assert (runtime / "line").read_bytes() == text[:-1]
    assert (runtime / "the.json").read_bytes().endswith(b"}\n")
    assert json.loads((runtime / "the.json").read_bytes()) == {"a": VALUE.decode(), "b": text.decode()}
    assert [mode(runtime / name) for name in ("raw", "line", "the.env", "the.json")] == [
        0o440, 0o600, 0o400, 0o400
    ]  # fmt: skip
    shell = ["sh", "-c", '. "$0"; printf "%s|%s" "$TS_AUTHKEY" "$TEXT"', str(runtime / "the.env")]
    assert subprocess.run(shell, capture_output=True, check=True).stdout == VALUE + b"|" + text[:-1]
    assert (runtime / "the.env").read_bytes().startswith(b"TS_AUTHKEY=" + VALUE + b"\n")


@pytest.mark.parametrize(
    ("owner", "group", "ids"),
    [
        ("nobody", "", (65534, 65534)),
        ("65534", "daemon", (65534, 1)),
        ("", "1", (0, 1)),
        ("daemon", "65534", (1, 65534)),
    ],
)
def test_owner_and_group_by_name_and_by_number(
    vault: Made, runtime: Path, owner: str, group: str, ids: tuple[int, int]
) -> None:
    needs.root()
    text = f'secret = "t/one"\nmode = "0640"\nowner = "{owner}"\ngroup = "{group}"\n'
    services(vault.directory, f"[services.s.files.k]\n{text}")
    assert materialize("s").code == 0
    info = (runtime / "k").stat()
    assert ((info.st_uid, info.st_gid), mode(runtime / "k")) == (ids, 0o640)
    assert (runtime / ".vault.s").stat().st_uid == 0


def test_by_default_the_directory_says_whose_the_file_is(vault: Made, runtime: Path) -> None:
    needs.root()
    services(vault.directory, THREE)
    inner = runtime / "inner"
    inner.mkdir()
    os.chown(inner, 65534, 1)
    assert materialize("s", "--directory", inner).code == 0
    info = (inner / "one").stat()
    assert (info.st_uid, info.st_gid) == (65534, 1)


@pytest.mark.parametrize(
    ("key", "value"), [("owner", "no-such-user"), ("group", "no-such-group"), ("owner", "4000000000")]
)
def test_an_owner_that_this_host_does_not_know(vault: Made, runtime: Path, key: str, value: str) -> None:
    services(vault.directory, f'[services.s.files.k]\nsecret = "t/one"\n{key} = "{value}"\n')
    done = materialize("s")
    assert (done.code, value in done.err) == (7, True)
    assert materialize("s", "--check").code == 7
    assert os.listdir(runtime) == []


def test_one_secret_as_one_file(vault: Made, runtime: Path) -> None:
    put("t/line", VALUE + b"\n")
    path = runtime / "file"
    done = materialize("--secret", "t/line", "--to", path, "--mode", "0440", "--format", "line")
    assert done == Result(0, b"", said("wrote", runtime, "file"))
    assert (path.read_bytes(), mode(path)) == (VALUE, 0o440)
    assert os.listdir(runtime) == ["file"]
    assert vault.directory.is_dir()


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--mode", "0444"], "would open the secret to every user"),
        (["--mode", "0500"], "makes no sense for a secret"),
        (["--mode", "4400"], "is not three octal digits"),
        (["--mode", "r"], "is not three octal digits"),
        (["--format", "env"], "argument --format"),
        (["--timeout", "0"], "argument --timeout"),
        (["--timeout", "nan"], "argument --timeout"),
        (["s"], "either SERVICE"),
        (["--clean"], "--clean goes with SERVICE alone"),
    ],
)
def test_a_wrong_option_writes_nothing(runtime: Path, words: list[str], reason: str) -> None:
    done = materialize("--secret", "t/one", "--to", runtime / "k", *words)
    assert (done.code, reason in done.err) == (2, True)
    assert os.listdir(runtime) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["s", "--mode", "0440"], "go with --secret"),
        (["s", "--owner", "nobody"], "go with --secret"),
        (["s", "--group", "nogroup"], "go with --secret"),
        (["s", "--format", "line"], "go with --secret"),
        (["s", "--directory", ""], "--directory names nothing"),
        (["s", "--clean", "--directory", ""], "--directory names nothing"),
        (
            ["--secret", "t/one", "--to", "RUNTIME/k", "--directory", "/run/s"],
            "name the directory themselves",
        ),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    vault: Made, runtime: Path, words: list[str], message: str
) -> None:
    services(vault.directory, THREE)
    done = materialize(*(word.replace("RUNTIME", str(runtime)) for word in words))
    assert (done.code, message in done.err) == (2, True)
    assert os.listdir(runtime) == []


# the second run, --check and --clean


def test_a_second_run_leaves_the_files_alone(vault: Made, runtime: Path) -> None:
    services(vault.directory, THREE)
    assert materialize("s").code == 0
    before = picture(runtime)
    assert materialize("s") == Result(0, b"", said("already right", runtime, "one", "two", "three"))
    assert picture(runtime) == before
    put("t/two", VALUE[::-1], "--force")
    done = materialize("s")
    assert done.err == said("wrote", runtime, "two", "three") + said("already right", runtime, "one")
    assert picture(runtime)["one"] == before["one"]
    assert (runtime / "two").read_bytes() == VALUE[::-1]


def test_a_file_with_another_mode_is_written_again(vault: Made, runtime: Path) -> None:
    services(vault.directory, THREE)
    assert materialize("s").code == 0
    (runtime / "one").chmod(0o640)
    assert said("wrote", runtime, "one") in materialize("s").err
    assert mode(runtime / "one") == 0o400


def test_check_writes_nothing(vault: Made, runtime: Path) -> None:
    services(vault.directory, THREE)
    before = runtime.stat().st_mtime_ns
    ready = f"vault: can be delivered to {runtime}: one, two, three\n"
    assert materialize("s", "--check") == Result(0, b"", ready)
    assert (os.listdir(runtime), runtime.stat().st_mtime_ns) == ([], before)
    assert materialize("--secret", "t/one", "--to", runtime / "k", "--check").code == 0
    assert os.listdir(runtime) == []
    assert materialize("s", "--check", "--directory", runtime / "none").code == 0
    assert os.listdir(runtime) == []


def test_check_finds_what_would_fail(vault: Made, runtime: Path) -> None:
    services(
        vault.directory, '[services.s.files.k]\nsecret = "t/none"\n[services.s.files.ok]\nsecret = "t/one"\n'
    )
    assert materialize("s", "--check").code == 3
    runtime.chmod(0o777)
    assert materialize("--secret", "t/one", "--to", runtime / "k", "--check").code == 7
    assert os.listdir(runtime) == []


def test_clean_removes_what_is_ours_and_nothing_else(vault: Made, runtime: Path) -> None:
    services(vault.directory, THREE + '[services.o.files.other]\nsecret = "t/one"\n')
    assert materialize("s").code == materialize("o").code == 0
    (runtime / "foreign").write_text("kept")
    (runtime / "two").unlink()
    (runtime / "two").write_text("from elsewhere")
    done = materialize("s", "--clean")
    left = f"vault: warning: left, since something else has replaced it: {runtime / 'two'}\n"
    assert done == Result(0, b"", said("removed", runtime, "one", "three") + left)
    assert set(os.listdir(runtime)) == {"two", "foreign", "other", ".vault.o"}
    assert (runtime / "two").read_text() == "from elsewhere"
    assert materialize("s", "--clean") == Result(0, b"", "")
    assert materialize("o", "--clean") == Result(0, b"", said("removed", runtime, "other"))


def test_clean_needs_neither_vault_nor_key(vault: Made, runtime: Path) -> None:
    services(vault.directory, THREE)
    assert materialize("s").code == 0
    shutil.rmtree(vault.directory / "secrets")
    done = run_vault("materialize", "s", "--clean", cwd=runtime.parent)
    assert done == Result(0, b"", said("removed", runtime, "one", "two", "three"))
    assert os.listdir(runtime) == []


def test_clean_of_a_directory_that_is_not_there(runtime: Path) -> None:
    assert materialize("s", "--clean", "--directory", runtime / "none") == Result(0, b"", "")


@pytest.mark.parametrize(
    "record",
    ["", "{", "[]", '{"one": 1}', '{"one": [[Infinity, 1]]}', '{"one": [[NaN, 1]]}', '{"../x": [[1, 1]]}'],
)
def test_what_the_service_wrote_into_the_record_is_not_believed(
    vault: Made, runtime: Path, record: str
) -> None:
    services(vault.directory, THREE)
    outside = runtime.parent / f"{runtime.name}-outside"
    outside.write_text("kept")
    info = outside.stat()
    try:
        text = record.replace("../x", f"../{outside.name}").replace(
            "[[1, 1]]", f"[[{info.st_ino}, {info.st_mtime_ns}]]"
        )
        (runtime / ".vault.s").write_text(text)
        assert materialize("s", "--clean") == Result(0, b"", "")
        (runtime / ".vault.s").write_text(text)
        assert materialize("s").code == 0
        assert outside.read_text() == "kept"
    finally:
        outside.unlink()


# the directory


@pytest.mark.usefixtures("vault")
def test_a_directory_that_is_not_in_memory_is_refused(tmp_path: Path) -> None:
    # Of all directories only /proc/sys is on no disk and on no tmpfs wherever the tests run.
    done = materialize("--secret", "t/one", "--to", "/proc/sys/k")
    assert done == Result(
        7,
        b"",
        "vault: '/proc/sys' is not on tmpfs or ramfs: the key would reach a disk\n"
        "hint: use a directory under /run, or --allow-disk when you mean it\n",
    )
    out = tmp_path / "out"
    out.mkdir(mode=0o700)
    assert materialize("--secret", "t/one", "--to", out / "k", "--allow-disk").code == 0
    assert (out / "k").read_bytes() == VALUE


def test_a_missing_directory_names_the_line_that_makes_it(vault: Made, runtime: Path) -> None:
    services(vault.directory, THREE)
    done = materialize("s", "--directory", runtime / "none")
    assert (done.code, done.out) == (7, b"")
    assert done.err.startswith(f"vault: directory {runtime / 'none'}: ")
    assert done.err.endswith("\nhint: RuntimeDirectory=s in the unit makes it\n")
    assert os.listdir(runtime) == []


def test_several_runtime_directories_need_a_choice(vault: Made, runtime: Path) -> None:
    services(vault.directory, THREE)
    done = materialize("s", RUNTIME_DIRECTORY=f"{runtime}:{runtime / 'b'}")
    assert done == Result(
        2, b"", "vault: the unit has several runtime directories\nhint: name one: --directory DIR\n"
    )
    assert os.listdir(runtime) == []


def test_an_unknown_service_is_told_which_there_are(vault: Made, runtime: Path) -> None:
    services(vault.directory, THREE)
    done = materialize("t")
    assert done == Result(3, b"", "vault: service 't' is not in vault.toml\nhint: it has: s\n")
    assert os.listdir(runtime) == []


@pytest.mark.usefixtures("vault")
def test_a_directory_that_others_may_write_is_refused(runtime: Path) -> None:
    inner = runtime / "inner"
    inner.mkdir()
    for directory, permissions in ((runtime, 0o777), (runtime, 0o770), (inner, 0o722), (inner, 0o1777)):
        runtime.chmod(0o755)
        inner.chmod(0o755)
        directory.chmod(permissions)
        done = materialize("--secret", "t/one", "--to", inner / "k")
        assert (done.code, f"'{directory}' can be written by others" in done.err) == (7, True)
    assert os.listdir(inner) == []


@pytest.mark.usefixtures("vault")
def test_a_link_on_the_way_is_refused(runtime: Path) -> None:
    (runtime / "real/deep").mkdir(parents=True)
    (runtime / "link").symlink_to("real")
    (runtime / "real/back").symlink_to("deep")
    for path in ("link/k", "link/deep/k", "real/back/k"):
        done = materialize("--secret", "t/one", "--to", runtime / path)
        assert (done.code, "leads through a link" in done.err) == (5, True)
    assert os.listdir(runtime / "real/deep") == []
    assert set(os.listdir(runtime / "real")) == {"deep", "back"}


def test_planted_links_are_replaced_and_what_they_lead_to_is_not_touched(vault: Made, runtime: Path) -> None:
    services(vault.directory, THREE)
    victim = runtime / "victim"
    victim.write_text("kept")
    (runtime / "one").symlink_to(victim)
    (runtime / "two").hardlink_to(victim)
    os.mkfifo(runtime / "three")
    (runtime / ".vault.s").symlink_to(victim)
    assert materialize("s").code == 0
    assert (victim.read_text(), mode(victim), victim.stat().st_nlink) == ("kept", 0o644, 1)
    assert [(runtime / name).is_symlink() for name in ("one", "two", "three", ".vault.s")] == [False] * 4
    assert (runtime / "one").read_bytes() == VALUE


def test_a_directory_in_the_place_of_a_file_changes_nothing(vault: Made, runtime: Path) -> None:
    services(vault.directory, THREE)
    (runtime / "three").mkdir()
    done = materialize("s")
    assert done == Result(7, b"", "vault: 'three' is a directory\n")
    assert os.listdir(runtime) == ["three"]


# all or nothing


@pytest.fixture
def delivered(vault: Made, runtime: Path) -> dict[str, tuple[int, int, bytes]]:
    """Give what lies in the directory after a first delivery; since then ``t/two`` has another value."""
    services(vault.directory, THREE)
    assert materialize("s").code == 0
    before = picture(runtime)
    put("t/two", made_key(), "--force")
    return before


BROKEN = {
    "missing": (3, "rm -f secrets/t/one.age"),
    "damaged": (5, "head -c 300 secrets/t/one.age > x; cat x > secrets/t/one.age"),
    "of-another-name": (5, "cp secrets/t/two.age secrets/t/one.age"),
    "link": (5, "ln -sf two.age secrets/t/one.age"),
    "no-key": (4, 'rm "$XDG_CONFIG_HOME/tskeyvault/identities"'),
    "toml": (2, "echo '[services.s.files.four]' >> vault.toml"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_one_secret_that_fails_changes_nothing_at_all(
    runtime: Path, delivered: dict[str, tuple[int, int, bytes]], how: str
) -> None:
    code, script = BROKEN[how]
    subprocess.run(["sh", "-c", script], check=True)
    assert materialize("s").code == code
    assert picture(runtime) == delivered


def test_an_empty_secret_is_refused(
    vault: Made, runtime: Path, delivered: dict[str, tuple[int, int, bytes]]
) -> None:
    needs.program("age")
    argv = ["age", "-r", vault.recipient, "-o", "secrets/t/empty.age"]
    subprocess.run(argv, input=b"", check=True)
    services(vault.directory, '[services.s.files.four]\nsecret = "t/empty"\n')
    done = materialize("s")
    assert (done.code, done.err.splitlines()[-1]) == (7, "vault: secret 't/empty' is empty")
    assert picture(runtime) == delivered


@pytest.mark.parametrize("value", [b"one\ntwo\n", b"one\n\n", b"one\rtwo", b"one\0two", b"\n"])
def test_a_line_is_one_line(vault: Made, runtime: Path, value: bytes) -> None:
    put("lines", value)
    services(vault.directory, '[services.s.files.k]\nsecret = "lines"\nformat = "line"\n' + THREE)
    done = materialize("s")
    assert done.code == 7
    assert "secret 'lines' " in done.err
    assert os.listdir(runtime) == []


def test_where_generations_cannot_be_remembered_nothing_is_delivered(
    vault: Made, runtime: Path, tmp_path: Path
) -> None:
    services(vault.directory, THREE)
    (tmp_path / "file").write_text("no directory")
    done = materialize("s", XDG_STATE_HOME=str(tmp_path / "file"))
    assert done.code == 7
    assert "cannot remember" in done.err
    assert "StateDirectory=" in done.err
    assert os.listdir(runtime) == []


def test_a_file_size_limit_leaves_nothing(vault: Made, runtime: Path) -> None:
    put("large", b"x" * 5000)
    services(
        vault.directory,
        '[services.l.files.small]\nsecret = "t/one"\n[services.l.files.large]\nsecret = "large"\n',
    )
    code = (
        "import resource, runpy;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "runpy.run_module('tskeyvault', run_name='__main__')"
    )
    done = run_python("-c", code, "materialize", "l")
    _holds_no_value(done)
    assert (done.code, "file too large" in done.err) == (7, True)
    assert os.listdir(runtime) == []


def test_a_full_tmpfs_leaves_the_old_files_and_nothing_else(vault: Made, tmp_path: Path) -> None:
    needs.root()
    needs.program("unshare")
    services(vault.directory, THREE)
    put("t/one", os.urandom(20_000), "--force")
    put("t/one", VALUE, "--force")
    put("large", os.urandom(60_000))
    services(
        vault.directory,
        '[services.l.files.large]\nsecret = "large"\n[services.l.files.a]\nsecret = "t/two"\n',
    )
    directory = tmp_path / "mounted"
    directory.mkdir(mode=0o755)
    script = """
    mount -t tmpfs -o size=64k,mode=755 none "$RUNTIME_DIRECTORY" || exit 99
    "$@" materialize s || exit 98
    "$@" materialize l; echo "code $?"
    ls -A "$RUNTIME_DIRECTORY"
    cat "$RUNTIME_DIRECTORY/one"
    """
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", *VAULT]
    environ = {**os.environ, "RUNTIME_DIRECTORY": str(directory)}
    done = subprocess.run(argv, check=True, capture_output=True, text=True, env=environ)
    assert done.stdout.splitlines() == ["code 7", ".vault.s", "one", "three", "two", VALUE.decode()]
    assert (
        f"vault: directory {shown(str(directory))}: no space left on device\nhint: make room: df -h "
        in done.stderr
    )
    assert VALUE.decode() not in done.stderr


# locks, signals, and runs at once


def test_a_lock_that_is_held_too_long(runtime: Path, delivered: dict[str, tuple[int, int, bytes]]) -> None:
    with locked(runtime):
        done = materialize("s", "--timeout", "1")
    assert done == Result(
        7, b"", "vault: materialize: not done within 1 s\nhint: --timeout gives it longer\n"
    )
    assert picture(runtime) == delivered


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stopped_while_it_waits_for_the_lock(
    runtime: Path, delivered: dict[str, tuple[int, int, bytes]], number: signal.Signals
) -> None:
    needs.root()  # to see which files a process has open that nobody may look into
    with locked(runtime):
        waiting = subprocess.Popen(
            [*VAULT, "materialize", "s"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            _wait_until_open(waiting, runtime)
            waiting.send_signal(number)
            out, err = waiting.communicate(timeout=30)
        finally:
            waiting.kill()
            waiting.wait()
    reason = {signal.SIGINT: "interrupted"}.get(number, f"materialize: stopped by {number.name}")
    expected = 130 if number == signal.SIGINT else 7
    assert (waiting.returncode, out, err.decode()) == (expected, b"", f"vault: {reason}\n")
    assert picture(runtime) == delivered


def _wait_until_open(process: "subprocess.Popen[bytes]", directory: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            try:
                if link.readlink() == directory:
                    return
            except FileNotFoundError:
                continue
        time.sleep(0.01)
    raise AssertionError("the directory was not opened")


def test_many_runs_at_once_end_with_one_whole_delivery(vault: Made, runtime: Path) -> None:
    services(vault.directory, THREE)
    for round_ in range(4):
        value = made_key()
        if round_ % 2:
            put("t/two", value, "--force")
        runs = [
            subprocess.Popen([*VAULT, "materialize", "s"], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in range(4)
        ]
        if not round_ % 2:
            put("t/two", value, "--force")
        ends = [(run.communicate(timeout=60)[1], run.returncode) for run in runs]
        assert [code for _, code in ends] == [0] * 4, ends
        assert set(os.listdir(runtime)) == {"one", "two", "three", ".vault.s"}
        texts = json.loads((runtime / "three").read_bytes())
        assert texts == {"ONE": (runtime / "one").read_text(), "TWO": (runtime / "two").read_text()}
        assert materialize("s").code == 0
        assert (runtime / "two").read_bytes() == value
    done = materialize("s", "--clean")
    assert (done.code, os.listdir(runtime)) == (0, [])


def test_what_a_killed_run_left_is_swept(runtime: Path, delivered: dict[str, tuple[int, int, bytes]]) -> None:
    leftover = runtime / ".vault-0123456789abcdef"
    leftover.write_bytes(VALUE)
    (runtime / ".vault-not-ours").write_text("kept")
    assert materialize("s").code == 0
    assert set(os.listdir(runtime)) == {*delivered, ".vault-not-ours"}
    leftover.write_bytes(VALUE)
    assert materialize("s", "--clean").code == 0
    assert os.listdir(runtime) == [".vault-not-ours"]


@pytest.mark.parametrize("command", ["materialize", "show", "insert"])
def test_memory_is_protected_before_the_first_secret(
    vault: Made, runtime: Path, tmp_path: Path, command: str
) -> None:
    needs.root()  # for others strace cannot look into a process whose memory is protected
    needs.program("strace")
    words = {
        "materialize": ["materialize", "--secret", "t/one", "--to", str(runtime / "k")],
        "show": ["show", "t/one"],
        "insert": ["insert", "--no-commit", "new"],
    }[command]
    log = tmp_path / "log"
    trace = ["strace", "-f", "-qq", "-o", str(log), "-e", "trace=prctl,prlimit64,setrlimit,openat,read"]
    done = subprocess.run(
        [*trace, *VAULT, *words], input=VALUE, check=True, capture_output=True, cwd=vault.directory
    )
    assert (done.stdout == VALUE) is (command == "show")
    lines = log.read_text(errors="replace").splitlines()
    at = {
        "core": _first(lines, "RLIMIT_CORE, {rlim_cur=0, rlim_max=0}"),
        "dump": _first(lines, "PR_SET_DUMPABLE, SUID_DUMP_DISABLE"),
        "secret": _first(lines, 'read(0, "tskey' if command == "insert" else '"one.age"'),
    }
    assert max(at["core"], at["dump"]) < at["secret"]
    if command != "insert":
        assert max(at["core"], at["dump"]) < _first(lines, "tskeyvault/identities")


def _first(lines: list[str], text: str) -> int:
    return next(number for number, line in enumerate(lines) if text in line)
