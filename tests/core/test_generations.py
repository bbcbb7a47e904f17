"""The layout "generations": readers see a whole set, the old one or the new, whatever is killed or planted."""

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import needs
from tskeyvault import files
from tskeyvault.errors import DeliveryError, IntegrityError, NotFoundError
from tskeyvault.materialize import default, generations
from tskeyvault.materialize.deliver import Parcel
from tskeyvault.spec import Target

SERVICE = "web"
LEFTOVER = ".vault-0123456789abcdef"
KILLED = 9


class Desk:
    """A directory on tmpfs, and what is delivered into it."""

    def __init__(self, path: Path, fd: int):
        self.path = path
        self.fd = fd

    def deliver(self, contents: dict[str, bytes], service: str = SERVICE, mode: int = 0o400) -> list[str]:
        """Deliver *contents* by name, for the owner of the directory."""
        owner = self.path.stat()

        def parcels(where: int) -> list[Parcel]:
            return [
                Parcel(Target(where, name, mode, owner.st_uid, owner.st_gid), written(data))
                for name, data in contents.items()
            ]

        return generations.deliver(self.fd, service, parcels)

    def current(self) -> dict[str, bytes]:
        """Return what a reader finds."""
        return {path.name: path.read_bytes() for path in (self.path / "current").iterdir()}

    def names(self) -> set[str]:
        """Return all names in the directory."""
        return {path.name for path in self.path.iterdir()}


def written(data: bytes) -> Callable[[Target], str]:
    return lambda target: default.vault_materialize(data, target)


@pytest.fixture
def desk(memory: Path) -> Iterator[Desk]:
    with files.directory(str(memory)) as fd:
        yield Desk(memory, fd)


@pytest.fixture
def outside(memory: Path) -> Iterator[Path]:
    """Give somebody else's directory with a file in it, on the same file system."""
    path = memory.with_name(f"{memory.name}-outside")
    path.mkdir(mode=0o700)
    (path / "file").write_text("foreign")
    yield path
    assert {it.name: it.read_text() for it in path.iterdir()} == {"file": "foreign"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert path.stat().st_uid == os.geteuid()
    (path / "file").unlink()
    path.rmdir()


ONE = {"a": b"1", "b": b"1"}
TWO = {"a": b"1", "b": b"2", "c": b"2"}


def test_a_set_is_found_below_current(desk: Desk) -> None:
    assert desk.deliver(ONE) == ["a", "b"]
    assert desk.current() == ONE
    assert desk.names() == {"current", ".1.web"}
    assert os.readlink(desk.path / "current") == ".1.web"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (desk.path / ".1.web").iterdir()} == {0o400}


def test_a_new_set_replaces_the_old_one_whole_and_the_one_before_is_kept(desk: Desk) -> None:
    for number, contents in enumerate([ONE, TWO, ONE, {"x": b"3"}], start=1):
        assert desk.deliver(contents) == list(contents)
        assert desk.current() == contents
        kept = {f".{it}.web" for it in (number - 1, number) if it}
        assert desk.names() == {"current", *kept}


def test_the_same_set_makes_no_new_generation(desk: Desk) -> None:
    desk.deliver(ONE)
    before = (desk.path / ".1.web").stat()
    assert desk.deliver(ONE) == []
    assert desk.names() == {"current", ".1.web"}
    after = (desk.path / ".1.web").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755, 0o500, 0o2750])
def test_a_generation_has_the_owner_and_the_mode_of_its_directory(desk: Desk, mode: int) -> None:
    needs.root()
    os.chown(desk.path, 12345, 23456)
    desk.path.chmod(mode)
    desk.deliver(ONE)
    info = (desk.path / "current").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (mode & 0o755, 12345, 23456)
    assert (desk.path / "current/a").stat().st_uid == 12345
    assert desk.deliver(ONE) == []


CHANGES: dict[str, Callable[[Path], object]] = {
    "the mode of the directory": lambda path: path.chmod(0o777),
    "the mode of a file": lambda path: (path / "a").chmod(0o600),
    "a file that is gone": lambda path: (path / "a").unlink(),
    "another file": lambda path: (path / "x").write_text("x"),
    "another directory": lambda path: (path / "x").mkdir(),
    "a hard link": lambda path: (path.parent / "y").hardlink_to(path / "a"),
    "the directory that is gone": lambda path: path.rename(path.parent / "y"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_generation_that_was_tampered_with_is_replaced(desk: Desk, change: str) -> None:
    desk.deliver(ONE)
    CHANGES[change](desk.path / ".1.web")
    assert desk.deliver(ONE) == ["a", "b"]
    assert desk.current() == ONE
    assert stat.S_IMODE((desk.path / "current").stat().st_mode) == 0o700
    assert os.readlink(desk.path / "current") == ".2.web"


def test_what_would_change_is_told_and_nothing_is_written(desk: Desk) -> None:
    owner = desk.path.stat()

    def differing(contents: dict[str, bytes]) -> list[str]:
        wanted = {
            name: (Target(-1, name, 0o400, owner.st_uid, owner.st_gid), data)
            for name, data in contents.items()
        }
        return generations.differing(desk.fd, SERVICE, wanted)

    assert differing(ONE) == ["a", "b"]
    desk.deliver(ONE)
    before = desk.path.stat().st_mtime_ns
    assert differing(ONE) == []
    assert differing(TWO) == ["b", "c"]
    assert differing({"a": b"1"}) == ["a"]  # b has to go
    assert (desk.names(), desk.path.stat().st_mtime_ns) == ({"current", ".1.web"}, before)


def test_clean_removes_what_is_ours_and_nothing_else(desk: Desk) -> None:
    others = {"foreign", ".1.other", ".vault.web", ".0.web", ".x.web", "1.web", ".1.web.x"}
    for name in others:
        (desk.path / name).write_text("kept")
    for contents in (ONE, TWO):
        desk.deliver(contents)
    (desk.path / LEFTOVER).mkdir()
    assert generations.clean(desk.fd, SERVICE) == (["current", ".1.web", ".2.web"], [])
    assert desk.names() == others
    assert generations.clean(desk.fd, SERVICE) == ([], [])


def test_two_services_with_generations_need_two_directories(desk: Desk) -> None:
    desk.deliver(ONE)
    with pytest.raises(DeliveryError, match="is that of another service") as caught:
        desk.deliver(TWO, service="other")
    assert caught.value.hint == "a service with generations needs a directory of its own"
    assert generations.clean(desk.fd, "other") == ([], [])
    assert desk.current() == ONE


def test_the_numbers_begin_anew_at_their_end(desk: Desk) -> None:
    (desk.path / "current").symlink_to(".999999999.web")
    desk.deliver(ONE)
    assert os.readlink(desk.path / "current") == ".1.web"
    assert desk.current() == ONE


# Killed, failed.

STEPS = ("mkdir", "open", "write", "fchown", "fchmod", "fsync", "rename", "symlink", "unlink", "rmdir")


def is_killed(desk: Desk, contents: dict[str, bytes], steps: int) -> bool:
    """Deliver in a process that dies before its step after *steps*; tell whether there was one."""
    child = os.fork()
    if not child:
        done: list[str] = []

        def dying(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> object:
                if len(done) == steps:
                    os._exit(KILLED)
                done.append(function.__name__)
                return function(*arguments, **options)

            return call

        for name in STEPS:
            setattr(os, name, dying(getattr(os, name)))
        try:
            desk.deliver(contents)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


def test_whenever_it_is_killed_the_set_is_the_old_or_the_new_one_and_the_next_run_mends_it(
    desk: Desk,
) -> None:
    seen = []
    steps = 0
    while True:
        generations.clean(desk.fd, SERVICE)
        for contents in ({"z": b"0"}, {"y": b"0"}, ONE):
            desk.deliver(contents)
        more = is_killed(desk, TWO, steps)
        seen.append(desk.current())
        assert seen[-1] in (ONE, TWO)
        desk.deliver(TWO)
        assert desk.current() == TWO
        assert len(desk.names()) == 3, desk.names()
        if not more:
            break
        steps += 1
    turn = seen.index(TWO)
    assert seen == [ONE] * turn + [TWO] * (len(seen) - turn)
    assert min(turn, len(seen) - turn) > 2
    assert steps > 25


@pytest.mark.parametrize("step", ["mkdir", "write", "fchown", "fchmod", "fsync", "rename", "symlink"])
def test_at_any_failure_the_old_set_stands(monkeypatch: pytest.MonkeyPatch, desk: Desk, step: str) -> None:
    desk.deliver(ONE)
    failures = 0
    for number in range(10):
        real: Callable[..., object] = getattr(os, step)
        count = iter(range(number))

        def call(
            *arguments: object,
            count: Iterator[int] = count,
            real: Callable[..., object] = real,
            **options: object,
        ) -> object:
            if next(count, None) is None:
                raise OSError(28, "text of the system")
            return real(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, step, call)
            found = refusal(desk, TWO)
        failures += bool(found)
        assert "text of the system" not in found
        # The last sync comes after the switch.
        assert desk.current() in ((ONE, TWO) if step == "fsync" and found else (ONE,) if found else (TWO,))
        assert not [name for name in desk.names() if name.startswith(".vault-")]
        desk.deliver(ONE)
    assert failures


def refusal(desk: Desk, contents: dict[str, bytes]) -> str:
    """Deliver, and return why it failed, or nothing."""
    try:
        desk.deliver(contents)
    except DeliveryError as error:
        return error.message
    return ""


def test_a_plugin_that_fails_leaves_the_old_set_and_nothing_else(desk: Desk) -> None:
    desk.deliver(ONE)

    def fail(_target: Target) -> str:
        raise DeliveryError("broken")

    def parcels(where: int) -> list[Parcel]:
        return [
            Parcel(Target(where, "a", 0o400, os.geteuid(), os.getegid()), write)
            for write in (written(b"9"), fail)
        ]

    with pytest.raises(DeliveryError, match="broken"):
        generations.deliver(desk.fd, SERVICE, parcels)
    assert desk.current() == ONE
    assert desk.names() == {"current", ".1.web"}


# Planted by the service, who owns the directory.


def link(path: Path, target: Path | None) -> None:
    """Put a link, or a file, in the place of *path*."""
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name("moved"))
    path.unlink(missing_ok=True)
    if target:
        path.symlink_to(target)
    else:
        path.write_text("planted")


def planted(path: Path, outside: Path) -> None:
    """Make a directory with links, hard and soft, that lead outside."""
    path.mkdir()
    (path / "a").symlink_to(outside / "file")
    (path / "b").hardlink_to(outside / "file")
    (path / "d").symlink_to(outside)


def set_of_links(path: Path, outside: Path) -> None:
    """Make a generation of links, and let the current one be it."""
    planted(path / ".5.web", outside)
    link(path / "current", Path(".5.web"))


PLANTS: dict[str, Callable[[Path, Path], object]] = {
    "current leads outside": lambda path, outside: link(path / "current", outside),
    "current leads outside by name": lambda path, outside: link(path / "current", Path(f"../{outside.name}")),
    "current is a file": lambda path, _: link(path / "current", None),
    "the current generation leads outside": lambda path, outside: link(path / ".2.web", outside),
    "the next generation leads outside": lambda path, outside: link(path / ".3.web", outside),
    "an old generation leads outside": lambda path, outside: link(path / ".1.web", outside),
    "a leftover leads outside": lambda path, outside: link(path / LEFTOVER, outside),
    "the next generation is there": lambda path, outside: planted(path / ".3.web", outside),
    "a later generation is there": lambda path, outside: planted(path / ".7.web", outside),
    "a leftover is there": lambda path, outside: planted(path / LEFTOVER, outside),
    "a file of the set leads outside": lambda path, outside: link(path / ".2.web/a", outside / "file"),
    "current leads to a planted set": set_of_links,
    "current leads far": lambda path, _: link(path / "current", Path("x" * 4000)),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_is_replaced_and_leads_nowhere(desk: Desk, outside: Path, plant: str) -> None:
    for contents in (ONE, TWO):
        desk.deliver(contents)
    PLANTS[plant](desk.path, outside)
    desk.deliver(ONE)
    assert desk.current() == ONE
    current = desk.path / os.readlink(desk.path / "current")
    assert current.parent == desk.path
    assert stat.S_ISDIR(current.lstat().st_mode)
    assert all(stat.S_ISREG(path.lstat().st_mode) and path.stat().st_nlink == 1 for path in current.iterdir())
    generations.clean(desk.fd, SERVICE)
    assert desk.names() <= {"moved"}


@pytest.mark.parametrize("name", ["current", ".3.web"])
def test_a_planted_directory_that_cannot_be_removed_stops_all_and_stays(
    desk: Desk, outside: Path, name: str
) -> None:
    for contents in (ONE, TWO):
        desk.deliver(contents)
    if name == "current":
        (desk.path / "current").unlink()
    (desk.path / name / "deep").mkdir(parents=True)
    (desk.path / name / "deep/link").symlink_to(outside)
    with pytest.raises(DeliveryError):
        desk.deliver({"a": b"9"})
    assert (desk.path / name / "deep/link").is_symlink()
    assert not [it for it in desk.names() if it.startswith(".vault-")]
    removed, left = generations.clean(desk.fd, SERVICE)
    assert name not in removed
    assert left == ([] if name == "current" else [name])


def test_a_directory_that_is_exchanged_while_it_is_made_is_not_written_into(
    monkeypatch: pytest.MonkeyPatch, desk: Desk
) -> None:
    needs.root()
    desk.deliver(ONE)
    real = os.mkdir

    def raced(name: str, mode: int, *, dir_fd: int) -> None:
        real(name, mode, dir_fd=dir_fd)
        os.rename(name, "stolen", src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        real(name, 0o700, dir_fd=dir_fd)
        os.chown(name, 12345, 12345, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", raced)
    with pytest.raises(IntegrityError, match="was exchanged"):
        desk.deliver(TWO)
    assert desk.current() == ONE
    assert list((desk.path / "stolen").iterdir()) == []


def test_a_directory_of_root_that_is_put_in_its_place_is_not_given_away(
    monkeypatch: pytest.MonkeyPatch, desk: Desk
) -> None:
    needs.root()
    (desk.path / "roots").mkdir(mode=0o700)
    (desk.path / "roots/file").write_text("root's")
    roots = os.open(desk.path / "roots", os.O_RDONLY)
    os.chown(desk.path, 12345, 12345)
    real = os.mkdir

    def raced(name: str, mode: int, *, dir_fd: int) -> None:
        real(name, mode, dir_fd=dir_fd)
        os.rmdir(name, dir_fd=dir_fd)
        os.rename("roots", name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", raced)
    with pytest.raises(IntegrityError, match="was exchanged"):
        desk.deliver(ONE)
    assert os.fstat(roots).st_uid == os.geteuid()
    os.close(roots)


def test_what_a_killed_run_has_left_takes_no_room_from_the_next(
    monkeypatch: pytest.MonkeyPatch, desk: Desk
) -> None:
    desk.deliver(ONE)
    (desk.path / f".2.{SERVICE}").mkdir()
    (desk.path / f".2.{SERVICE}/large").write_bytes(b"x")

    def is_full(_name: str, _mode: int, *, dir_fd: int) -> None:
        raise OSError(28, str(dir_fd))

    monkeypatch.setattr(os, "mkdir", is_full)
    assert refusal(desk, TWO)
    assert desk.names() == {"current", f".1.{SERVICE}"}
    assert desk.current() == ONE


def test_a_reader_finds_a_whole_set_while_sets_are_exchanged(desk: Desk) -> None:
    sets = [dict.fromkeys(("a", "b", "c", "d"), bytes([number])) for number in range(40)]
    desk.deliver(sets[0])
    found: list[dict[str, bytes]] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            with (
                contextlib.suppress(NotFoundError, FileNotFoundError),  # two sets have passed meanwhile
                files.directory(str(desk.path / "current")) as fd,
            ):
                found.append({name: files.read(fd, name, 1) for name in sets[0]})

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for contents in sets[1:]:
            desk.deliver(contents)
    finally:
        over.set()
        reader.join()
    assert found
    assert all(it in sets for it in found)
