"""``vault import``: from a pass store into a vault and back, whole or not at all."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import needs, passes
from support.passes import Store
from support.team import Team, team
from support.vaults import make_vault


@pytest.fixture(scope="module")
def people() -> Iterator[Team]:
    """Give the team, whose keys are made once."""
    needs.program("gpg", "pass", "tree", "git")
    with team() as found:
        yield found


@pytest.fixture
def store(people: Team, tmp_path: Path) -> Store:
    """Give a store with a folder of two entries, written by pass."""
    found = passes.made(tmp_path / "store", people.alice)
    for name in ("tailscale/one", "tailscale/deep/two"):
        found.run_pass("insert", "-m", name, input=f"{name}\nmore\n".encode())
    return found


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    """Give an age vault."""
    return make_vault(tmp_path / "vault").directory


def last(directory: Path) -> str:
    """Return the message of the last commit."""
    argv = ["git", "-C", str(directory), "log", "-1", "--format=%s"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def test_a_folder_is_copied_and_the_commit_says_from_where(store: Store, vault: Path) -> None:
    before = store.state()
    store.done("--vault", vault, "import", "pass:tailscale/", "age:net/")
    assert store.done("--vault", vault, "show", "net/one").out == b"tailscale/one\nmore\n"
    assert store.done("--vault", vault, "show", "net/deep/two").out == b"tailscale/deep/two\nmore\n"
    assert last(vault) == "Import pass:tailscale/ to age:net/"
    assert store.state() == before


def test_a_folder_is_moved_and_back(store: Store, vault: Path) -> None:
    store.done("--vault", vault, "import", "--move", "pass:tailscale/", "age:tailscale/")
    assert store.done("ls", "pass:").out == b""
    assert store.log()[0] == "Move pass:tailscale/ to age:tailscale/"
    store.done("--vault", vault, "import", "--move", "age:tailscale/one", "pass:new/")
    assert store.run_pass("show", "new/one") == b"tailscale/one\nmore\n"
    assert store.done("--vault", vault, "ls").out == b"tailscale/deep/two\n"


def test_nothing_is_done_when_one_of_them_is_there_or_cannot_be_read(store: Store, vault: Path) -> None:
    move = ("--vault", vault, "import", "--move", "pass:tailscale/", "age:tailscale/")
    store.done("--vault", vault, "insert", "tailscale/one", input=b"older")
    store.refused(2, "secret 'age:tailscale/one' exists", *move)
    (store.directory / "tailscale/one.gpg").write_bytes(b"damaged")
    store.refused(5, "not in the form of OpenPGP", *move, "--force")
    assert store.done("--vault", vault, "show", "tailscale/one").out == b"older"
    assert store.done("--vault", vault, "ls").out == b"tailscale/one\n"


def test_both_in_one_place_is_no_import(store: Store, vault: Path) -> None:
    store.refused(2, "vault mv and cp", "--vault", vault, "import", "age:a", "gpg:b")
    store.refused(2, "vault mv and cp", "import", "pass:a", "pass:b")
