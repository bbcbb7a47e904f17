"""The directory that secrets are delivered into: on tmpfs, reached without links, safe from other users."""

import os
from pathlib import Path

import pytest

from support import needs
from tskeyvault.errors import DeliveryError, IntegrityError, NotFoundError, VaultError
from tskeyvault.materialize import owners, place

STRANGER = 12345
OTHER = 23456


def opened(path: Path | str, *, allow_disk: bool = False) -> list[str]:
    """Return what lies in the directory as it is opened."""
    with place.opened(str(path), allow_disk=allow_disk) as fd:
        return os.listdir(fd)


def refusal(path: Path | str) -> VaultError:
    """Return how *path* is refused, and see that nothing is left open."""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(VaultError) as caught, place.opened(str(path), allow_disk=False):
        pytest.fail("it was opened")
    assert os.listdir("/proc/self/fd") == before
    assert caught.value.message.isprintable()
    return caught.value


@pytest.fixture
def inner(memory: Path) -> Path:
    """Give the last of three nested directories on tmpfs, which is empty."""
    (memory / "a/b/c").mkdir(parents=True)
    return memory / "a/b/c"


def test_a_directory_of_ours_on_tmpfs_is_opened_and_closed(inner: Path) -> None:
    before = os.listdir("/proc/self/fd")
    (inner / "x").write_text("x")
    assert opened(inner) == ["x"]
    assert opened(f"/{inner}//") == ["x"]
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o750, 0o755, 0o500, 0o2750])
def test_others_may_enter_and_read_it(inner: Path, mode: int) -> None:
    inner.chmod(mode)
    assert opened(inner) == []


@pytest.mark.parametrize("path", ["", ".", "relative/path", "~", "./x"])
def test_a_path_that_is_not_absolute_is_refused(path: str) -> None:
    assert isinstance(refusal(path), DeliveryError)


def test_a_path_with_dots_is_refused(inner: Path) -> None:
    for path in (f"{inner}/../c", f"{inner}/.", f"{inner.parent}/./c"):
        assert "without dots" in refusal(path).message


def test_what_is_not_there_is_not_found(memory: Path) -> None:
    assert isinstance(refusal(memory / "none"), NotFoundError)
    assert isinstance(refusal(memory / "none/none"), NotFoundError)
    assert list(memory.iterdir()) == []


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_link_at_any_component_is_refused(memory: Path, inner: Path, depth: int) -> None:
    parts = ["a", "b", "c"]
    real = memory.joinpath(*parts[: depth + 1])
    real.rename(memory / "moved")
    real.symlink_to(memory / "moved")
    assert inner.is_dir()
    assert isinstance(refusal(inner), IntegrityError)


def test_a_link_that_dangles_or_loops_is_refused(memory: Path) -> None:
    (memory / "dangling").symlink_to("none")
    (memory / "loop").symlink_to("loop")
    for name in ("dangling", "loop"):
        assert isinstance(refusal(memory / name), IntegrityError)
        assert isinstance(refusal(memory / name / "x"), IntegrityError)


def test_a_file_or_pipe_is_no_directory(memory: Path) -> None:
    (memory / "file").write_text("x")
    os.mkfifo(memory / "pipe")
    for name in ("file", "pipe"):
        assert isinstance(refusal(memory / name), IntegrityError)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o720, 0o702, 0o1777, 0o1770, 0o2775])
def test_a_directory_that_others_may_write_is_refused(inner: Path, mode: int) -> None:
    inner.chmod(mode)
    error = refusal(inner)
    assert isinstance(error, DeliveryError)
    assert f"'{inner}' can be written by others" in error.message
    assert error.hint == f"chmod go-w '{inner}'"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o720, 0o702])
@pytest.mark.parametrize("depth", [0, 1])
def test_a_directory_above_that_others_may_write_is_refused(inner: Path, depth: int, mode: int) -> None:
    inner.parents[depth].chmod(mode)
    assert f"'{inner.parents[depth]}' can be written by others" in refusal(inner).message


def test_a_sticky_directory_above_may_be_shared(inner: Path) -> None:
    inner.parent.chmod(0o1777)
    assert opened(inner) == []


def test_a_shared_sticky_directory_itself_is_no_place() -> None:
    assert "can be written by others" in refusal("/dev/shm").message  # noqa: S108 - refused, which is the point


def test_what_a_stranger_has_put_into_a_sticky_directory_is_refused(inner: Path) -> None:
    needs.root()
    inner.parent.chmod(0o1777)
    os.chown(inner, STRANGER, STRANGER)
    assert "can be written by others" in refusal(inner).message


def test_root_delivers_into_the_directory_of_a_service(inner: Path) -> None:
    needs.root()
    os.chown(inner, STRANGER, STRANGER)
    assert opened(inner) == []
    os.chown(inner.parent, STRANGER, STRANGER)
    assert opened(inner) == []


@pytest.mark.parametrize("depth", [0, 1])
def test_a_directory_above_that_belongs_to_a_third_user_is_refused(inner: Path, depth: int) -> None:
    needs.root()
    os.chown(inner, STRANGER, STRANGER)
    os.chown(inner.parents[depth], OTHER, OTHER)
    error = refusal(inner)
    assert f"'{inner.parents[depth]}' belongs to a user who could exchange" in error.message


def as_user(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    """Let the rules be applied as if *uid* ran us; root may still open everything."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)


def test_a_user_delivers_into_a_directory_of_their_own(monkeypatch: pytest.MonkeyPatch, inner: Path) -> None:
    needs.root()
    os.chown(inner, STRANGER, STRANGER)
    as_user(monkeypatch, STRANGER)
    assert opened(inner) == []


def test_a_user_does_not_deliver_into_that_of_another(monkeypatch: pytest.MonkeyPatch, inner: Path) -> None:
    needs.root()
    os.chown(inner, OTHER, OTHER)
    as_user(monkeypatch, STRANGER)
    assert "belongs to another user" in refusal(inner).message


def test_allowing_a_disk_allows_nothing_else(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(DeliveryError, match="can be written by others"):
        opened(tmp_path, allow_disk=True)
    (tmp_path / "link").symlink_to(tmp_path / "home")
    with pytest.raises(IntegrityError):
        opened(tmp_path / "link", allow_disk=True)


def mounts(monkeypatch: pytest.MonkeyPatch, path: Path, text: bytes) -> None:
    path.write_bytes(text)
    monkeypatch.setattr(place, "_MOUNTS", str(path))


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
def test_the_kind_is_told_by_the_mount_table(
    monkeypatch: pytest.MonkeyPatch, inner: Path, tmp_path: Path, kind: str
) -> None:
    device = inner.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    good = f"30 20 {number} / /run\\040x rw,nosuid shared:5 master:1 - {kind} tmpfs rw\n"
    mounts(
        monkeypatch, tmp_path / "mounts", f"1 1 0:1 / / rw - ext4 /dev/a rw\n{good}".encode() + b"\xff - \n"
    )
    assert opened(inner) == []


@pytest.mark.parametrize(
    "line",
    [
        "30 20 {} / /run rw - ext4 tmpfs rw",
        "30 20 {} / /run rw - tmpfsx tmpfs rw",
        "30 20 {}1 / /run rw - tmpfs tmpfs rw",
        "30 20 0:1 / /{} rw - tmpfs tmpfs rw",
        "",
    ],
)
def test_no_other_line_of_the_mount_table_makes_it_memory(
    monkeypatch: pytest.MonkeyPatch, inner: Path, tmp_path: Path, line: str
) -> None:
    device = inner.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts(monkeypatch, tmp_path / "mounts", f"{line.format(number)}\n".encode())
    assert "is not on tmpfs" in refusal(inner).message


def test_a_disk_is_refused_and_can_be_allowed(
    monkeypatch: pytest.MonkeyPatch, inner: Path, tmp_path: Path
) -> None:
    mounts(monkeypatch, tmp_path / "mounts", b"1 1 0:1 / / rw - ext4 /dev/a rw\n")
    assert refusal(inner).hint == "use a directory under /run, or --allow-disk when you mean it"
    assert opened(inner, allow_disk=True) == []


def test_an_unknown_file_system_is_no_memory(
    monkeypatch: pytest.MonkeyPatch, inner: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(place, "_MOUNTS", str(tmp_path / "none"))
    assert "cannot be read" in refusal(inner).message


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\u202e" * 300])
def test_a_path_is_shown_safely(memory: Path, name: str) -> None:
    assert len(refusal(memory / name[:80]).message) <= 300
    assert len(refusal(name).message) <= 300


# Whose a delivered file is.


def test_the_owner_is_that_of_the_directory_unless_named() -> None:
    assert owners.owner((5, 6), "", "") == (5, 6)
    assert owners.owner((5, 6), "root", "") == (0, 0)
    assert owners.owner((5, 6), "0", "") == (0, 0)
    assert owners.owner((5, 6), "", "root") == (5, 0)
    assert owners.owner((5, 6), "root", "0") == (0, 0)


@pytest.mark.parametrize(
    "name", ["no-such-user-here", "4294967295", "99999999999999999999", "-1", "a\0b", "root\n", " root"]
)
@pytest.mark.parametrize("kind", ["user", "group"])
def test_a_user_or_group_that_the_host_does_not_know_is_refused(kind: str, name: str) -> None:
    with pytest.raises(DeliveryError, match=f"this host has no {kind}") as caught:
        owners.owner((5, 6), name if kind == "user" else "", name if kind == "group" else "")
    assert caught.value.message.isprintable()
