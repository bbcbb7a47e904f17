"""gpg's report on what it did (doc/DETAILS of GnuPG): parsed line by line, believed as a whole or not at all.

It comes on a descriptor of its own. A line is a keyword behind the prefix, at the start of a line;
what a hostile name or user id puts into it can be no line, because gpg escapes line ends.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tskeyvault.errors import PluginError

_PREFIX = b"[GNUPG:] "

_DECRYPTED = (
    "BEGIN_DECRYPTION", "DECRYPTION_INFO", "PLAINTEXT", "DECRYPTION_OKAY", "GOODMDC", "END_DECRYPTION",
)  # fmt: skip
_UNWRAPPED = tuple(step for step in _DECRYPTED if step != "PLAINTEXT")
_ENCRYPTED = ("BEGIN_ENCRYPTION", "END_ENCRYPTION")
_FAILED = frozenset({"BADMDC", "DECRYPTION_FAILED", "FAILURE", "INV_RECP", "NODATA", "NO_RECP", "UNEXPECTED"})


class Line(NamedTuple):
    """One line of a report."""

    keyword: str
    arguments: tuple[str, ...]


def parse(report: bytes) -> tuple[Line, ...]:
    """Return the lines of *report*.

    Raises PluginError for anything that gpg would not have written.
    """
    lines = report.split(b"\n")
    if lines.pop():
        raise PluginError("gpg's report is cut")
    parsed = []
    for line in lines:
        words = line.removeprefix(_PREFIX).decode(errors="replace").split(" ")
        if not line.startswith(_PREFIX) or not words[0]:
            raise PluginError("gpg's report cannot be understood")
        parsed.append(Line(words[0], tuple(words[1:])))
    return tuple(parsed)


def is_decrypted(lines: Sequence[Line]) -> bool:
    """Tell whether *lines* report one message, decrypted whole and protected against changes."""
    return _went(lines, _DECRYPTED)


def is_unwrapped(lines: Sequence[Line]) -> bool:
    """Tell the same where nothing was made of what the message holds."""
    return _went(lines, _UNWRAPPED)


def is_encrypted(lines: Sequence[Line]) -> bool:
    """Tell whether *lines* report one message, encrypted to all that were asked for."""
    return _went(lines, _ENCRYPTED)


def found(lines: Sequence[Line], keyword: str) -> list[tuple[str, ...]]:
    """Return the arguments of every line of *keyword*."""
    return [line.arguments for line in lines if line.keyword == keyword]


def _went(lines: Sequence[Line], steps: Sequence[str]) -> bool:
    """Tell whether *steps* come once each and in this order, and nothing that failed."""
    seen = tuple(line.keyword for line in lines if line.keyword in steps)
    return seen == tuple(steps) and not any(line.keyword in _FAILED for line in lines)
