"""``vault import``: from a pass store into a vault and back, whole or not at all."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import gpg, needs, passes, tracing
from support.passes import Store
from support.team import Team, team
from support.tracing import Run
from support.vaults import PATH, make_vault
from tskeyvault_age import file, x25519

KILLED_AT = {"renameat", "renameat2", "unlinkat"}
"""What we put and remove with, and git does not."""


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


MOVE = ("import", "--move", "pass:tailscale/", "age:tailscale/")
ENTRIES = {name: f"{name}\nmore\n".encode() for name in ("tailscale/one", "tailscale/deep/two")}


def put_before(program: str, when: str, script: str, folder: Path) -> dict[str, str]:
    """Return the environment in which *script* runs before *program* is called with *when* among its arguments."""
    folder.mkdir()
    path = folder / program
    real = shutil.which(program)
    path.write_text(f'#!/bin/sh\ncase "$*" in *"{when}"*) {script} ;; esac\nexec {real} "$@"\n')
    path.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_what_was_changed_while_it_was_copied_stays(store: Store, vault: Path, tmp_path: Path) -> None:
    store.run_pass("insert", "-m", "newer", input=b"newer\n")
    newer = store.directory / "newer.gpg"
    script = f"cp {newer} {store.directory}/tailscale/one.gpg"
    env = put_before("git", " commit ", script, tmp_path / "bin")
    done = store.vault("--vault", vault, *MOVE, env=env)
    assert (done.code, "secret 'tailscale/one' was changed meanwhile" in done.err) == (5, True), done.err
    assert "nothing was removed" in done.err
    assert store.run_pass("show", "tailscale/one") == b"newer\n"
    assert store.run_pass("show", "tailscale/deep/two") == ENTRIES["tailscale/deep/two"]


def test_what_was_copied_already_is_only_removed(store: Store, vault: Path) -> None:
    store.done("--vault", vault, "import", "pass:tailscale/one", "age:tailscale/one")
    before = (vault / "secrets/tailscale/one.age").read_bytes()
    store.done("--vault", vault, *MOVE)
    assert (vault / "secrets/tailscale/one.age").read_bytes() == before
    assert store.done("ls", "pass:").out == b""


def test_a_move_that_is_killed_loses_nothing_and_can_be_done_again(
    store: Store, vault: Path, tmp_path: Path
) -> None:
    needs.program("strace")
    trees = (store.directory, vault, Path(os.environ["HOME"]))
    for tree in trees:
        shutil.copytree(tree, tmp_path / "kept" / tree.name)
    environment = {**os.environ, **store.environment, "PYTHONPATH": PATH}
    arguments = ["--vault", str(vault), *MOVE, "--no-commit"]

    def run(*inject: str) -> Run:
        """Move all, from the same beginning."""
        for tree in trees:
            shutil.rmtree(tree)
            shutil.copytree(tmp_path / "kept" / tree.name, tree)
        return tracing.run(tmp_path / "trace", environment, arguments, *inject)

    whole = run()
    assert (whole.code, moved(vault)) == (0, ENTRIES), whole.err
    calls = [call for call in whole.calls if call.name in KILLED_AT]
    assert len(calls) > 8
    for call in calls[::2]:
        killed = run(f"{call.name}:signal=KILL:when={call.when}")
        assert killed.code == -9, call
        assert kept(store) | moved(vault) == ENTRIES, call
        again = store.vault(*arguments)
        assert again.code == 0 or (again.code, "finished what was cut off" in again.err) == (3, True), (
            again.err
        )
        assert (kept(store), moved(vault)) == ({}, ENTRIES), call


def kept(store: Store) -> dict[str, bytes]:
    """Return what can be read of the store, by gpg itself."""
    paths = {name: store.directory / f"{name}.gpg" for name in ENTRIES}
    return {name: gpg.run(store.who.home, "--decrypt", path) for name, path in paths.items() if path.exists()}


def moved(vault: Path) -> dict[str, bytes]:
    """Return what can be read of the vault."""
    lines = (Path(os.environ["XDG_CONFIG_HOME"]) / "tskeyvault/identities").read_text().splitlines()
    identity = x25519.X25519Identity.parse(next(line for line in lines if line.startswith("AGE-")))
    paths = {name: vault / f"secrets/{name}.age" for name in ENTRIES}
    return {
        name: file.decrypt(path.read_bytes(), [identity]) for name, path in paths.items() if path.exists()
    }
