"""A directory in memory for what a program has to see as a file; it goes whatever happens."""

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping

from . import limits
from .errors import DeliveryError, NotFoundError
from .materialize import place

_KEEP = b"k"


class Scratch:
    """The open directory; see :func:`opened`."""

    def __init__(self, path: str, guard: int):
        self.path = path
        """Absolute path, mode 0700, on tmpfs or ramfs."""
        self._guard = guard

    def keep(self) -> None:
        """Leave the directory where it is: it holds the only copy of something."""
        os.write(self._guard, _KEEP)


@contextlib.contextmanager
def opened(environ: Mapping[str, str]) -> Iterator[Scratch]:
    """Make a directory in memory, and remove it at the end, also when this process is killed.

    A child process waits for our end: a pipe tells it, so that even SIGKILL leaves nothing.

    Raises DeliveryError when there is no tmpfs that we can write.
    """
    with limits.uninterrupted():  # or nobody would remove it; and the child keeps these signals blocked
        path = made(environ, "vault-edit-")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writer)
            _guard(reader, path)
    os.close(reader)
    try:
        yield Scratch(path, writer)
    finally:
        os.close(writer)
        os.waitpid(child, 0)


class Held:
    """A directory in memory, removed by :meth:`close`, or after our end by whoever makes the next one."""

    def __init__(self, environ: Mapping[str, str], prefix: str):
        """Make one whose name begins with *prefix*, and remove those of processes that were killed.

        Raises DeliveryError.
        """
        self._lock = -1
        while self._lock < 0:
            with contextlib.suppress(NotFoundError):  # another one swept it away before we held it
                self.path = made(environ, prefix)
                """Absolute path, mode 0700, on tmpfs or ramfs."""
                self._lock = _locked(self.path)
        _sweep(os.path.dirname(self.path), prefix)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def made(environ: Mapping[str, str], prefix: str) -> str:
    """Make a directory in memory that only we can enter, whose name begins with *prefix*; return its path.

    Raises DeliveryError.
    """
    full = ""
    for base in (environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm", "/run"):  # noqa: S108 - it is made with mode 0700
        if base and os.access(base, os.W_OK):
            try:
                path = tempfile.mkdtemp(prefix=prefix, dir=os.path.realpath(base))
            except OSError:
                full = full or base
                continue
            try:
                with place.opened(path, allow_disk=False):
                    return path
            except DeliveryError:
                os.rmdir(path)
    if full:
        raise DeliveryError(f"no directory can be made in '{full}'", f"is it full? df -i {full}")
    raise DeliveryError(
        "there is no tmpfs to keep plain text on", "XDG_RUNTIME_DIR, /dev/shm or /run has to be one"
    )


def _locked(path: str) -> int:
    """Return a descriptor that locks the directory *path*, or -1 when somebody holds or has removed it."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), os.lstat(path)):
                return fd
        os.close(fd)
    return -1


def _sweep(base: str, prefix: str) -> None:
    """Remove those of our directories in *base* that nobody holds any more."""
    for name in os.listdir(base):
        path = os.path.join(base, name)
        if name.startswith(prefix) and (fd := _locked(path)) >= 0:
            if os.fstat(fd).st_uid == os.geteuid():
                shutil.rmtree(path, ignore_errors=True)
            os.close(fd)


def _guard(reader: int, path: str) -> None:
    """In the child: wait until our parent closes the pipe, then remove *path* unless told to keep it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.setsid()
        if not os.read(reader, 1):
            shutil.rmtree(path, ignore_errors=True)
    os._exit(0)
