"""A directory in memory for plain text that a program has to see as a file; it goes whatever happens."""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping

from . import limits
from .errors import DeliveryError
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


def made(environ: Mapping[str, str], prefix: str) -> str:
    """Make a directory in memory that only we can enter, whose name begins with *prefix*; return its path.

    Raises DeliveryError.
    """
    for base in (environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm", "/run"):  # noqa: S108 - it is made with mode 0700
        if base and os.access(base, os.W_OK):
            path = tempfile.mkdtemp(prefix=prefix, dir=os.path.realpath(base))
            try:
                with place.opened(path, allow_disk=False):
                    return path
            except DeliveryError:
                os.rmdir(path)
    raise DeliveryError(
        "there is no tmpfs to keep plain text on", "XDG_RUNTIME_DIR, /dev/shm or /run has to be one"
    )


def _guard(reader: int, path: str) -> None:
    """In the child: wait until our parent closes the pipe, then remove *path* unless told to keep it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.setsid()
        if not os.read(reader, 1):
            shutil.rmtree(path, ignore_errors=True)
    os._exit(0)
