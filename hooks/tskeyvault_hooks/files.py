"""The files that the hooks keep in git's directory: written whole or not at all, and never through a link."""

import os
import stat

from tskeyvault_hooks.faults import ScanError

NEW = ".vault-new"
"""Suffix of what is being written."""
_MOST = 64 << 20


def write(path: str, data: bytes, mode: int) -> None:
    """Write the file *path*: all of it, or it stays as it is. What a link there leads to is not touched.

    Raises ScanError.
    """
    if _has(path, data, mode):
        return
    try:
        remove(path + NEW)  # of one that was killed, or a link that would lead us elsewhere
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(path + NEW, flags, mode), "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + NEW, path)
    except OSError as error:
        raise failed(error) from None


def _has(path: str, data: bytes, mode: int) -> bool:
    try:
        found = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(found) and stat.S_IMODE(found) == mode and read(path) == data


def remove(path: str) -> None:
    """Remove the file *path* where it is there. Raises ScanError."""
    try:
        if os.path.lexists(path):
            os.unlink(path)
    except OSError as error:
        raise failed(error) from None


def read(path: str) -> bytes:
    """Return what is in the file *path*, at most 64 MiB, or nothing when it is none, a link, or cannot be read."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(_MOST) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except OSError:
        return b""


def make_folder(path: str, like: str) -> None:
    """Make the directory *path*, for whom the directory *like* is.

    So several users share what is ours where git shares the repository (``core.sharedRepository``).
    Raises ScanError, also where *path* is a link.
    """
    if os.path.islink(path):
        raise ScanError(f"'{path}' is a link", "remove it: what is ours is not written elsewhere")
    try:
        if not os.path.isdir(path):
            os.mkdir(path)
            os.chmod(path, stat.S_IMODE(os.stat(like).st_mode))
    except OSError as error:
        raise failed(error) from None


def remove_folder(path: str) -> None:
    """Remove the directory *path* when it is empty."""
    if os.path.isdir(path) and not os.path.islink(path) and not os.listdir(path):
        os.rmdir(path)


def entries(path: str) -> "list[str]":
    """Return the names of what is in the directory *path*, sorted, or of nothing."""
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def failed(error: OSError) -> ScanError:
    """Return *error* as one that says which file and why."""
    name = os.fspath(error.filename or "").removesuffix(NEW)
    return ScanError(f"'{name}' cannot be changed: {os.strerror(error.errno or 0).lower()}")
