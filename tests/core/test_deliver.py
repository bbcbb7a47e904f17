"""Delivery: all files or none, exactly as ordered, and nothing of anybody else's touched."""

import contextlib
import errno
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import needs
from tskeyvault import files, limits
from tskeyvault.errors import DeliveryError, PluginError, VaultError
from tskeyvault.materialize import default, deliver, record
from tskeyvault.materialize.deliver import Parcel
from tskeyvault.spec import Target

SERVICE = "web"
RECORD = f".vault.{SERVICE}"
LEFTOVER = ".vault-0123456789abcdef"

Write = Callable[[Target], str]


class Desk:
    """An open directory on tmpfs, and what is delivered into it."""

    def __init__(self, path: Path, fd: int):
        self.path = path
        self.fd = fd

    def parcel(self, name: str, data: bytes, mode: int = 0o400, write: Write | None = None) -> Parcel:
        """Return a file of ours that is ready to be delivered."""
        target = Target(self.fd, name, mode, os.geteuid(), os.getegid())
        return Parcel(target, write or (lambda it: default.vault_materialize(data, it)))

    def deliver(self, contents: dict[str, bytes], *more: Parcel) -> list[str]:
        """Deliver *contents* by name, and *more* after them."""
        parcels = [self.parcel(name, data) for name, data in contents.items()]
        return deliver.deliver(self.fd, SERVICE, [*parcels, *more])

    def clean(self) -> tuple[list[str], list[str]]:
        """Remove what was delivered."""
        return deliver.clean(self.fd, SERVICE)

    def seen(self) -> dict[str, bytes]:
        """Return name and content of all files but the record."""
        files = (path for path in self.path.iterdir() if path.is_file() and path.name != RECORD)
        return {path.name: path.read_bytes() for path in files}

    def all_names(self) -> set[str]:
        """Return all names, the record's too."""
        return {path.name for path in self.path.iterdir()}


@pytest.fixture
def desk(memory: Path) -> Iterator[Desk]:
    with files.directory(str(memory)) as fd:
        yield Desk(memory, fd)


@pytest.fixture
def foreign(memory: Path) -> Iterator[Path]:
    """Give somebody else's file, on the same file system but elsewhere."""
    path = memory.with_name(f"{memory.name}-foreign")
    path.write_text("foreign")
    path.chmod(0o600)
    yield path
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def memory_desk() -> Iterator[Desk]:
    """Give an empty desk for one example."""
    with (
        tempfile.TemporaryDirectory(prefix="tskeyvault-test-", dir="/dev/shm") as name,
        files.directory(name) as fd,
    ):
        yield Desk(Path(name), fd)


def identity(path: Path) -> tuple[int, int, int]:
    info = path.stat()
    return info.st_ino, info.st_mtime_ns, info.st_mode


def test_files_are_delivered_as_ordered(desk: Desk) -> None:
    before = os.umask(0)
    try:
        written = desk.deliver({"a": b"1"}, desk.parcel("b", b"2", 0o640))
    finally:
        os.umask(before)
    assert written == ["a", "b"]
    assert desk.seen() == {"a": b"1", "b": b"2"}
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in desk.path.iterdir()}
    assert modes == {"a": 0o400, "b": 0o640, RECORD: 0o600}


def test_files_get_their_owner(desk: Desk) -> None:
    needs.root()
    target = Target(desk.fd, "a", 0o440, 12345, 23456)
    desk.deliver({}, Parcel(target, lambda it: default.vault_materialize(b"1", it)))
    info = (desk.path / "a").stat()
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (12345, 23456, 0o440)


def test_a_single_file_has_no_record(desk: Desk) -> None:
    deliver.deliver(desk.fd, "", [desk.parcel("a", b"1")])
    assert desk.all_names() == {"a"}


def test_nothing_to_deliver_writes_nothing(desk: Desk) -> None:
    assert desk.deliver({}) == []
    assert desk.all_names() == set()


def test_the_same_content_is_left_alone(desk: Desk) -> None:
    desk.deliver({"a": b"1", "b": b"2"})
    before = {path.name: identity(path) for path in desk.path.iterdir()}
    assert desk.deliver({"a": b"1", "b": b"2"}) == []
    assert {path.name: identity(path) for path in desk.path.iterdir()} == before
    assert desk.deliver({"a": b"1", "b": b"3"}) == ["b"]
    assert identity(desk.path / "a") == before["a"]


def otherwise(path: Path, how: str) -> None:
    """Make the delivered file at *path* differ in one way."""
    if how == "content":
        path.unlink()
        path.write_bytes(b"2")
        path.chmod(0o400)
    elif how == "link":
        path.rename(path.with_name("moved"))
        path.symlink_to("moved")
    elif how == "pipe":
        path.unlink()
        os.mkfifo(path, 0o400)
    elif how == "hard link":
        path.with_name("other").hardlink_to(path)
    elif how in {"uid", "gid"}:
        needs.root()
        os.chown(path, 12345 if how == "uid" else -1, 12345 if how == "gid" else -1)
    else:
        path.chmod(int(how, 8))


@pytest.mark.parametrize(
    "how", ["content", "link", "pipe", "hard link", "uid", "gid", "0440", "0600", "0000"]
)
def test_a_file_that_differs_in_anything_is_written_anew(desk: Desk, how: str) -> None:
    desk.deliver({"a": b"1"})
    path = desk.path / "a"
    otherwise(path, how)
    assert desk.deliver({"a": b"1"}) == ["a"]
    info = path.lstat()
    assert (info.st_mode, info.st_uid, info.st_nlink) == (stat.S_IFREG | 0o400, os.geteuid(), 1)
    assert path.read_bytes() == b"1"


@given(st.binary(min_size=1, max_size=50), st.binary(min_size=1, max_size=50))
def test_a_second_delivery_writes_just_when_the_content_differs(one: bytes, two: bytes) -> None:
    with memory_desk() as desk:
        desk.deliver({"a": one})
        assert desk.deliver({"a": two}) == (["a"] if one != two else [])
        assert desk.seen() == {"a": two}
        assert desk.clean() == (["a"], [])
        assert desk.all_names() == set()


def test_a_planted_link_is_replaced_and_not_followed(desk: Desk, foreign: Path) -> None:
    (desk.path / "a").symlink_to(foreign)
    (desk.path / "b").hardlink_to(foreign)
    (desk.path / "c").symlink_to("/nonexistent/elsewhere")
    assert desk.deliver({"a": b"1", "b": b"2", "c": b"3"}) == ["a", "b", "c"]
    assert desk.seen() == {"a": b"1", "b": b"2", "c": b"3"}
    assert not any(path.is_symlink() for path in desk.path.iterdir())
    assert foreign.read_text() == "foreign"
    assert stat.S_IMODE(foreign.stat().st_mode) == 0o600


def test_a_planted_hard_link_with_the_right_content_is_replaced(desk: Desk, foreign: Path) -> None:
    foreign.write_bytes(b"1")
    foreign.chmod(0o400)
    (desk.path / "a").hardlink_to(foreign)
    assert desk.deliver({"a": b"1"}) == ["a"]
    assert (desk.path / "a").stat().st_ino != foreign.stat().st_ino


def test_a_directory_in_the_place_of_a_file_stops_all(desk: Desk) -> None:
    (desk.path / "b").mkdir()
    (desk.path / "b/x").write_text("x")
    with pytest.raises(DeliveryError, match="'b' is a directory"):
        desk.deliver({"a": b"1", "b": b"2", "c": b"3"})
    assert desk.all_names() == {"b"}
    assert (desk.path / "b/x").read_text() == "x"


def test_leftovers_are_swept_and_nothing_else(desk: Desk) -> None:
    names = [LEFTOVER, ".vault-x", ".vault.other", "vault-0123456789abcdef"]
    for name in names:
        (desk.path / name).write_text("left")
    desk.deliver({"a": b"1"})
    assert desk.all_names() == {*names[1:], "a", RECORD}
    (desk.path / LEFTOVER).write_text("left")
    desk.clean()
    assert desk.all_names() == set(names[1:])


def test_what_a_killed_run_has_left_takes_no_room_from_the_next(desk: Desk) -> None:
    (desk.path / LEFTOVER).write_text("left")

    def write(target: Target) -> str:
        assert desk.all_names() == set()
        return default.vault_materialize(b"1", target)

    assert desk.deliver({}, desk.parcel("a", b"1", write=write)) == ["a"]


# Failures.


def failing_at(monkeypatch: pytest.MonkeyPatch, step: str, number: int) -> None:
    """Let *step* fail at its call *number*; opening counts for new files only."""
    real: Callable[..., object] = getattr(os, step)
    count = iter(range(number - 1))

    def call(*arguments: object, **options: object) -> object:
        counts = step != "open" or str(arguments[0]).startswith(".vault-")
        if counts and next(count, None) is None:
            raise OSError(errno.ENOSPC, "text of the system")
        return real(*arguments, **options)

    monkeypatch.setattr(os, step, call)


STEPS = [(step, number) for step in ("open", "write", "fchown", "fchmod", "fsync") for number in (1, 2, 3)]


@pytest.mark.parametrize(("step", "number"), [*STEPS, ("rename", 1)])
def test_a_failure_before_the_first_rename_leaves_the_old_files(
    monkeypatch: pytest.MonkeyPatch, desk: Desk, step: str, number: int
) -> None:
    desk.deliver({"a": b"old", "b": b"old"})
    before = {path.name: identity(path) for path in desk.path.iterdir()}
    with monkeypatch.context() as patch:
        failing_at(patch, step, number)
        with pytest.raises(DeliveryError) as caught:
            desk.deliver({"a": b"1", "b": b"2", "c": b"3"})
    assert "text of the system" not in caught.value.message
    assert {path.name: identity(path) for path in desk.path.iterdir()} == before


@pytest.mark.parametrize(("step", "number"), [*STEPS, ("rename", 1)])
def test_a_failure_before_the_first_rename_leaves_nothing_where_nothing_was(
    monkeypatch: pytest.MonkeyPatch, desk: Desk, step: str, number: int
) -> None:
    failing_at(monkeypatch, step, number)
    with pytest.raises(DeliveryError):
        desk.deliver({"a": b"1", "b": b"2", "c": b"3"})
    assert desk.all_names() == set()


@pytest.mark.parametrize("number", [2, 3, 4])
def test_what_a_failed_rename_leaves_is_whole_and_can_be_cleaned(
    monkeypatch: pytest.MonkeyPatch, desk: Desk, number: int
) -> None:
    desk.deliver({"a": b"old", "b": b"old", "c": b"old"})
    with monkeypatch.context() as patch:
        failing_at(patch, "rename", number)
        with pytest.raises(DeliveryError):
            desk.deliver({"a": b"new", "b": b"new", "c": b"new"})
    assert list(desk.seen().values()).count(b"new") == number - 2
    assert set(desk.seen().values()) <= {b"old", b"new"}
    assert desk.clean() == (["a", "b", "c"], [])
    assert desk.all_names() == set()


def test_a_directory_that_cannot_be_synced_is_an_explained_failure(
    monkeypatch: pytest.MonkeyPatch, desk: Desk
) -> None:
    real = os.fsync

    def fail(fd: int) -> None:
        if fd == desk.fd:
            raise OSError(errno.EIO, "broken")
        real(fd)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DeliveryError):
        desk.deliver({"a": b"1"})


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), DeliveryError("time is up"), PluginError("broken")])
def test_a_plugin_that_is_stopped_leaves_nothing(desk: Desk, stop: BaseException) -> None:
    desk.deliver({"a": b"old"})

    def write(_target: Target) -> str:
        raise stop

    with pytest.raises(type(stop)):
        desk.deliver({"a": b"new", "b": b"new"}, desk.parcel("c", b"", write=write))
    assert desk.seen() == {"a": b"old"}


def test_two_runs_at_once_are_one_after_the_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.locked.__wrapped__, "__defaults__", (0.0,))  # type: ignore[attr-defined]
    with files.directory(str(desk.path)) as other, limits.locked(other, "the test"):
        (desk.path / LEFTOVER).write_text("being written")
        with pytest.raises(DeliveryError, match="another process has held its lock"):
            desk.deliver({"a": b"1"})
        with pytest.raises(DeliveryError, match="another process has held its lock"):
            desk.clean()
        assert desk.all_names() == {LEFTOVER}


# What a plugin may not do.


def staged(**changed: int) -> Write:
    def write(target: Target) -> str:
        fields = target._asdict() | changed
        return default.vault_materialize(b"x", Target(**fields))

    return write


def named(name: str) -> Write:
    return lambda _target: name


def as_link(target: Target) -> str:
    os.symlink("/etc/passwd", LEFTOVER, dir_fd=target.directory)
    return LEFTOVER


def as_pipe(target: Target) -> str:
    os.mkfifo(LEFTOVER, target.mode, dir_fd=target.directory)
    return LEFTOVER


def as_folder(target: Target) -> str:
    os.mkdir(LEFTOVER, target.mode, dir_fd=target.directory)
    return LEFTOVER


def as_hard_link(target: Target) -> str:
    name = default.vault_materialize(b"x", target)
    os.link(name, "kept", src_dir_fd=target.directory, dst_dir_fd=target.directory)
    return name


def under_its_own_name(target: Target) -> str:
    name = default.vault_materialize(b"x", target)
    os.rename(name, "own", src_dir_fd=target.directory, dst_dir_fd=target.directory)
    return "own"


def widened(target: Target) -> str:
    name = default.vault_materialize(b"x", target)
    os.chmod(name, 0o4400, dir_fd=target.directory)
    return name


REFUSED: dict[str, Write] = {
    "wider mode": staged(mode=0o444),
    "narrower mode": staged(mode=0o000),
    "set-user-id": widened,
    "link": as_link,
    "pipe": as_pipe,
    "folder": as_folder,
    "hard link": as_hard_link,
    "own name": under_its_own_name,
    "final name": lambda target: target.name,
    "nothing": named(LEFTOVER),
    "empty": named(""),
    "elsewhere": named(f"../{LEFTOVER}"),
    "parent": named(".."),
}


@pytest.mark.parametrize("write", REFUSED.values(), ids=REFUSED)
def test_a_plugin_that_stages_anything_else_is_refused(desk: Desk, write: Write) -> None:
    desk.deliver({"a": b"old", "b": b"old"})
    with pytest.raises(PluginError, match="a plugin staged a file"):
        desk.deliver({"a": b"new"}, desk.parcel("b", b"", write=write))
    assert desk.seen()["a"] == b"old"
    assert desk.seen()["b"] == b"old"


def test_a_file_that_a_plugin_did_not_stage_is_not_removed_at_its_word(desk: Desk, foreign: Path) -> None:
    (desk.path / "other").write_text("foreign")
    for name in ("other", str(foreign), f"../{foreign.name}", RECORD):
        with pytest.raises(PluginError):
            desk.deliver({}, desk.parcel("a", b"", write=named(name)))
    assert foreign.exists()
    assert desk.seen() == {"other": b"foreign"}


def test_a_plugin_that_stages_for_another_owner_is_refused(desk: Desk) -> None:
    needs.root()
    for changed in ({"uid": 12345}, {"gid": 12345}):
        with pytest.raises(PluginError, match="another mode or owner"):
            desk.deliver({}, desk.parcel("a", b"", write=staged(**changed)))
    assert desk.seen() == {}


def test_a_plugin_that_hands_in_what_another_staged_is_refused_before_anything_is_renamed(desk: Desk) -> None:
    desk.deliver({"a": b"old", "b": b"old"})
    names: list[str] = []

    def first(target: Target) -> str:
        names.append(default.vault_materialize(b"first", target))
        return names[0]

    with pytest.raises(PluginError):
        desk.deliver({}, desk.parcel("a", b"", write=first), desk.parcel("b", b"", write=lambda _: names[0]))
    assert desk.seen() == {"a": b"old", "b": b"old"}


# Cleaning.


def test_clean_removes_what_was_delivered_and_nothing_else(desk: Desk) -> None:
    (desk.path / "foreign").write_text("x")
    desk.deliver({"a": b"1", "b": b"2"})
    deliver.deliver(desk.fd, "other", [desk.parcel("c", b"3")])
    assert desk.clean() == (["a", "b"], [])
    assert desk.all_names() == {"foreign", "c", ".vault.other"}
    assert desk.clean() == ([], [])


def test_what_a_later_delivery_no_longer_has_is_removed_and_nothing_else(desk: Desk) -> None:
    (desk.path / "foreign").write_text("x")
    deliver.deliver(desk.fd, "other", [desk.parcel("c", b"3")])
    desk.deliver({"a": b"1", "b": b"2", "replaced": b"3"})
    (desk.path / "replaced").unlink()
    (desk.path / "replaced").write_text("by somebody else")
    before = {name: identity(desk.path / name) for name in ("b", "foreign", "replaced", "c")}
    assert desk.deliver({"b": b"2"}) == []
    assert {name: identity(desk.path / name) for name in desk.seen() if name != ".vault.other"} == before
    assert desk.deliver({"d": b"4"}) == ["d"]
    assert desk.seen().keys() - {".vault.other"} == {"d", "foreign", "replaced", "c"}
    assert desk.clean() == (["d"], [])


def test_what_goes_over_to_another_service_stays_whoever_is_first(desk: Desk) -> None:
    for first in (SERVICE, "other"):
        desk.deliver({"a": b"1", "b": b"2"})
        steps = {
            SERVICE: lambda: desk.deliver({"a": b"1"}),
            "other": lambda: deliver.deliver(desk.fd, "other", [desk.parcel("b", b"2")]),
        }
        for name in sorted(steps, key=lambda name: name != first):
            steps[name]()
        assert desk.seen() | {".vault.other": b""} == {"a": b"1", "b": b"2", ".vault.other": b""}
        deliver.clean(desk.fd, "other")


def test_nothing_is_removed_when_the_rest_cannot_be_delivered(desk: Desk) -> None:
    desk.deliver({"a": b"1", "b": b"2"})
    (desk.path / "c").mkdir()
    with pytest.raises(DeliveryError, match="'c' is a directory"):
        desk.deliver({"b": b"3", "c": b"4"})
    assert desk.seen() == {"a": b"1", "b": b"2"}


def test_a_file_that_was_touched_is_still_ours(desk: Desk) -> None:
    desk.deliver({"a": b"1"})
    os.utime(desk.path / "a", (1, 1))
    before = identity(desk.path / "a")
    assert desk.deliver({"a": b"1"}) == []
    assert identity(desk.path / "a") == before


def test_what_could_not_be_cleaned_is_not_delivered(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    desk.deliver({"a": b"1"})
    monkeypatch.setattr(record, "MAX_SIZE", 200)
    with pytest.raises(DeliveryError, match="too many files"):
        desk.deliver({f"file-{number}": b"1" for number in range(9)})
    assert deliver.clean(desk.fd, SERVICE) == (["a"], [])
    assert list(desk.path.iterdir()) == []


def test_clean_where_nothing_was_delivered_does_nothing(desk: Desk) -> None:
    (desk.path / "a").write_text("x")
    assert desk.clean() == ([], [])
    assert desk.all_names() == {"a"}


@pytest.mark.parametrize("how", ["replaced", "rewritten", "folder", "link"])
def test_clean_leaves_what_something_else_has_put_there(desk: Desk, foreign: Path, how: str) -> None:
    desk.deliver({"a": b"1", "b": b"2"})
    path = desk.path / "a"
    if how == "rewritten":
        path.chmod(0o600)
        path.write_text("x")
        os.utime(path, ns=(1, 1))
    else:
        keep = desk.path / "kept"
        path.rename(keep)  # so that its inode is not used again
        make: dict[str, Callable[[], object]] = {
            "replaced": lambda: path.write_text("x"),
            "folder": path.mkdir,
            "link": lambda: path.symlink_to(foreign),
        }
        make[how]()
    assert desk.clean() == (["b"], ["a"])
    assert os.path.lexists(path)
    assert foreign.read_text() == "foreign"


def test_clean_does_not_miss_what_is_gone_already(desk: Desk) -> None:
    desk.deliver({"a": b"1", "b": b"2"})
    (desk.path / "a").unlink()
    assert desk.clean() == (["b"], [])


def test_clean_does_not_claim_to_have_removed_what_is_still_there(
    monkeypatch: pytest.MonkeyPatch, desk: Desk
) -> None:
    desk.deliver({"a": b"1"})

    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EPERM, "immutable")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", fail)
        try:
            removed, left = desk.clean()
        except VaultError:
            removed, left = [], ["a"]
    assert (removed, left) == ([], ["a"])
    assert desk.seen() == {"a": b"1"}
    assert desk.clean() == (["a"], [])


LYING = [
    b"",
    b"x",
    b"[]",
    b"1",
    b"null",
    b'{"a": 1}',
    b'{"a": [1]}',
    b'{"a": [[1]]}',
    b'{"a": [[1, 2, 3]]}',
    b'{"a": [["x", "y"]]}',
    b'{"a": [[null, null]]}',
    b'{"a": [[Infinity, NaN]]}',
    b'{"a": [[1e999, 1]]}',
    b'{"a": [[' + b"9" * 5000 + b", 1]]}",
    b"[" * 100_000,
    b"\xff",
    b'{"a": [[1, 2]]}',
]


@pytest.mark.parametrize("data", LYING)
def test_a_record_that_lies_removes_nothing(desk: Desk, data: bytes) -> None:
    (desk.path / RECORD).write_bytes(data)
    (desk.path / "a").write_text("foreign")
    assert desk.clean()[0] == []
    assert desk.seen() == {"a": b"foreign"}


@pytest.mark.parametrize("data", LYING)
def test_a_record_that_lies_does_not_prevent_a_delivery(desk: Desk, data: bytes) -> None:
    (desk.path / RECORD).write_bytes(data)
    assert desk.deliver({"b": b"1"}) == ["b"]
    assert "b" in desk.clean()[0]


def test_a_record_cannot_name_what_lies_elsewhere(desk: Desk, foreign: Path) -> None:
    info = foreign.stat()
    for name in (f"../{foreign.name}", str(foreign), ".hidden", RECORD):
        forged = json.dumps({name: [[info.st_ino, info.st_mtime_ns]]})
        for do in (desk.clean, lambda: desk.deliver({"a": b"1"})):
            (desk.path / RECORD).write_text(forged)
            do()
            assert foreign.read_text() == "foreign"


def test_a_directory_that_a_record_names_fails_no_delivery(desk: Desk) -> None:
    (desk.path / "folder").mkdir()
    (desk.path / RECORD).write_text(json.dumps({"folder": [identity(desk.path / "folder")[:2]]}))
    assert desk.deliver({"a": b"1"}) == ["a"]
    assert desk.all_names() == {"a", "folder", RECORD}


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_record_that_is_no_file_is_not_followed_or_waited_for(desk: Desk, foreign: Path, kind: str) -> None:
    (desk.path / "a").write_text("foreign")
    foreign.write_text(json.dumps({"a": [identity(desk.path / "a")[:2]]}))
    record = desk.path / RECORD
    make: dict[str, Callable[[], object]] = {
        "link": lambda: record.symlink_to(foreign),
        "pipe": lambda: os.mkfifo(record),
        "folder": record.mkdir,
    }
    make[kind]()
    assert desk.clean() == ([], [])
    assert (desk.path / "a").read_bytes() == b"foreign"
    assert foreign.exists()


def test_the_record_says_nothing_of_the_content(desk: Desk) -> None:
    desk.deliver({"a": b"0123456789-secret"})
    assert b"secret" not in (desk.path / RECORD).read_bytes()
