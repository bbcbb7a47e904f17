"""A plain file that keys are imported from: read through no link, and shredded when that was asked for."""

import contextlib
import os
import stat
from collections.abc import Iterator

from . import files
from .errors import IntegrityError, UsageError
from .names import shown

_CHANGE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class PlainFile:
    """A file that was read, and can be shredded as long as it is still the same; use :func:`opened`."""

    def __init__(self, path: str, directory: int, limit: int):
        self.path = path
        self._directory = directory
        self._name = os.path.basename(path)
        self.content = files.read(directory, self._name, limit)
        self._limit = limit

    def refuse_shredding(self) -> None:
        """Raise what :meth:`shred` would raise, as far as that can be known."""
        os.close(self._for_writing())

    def shred(self) -> None:
        """Overwrite the file and remove it.

        Raises UsageError for one that has several names, IntegrityError for one that was changed
        since it was read, or replaced by a link; then nothing was done to it.
        """
        file = self._for_writing()
        try:
            self._refuse_another(file)
            if files.read_all(file, self._limit, f"'{shown(self.path)}'") != self.content:
                raise IntegrityError(f"'{shown(self.path)}' was changed meanwhile", "it was left as it is")
            _overwrite(file)
            self._refuse_another(file)
        finally:
            os.close(file)
        files.remove(self._directory, self._name)
        files.sync(self._directory)

    def _refuse_another(self, file: int) -> None:
        """Raise IntegrityError when it is not *file* any more that has our name."""
        try:
            there = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except OSError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(file)):
            raise IntegrityError(f"'{shown(self.path)}' was replaced meanwhile", "what is there now was left")

    def _for_writing(self) -> int:
        try:
            file = os.open(self._name, _CHANGE, dir_fd=self._directory)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise UsageError(f"'{shown(self.path)}' cannot be shredded: {reason}") from None
        info = os.fstat(file)
        reasons = {
            "is not a regular file": not stat.S_ISREG(info.st_mode),
            f"has {info.st_nlink} names, and the others would lose it too": info.st_nlink != 1,
            "lies where we may remove nothing": not os.access(".", os.W_OK | os.X_OK, dir_fd=self._directory),
        }
        if reason := next((text for text, holds in reasons.items() if holds), ""):
            os.close(file)
            raise UsageError(f"'{shown(self.path)}' {reason}", "without --shred-source it is only read")
        return file


@contextlib.contextmanager
def opened(path: str, limit: int) -> Iterator[PlainFile]:
    """Open the regular file *path*, of at most *limit* bytes, walking from ``/`` through no link.

    Raises NotFoundError, IntegrityError, DeliveryError.
    """
    path = os.path.abspath(path)
    try:
        with files.directory("/") as root:
            directory = files.descend(root, [part for part in os.path.dirname(path).split("/") if part])
    except IntegrityError as error:
        raise IntegrityError(error.message, f"name where it really is: realpath {shown(path)}") from None
    try:
        yield PlainFile(path, directory, limit)
    finally:
        os.close(directory)


def _overwrite(file: int) -> None:
    """Write random bytes over all of *file*, and bring them to the disk."""
    os.lseek(file, 0, os.SEEK_SET)
    left = os.fstat(file).st_size
    while left > 0:
        left -= os.write(file, os.urandom(min(left, 1 << 16)))
    os.fsync(file)
