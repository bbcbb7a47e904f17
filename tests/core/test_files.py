"""Reading and writing below an open directory: no link is followed, and nothing half is left."""

import errno
import gc
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import needs
from tskeyvault import files
from tskeyvault.errors import DeliveryError, IntegrityError, NotFoundError, VaultError

Call = Callable[..., object]

STEPS = ("open", "write", "fchown", "fchmod", "fsync", "rename", "link")
"""All that writing asks of the system."""


@pytest.fixture
def path(folder: int, tmp_path: Path) -> Path:  # noqa: ARG001 - it makes the directory
    """Give the path of ``folder``."""
    return tmp_path / "folder"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Give a directory beside ``folder`` that holds a file."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("foreign")
    return tmp_path / "elsewhere"


def identity(file: Path) -> tuple[int, ...]:
    """Return what tells whether *file* is still the same, but for the time of the last reading."""
    info = file.stat()
    return info.st_ino, info.st_mode, info.st_nlink, info.st_uid, info.st_size, info.st_mtime_ns


def descriptors() -> set[str]:
    gc.collect()  # of what tests before have left
    return set(os.listdir("/proc/self/fd"))


def failing(code: int, after: int = 0) -> Call:
    """Return a system call that fails with *code*, from its call number *after* on."""
    count = iter(range(after))

    def call(*_arguments: object, **_options: object) -> None:
        if next(count, None) is None:
            raise OSError(code, "text of the system")

    return call


def sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


# Reading.


def test_a_file_is_read_up_to_the_limit_and_not_beyond(folder: int, path: Path) -> None:
    (path / "a").write_bytes(b"x" * 10)
    assert files.read(folder, "a", 10) == b"x" * 10
    with pytest.raises(IntegrityError, match="'a' is larger than 9 bytes"):
        files.read(folder, "a", 9)


def test_a_huge_file_is_refused_without_reading_it_all(folder: int, path: Path) -> None:
    sparse(path / "a", 1 << 40)
    with pytest.raises(IntegrityError, match="larger than"):
        files.read(folder, "a", 1 << 10)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_every_size_is_read_whole(folder: int, path: Path, size: int) -> None:
    data = os.urandom(size)
    (path / "a").write_bytes(data)
    assert files.read(folder, "a", size) == data


def test_short_reads_are_no_end() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", 0) as source:
        with os.fdopen(writing, "wb", 0) as sink:
            sink.write(b"abc")
            sink.write(b"def")
        assert files.read_all(source.fileno(), 6, "it") == b"abcdef"


def test_what_is_not_there_is_not_found(folder: int) -> None:
    with pytest.raises(NotFoundError, match="'a' is not there"):
        files.read(folder, "a", 10)


def test_a_link_is_not_read(folder: int, path: Path, elsewhere: Path) -> None:
    for target in (elsewhere / "file", "../elsewhere/file", "a", "/dev/zero", "nowhere"):
        (path / "a").symlink_to(target)
        with pytest.raises(IntegrityError, match="'a' leads through a link"):
            files.read(folder, "a", 100)
        (path / "a").unlink()


def test_a_pipe_a_directory_and_a_device_are_refused_without_waiting(folder: int, path: Path) -> None:
    os.mkfifo(path / "pipe")
    (path / "dir").mkdir()
    for name in ("pipe", "dir"):
        with pytest.raises(IntegrityError, match="not a regular file"):
            files.read(folder, name, 100)
    with files.directory("/dev") as fd, pytest.raises(IntegrityError, match="not a regular file"):
        files.read(fd, "zero", 100)


def test_a_socket_is_refused(folder: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        with pytest.raises(VaultError, match="'socket'"):
            files.read(folder, "socket", 100)


def test_reading_leaves_no_descriptor_open(folder: int, path: Path) -> None:
    os.mkfifo(path / "pipe")
    (path / "a").write_bytes(b"x")
    (path / "link").symlink_to("a")
    before = descriptors()
    files.read(folder, "a", 1)
    for name in ("pipe", "link", "none"):
        with pytest.raises(VaultError):
            files.read(folder, name, 1)
    with pytest.raises(IntegrityError):
        files.read(folder, "a", 0)
    with pytest.raises(VaultError):
        files.descend(folder, ["a", "b"])
    assert descriptors() == before


# Directories.


def test_descending_into_what_is_there(folder: int, path: Path) -> None:
    (path / "a/b").mkdir(parents=True)
    (path / "a/b/file").write_text("x")
    fd = files.descend(folder, ["a", "b"])
    assert os.listdir(fd) == ["file"]
    os.close(fd)


def test_descending_into_nothing_gives_the_directory_itself_and_its_own_descriptor(folder: int) -> None:
    fd = files.descend(folder, [])
    assert fd != folder
    assert os.path.sameopenfile(fd, folder)
    os.close(fd)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("create", [False, True])
def test_no_parent_is_reached_through_a_link(
    folder: int, path: Path, elsewhere: Path, place: int, create: bool
) -> None:
    parts = ["a", "b", "c"]
    here = path.joinpath(*parts[:place])
    here.mkdir(parents=True, exist_ok=True)
    (here / parts[place]).symlink_to(elsewhere)
    (elsewhere / "b/c").mkdir(parents=True)
    (elsewhere / "c").mkdir()
    before = sorted(elsewhere.rglob("*"))
    with pytest.raises(IntegrityError, match="'a/b/c' leads through a link"):
        files.descend(folder, parts, create=create)
    assert sorted(elsewhere.rglob("*")) == before


@pytest.mark.parametrize("create", [False, True])
def test_a_file_is_no_directory(folder: int, path: Path, create: bool) -> None:
    (path / "a").write_text("x")
    with pytest.raises(IntegrityError, match="no directory"):
        files.descend(folder, ["a", "b"], create=create)
    assert (path / "a").read_text() == "x"


def test_a_pipe_is_no_directory_and_is_not_waited_for(folder: int, path: Path) -> None:
    os.mkfifo(path / "a")
    with pytest.raises(IntegrityError):
        files.descend(folder, ["a"])


def test_directories_are_made_only_where_wanted(folder: int, path: Path) -> None:
    with pytest.raises(NotFoundError, match="'a/b' is not there"):
        files.descend(folder, ["a", "b"])
    assert list(path.iterdir()) == []
    os.close(files.descend(folder, ["a", "b"], create=True))
    os.close(files.descend(folder, ["a", "b"], create=True))
    assert (path / "a/b").is_dir()
    assert not stat.S_IMODE((path / "a").stat().st_mode) & 0o022


def test_a_named_directory_is_opened_and_closed(path: Path) -> None:
    before = descriptors()
    with files.directory(str(path)) as fd:
        assert os.listdir(fd) == []
    assert descriptors() == before
    with pytest.raises(NotFoundError), files.directory(str(path / "none")):
        pass


def test_whatever_there_is_exists(folder: int, path: Path) -> None:
    (path / "dangling").symlink_to("nowhere")
    os.mkfifo(path / "pipe")
    (path / "dir").mkdir()
    assert all(files.exists(folder, name) for name in ("dangling", "pipe", "dir"))
    assert not files.exists(folder, "none")


# Writing.


def watch(monkeypatch: pytest.MonkeyPatch, fd: int) -> list[tuple[str, int, int, int]]:
    """Note after every step of writing: the step, and mode, uid and size of what lies in *fd*."""
    noted: list[tuple[str, int, int, int]] = []

    def watched(step: str, real: Call) -> Call:
        def call(*arguments: object, **options: object) -> object:
            result = real(*arguments, **options)
            for name in os.listdir(fd):
                info = os.stat(name, dir_fd=fd, follow_symlinks=False)
                noted.append((step, stat.S_IMODE(info.st_mode), info.st_uid, info.st_size))
            return result

        return call

    for step in STEPS:
        monkeypatch.setattr(os, step, watched(step, getattr(os, step)))
    return noted


@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600, 0o640, 0o644, 0o040])
def test_a_staged_file_never_has_a_wider_mode(
    monkeypatch: pytest.MonkeyPatch, folder: int, mode: int, mask: int
) -> None:
    owner = (os.geteuid(), os.getegid())
    noted = watch(monkeypatch, folder)
    before = os.umask(mask)
    try:
        name = files.stage(folder, b"secret", mode=mode, owner=owner)
    finally:
        os.umask(before)
    assert [step for step, *_ in noted] == ["open", "write", "fchown", "fchmod", "fsync"]
    for _, had, _, _ in noted:
        assert had & ~mode == 0
    assert noted[0][3] == 0
    assert noted[-1][1] == mode
    assert stat.S_IMODE(os.stat(name, dir_fd=folder).st_mode) == mode


def test_an_owner_is_set_before_a_bit_beyond_the_owners(monkeypatch: pytest.MonkeyPatch, folder: int) -> None:
    needs.root()
    noted = watch(monkeypatch, folder)
    name = files.stage(folder, b"secret", mode=0o440, owner=(12345, 23456))
    assert all(uid == 12345 or not had & 0o077 for _, had, uid, _ in noted)
    info = os.stat(name, dir_fd=folder)
    assert (info.st_uid, info.st_gid, info.st_size) == (12345, 23456, 6)


@given(st.binary(max_size=100))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    with files.directory(str(tmp_path_factory.mktemp("written"))) as fd:
        files.write(fd, "a", data)
        assert files.read(fd, "a", 100) == data
        assert os.listdir(fd) == ["a"]


def test_short_writes_are_continued(monkeypatch: pytest.MonkeyPatch, folder: int, path: Path) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:3])))
    files.write(folder, "a", b"0123456789")
    assert (path / "a").read_bytes() == b"0123456789"


def staged_and_replaced(fd: int) -> None:
    temporary = files.stage(fd, b"new", owner=(os.geteuid(), os.getegid()))
    try:
        files.replace(fd, temporary, "a")
    finally:
        files.discard(fd, temporary)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EPERM, errno.EROFS, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("step", STEPS[:-1])
def test_a_failure_at_any_step_leaves_the_old_file_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, folder: int, path: Path, step: str, code: int
) -> None:
    (path / "a").write_bytes(b"old")
    before = descriptors(), identity(path / "a")
    with monkeypatch.context() as patch:
        patch.setattr(os, step, failing(code))
        with pytest.raises(DeliveryError) as caught:
            staged_and_replaced(folder)
    assert os.strerror(code).lower() in caught.value.message
    assert "text of the system" not in caught.value.message
    assert (path / "a").read_bytes() == b"old"
    assert [entry.name for entry in path.iterdir()] == ["a"]
    assert (descriptors(), identity(path / "a")) == before


@pytest.mark.parametrize("step", ["open", "write", "fchmod", "fsync", "rename"])
def test_write_and_create_leave_nothing_when_they_fail(
    monkeypatch: pytest.MonkeyPatch, folder: int, path: Path, step: str
) -> None:
    (path / "a").write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, step, failing(errno.ENOSPC))
        patch.setattr(os, "link", failing(errno.ENOSPC))
        with pytest.raises(DeliveryError):
            files.write(folder, "a", b"new")
        with pytest.raises(DeliveryError):
            files.create(folder, "b", b"new", mode=0o600)
    assert (path / "a").read_bytes() == b"old"
    assert [entry.name for entry in path.iterdir()] == ["a"]


@pytest.mark.parametrize("write", [files.write, files.create])
def test_a_directory_that_cannot_be_synced_is_an_explained_failure(
    monkeypatch: pytest.MonkeyPatch, folder: int, write: Call
) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EIO, after=1))
    with pytest.raises(DeliveryError):
        write(folder, "a", b"new", mode=0o600)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), DeliveryError("time is up"), SystemExit()])
@pytest.mark.parametrize("step", ["write", "fchmod", "fsync"])
def test_whatever_stops_a_write_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, folder: int, path: Path, step: str, stop: BaseException
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise stop

    monkeypatch.setattr(os, step, interrupted)
    with pytest.raises(type(stop)):
        files.stage(folder, b"new")
    assert list(path.iterdir()) == []


def test_a_link_is_written_over_and_not_through(folder: int, path: Path, elsewhere: Path) -> None:
    (path / "a").symlink_to(elsewhere / "file")
    files.write(folder, "a", b"new")
    assert not (path / "a").is_symlink()
    assert (path / "a").read_bytes() == b"new"
    assert (elsewhere / "file").read_text() == "foreign"


def test_a_hard_link_is_left_with_the_old_content(folder: int, path: Path, elsewhere: Path) -> None:
    (path / "a").hardlink_to(elsewhere / "file")
    files.write(folder, "a", b"new")
    assert (elsewhere / "file").read_text() == "foreign"
    assert (path / "a").stat().st_nlink == 1


def test_a_directory_is_not_written_over(folder: int, path: Path) -> None:
    (path / "a").mkdir()
    with pytest.raises(DeliveryError, match="'a': is a directory"):
        files.write(folder, "a", b"new")
    assert [entry.name for entry in path.iterdir()] == ["a"]


def test_a_staged_name_that_is_taken_is_refused(
    monkeypatch: pytest.MonkeyPatch, folder: int, path: Path, elsewhere: Path
) -> None:
    monkeypatch.setattr(os, "urandom", bytes)
    (path / f".vault-{'00' * 8}").symlink_to(elsewhere / "new")
    with pytest.raises(DeliveryError):
        files.stage(folder, b"secret")
    assert [entry.name for entry in elsewhere.iterdir()] == ["file"]
    assert (path / f".vault-{'00' * 8}").is_symlink()


def test_create_makes_a_new_file_of_just_that_mode(folder: int, path: Path) -> None:
    before = os.umask(0)
    try:
        assert files.create(folder, "a", b"new", mode=0o600)
    finally:
        os.umask(before)
    info = (path / "a").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_nlink) == (0o600, 1)
    assert [entry.name for entry in path.iterdir()] == ["a"]


@pytest.mark.parametrize("kind", ["file", "link", "dangling", "dir", "pipe"])
def test_create_never_overwrites(folder: int, path: Path, elsewhere: Path, kind: str) -> None:
    make: dict[str, Callable[[Path], object]] = {
        "file": lambda it: it.write_text("old"),
        "link": lambda it: it.symlink_to(elsewhere / "file"),
        "dangling": lambda it: it.symlink_to(elsewhere / "new"),
        "dir": lambda it: it.mkdir(),
        "pipe": os.mkfifo,
    }
    make[kind](path / "a")
    before = (path / "a").lstat()
    assert not files.create(folder, "a", b"new", mode=0o600)
    after = (path / "a").lstat()
    assert (before.st_ino, before.st_mode, before.st_size) == (after.st_ino, after.st_mode, after.st_size)
    assert [entry.name for entry in path.iterdir()] == ["a"]
    assert [entry.name for entry in elsewhere.iterdir()] == ["file"]


# What killed runs have left.


def test_only_our_own_leftovers_are_swept(folder: int, path: Path) -> None:
    ours = [files.stage(folder, b"x") for _ in range(3)]
    foreign = [
        "a", ".vault", ".vault-", ".vault.web", ".vault-short", ".vault-0123456789abcdeg", ".vault-0123456789ABCDEF",
        ".vault-0123456789abcdef0", ".vault-0123456789abcde", "x.vault-0123456789abcdef", ".vault-0123456789abcdef\n",
    ]  # fmt: skip
    for name in foreign:
        (path / name).write_text("foreign")
        assert not files.is_temporary(name)
    for name in (".vault-0123456789abcdef", ".vault-0123456789abcde0"):
        (path / name).mkdir()
    (path / ".vault-0123456789abcdef/file").write_text("left")
    (path / ".vault-0123456789abcde0/deep").mkdir()
    assert all(files.is_temporary(name) for name in ours)
    files.sweep(folder)
    assert {entry.name for entry in path.iterdir()} == {*foreign, ".vault-0123456789abcde0"}
    assert all((path / name).read_text() == "foreign" for name in foreign)


def test_a_swept_link_does_not_take_along_what_it_leads_to(folder: int, path: Path, elsewhere: Path) -> None:
    (path / ".vault-0123456789abcdef").symlink_to(elsewhere / "file")
    files.sweep(folder)
    assert list(path.iterdir()) == []
    assert (elsewhere / "file").read_text() == "foreign"


def test_discarding_what_is_not_there_is_no_failure(folder: int) -> None:
    files.discard(folder, "none")


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "\u202e", "x" * 300])
def test_a_name_is_shown_safely(folder: int, name: str) -> None:
    with pytest.raises(VaultError) as caught:
        files.read(folder, name, 10)
    assert caught.value.message.isprintable()
