"""What stands in files, in folders and in a stream, where git is not asked."""

import os
import stat

from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.scan import Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def stream(scan: Scan, fd: int, place: str) -> None:
    """Scan all that *fd* gives, which is called *place*."""
    scan.pieces(iter(lambda: os.read(fd, 1 << 20), b""), place)


def paths(scan: Scan, given: "Sequence[str]") -> None:
    """Scan files, and all files below folders except git's own; of a link below one its text, as git stores it.

    Raises ScanError for what cannot be read, and for what is *given* and is neither.
    """
    left = [(path, True) for path in reversed(given)]
    while left:
        path, named = left.pop()
        try:
            inner = _path(scan, path, named=named)
        except OSError as error:
            raise ScanError(f"'{scan.shown(path)}': {os.strerror(error.errno or 0).lower()}") from None
        left += [(os.path.join(path, name), False) for name in sorted(inner, reverse=True) if name != ".git"]


def _path(scan: Scan, path: str, *, named: bool) -> "Sequence[str]":
    """Scan *path*, or return what is in it; where it was *named*, a link is followed too."""
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        scan.pieces(iter((os.fsencode(os.readlink(path)),)), "", path)
        if not named or not os.path.exists(path):
            return []
        mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        return os.listdir(path)
    if stat.S_ISREG(mode):
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            scan.pieces(iter(lambda: os.read(fd, 1 << 20), b""), "", path)
        finally:
            os.close(fd)
    elif named:
        raise ScanError(
            f"'{scan.shown(path)}' is neither a file nor a folder", "vault scan --stdin reads a pipe"
        )
    return []
