"""What a check says: a finding with its repair, or that it could not be made."""

import os
import shlex
from typing import NamedTuple

from tskeyvault import names
from tskeyvault.errors import CheckError


class Finding(NamedTuple):
    """Something that is not as it should be."""

    check: str
    """The name of the check, which stays as it is."""
    thing: str
    """A path, a unit, a secret; made safe to be shown."""
    message: str
    """What is wrong with it."""
    repair: str
    """The exact command where there is one; otherwise what to do."""


class NotCheckedError(CheckError):
    """A check cannot be made here, for a reason that is no fault of the host."""


LONGEST = 1000
"""Characters of a thing, a message and a path in it."""


def shown(text: str) -> str:
    """Return a path, or another name, safe to print; where it is to be found must not be cut off."""
    return names.shown(text, LONGEST)


def command(words: str, path: str, inode: int) -> str:
    """Return the shell command *words* for *path*, which may have any name: one that cannot be typed is found by number."""
    if _is_plain(path):
        return f"{words} {shlex.quote(path)}"
    above = path
    while not _is_plain(above):
        above = os.path.dirname(above)
    return f"find {shlex.quote(above)} -xdev -inum {inode} -exec {words} {{}} +"


def _is_plain(path: str) -> bool:
    return path.isprintable() and not names.holds_key(path)
