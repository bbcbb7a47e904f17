"""The host and the clone that are looked at, and how programs on it are asked."""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tskeyvault import git, systemd, unitfiles
from tskeyvault.errors import PluginError
from tskeyvault.unitfiles import Unit
from tskeyvault.vault import Vault

from .finding import NotCheckedError

KEY_FOLDERS = ("/etc/tailscale-keys", "/var/lib/tailscale-keys")
"""Where the methods that this program replaces keep keys in plain text."""


@dataclass(frozen=True)
class Host:
    """What the checks look at."""

    root: str
    """Where the host's file system begins: ``/``, but for tests."""
    environ: Mapping[str, str]
    identity: str
    """``--identity``"""
    program: str
    """This program, for commands to be run: quoted."""
    found: Vault | None
    why_not: str
    """Why there is no vault, or ``""``."""

    def path(self, path: str) -> str:
        """Return where the absolute *path* of the host is."""
        return os.path.join(self.root, path.lstrip("/"))

    @property
    def vault(self) -> Vault:
        """The vault. Raises NotCheckedError where there is none."""
        if self.found is None:
            raise NotCheckedError(self.why_not)
        return self.found

    @property
    def vault_command(self) -> str:
        """This program with the vault, for commands to be run."""
        return f"{self.program} --vault {shlex.quote(self.vault.directory)}"

    @cached_property
    def work_tree(self) -> str:
        """The top of the git work tree of the vault, or ``""``. Raises NotCheckedError where git refuses to say."""
        try:
            return git.work_tree(self.vault.directory)
        except PluginError as error:
            raise NotCheckedError(error.message) from None

    @cached_property
    def units(self) -> list[Unit]:
        """The services of the host, as their files say."""
        return unitfiles.services(self.root)

    @cached_property
    def sockets(self) -> list[Unit]:
        """The socket units of the host, as their files say."""
        return unitfiles.sockets(self.root)

    @cached_property
    def services(self) -> list[dict[str, str]]:
        """What systemd says of each service that it has loaded. Raises NotCheckedError where it does not run."""
        wanted = "--property=Id,ActiveState,RuntimeDirectory,InactiveExitTimestampMonotonic,ConditionTimestampMonotonic"
        return list(_blocks(self.ask(["systemctl", "show", "*.service", wanted])))

    def ask(self, argv: Sequence[str]) -> str:
        """Return what systemd's program *argv* says. Raises NotCheckedError when systemd does not run, or says no."""
        if not os.path.isdir(self.path("/run/systemd/system")):
            raise NotCheckedError("systemd does not run here")
        try:
            done = systemd.run(*argv)
        except PluginError as error:
            raise NotCheckedError(error.message) from None
        if done is None or done.status:
            raise NotCheckedError(f"{argv[0]} failed")
        return done.output


def _blocks(text: str) -> Iterator[dict[str, str]]:
    for block in text.strip().split("\n\n"):
        yield dict(line.partition("=")[::2] for line in block.splitlines())
