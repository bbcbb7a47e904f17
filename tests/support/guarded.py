"""Git repositories of tests in which ``vault hooks install`` has put the hooks."""

import functools
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from support import needs
from support.repositories import Done, Repository

EVENTS = ("pre-commit", "pre-merge-commit", "prepare-commit-msg", "commit-msg", "pre-applypatch", "pre-push")
_WITHOUT = (
    *("-c", f"core.hooksPath={os.devnull}"),
    *(word for event in EVENTS for word in ("-c", f"hook.vault-{event}.enabled=false")),
)
"""Options for git, of any version, that switch the hooks off."""


class Guarded(Repository):
    """A repository with the hooks, and with a first commit unless it is bare or *empty*."""

    def __init__(self, directory: Path, *options: str, empty: bool = False):
        """Make it in *directory*, with *options* of ``git init``."""
        super().__init__(directory, *options)
        bare = "--bare" in options
        if not bare and not empty:
            self.commit("README")
        done = self.vault("hooks", "install", *(["--server"] if bare else []))
        assert done.code == 0, done.err

    def refuses(
        self, *arguments: str | Path, key: bytes, data: bytes = b"", env: Mapping[str, str] | None = None
    ) -> str:
        """Run git, which has to fail, move no ref and say no key; return what it said."""
        refs = self.refs()
        done = self.attempt(*arguments, data=data, env=env)
        assert done.code != 0, f"git {arguments} passed: {done.err}"
        assert self.refs() == refs
        assert_silent(done, key)
        assert "so nothing passes" in done.err
        return done.err

    def lets_by(self, *arguments: str | Path, data: bytes = b"", env: Mapping[str, str] | None = None) -> str:
        """Run git as it would run without the hooks."""
        return self.git(*_WITHOUT, *arguments, data=data, env=env)

    def leak(self, name: str, data: bytes) -> str:
        """Commit *data* as the file *name* although it may hold a key; return the commit's id."""
        self.add(name, data)
        self.lets_by("commit", "--quiet", "--message", f"change {len(data)}")
        return self.git("rev-parse", "HEAD")

    def hook(self, event: str) -> Path:
        """Return the file of the hook for *event*."""
        by_configuration = self.directory / ".git/vault/hooks" / event
        return by_configuration if by_configuration.exists() else self.directory / ".git/hooks" / event

    def refs(self) -> str:
        """Return all refs and what they are, without what an operation in progress keeps in such."""
        return self.git("for-each-ref", "refs/heads", "refs/tags", "refs/notes", "refs/remotes")

    def marks(self) -> list[str]:
        """Return the processes of git for which the hooks know an index without a key."""
        folder = self.directory / ".git/vault/scanned"
        return sorted(path.name for path in folder.glob("*") if not path.name.endswith(".new"))

    def staged(self) -> str:
        """Return what is in the index."""
        return self.git("ls-files", "--stage", "-z")


def guarded(directory: Path) -> Guarded:
    """Return a new repository in *directory*, which pytest made for one test, with hooks and a first commit."""
    return _copy(_template(directory.parents[1], _is_told()), directory, ".git/config")


def guarded_server(directory: Path) -> Guarded:
    """Return a new bare repository in *directory*, which pytest made for one test, with hooks."""
    return _copy(_template(directory.parents[1], _is_told(), "--bare"), directory, "config")


def _copy(template: Path, directory: Path, name: str) -> Guarded:
    shutil.copytree(template, directory, symlinks=True)
    config = directory / name
    config.write_text(config.read_text().replace(str(template), str(directory)))
    return found(directory)


def found(directory: Path) -> Guarded:
    """Return the repository with hooks that is in *directory* already."""
    repository = Guarded.__new__(Guarded)
    repository.directory, repository._git = directory, "git"
    return repository


def _is_told() -> bool:
    """Tell whether the git on PATH is told of hooks by its configuration."""
    return needs.is_new_git(shutil.which("git") or "git")


@functools.cache
def _template(base: Path, told: bool, *options: str) -> Path:
    return Guarded(base / "-".join(["told" if told else "guarded", *options]), *options).directory


def assert_silent(done: Done, key: bytes) -> None:
    """Check that nothing that was said has *key*, or its secret part."""
    said = done.out + done.err.encode()
    assert not any(part in said for part in (key, key.rpartition(b"-")[2])), "a key was printed"
