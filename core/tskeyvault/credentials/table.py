"""Which unit may have which credentials: ``credentials`` of a service in ``vault.toml``, and who is meant by it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tskeyvault import names, toml
from tskeyvault.errors import ConfigError, NotFoundError
from tskeyvault.names import Reference

if TYPE_CHECKING:
    from tskeyvault.config import Settings

ENCRYPTED = "/run/vault/encrypted.sock"
"""Where units ask for them by ``LoadCredentialEncrypted=``: ``ListenStream=`` of the socket in docs/systemd.md."""
SOCKET = "/run/vault/credentials.sock"
"""Where units ask by ``LoadCredential=``, which cannot tell a whole answer from a part of one."""
SERVED = f"credentials come from {ENCRYPTED}: docs/systemd.md has the units that serve it, once for each host"
"""What to say to whoever has been shown lines that ask there."""

_MAX = 100
"""Credentials of one service."""


def credentials(value: object, where: str) -> tuple[tuple[str, Reference], ...]:
    """Return ID and secret of all that *value*, a table of ``vault.toml``, lists.

    Raises ConfigError.
    """
    where = f"{where} credentials"
    entries = toml.table(value, where)
    if len(entries) > _MAX:
        raise ConfigError(f"{where}: more than {_MAX}")
    return tuple(
        (toml.checked(names.credential, key, where), toml.checked(names.reference, text, where))
        for key, text in entries.items()
    )


def of_unit(unit: str, settings: "Settings") -> Mapping[str, Reference]:
    """Return ID and secret of all credentials that *unit*, a unit or an instance, may have.

    Raises NotFoundError when there are none, ConfigError when two services give it two by the same ID.
    """
    meant = {unit, template(unit)}
    found: dict[str, Reference] = {}
    for service in settings.services.values():
        for key, reference in service.credentials if meant.intersection(service.units) else ():
            if found.setdefault(key, reference) != reference:
                raise ConfigError(f"two services give {unit} different secrets as credential '{key}'")
    if not found:
        raise NotFoundError(f"vault.toml gives {unit} no credentials", "see 'units' and 'credentials' there")
    return found


def template(unit: str) -> str:
    """Return the template that *unit* is an instance of (``x@y.service`` of ``x@.service``), else *unit*."""
    stem, at, _instance = unit.removesuffix(".service").partition("@")
    return f"{stem}@.service" if at else unit
