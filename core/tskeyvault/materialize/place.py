"""The directory that secrets are delivered into: reached without links, and safe from other users."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from tskeyvault import files
from tskeyvault.errors import DeliveryError
from tskeyvault.names import shown

_MOUNTS = "/proc/self/mountinfo"
_MAX_MOUNTS = 8 << 20
_IN_MEMORY = {"tmpfs", "ramfs"}
_OTHERS_WRITE = 0o022


@contextmanager
def opened(path: str, *, allow_disk: bool) -> Iterator[int]:
    """Open the absolute directory *path* and yield its descriptor.

    It is walked to from ``/``, one component at a time, following no link. Every component must
    belong to root, to us or to the directory's own owner, and nobody else may write it; a sticky
    directory (``/dev/shm``) may be shared when what we enter in it is root's or ours.

    Raises NotFoundError when it is not there, IntegrityError for a link in the path, DeliveryError
    when others may write there, or when it is not on tmpfs or ramfs and *allow_disk* is not set.
    """
    parts = [part for part in path.split("/") if part]
    if not path.startswith("/") or any(part in {".", ".."} for part in parts):
        raise DeliveryError(f"'{shown(path)}' is not an absolute path without dots")
    chain = [os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
    try:
        for part in parts:
            chain.append(files.descend(chain[-1], [part]))
        _check([os.fstat(fd) for fd in chain], parts, path)
        if not (allow_disk or _in_memory(chain[-1])):
            raise DeliveryError(
                f"'{shown(path)}' is not on tmpfs or ramfs: the key would reach a disk",
                "use a directory under /run, or --allow-disk when you mean it",
            )
        yield chain[-1]
    finally:
        for fd in chain:
            os.close(fd)


def _check(chain: list[os.stat_result], parts: list[str], path: str) -> None:
    trusted = {0, os.geteuid()}
    last = chain[-1]
    if os.geteuid() != 0 and last.st_uid not in trusted:
        raise DeliveryError(f"'{shown(path)}' belongs to another user")
    for depth, info in enumerate(chain):
        where = f"'{shown('/' + '/'.join(parts[:depth]))}'"
        if info.st_uid not in trusted | {last.st_uid}:
            raise DeliveryError(f"{where} belongs to a user who could exchange what lies in it")
        if info.st_mode & _OTHERS_WRITE:
            shared = bool(info.st_mode & stat.S_ISVTX) and depth + 1 < len(chain)
            if not (shared and chain[depth + 1].st_uid in trusted):
                raise DeliveryError(f"{where} can be written by others", f"chmod go-w {where}")


def _in_memory(fd: int) -> bool:
    device = os.fstat(fd).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        proc = os.open(_MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise DeliveryError(f"'{_MOUNTS}' cannot be read, so the file system is unknown") from None
    try:
        text = files.read_all(proc, _MAX_MOUNTS, f"'{_MOUNTS}'").decode(errors="replace")
    finally:
        os.close(proc)
    # proc(5): ID parent major:minor root mount-point options [optional …] - type source options
    mounts = (line.split(" - ", 1) for line in text.splitlines() if " - " in line)
    return any(left.split()[2] == wanted and right.split()[0] in _IN_MEMORY for left, right in mounts)


def owner(directory: int) -> int:
    """Return whose the open *directory* is: a user's number."""
    return os.fstat(directory).st_uid
