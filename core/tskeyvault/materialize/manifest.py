"""Manifests: what a service gets and where, in JSON written by the host's administrator, or by Nix for them.

A manifest says what a service's table in ``vault.toml`` says, and the directory besides: that is for
the host alone to choose, so none is taken from the repository that the vault lies in. It holds no
secret, and everybody may read it.
"""

import json
import os

from tskeyvault import local, names, services, toml
from tskeyvault.errors import ConfigError
from tskeyvault.toml import Table

from .service import Order

MAX_SIZE = 1 << 20
"""Bytes of a manifest."""

_KEYS = ("service", "directory", "files", "units", "reload")


def read(path: str) -> Order:
    """Return the order that the file *path* holds; only its owner, we or root, may be able to change it.

    No part of *path* may be a link: one that was committed could lead anywhere. Raises NotFoundError,
    IntegrityError when the file is too large, and ConfigError.
    """
    if (real := os.path.realpath(path)) != os.path.abspath(path):
        raise ConfigError(
            f"the path of manifest '{names.shown(path)}' holds a link",
            f"name the file itself: {names.shown(real)}",
        )
    return parse(local.read_private(path, MAX_SIZE), f"manifest '{names.shown(path)}'")


def parse(data: bytes, where: str) -> Order:
    """Return the order that *data*, JSON in UTF-8 read from *where*, holds.

    ::

        {"service": "web", "directory": "/run/web",
         "files": {"tskey": {"secret": "tailscale/key", "mode": "0400"}}}

    A file has the keys that it may have in ``vault.toml``, and so have ``units`` and ``reload``. Raises ConfigError for anything else.
    """
    entries = toml.table(_json(data, where), where)
    toml.known(entries, _KEYS, where)
    service = toml.checked(
        lambda it: names.component(it, "service"), entries.get("service"), f"{where} service"
    )
    directory = toml.checked(_directory, entries.get("directory"), f"{where} directory")
    files = toml.table(entries.get("files"), f"{where} files")
    if not files:
        raise ConfigError(f"{where}: has no files")
    return Order(
        service,
        directory,
        files=tuple(_file(name, value, where) for name, value in files.items()),
        units=services.units(service, entries, where),
        reload=toml.truth(entries, "reload", where),
    )


def refuse_committed(path: str, vault: str) -> None:
    """Refuse a manifest *path* in the work tree, or without one the directory, of the *vault*.

    Whoever may commit there could choose where root writes. Raises ConfigError.
    """
    top, place = _work_tree(os.path.realpath(vault)), os.path.realpath(path)
    if os.path.commonpath([top, place]) == top:
        raise ConfigError(
            f"manifest '{names.shown(path)}' lies in the vault's repository, which cannot choose where root writes",
            "keep it outside, like in /etc/tskeyvault",
        )


def _json(data: bytes, where: str) -> object:
    try:
        return json.loads(data.decode(), object_pairs_hook=lambda pairs: _once(pairs, where))
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: not JSON in UTF-8") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: broken JSON (at line {error.lineno}, column {error.colno})") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, thousands of brackets
        raise ConfigError(f"{where}: broken JSON") from None


def _once(pairs: list[tuple[str, object]], where: str) -> Table:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ConfigError(f"{where}: has a key twice in one object")
    return entries


def _directory(text: str) -> str:
    if (
        not text.startswith("/")
        or not text.isprintable()
        or any(part in {".", ".."} for part in text.split("/"))
    ):
        raise ConfigError("not an absolute path without dots", "like /run/web")
    return text


def _file(name: str, value: object, where: str) -> services.File:
    if "/" in name:
        raise ConfigError(
            f"{where}: file '{names.shown(name)}' is a path", "all files of a manifest lie in its directory"
        )
    where = f"{where} files.{names.shown(name)}"
    return services.file_of(name, toml.table(value, where), where)


def _work_tree(directory: str) -> str:
    """Return the nearest directory from *directory* upwards that is the top of a git work tree, or itself."""
    top = directory
    while not os.path.lexists(os.path.join(top, ".git")):
        if top == (top := os.path.dirname(top)):
            return directory
    return top
