"""Tables of TOML that people write and strangers commit: bounded reading, and answers that help."""

import re
import tomllib
from collections.abc import Callable, Mapping
from typing import TypeVar

from . import names
from .errors import ConfigError, VaultError

_MAX_DOTS = 200
"""In one line: tomllib takes time and memory in the square of the parts of a key."""

T = TypeVar("T")
Table = Mapping[str, object]


def load(data: bytes, where: str) -> Table:
    """Return the TOML document *data* read from *where*.

    Raises ConfigError, with the place but without the text.
    """
    if any(line.count(b".") > _MAX_DOTS for line in data.splitlines()):
        raise ConfigError(f"{where}: a line has more than {_MAX_DOTS} dots")
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: not a TOML file in UTF-8") from None
    except (ValueError, RecursionError) as error:
        place = re.search(r"\(at line \d+, column \d+\)|\(at end of document\)", str(error))
        raise ConfigError(f"{where}: broken TOML {place.group() if place else ''}".rstrip()) from None


def known(entries: Table, allowed: tuple[str, ...], where: str) -> None:
    """Refuse keys of *entries* that are not *allowed*, with the nearest one that is.

    Raises ConfigError.
    """
    for key in entries:
        if key not in allowed:
            from difflib import get_close_matches

            near = get_close_matches(key, allowed, n=1)
            hint = f"did you mean '{near[0]}'" if near else f"it may have: {', '.join(allowed)}"
            raise ConfigError(f"{where}: unknown key '{names.shown(key)}'", hint)


def table(value: object, where: str) -> Table:
    """Return *value* when it is a table.

    Raises ConfigError.
    """
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {'is missing' if value is None else 'is not a table'}")
    return value


def text(entries: Table, key: str, where: str) -> str:
    """Return the text under *key*, or ``""`` when there is none.

    Raises ConfigError.
    """
    value = entries.get(key, "")
    if not isinstance(value, str):
        raise ConfigError(f"{where}: {key} is not a text", f'write {key} = "…"')
    return value


def truth(entries: Table, key: str, where: str) -> bool:
    """Return what is under *key*, true or false; False when there is nothing.

    Raises ConfigError.
    """
    value = entries.get(key, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: {key} is neither true nor false")
    return value


def checked(check: Callable[[str], T], value: object, where: str) -> T:
    """Return what *check* makes of the text *value*, with *where* before what it says.

    Raises ConfigError.
    """
    if not isinstance(value, str):
        raise ConfigError(f"{where}: is not a text")
    try:
        return check(value)
    except VaultError as error:
        raise ConfigError(f"{where}: {error.message}", error.hint) from None
