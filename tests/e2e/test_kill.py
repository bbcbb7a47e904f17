"""A delivery that is killed, stopped or failed at every system call that matters: each file is the old or the new."""

import errno
import os
import re
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from support import needs, tracing
from support.tracing import Call, Run
from support.vaults import PATH, made_key, run_vault, services

TABLES = """
[services.three.files.first]
secret = "first"
[services.three.files.second]
secret = "second"
mode = "0440"
[services.three.files.third]
secret = "third"
mode = "0640"
"""
MODES = {"first": 0o400, "second": 0o440, "third": 0o640}
LEFTOVER = ".vault-0123456789abcdef"
RECORD = ".vault.three"
OWNER = GROUP = 65534


class Found(NamedTuple):
    """All that matters of a delivered file."""

    content: bytes
    mode: int
    owner: int
    group: int


class Scene:
    """A vault of three secrets, and directories in memory with three older files in each."""

    def __init__(self, work: Path, memory: Path):
        self.memory = memory
        self.vault = work / "vault"
        self.work = work
        self._state = work / "state"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(work),
            "PYTHONPATH": PATH,
            "XDG_CONFIG_HOME": str(work / "config"),
            "XDG_STATE_HOME": str(self._state),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        self._numbers = count(1)
        (work / ".gitconfig").write_text("[user]\n\tname = Test\n\temail = test@example.org\n")
        assert run_vault("init", self.vault, env=self.env).code == 0
        self.new = {name: Found(made_key(), mode, OWNER, GROUP) for name, mode in MODES.items()}
        for name, found in self.new.items():
            inserted = run_vault("--vault", self.vault, "insert", name, input=found.content, env=self.env)
            assert inserted.code == 0, inserted.err
        services(self.vault, TABLES)
        self.old = {name: Found(b"old " + name.encode(), 0o400, OWNER, GROUP) for name in MODES}
        # The first run of all compiles, and remembers the generations: the others make the same system calls.
        first = self.directory()
        self.run(first)
        self._state = self._state_of(first)
        self.plan = self._plan()

    def directory(self) -> Path:
        """Make a directory with older files and the leftover of a run that was killed."""
        path = self.memory / f"delivered{next(self._numbers)}"
        path.mkdir(mode=0o700)
        (path / LEFTOVER).touch(0o400)
        for name, found in self.old.items():
            (path / name).write_bytes(found.content)
            os.chown(path / name, found.owner, found.group)
            (path / name).chmod(found.mode)
        os.chown(path, OWNER, GROUP)
        return path

    def run(self, directory: Path, *inject: str) -> Run:
        """Deliver into *directory* under strace, with a state of its own: one that is shared is waited for."""
        if not (state := self._state_of(directory)).exists():
            shutil.copytree(self._state, state)
        env = self.env | {"XDG_STATE_HOME": str(state)}
        arguments = ["--vault", str(self.vault), "materialize", "three", "--directory", str(directory)]
        return tracing.run(self.work / f"trace-{directory.name}", env, arguments, *inject)

    def _state_of(self, directory: Path) -> Path:
        return self.work / f"state-{directory.name}"

    def before(self, text: str) -> int:
        """Return the place in the plan of the only call that contains *text*."""
        (place,) = self.all(text)
        return place

    def all(self, text: str) -> list[int]:
        """Return the places in the plan of the calls that contain *text*."""
        return [place for place, call in enumerate(self.plan) if text in call.text]

    def expected(self, place: int) -> dict[str, Found]:
        """Return what lies there when the plan is cut off before *place*."""
        return {
            name: self.new[name] if self.before(f'"{name}")') < place else self.old[name] for name in MODES
        }

    def _plan(self) -> list[Call]:
        directory = self.directory()
        done = self.run(directory)
        assert (done.code, targets(directory)) == (0, self.new), done.err
        # It was opened before, to be remembered for vault apply.
        _, opened = (place for place, call in enumerate(done.calls) if '"delivered#"' in call.text)
        return done.calls[opened:]


def targets(directory: Path) -> dict[str, Found]:
    found = {}
    for name in MODES:
        info = (directory / name).lstat()
        assert stat.S_ISREG(info.st_mode)
        content = (directory / name).read_bytes()
        found[name] = Found(content, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)
    return found


def temporaries(directory: Path) -> dict[str, int]:
    """Return what lies there beside the files and the record: names and modes."""
    others = {path for path in directory.iterdir() if path.name not in {*MODES, RECORD}}
    return {path.name: stat.S_IMODE(path.lstat().st_mode) for path in others}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Give the scene, in a directory of the tmpfs that every Linux has."""
    needs.program("strace", "git")
    # The process lets nobody else read its memory, not even strace its arguments.
    needs.root()
    memory = Path(tempfile.mkdtemp(prefix="tskeyvault-kill-", dir="/dev/shm"))
    try:
        yield Scene(tmp_path_factory.mktemp("kill"), memory)
    finally:
        shutil.rmtree(memory)


def everywhere(scene: Scene, attempt: Callable[[int, Call], None], end: str = "$") -> None:
    """Make the *attempt* at every place of the plan before the call *end*, and report all that went wrong."""
    until = scene.before(end) if end != "$" else len(scene.plan)
    places = list(enumerate(scene.plan[:until]))
    assert len(places) > 25
    tracing.at_each(places, attempt)


def test_the_plan_is_the_one_that_was_meant(scene: Scene) -> None:
    names = [call.name for call in scene.plan]
    wanted = {"openat": 8, "write": 4, "fchown": 3, "fchmod": 4, "fsync": 6, "unlinkat": 1, "flock": 2}
    assert {name: names.count(name) >= number for name, number in wanted.items()} == dict.fromkeys(
        wanted, True
    )
    assert sum(name.startswith("rename") for name in names) == 4


def test_a_kill_at_any_system_call_leaves_old_or_new_and_the_next_run_makes_it_good(scene: Scene) -> None:
    def attempt(place: int, call: Call) -> None:
        directory = scene.directory()
        killed = scene.run(directory, f"{call.name}:signal=SIGKILL:when={call.when}")
        assert (killed.code, killed.hit) == (-9, call.text)
        assert targets(directory) == scene.expected(place)
        for name, mode in temporaries(directory).items():
            assert re.fullmatch(r"\.vault-[0-9a-f]{16}", name)
            assert mode in {0o400, 0o440, 0o600, 0o640}
        following = scene.run(directory)
        assert following.code == 0, following.err
        assert (targets(directory), temporaries(directory)) == (scene.new, {})

    everywhere(scene, attempt)


def test_a_stop_at_any_system_call_is_obeyed_and_cleaned_up_after(scene: Scene) -> None:
    commit, done = scene.all(f'"{RECORD}", O_RDONLY')[-1], scene.before("LOCK_UN")
    committed = scene.before('"third")') + 1

    def attempt(place: int, call: Call) -> None:
        directory = scene.directory()
        stopped = scene.run(directory, f"{call.name}:signal=SIGTERM:when={call.when}")
        # What must not be torn apart is carried to its end first.
        held = commit <= place <= committed
        assert stopped.hit == (scene.plan[committed].text if held else call.text)
        assert targets(directory) == (scene.new if place >= commit else scene.old)
        swept = scene.before("LOCK_EX") < place
        assert temporaries(directory) == ({} if swept else {LEFTOVER: 0o400})
        if place <= done:
            assert (stopped.code, "materialize: stopped by SIGTERM" in stopped.err) == (7, True), stopped.err
        assert "Traceback" not in stopped.err

    everywhere(scene, attempt)


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EPERM", "EROFS"])
def test_an_error_of_any_system_call_is_told_and_leaves_no_half(scene: Scene, error: str) -> None:
    harmless = scene.all(f'"{RECORD}", O_RDONLY')
    mounts = scene.before("mountinfo")
    sweep = scene.before("LOCK_EX") + 1

    def attempt(place: int, call: Call) -> None:
        directory = scene.directory()
        failed = scene.run(directory, f"{call.name}:error={error}:when={call.when}")
        assert failed.hit == call.text
        if call.name == "unlinkat" or place in harmless:
            assert (failed.code, targets(directory)) == (0, scene.new), failed.err
        else:
            reason = "cannot be read" if place == mounts else os.strerror(getattr(errno, error)).lower()
            assert (failed.code, reason in failed.err) == (7, True), failed.err
            assert targets(directory) == scene.expected(place)
        # The leftover stays when it could not be removed, or is removed by a second attempt.
        swept = place >= sweep or place in harmless
        allowed = [{LEFTOVER: 0o400}] * (place <= sweep and place not in harmless) + [{}] * swept
        assert temporaries(directory) in allowed
        assert not any(found.content.decode() in failed.err for found in scene.new.values())

    everywhere(scene, attempt, end="LOCK_UN")


def test_a_kill_while_cleaning_up_is_made_good_by_the_next_run(scene: Scene) -> None:
    fault = scene.plan[scene.before("LOCK_EX") :]
    last = [call for call in fault if call.name == "fchmod"][2]
    for cleaned in range(1, 4):
        directory = scene.directory()
        kill = f"unlinkat:signal=SIGKILL:when={cleaned + 1}"
        assert scene.run(directory, f"fchmod:error=EIO:when={last.when}", kill).code == -9
        assert targets(directory) == scene.old
        assert len(temporaries(directory)) == 4 - cleaned
        assert scene.run(directory).code == 0
        assert (targets(directory), temporaries(directory)) == (scene.new, {})


class Seen(NamedTuple):
    """A file at some instant."""

    inode: int
    mode: int
    owner: int
    group: int


@contextmanager
def watched(directory: Path) -> Iterator[set[Seen]]:
    """Look at every file of the directory, over and over, while the body runs; give all that was seen."""
    seen: set[Seen] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            with os.scandir(directory) as entries:
                for entry in entries:
                    try:
                        info = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    seen.add(Seen(info.st_ino, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_at_no_instant_can_anybody_read_more_than_was_asked_for(scene: Scene) -> None:
    for _ in range(5):
        directory = scene.directory()
        with watched(directory) as seen:
            # Microseconds before each call, so that what lies between two of them is seen.
            done = scene.run(
                directory, "write,fchown,fchmod,fsync,?rename,?renameat,?renameat2:delay_enter=12000"
            )
        assert done.code == 0, done.err
        for name, mode in MODES.items():
            inode = (directory / name).lstat().st_ino
            of_this = [one for one in seen if one.inode == inode]
            assert len(of_this) > 1 or mode & 0o077 == 0
            assert all(one.mode & ~mode == 0 for one in of_this)
            assert all((one.owner, one.group) == (OWNER, GROUP) for one in of_this if one.mode & 0o077)
        assert all(one.mode & 0o007 == 0 for one in seen)


def test_every_file_gets_its_owner_before_any_bit_for_others(scene: Scene) -> None:
    made = [place for place, call in enumerate(scene.plan) if "O_CREAT" in call.text]
    assert len(made) == 4
    for place in made[:3]:
        calls = [call.name for call in scene.plan[place : place + 5]]
        assert calls == ["openat", "write", "fchown", "fchmod", "fsync"]
        assert re.search(r"O_CREAT\|O_EXCL\|O_NOFOLLOW\|O_CLOEXEC, #\)", scene.plan[place].text)
