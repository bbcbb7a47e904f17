"""Reading and writing files relative to an open directory, without following a link.

Everything that is hostile (a store from git, a directory under ``/run``) is reached through the
functions here: walk from a trusted directory with :func:`descend`, then :func:`read`,
:func:`stage` and :func:`replace`. Paths are never resolved as a whole.
"""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator

from .errors import DeliveryError, FullError, IntegrityError, NotFoundError, VaultError
from .names import shown

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY = re.compile(r"\.vault-[0-9a-f]{16}", re.ASCII)


@contextlib.contextmanager
def directory(path: str) -> Iterator[int]:
    """Open the trusted directory *path* (links in it are the user's own) and yield its descriptor."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _explained(error, path) from None
    try:
        yield fd
    finally:
        os.close(fd)


def descend(fd: int, parts: list[str], *, create: bool = False, mode: int = 0o755) -> int:
    """Return a new descriptor of the directory *parts* below *fd*; no part may be a link.

    What is made has *mode*.

    Raises NotFoundError when it is not there and *create* is not set, IntegrityError for a link.
    """
    here = os.dup(fd)
    for part in parts:
        try:
            below = _enter(here, part, create=create, mode=mode)
        except OSError as error:
            raise _explained(error, "/".join(parts)) from None
        finally:
            os.close(here)
        here = below
    return here


def _enter(fd: int, part: str, *, create: bool, mode: int) -> int:
    try:
        return os.open(part, _DIRECTORY, dir_fd=fd)
    except FileNotFoundError:
        if not create:
            raise
    with contextlib.suppress(FileExistsError):
        os.mkdir(part, mode, dir_fd=fd)
    return os.open(part, _DIRECTORY, dir_fd=fd)


def read(fd: int, name: str, limit: int) -> bytes:
    """Return the content of the regular file *name* in the directory *fd*, at most *limit* bytes.

    Raises NotFoundError, and IntegrityError for a link, a device, a pipe or a file above *limit*.
    """
    try:
        file = os.open(name, _READ, dir_fd=fd)
    except OSError as error:
        raise _explained(error, name) from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise IntegrityError(f"'{shown(name)}' is not a regular file")
        return read_all(file, limit, f"'{shown(name)}'")
    finally:
        os.close(file)


def read_all(fd: int, limit: int, what: str) -> bytes:
    """Return everything that *fd* gives; more than *limit* bytes is an IntegrityError about *what*."""
    pieces, size = [], 0
    while piece := os.read(fd, min(1 << 20, limit + 1 - size)):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise IntegrityError(f"{what} is larger than {limit} bytes")
    return b"".join(pieces)


def refuse_directory(fd: int, name: str) -> None:
    """Raise DeliveryError when *name* in the directory *fd* is a directory, over which no file can be put."""
    if is_directory(fd, name):
        raise DeliveryError(f"'{shown(name)}' is a directory")


def is_directory(fd: int, name: str) -> bool:
    """Tell whether *name* in the directory *fd* is a directory, and no link to one."""
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def exists(fd: int, name: str) -> bool:
    """Tell whether anything at all is called *name* in the directory *fd*."""
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def stage(
    fd: int, data: bytes, *, mode: int = 0o644, owner: tuple[int, int] | None = None, synced: bool = True
) -> str:
    """Write *data* as a new and finished file in the directory *fd*; return its temporary name.

    It is on the disk when this returns, unless *synced* is not set: then :func:`sync_all` is to follow.

    At no instant does the file have a bit that is not in *mode*, and it gets *owner* (uid, gid)
    before it gets bits beyond its owner's. On failure nothing is left.
    """
    name = f".vault-{os.urandom(8).hex()}"
    try:
        file = os.open(name, _NEW, 0o600 & mode, dir_fd=fd)
    except OSError as error:
        raise _explained(error, "a temporary file") from None
    try:
        with open(file, "wb", buffering=0, closefd=True):
            with contextlib.suppress(
                OSError
            ):  # which a default ACL of the directory's owner may have given it
                os.removexattr(file, "system.posix_acl_access")
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            if owner is not None:
                os.fchown(file, *owner)
            os.fchmod(file, mode)
            if synced:
                os.fsync(file)
    except BaseException as error:
        discard(fd, name)
        if isinstance(error, OSError):
            raise _explained(error, "a temporary file") from None
        raise
    return name


def stage_directory(fd: int) -> tuple[str, int]:
    """Make a directory of ours that only we can enter in the directory *fd*; return its temporary name and descriptor.

    Raises IntegrityError when whoever owns *fd* has put another one in its place.
    """
    name = f".vault-{os.urandom(8).hex()}"
    try:
        os.mkdir(name, 0o700, dir_fd=fd)
    except OSError as error:
        raise _explained(error, "a temporary directory") from None
    made = descend(fd, [name])
    info = os.fstat(made)
    if (stat.S_IMODE(info.st_mode) & 0o777, info.st_uid) != (0o700, os.geteuid()) or os.listdir(made):
        os.close(made)
        raise IntegrityError("a temporary directory was exchanged")
    for attribute in ("system.posix_acl_default", "system.posix_acl_access"):  # which it may have inherited
        with contextlib.suppress(OSError):
            os.removexattr(made, attribute)
    return name, made


def stage_link(fd: int, target: str) -> str:
    """Make a symbolic link to *target* in the directory *fd*; return its temporary name."""
    name = f".vault-{os.urandom(8).hex()}"
    try:
        os.symlink(target, name, dir_fd=fd)
    except OSError as error:
        raise _explained(error, "a temporary link") from None
    return name


def sync_all(fd: int) -> None:
    """Bring everything on the file system of *fd* to the disk: for many files a hundred times faster than one by one.

    Raises DeliveryError.
    """
    import ctypes

    if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
        raise DeliveryError("the file system cannot be synced")


def replace(fd: int, temporary: str, name: str) -> None:
    """Rename the staged file *temporary* over *name* in the directory *fd*."""
    try:
        os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
    except OSError as error:
        raise _explained(error, name) from None


def write(fd: int, name: str, data: bytes, *, mode: int = 0o644) -> None:
    """Write *data* as *name* in the directory *fd*: all of it or the old file, also after a crash."""
    temporary = stage(fd, data, mode=mode)
    try:
        replace(fd, temporary, name)
    except VaultError:
        discard(fd, temporary)
        raise
    sync(fd)


def sync(fd: int) -> None:
    """Make what was renamed in the directory *fd* outlast a crash."""
    try:
        os.fsync(fd)
    except OSError as error:
        raise _explained(error, "the directory") from None


def create(fd: int, name: str, data: bytes, *, mode: int) -> bool:
    """Write *data* as the new file *name*, whole; return False when something is called so already."""
    temporary = stage(fd, data, mode=mode)
    try:
        os.link(temporary, name, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        raise _explained(error, name) from None
    finally:
        discard(fd, temporary)
    sync(fd)
    return True


def remove(fd: int, name: str) -> None:
    """Remove the file *name* from the directory *fd*.

    Raises NotFoundError when it is gone already, DeliveryError when it cannot be removed.
    """
    try:
        os.unlink(name, dir_fd=fd)
    except OSError as error:
        raise _explained(error, name) from None


def discard(fd: int, name: str) -> None:
    """Remove the file *name* from the directory *fd*, if it is there and can be removed."""
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=fd)


def discard_whole(fd: int, name: str) -> None:
    """Remove *name* from the directory *fd*, if it can be: a file, a link, or a directory with the files right in it.

    No link is followed, and a directory that holds directories stays.
    """
    try:
        os.unlink(name, dir_fd=fd)
    except IsADirectoryError:
        pass
    except OSError:
        return
    else:
        return
    with contextlib.suppress(OSError, VaultError):
        inside = descend(fd, [name])
        try:
            for entry in os.listdir(inside):
                discard(inside, entry)
        finally:
            os.close(inside)
        os.rmdir(name, dir_fd=fd)


def is_temporary(name: str) -> bool:
    """Tell whether *name* is one that :func:`stage` gives."""
    return _TEMPORARY.fullmatch(name) is not None


def sweep(fd: int) -> None:
    """Remove what killed runs have left in the directory *fd*. The caller holds its lock."""
    for name in os.listdir(fd):
        if is_temporary(name):
            discard_whole(fd, name)


def _explained(error: OSError, name: str) -> VaultError:
    """Turn *error* about *name* into one of ours, told by its number, never by its text."""
    what = f"'{shown(name)}'"
    if error.errno == errno.ENOENT:
        return NotFoundError(f"{what} is not there")
    if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.EMLINK}:
        return IntegrityError(f"{what} leads through a link or through something that is no directory")
    reason = os.strerror(error.errno or errno.EIO).lower()
    return (FullError if error.errno == errno.ENOSPC else DeliveryError)(f"{what}: {reason}")
