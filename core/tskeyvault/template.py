"""Templates: a text with plain placeholders, ``${NAME}``, and ``$$`` for a dollar; nothing else is special in it.

There are no conditions, loops, files or programs, and what is put in is not looked at again.
"""

import re
from collections.abc import Collection, Mapping

from . import names
from .errors import ConfigError, DeliveryError

MAX_SIZE = 1 << 16
"""Bytes (UTF-8) of a template."""
MAX_MADE = 16 << 20
"""Bytes of what is made of one."""

_MARK = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)\})?", re.ASCII)


def check(text: str, given: Collection[str]) -> None:
    """Make sure that *text* is a template that uses exactly the names *given*.

    Raises ConfigError for anything else behind a dollar, for a name that is unknown, and for one that is unused.
    """
    if len(text.encode()) > MAX_SIZE:
        raise ConfigError(f"is larger than {MAX_SIZE} bytes")
    used = set()
    for mark in _MARK.finditer(text):
        dollar, name = mark.groups()
        if name:
            used.add(name)
        elif not dollar:
            line = text.count("\n", 0, mark.start()) + 1
            raise ConfigError(f"a lone dollar in line {line}", "${NAME} is a placeholder, $$ is a dollar")
    for name in sorted(used.difference(given)):
        raise ConfigError(
            f"'{names.shown(name)}' has no value", 'values = { NAME = "a/secret" } gives it one'
        )
    for name in sorted(set(given) - used):
        raise ConfigError(f"does not use '{names.shown(name)}'", "${NAME} is where it goes")


def fill(text: str, values: Mapping[str, bytes]) -> bytes:
    """Return the template *text*, which was checked, with each placeholder replaced by its value, once.

    Raises DeliveryError when that would be larger than MAX_MADE bytes.
    """
    pieces: list[bytes] = []
    end = size = 0
    for mark in _MARK.finditer(text):
        dollar, name = mark.groups()
        pieces += text[end : mark.start()].encode(), values[name] if name else dollar.encode()
        end = mark.end()
        size += len(pieces[-1]) + len(pieces[-2])
        if size > MAX_MADE:
            raise DeliveryError(f"what the template makes is larger than {MAX_MADE} bytes")
    return b"".join([*pieces, text[end:].encode()])
