"""Fixtures for the tests of the hooks: an older git, which knows hooks as files alone, and a newer one."""

import shutil
from pathlib import Path

import pytest

from support import needs
from support.repositories import Repository
from support.vaults import made_key

_OLDER = """\
#!/bin/sh
case $* in version | *" version") echo "git version 2.53.0" ;; *) exec '{}' "$@" ;; esac
"""


@pytest.fixture(autouse=True)
def older_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a git that can be told of hooks by its configuration not say so, since most tests are of files."""
    found = shutil.which("git")
    if found and needs.is_new_git(found):
        folder = tmp_path / "older-git"
        folder.mkdir()
        (folder / "git").write_text(_OLDER.format(found))
        (folder / "git").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")


@pytest.fixture
def newer_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a git on PATH that can be told of hooks by its configuration."""
    monkeypatch.setenv("PATH", str(Path(needs.new_git()).parent), prepend=":")


@pytest.fixture
def key() -> bytes:
    """Give a key that never was one."""
    return made_key()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Give a repository with one commit and without hooks."""
    made = Repository(tmp_path / "repository")
    made.commit("first")
    return made


@pytest.fixture(params=["files", "configuration"])
def each_git(request: pytest.FixtureRequest) -> None:
    """Run a test with an older git, where the hooks are files, and with a newer one that is told of them."""
    if request.param == "configuration":
        request.getfixturevalue("newer_git")
