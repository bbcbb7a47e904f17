"""Bringing the files of a service under ``/etc``: what would change, and then all of it."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from tskeyvault import files
from tskeyvault.errors import IntegrityError, NotFoundError, UsageError
from tskeyvault.names import shown

from .text import Piece

_MAX = 1 << 20
_LONGEST = 300
_OURS = "# vault unit "
"""How the first line of every file of ours begins."""


class Change(NamedTuple):
    """One file that is not as it should be."""

    path: str
    """Absolute, as seen from the root that is installed to."""
    before: str | None
    """None where there is no such file."""
    after: str | None
    """None where there shall be none."""

    @property
    def diff(self) -> list[str]:
        """The lines of a unified diff."""
        from difflib import unified_diff

        old, new = ((text or "").splitlines() for text in (self.before, self.after))
        a, b = (self.path if text is not None else "/dev/null" for text in (self.before, self.after))
        return list(unified_diff(old, new, a, b, lineterm=""))


def changes(root: str, wanted: Sequence[Piece], mark: str, directory: str) -> list[Change]:
    """Return what has to change below *root* so that of all files with the first line *mark* those *wanted* are there.

    *directory* is where such files lie, itself or in directories ``*.d`` in it.
    Raises UsageError where somebody else's file is in the way, IntegrityError for a link.
    """
    found: list[Change] = []
    for piece in wanted:
        before = _read(root, piece.path)
        if before is not None and before.split("\n", 1)[0] != mark:
            raise _in_the_way(piece.path, before)
        if before != piece.text:
            found.append(Change(piece.path, before, piece.text))
    paths = {piece.path for piece in wanted}
    found += [Change(it.path, it.text, None) for it in _marked(root, directory, mark) if it.path not in paths]
    return found


def _in_the_way(path: str, before: str) -> UsageError:
    line = before.split("\n", 1)[0]
    if not line.startswith(_OURS):
        return UsageError(
            f"'{path}' is there, and not made by this", "move it away, or merge the two by hand"
        )
    command = shown(line.removeprefix("# "), _LONGEST)
    return UsageError(
        f"'{path}' is there, and made by '{command}'",
        f"{command} --uninstall takes it away; a unit gets the secrets of one service",
    )


def apply(root: str, todo: Sequence[Change]) -> None:
    """Make the changes below *root*: all are written beside their places before the first is in its place.

    Raises VaultError; then nothing has changed, unless a rename itself failed.
    """
    staged: list[tuple[Change, str]] = []
    try:
        for change in todo:
            if change.after is not None:
                with _folder(root, change.path, create=True) as (fd, name):
                    files.refuse_directory(fd, name)
                    staged.append((change, files.stage(fd, change.after.encode())))
        while staged:
            change, temporary = staged[0]
            with _folder(root, change.path) as (fd, name):
                files.replace(fd, temporary, name)
                files.sync(fd)
            staged.pop(0)
    finally:
        for change, temporary in staged:
            with _folder(root, change.path) as (fd, _):
                files.discard(fd, temporary)
    for change in todo:
        if change.after is None:
            with _folder(root, change.path) as (fd, name):
                files.remove(fd, name)


@contextmanager
def _folder(root: str, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
    """Open the directory of *path* below *root*, which no link may lead to; yield its descriptor and the name."""
    *parts, name = path.strip("/").split("/")
    with files.directory(root) as top:
        fd = files.descend(top, parts, create=create)
    try:
        yield fd, name
    finally:
        os.close(fd)


def _read(root: str, path: str) -> str | None:
    try:
        with _folder(root, path) as (fd, name):
            return files.read(fd, name, _MAX).decode(errors="surrogateescape")
    except NotFoundError:
        return None


def _marked(root: str, directory: str, mark: str) -> Iterable[Piece]:
    """Yield the files in *directory*, and in directories in it, whose first line is *mark*."""
    try:
        with _folder(root, f"{directory}/x") as (fd, _):
            entries = sorted(os.listdir(fd))
    except (NotFoundError, IntegrityError):
        return  # a link is somebody's own arrangement
    for entry in entries:
        if entry.endswith(".d"):
            yield from _marked(root, f"{directory}/{entry}", mark)
        elif entry.endswith((".conf", ".container")) and _is_plain(root, path := f"{directory}/{entry}"):
            text = _read(root, path)
            if text is not None and text.split("\n", 1)[0] == mark:
                yield Piece(path, text)


def _is_plain(root: str, path: str) -> bool:
    """Tell whether it may be one of ours: a regular file, and not larger than those are."""
    try:
        info = os.lstat(os.path.join(root, path.strip("/")))
    except OSError:
        return False
    return stat.S_ISREG(info.st_mode) and info.st_size <= _MAX
