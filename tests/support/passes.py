"""A store of the real pass, and people who use it and ``vault`` turn about."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support import gpg, needs
from support.gpg import Person
from support.team import Team, team
from support.tried import Tried, files
from support.vaults import Result, run_vault

SECONDS = 60


@dataclass(frozen=True)
class Store(Tried):
    """A pass store as *who* sees it."""

    directory: Path
    who: Person

    @property
    def environment(self) -> dict[str, str]:
        """What pass and vault are told by variables."""
        return {"PASSWORD_STORE_DIR": str(self.directory), "GNUPGHOME": str(self.who.home)}

    def run_pass(self, *arguments: str, input: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:  # noqa: A002 - the name that subprocess.run has
        """Run pass, which has to succeed; return what it says."""
        done = subprocess.run(
            ["pass", *arguments],
            input=input,
            capture_output=True,
            env={**os.environ, "LC_ALL": "C.UTF-8", **self.environment, **(env or {})},
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    def vault(
        self,
        *arguments: str | Path,
        input: bytes = b"",  # noqa: A002 - the name that subprocess.run has
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run ``vault`` away from any vault."""
        return run_vault(
            *arguments, input=input, env={**self.environment, **(env or {})}, cwd=self.directory.parent
        )

    def state(self) -> dict[str, bytes]:
        """Return all files of the store."""
        return files(self.directory)

    def log(self) -> list[str]:
        """Return the messages of all commits, the last one first; nothing is left uncommitted."""
        assert self.git("status", "--porcelain") == ""
        return self.git("log", "--format=%s").splitlines()

    def git(self, *arguments: str) -> str:
        """Run git in the store."""
        argv = ["git", "-C", str(self.directory), *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def readers(self, name: str) -> int:
        """Return how many keys an entry is encrypted to."""
        path = self.directory / f"{name}.gpg"
        listed = gpg.run(self.who.home, "--list-only", "--list-packets", path, check=False)
        return listed.count(b":pubkey enc packet:")


def made(directory: Path, who: Person, *ids: str) -> Store:
    """Make a store with git by the real pass, for *ids* or *who* alone, and approve it."""
    store = Store(directory, who)
    store.run_pass("init", *(ids or (who.fingerprint,)))
    store.run_pass("git", "init", "--quiet")
    store.done("recipients", "ack", "--plugin", "pass", "--yes")
    return store


@contextmanager
def acquainted() -> Iterator[Team]:
    """Give a team in which Alice has all public keys in her keyring, as pass wants them, and trusts them."""
    needs.program("gpg", "pass", "tree", "git")
    with team() as found:
        for other in (found.bob, found.mallory):
            gpg.run(found.alice.home, "--import", input=other.public)
            gpg.run(found.alice.home, "--import-ownertrust", input=f"{other.fingerprint}:6:\n".encode())
        yield found
