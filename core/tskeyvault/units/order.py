"""What is asked for: the command that a unit runs to have its secrets delivered, and which units are to run it."""

from collections.abc import Iterable
from typing import NamedTuple

from tskeyvault.credentials import table
from tskeyvault.errors import UsageError
from tskeyvault.services import Service

SECONDS = 60
"""What materialize allows itself by default."""
_MARGIN = 30
"""Seconds after that, in which materialize says what took so long before systemd ends it."""


class Delivery(NamedTuple):
    """How a service's secrets are delivered on this host; all paths are absolute."""

    program: tuple[str, ...]
    vault: str
    identity: str
    """A file, or ``""``."""
    service: str
    timeout: int
    """Seconds."""

    @property
    def longest(self) -> int:
        """Seconds that a service manager must allow for it."""
        return self.timeout + _MARGIN

    def materialize(self, directory: str = "") -> list[str]:
        """Return the words of the command that delivers, to *directory* or to the unit's runtime directory."""
        words = [*self.program, "--vault", self.vault]
        words += ["--identity", self.identity] if self.identity else []
        words += ["materialize", self.service]
        words += ["--timeout", str(self.timeout)] if self.timeout != SECONDS else []
        return words + (["--directory", directory] if directory else [])

    def clean(self, directory: str = "") -> list[str]:
        """Return the words of the command that removes what was delivered there; it needs no vault."""
        words = [*self.program, "materialize", self.service, "--clean"]
        return words + (["--directory", directory] if directory else [])


def units_of(name: str, service: Service, given: Iterable[str]) -> list[str]:
    """Return the units to write for: those *given* on this host, or those that ``vault.toml`` lists for the service *name*.

    A commit alone chooses none: one that is called otherwise than the service has to be given.
    Raises UsageError, also for a unit that would be refused the credentials.
    """
    own = f"{name}.service"
    units = list(dict.fromkeys(given))
    if not units:
        units = list(service.units) or [own]
        if foreign := [it for it in units if table.template(it) not in {own, f"{name}@.service"}]:
            raise UsageError(
                f"vault.toml names units that are not called like service '{name}': {', '.join(foreign)}",
                f"where they are meant: {' '.join(f'--unit {it}' for it in units)}",
            )
    for unit in units if service.credentials else ():
        if not {unit, table.template(unit)} & set(service.units):
            raise UsageError(
                f"unit '{unit}' would be refused the credentials: vault.toml gives them to {', '.join(service.units)}",
                f'units = ["{unit}"] names it there',
            )
    return units
