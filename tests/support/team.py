"""A team with gpg keys and the vault that they share, by the real command line and the real gpg."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from support import gpg
from support.gpg import Person
from support.tried import Tried, files
from support.vaults import Result, run_vault


class Team(NamedTuple):
    """Three people and a folder for homes of gpg; Alice makes the vaults."""

    folder: Path
    alice: Person
    bob: Person
    mallory: Person


@contextmanager
def team() -> Iterator[Team]:
    """Give a team whose keys are new."""
    with gpg.homes() as folder:
        yield Team(folder, *(gpg.person(folder, name) for name in ("Alice", "Bob", "Mallory")))


@dataclass(frozen=True)
class Shared(Tried):
    """A vault of gpg secrets, as one of the team sees it."""

    directory: Path
    team: Team

    @property
    def secrets(self) -> Path:
        """The tree of secrets, which is a pass store too."""
        return self.directory / "secrets"

    @property
    def keys(self) -> Path:
        """The folder of public keys."""
        return self.secrets / ".public-keys"

    def vault(
        self,
        *arguments: str | Path,
        input: bytes = b"",  # noqa: A002 - the name that subprocess.run has
        who: Person | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run ``vault`` as *who*, by default Alice."""
        home = {"GNUPGHOME": str((who or self.team.alice).home)}
        return run_vault(*arguments, input=input, env={**home, **(env or {})}, cwd=self.directory)

    def put(self, name: str, value: bytes = b"a value") -> None:
        """Write a secret."""
        self.done("insert", name, input=value)

    def add(self, who: Person, *options: str) -> Result:
        """Let *who* read, by their public key in a file."""
        path = self.directory.parent / f"{who.fingerprint}.asc"
        path.write_bytes(who.public)
        return self.done("recipients", "add", path, *options)

    def readers(self, name: str) -> set[str]:
        """Return the ids of the keys that a secret is encrypted to, by gpg itself."""
        listed = gpg.run(
            self.team.mallory.home, "--list-only", "--list-packets", self.secrets / f"{name}.gpg", check=False
        )
        return {
            line.rpartition(b" ")[2].decode()
            for line in listed.splitlines()
            if line.startswith(b":pubkey enc packet:")
        }

    def git(self, *arguments: str) -> str:
        """Run git in the vault."""
        argv = ["git", "-C", str(self.directory), *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def state(self) -> dict[str, bytes]:
        """Return all files of the vault, and the last commit."""
        return files(self.directory) | {"HEAD": self.git("rev-parse", "HEAD").encode()}


def made(team: Team, directory: Path) -> Shared:
    """Make a vault whose only reader is Alice."""
    done = run_vault("init", "--backend", "gpg", directory, env={"GNUPGHOME": str(team.alice.home)})
    assert done.code == 0, done.err
    return Shared(directory, team)


def subkey(who: Person) -> str:
    """Return the id of the newest subkey of *who* for encryption."""
    listed = gpg.run(who.home, "--with-colons", "--list-keys", who.fingerprint).decode().splitlines()
    fields = [line.split(":") for line in listed if line.startswith("sub:")]
    return max((field[5], field[4]) for field in fields if "e" in field[11])[1]
