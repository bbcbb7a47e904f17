"""``vault.toml``, the committed configuration, as a whole; what a service may say is in :mod:`.services`.

It comes from git and is treated as hostile. Nothing in it can name a program, a path outside the
service's directory, or code: not the directory that is written to either, because a file in the
right directory is code (``/run/systemd/system``).
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from . import names, services, toml
from .errors import ConfigError, NotFoundError
from .services import Service

FILE = "vault.toml"
MAX_SIZE = 1 << 20
"""Bytes of a vault.toml."""

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Settings(NamedTuple):
    """What ``vault.toml`` says."""

    id: str
    """32 hexadecimal digits; binds every ciphertext to this vault."""
    backend: str
    """The plugin for new secrets."""
    services: Mapping[str, Service]

    def service(self, name: str) -> Service:
        """Return the service *name*.

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
    document = toml.load(data, FILE)
    toml.known(document, ("vault", "services"), FILE)
    vault = toml.table(document.get("vault"), "[vault]")
    toml.known(vault, ("format", "id", "backend"), "[vault]")
    number = vault.get("format")
    if type(number) is not int or number != 1:
        raise ConfigError(f"{FILE}: format is not 1", "a newer version of this program may read it")
    identifier = vault.get("id")
    if not isinstance(identifier, str) or not _ID.fullmatch(identifier):
        raise ConfigError(f"{FILE}: id is not 32 hexadecimal digits", "it is written once, by vault init")
    backend = toml.checked(names.plugin, vault.get("backend", "age"), "[vault] backend")
    tables = toml.table(document.get("services", {}), "[services]")
    return Settings(
        identifier, backend, {name: services.service(name, value) for name, value in tables.items()}
    )
