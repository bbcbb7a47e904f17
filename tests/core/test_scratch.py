"""Plain text that a program sees as a file: in memory, for us alone, and gone whatever happens."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from support import needs
from support.vaults import PATH, SECONDS
from tskeyvault import scratch
from tskeyvault.errors import DeliveryError
from tskeyvault.materialize import place


@pytest.fixture
def environ(memory: Path) -> Mapping[str, str]:
    """Give an environment whose own directory in memory is empty."""
    return {"XDG_RUNTIME_DIR": str(memory)}


def test_it_is_in_memory_and_for_us_alone(environ: Mapping[str, str], memory: Path) -> None:
    before = os.umask(0)
    try:
        with scratch.opened(environ) as room:
            info = os.lstat(room.path)
            assert stat.S_IMODE(info.st_mode) == 0o700
            assert (stat.S_ISDIR(info.st_mode), info.st_uid) == (True, os.geteuid())
            assert Path(room.path).parent == memory
            with place.opened(room.path, allow_disk=False) as fd:
                assert os.listdir(fd) == []
    finally:
        os.umask(before)


def test_each_has_its_own(environ: Mapping[str, str]) -> None:
    with scratch.opened(environ) as one, scratch.opened(environ) as other:
        assert one.path != other.path


def test_at_the_end_all_of_it_is_gone(environ: Mapping[str, str], memory: Path) -> None:
    with scratch.opened(environ) as room:
        (Path(room.path) / "folder").mkdir()
        for name in ("secret", ".secret.swp", "folder/backup~"):
            (Path(room.path) / name).write_text("plain")
        (Path(room.path) / "locked").write_text("plain")
        (Path(room.path) / "locked").chmod(0)
        assert list(memory.iterdir())
    assert list(memory.iterdir()) == []


def test_what_a_link_in_it_leads_to_stays(environ: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("foreign")
    with scratch.opened(environ) as room:
        (Path(room.path) / "link").symlink_to(tmp_path / "outside")
    assert (tmp_path / "outside/file").read_text() == "foreign"


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, SystemExit, DeliveryError])
def test_after_a_failure_it_is_gone(
    environ: Mapping[str, str], memory: Path, kind: type[BaseException]
) -> None:
    def fail() -> None:
        with scratch.opened(environ) as room:
            (Path(room.path) / "secret").write_text("plain")
            raise kind("text")

    with pytest.raises(kind):
        fail()
    assert list(memory.iterdir()) == []


def test_what_is_to_be_kept_stays(environ: Mapping[str, str], memory: Path) -> None:
    def fail() -> None:
        with scratch.opened(environ) as room:
            (Path(room.path) / "secret").write_text("plain")
            room.keep()
            raise DeliveryError("the vault is full")

    with pytest.raises(DeliveryError, match="the vault is full"):
        fail()
    (kept,) = memory.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert (kept / "secret").read_text() == "plain"


def test_nothing_is_left_behind(environ: Mapping[str, str]) -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = os.listdir("/proc/self/fd"), children.read_text()
    with scratch.opened(environ):
        pass
    assert (os.listdir("/proc/self/fd"), children.read_text()) == before


def test_a_disk_is_no_place_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    real = place._in_memory
    device = (tmp_path / "run").stat().st_dev
    monkeypatch.setattr(place, "_in_memory", lambda fd: os.fstat(fd).st_dev != device and real(fd))
    with scratch.opened({"XDG_RUNTIME_DIR": str(tmp_path / "run")}) as room:
        assert not Path(room.path).is_relative_to(tmp_path)
    assert list((tmp_path / "run").iterdir()) == []


def test_without_a_place_in_memory_it_is_refused(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "_in_memory", lambda _fd: False)
    with (
        pytest.raises(DeliveryError, match="there is no tmpfs") as caught,
        scratch.opened({"XDG_RUNTIME_DIR": str(memory)}),
    ):
        pytest.fail("it was made")
    assert "XDG_RUNTIME_DIR" in caught.value.hint
    assert list(memory.iterdir()) == []


def test_a_place_that_others_can_change_is_passed_over(memory: Path) -> None:
    (memory / "open").mkdir()
    (memory / "open").chmod(0o777)
    with scratch.opened({"XDG_RUNTIME_DIR": str(memory / "open")}) as room:
        assert not Path(room.path).is_relative_to(memory)
    assert list((memory / "open").iterdir()) == []


# A process that is told to stop, or that is killed.

HOLDING = """\
import os, select, signal, sys
from tskeyvault import limits, scratch
for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)  # whatever started the tests may have had them ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
with {around}scratch.opened({{"XDG_RUNTIME_DIR": sys.argv[1]}}) as room:
    with open(os.path.join(room.path, "secret"), "w") as file:
        file.write("plain")
    {keep}
    print(room.path, flush=True)
    while not select.select([0], [], [], 0.1)[0]:
        pass  # Python notices a signal that arrives before a call blocks only after that call
"""


@contextmanager
def holding(memory: Path, *, around: str = "", keep: str = "pass") -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that holds a directory with plain text in it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING.format(around=around, keep=keep), memory],
        env={**os.environ, "PYTHONPATH": PATH},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        held = Path(os.fsdecode(process.stdout.readline().removesuffix(b"\n")))
        assert (held / "secret").read_text() == "plain"
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[bytes]) -> None:
    """Wait until the process, and whatever else has its standard output, is gone."""
    process.wait(timeout=SECONDS)
    assert process.stdout is not None
    assert process.stdout.read() == b""


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGINT, signal.SIGSEGV]
)
@pytest.mark.parametrize("around", ["", 'limits.stoppable("edit"), '], ids=["", "stoppable"])
def test_when_we_are_killed_it_is_gone(memory: Path, number: signal.Signals, around: str) -> None:
    with holding(memory, around=around) as process:
        process.send_signal(number)
        ended(process)
        assert process.returncode != 0
        assert list(memory.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_for_all_of_our_group_does_not_keep_it(memory: Path, number: signal.Signals) -> None:
    with holding(memory) as process:
        os.killpg(process.pid, number)
        ended(process)
        assert list(memory.iterdir()) == []


def test_what_is_to_be_kept_stays_also_when_we_are_killed(memory: Path) -> None:
    with holding(memory, keep="room.keep()") as process:
        process.kill()
        ended(process)
        (kept,) = memory.iterdir()
        assert (kept / "secret").read_text() == "plain"


def test_a_program_that_outlives_us_does_not_keep_it(memory: Path) -> None:
    # As an editor in a window of its own, which is told to go on without us.
    program = 'import subprocess; subprocess.Popen(["cat"], stdout=2)'
    with holding(memory, keep=program) as process:
        process.kill()
        ended(process)
        assert list(memory.iterdir()) == []


def test_what_a_killed_process_held_goes_with_the_next_one_and_nothing_else(
    environ: Mapping[str, str], memory: Path
) -> None:
    script = (
        "import os, sys; from tskeyvault import scratch; print(scratch.Held(os.environ, 'vault-x-').path, flush=True);"
        "sys.stdin.read()"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ, "PYTHONPATH": PATH},
    )
    assert running.stdout
    held = Path(running.stdout.readline().strip())
    (held / "key").write_text("public")
    for name in ("vault-edit-x", "foreign"):
        (memory / name).mkdir()
    (memory / "vault-x-link").symlink_to(memory / "foreign")
    others = {"vault-edit-x", "foreign", "vault-x-link"}
    mine = scratch.Held(environ, "vault-x-")
    assert held.exists()
    running.kill()
    running.communicate(timeout=SECONDS)
    second = scratch.Held(environ, "vault-x-")
    assert {path.name for path in memory.iterdir()} == {*others, Path(mine.path).name, Path(second.path).name}
    for one in (mine, second):
        one.close()
    assert {path.name for path in memory.iterdir()} == others


def test_one_that_another_process_sweeps_away_before_it_is_held_is_made_anew(
    environ: Mapping[str, str], memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[str] = []
    is_opened = place.opened

    def opened(path: str, *, allow_disk: bool) -> AbstractContextManager[int]:
        if not swept:
            swept.append(path)
            Path(path).rmdir()
        return is_opened(path, allow_disk=allow_disk)

    monkeypatch.setattr(place, "opened", opened)
    held = scratch.Held(environ, "vault-test-")
    assert [str(path) for path in memory.iterdir()] == [held.path] != swept
    held.close()


def test_a_directory_that_takes_no_more_is_named(tmp_path: Path) -> None:
    base = str(tmp_path)
    needs.program("unshare")
    script = f"from tskeyvault import scratch; scratch.made({{'XDG_RUNTIME_DIR': {base!r}}}, 'vault-x-')"
    inside = f'for at in /dev/shm /run {base}; do mount -t tmpfs -o nr_inodes=1 t $at; done; exec "$@"'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-ec", inside, "sh", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": PATH},
        timeout=SECONDS,
        check=False,
    )
    assert f"DeliveryError: no directory can be made in '{base}'" in done.stderr
