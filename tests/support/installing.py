"""Installs and takes away hooks as a user does, and tries whether they stop a key."""

from support.guarded import assert_silent
from support.repositories import Repository


def vault(repository: Repository, verb: str, *options: str) -> str:
    """Run ``vault hooks`` with *verb*, which has to succeed; return what it said."""
    done = repository.vault("hooks", verb, *options)
    assert done.code == 0, done.err
    return done.err


def install(repository: Repository, *options: str) -> str:
    """Install the hooks; return what was said."""
    return vault(repository, "install", *options)


def uninstall(repository: Repository, *options: str) -> str:
    """Take the hooks away; return what was said."""
    return vault(repository, "uninstall", *options)


def blocks(repository: Repository, key: bytes, *arguments: str) -> str:
    """Stage *key* and commit it, with *arguments*, which has to fail; return what was said."""
    repository.add("leak", b"key = " + key + b"\n")
    done = repository.attempt("commit", "--message", "change", *arguments)
    assert done.code != 0
    assert_silent(done, key)
    repository.git("rm", "--quiet", "--force", "leak")
    return done.err
