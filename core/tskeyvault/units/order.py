"""The command that a unit runs to have its secrets delivered."""

from typing import NamedTuple

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
