"""Git repositories of tests, with the real git, and keys to plant in them."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from support.vaults import Result, run_vault

SECONDS = 120


class Done(NamedTuple):
    """How a run of git ended."""

    code: int
    out: bytes
    err: str


def at(directory: Path) -> "Repository":
    """Return the repository, or the work tree, that is in *directory* already."""
    found = Repository.__new__(Repository)
    found.directory, found._git = directory, "git"
    return found


class Repository:
    """A work tree, or a bare repository."""

    def __init__(self, directory: Path, *options: str, git: str = "git"):
        """Make *directory* a repository, with *options* of ``git init`` and that *git*."""
        self.directory = directory
        self._git = git
        directory.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", *options)

    def attempt(
        self, *arguments: str | Path, data: bytes = b"", env: Mapping[str, str] | None = None
    ) -> Done:
        """Run git here, however it ends."""
        done = subprocess.run(
            [self._git, *arguments],
            cwd=self.directory,
            input=data,
            capture_output=True,
            check=False,
            env={**os.environ, **(env or {})},
            timeout=SECONDS,
        )
        return Done(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def git(self, *arguments: str | Path, data: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        """Run git here, which has to succeed; return what it said, without the last line end."""
        done = self.attempt(*arguments, data=data, env=env)
        assert done.code == 0, f"git {arguments}: {done.err}"
        return done.out.decode(errors="surrogateescape").removesuffix("\n")

    def vault(
        self, *arguments: str | Path, data: bytes = b"", env: Mapping[str, str] | None = None
    ) -> Result:
        """Run ``vault`` here."""
        return run_vault(*arguments, input=data, cwd=self.directory, env=env)

    def write(self, name: str, data: bytes = b"something\n") -> Path:
        """Write the file *name* of the work tree."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def add(self, name: str, data: bytes = b"something\n") -> None:
        """Write and stage the file *name*."""
        self.write(name, data)
        self.git("add", "--", name)

    def commit(self, name: str, data: bytes = b"something\n") -> str:
        """Write, stage and commit the file *name*; return the commit's id."""
        self.add(name, data)
        self.git("commit", "--quiet", "--message", f"change {len(data)}")
        return self.git("rev-parse", "HEAD")

    def slip(self) -> str:
        """Commit what is staged past all hooks, as other programs do; return the commit's id."""
        name = self.git("commit-tree", self.git("write-tree"), "-p", "HEAD", "-m", "x")
        self.git("update-ref", "HEAD", name)
        return name
