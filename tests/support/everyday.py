"""What tests of commands do all the time, in the vault where the test stands."""

import subprocess
from pathlib import Path

from support.vaults import run_vault


def git(*arguments: str | Path, cwd: Path | None = None) -> str:
    """Return what git prints."""
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True, cwd=cwd).stdout


def commits() -> int:
    """Return how many commits there are."""
    return int(git("rev-list", "--count", "HEAD"))


def committed(cwd: Path | None = None) -> list[str]:
    """Return the paths that the last commit touched, sorted."""
    listed = git("show", "--name-only", "--no-renames", "--format=", "-z", "HEAD", cwd=cwd)
    return sorted(listed.split("\0")[:-1])


def put(name: str, value: bytes = b"a value", *options: str) -> None:
    """Insert *value*."""
    done = run_vault("insert", name, *options, input=value)
    assert done.code == 0, done.err


def keygen(path: Path) -> str:
    """Make an identity at *path*; return its recipient."""
    done = run_vault("keygen", "-o", path)
    assert done.code == 0, done.err
    return done.out.decode().strip()
