"""``vault.toml``, the committed configuration: what it may say, and how it is read.

It comes from git and is treated as hostile. Nothing in it can name a program, a path outside the
service's directory, or code: not the directory that is written to either, because a file in the
right directory is code (``/run/systemd/system``).
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from . import names
from .errors import ConfigError, NotFoundError, VaultError
from .names import Reference

FILE = "vault.toml"
MAX_SIZE = 1 << 20
"""Bytes of a vault.toml."""
_MAX_DOTS = 200
"""In one line: tomllib takes time and memory in the square of the parts of a key."""
FORMATS = ("raw", "line", "env", "json")

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MODE = re.compile(r"0?[0-7]{3}", re.ASCII)

T = TypeVar("T")
Table = Mapping[str, object]


class File(NamedTuple):
    """One file of a service: what goes into it and how it lies there."""

    name: str
    secret: Reference | None
    """The one secret in it (formats raw and line), or None."""
    values: tuple[tuple[str, Reference], ...]
    """Variable and secret, in order (formats env and json), or nothing."""
    format: str
    mode: int
    owner: str
    """A user's name or number; ``""`` is the owner of the directory."""
    group: str
    """A group's name or number; ``""`` is the group of the directory, or the owner's own."""

    @property
    def references(self) -> tuple[Reference, ...]:
        """All secrets in it."""
        return (self.secret,) if self.secret else tuple(reference for _, reference in self.values)


class Settings(NamedTuple):
    """What ``vault.toml`` says."""

    id: str
    """32 hexadecimal digits; binds every ciphertext to this vault."""
    backend: str
    """The plugin for new secrets."""
    services: Mapping[str, tuple[File, ...]]

    def service(self, name: str) -> tuple[File, ...]:
        """Return the files of the service *name*.

        Raises NotFoundError.
        """
        names.component(name, "service")
        if name not in self.services:
            known = ", ".join(sorted(self.services)) or "none"
            raise NotFoundError(f"service '{name}' is not in {FILE}", f"it has: {names.shown(known)}")
        return self.services[name]


def parse(data: bytes) -> Settings:
    """Return the Settings that *data*, a vault.toml in UTF-8, holds.

    Raises ConfigError for anything that is not exactly as documented.
    """
    document = load_toml(data, FILE)
    known(document, ("vault", "services"), FILE)
    vault = table(document.get("vault"), "[vault]")
    known(vault, ("format", "id", "backend"), "[vault]")
    number = vault.get("format")
    if type(number) is not int or number != 1:
        raise ConfigError(f"{FILE}: format is not 1", "a newer version of this program may read it")
    identifier = vault.get("id")
    if not isinstance(identifier, str) or not _ID.fullmatch(identifier):
        raise ConfigError(f"{FILE}: id is not 32 hexadecimal digits", "it is written once, by vault init")
    backend = _checked(names.plugin, vault.get("backend", "age"), "[vault] backend")
    services = table(document.get("services", {}), "[services]")
    return Settings(identifier, backend, {name: _service(name, value) for name, value in services.items()})


def load_toml(data: bytes, where: str) -> Table:
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


def mode(text: str) -> int:
    """Return the permission bits that *text*, three octal digits after an optional 0, stands for.

    Raises ConfigError, also for bits that let everybody in or make the file executable.
    """
    if not _MODE.fullmatch(text):
        raise ConfigError("the mode is not three octal digits", "like 0400 or 0440")
    bits = int(text, 8)
    if bits & 0o007:
        raise ConfigError(f"mode '{text}' would open the secret to every user", "like 0400 or 0440")
    if bits & 0o111 or not bits & 0o444:
        raise ConfigError(f"mode '{text}' makes no sense for a secret", "like 0400 or 0440")
    return bits


def file_of(name: str, entries: Table, where: str) -> File:
    """Return the File that a table of the configuration describes.

    Raises ConfigError.
    """
    known(entries, ("secret", "values", "format", "mode", "owner", "group"), where)
    text = {key: _text(entries, key, where) for key in ("format", "mode", "owner", "group")}
    values = table(entries.get("values", {}), f"{where} values")
    form = text["format"] or "raw"
    if form not in FORMATS:
        raise ConfigError(f"{where}: format is not one of {', '.join(FORMATS)}")
    if ("secret" in entries) == bool(values) or bool(values) != (form in {"env", "json"}):
        raise ConfigError(f"{where}: formats raw and line take 'secret', env and json take 'values'")
    return File(
        name=_checked(lambda it: names.component(it, "file"), name, where),
        secret=_checked(names.reference, entries["secret"], f"{where} secret") if "secret" in entries else None,
        values=tuple((_checked(names.variable, key, where), _checked(names.reference, value, where)) for key, value in values.items()),
        format=form,
        mode=_checked(mode, text["mode"] or "0400", where),
        owner=text["owner"],
        group=text["group"],
    )  # fmt: skip


def _service(name: str, value: object) -> tuple[File, ...]:
    where = f"[services.{names.shown(name)}]"
    _checked(lambda it: names.component(it, "service"), name, where)
    entries = table(value, where)
    known(entries, ("files",), where)
    files = table(entries.get("files"), f"{where} files")
    if not files:
        raise ConfigError(f"{where}: has no files")
    return tuple(
        file_of(key, table(entry, f"{where} files.{names.shown(key)}"), f"{where} files.{names.shown(key)}")
        for key, entry in files.items()
    )


def _text(entries: Table, key: str, where: str) -> str:
    value = entries.get(key, "")
    if not isinstance(value, str):
        raise ConfigError(f"{where}: {key} is not a text", f'write {key} = "…"')
    return value


def _checked(check: Callable[[str], T], value: object, where: str) -> T:
    if not isinstance(value, str):
        raise ConfigError(f"{where}: is not a text")
    try:
        return check(value)
    except VaultError as error:
        raise ConfigError(f"{where}: {error.message}", error.hint) from None
