"""The hooks run by pre-commit and by prek, from this repository and without the network."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import witness
from support.guarded import assert_silent
from support.repositories import Done, Repository
from support.vaults import SOURCES

EVENTS = ("pre-commit", "pre-merge-commit", "commit-msg", "pre-push")
IDS = ("vault-scan", "vault-scan-message", "vault-scan-push")
TOOLS = ("pre-commit", "prek")


class Framed(Repository):
    """A repository with the hooks of a tool, whose configuration names this one, and a branch on a remote."""

    tool = ""
    configuration = ""

    def run_tool(self, *arguments: str) -> Done:
        """Run the tool."""
        done = subprocess.run(
            [Path(sys.executable).with_name(self.tool), *arguments],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def install(self) -> None:
        """Let the tool put its hooks in place."""
        done = self.run_tool("install", *(f"--hook-type={event}" for event in EVENTS))
        assert done.code == 0, done.err

    def refuses(self, key: bytes, *arguments: str) -> str:
        """Run git, which has to fail; return what was said."""
        done = self.attempt(*arguments)
        assert done.code != 0
        assert_silent(done, key)
        said = done.out.decode() + done.err
        assert "so nothing passes" in said
        return said

    def leak(self, name: str, data: bytes) -> None:
        """Commit without any hook."""
        self.add(name, data)
        self.git("-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--message", "change")


@pytest.fixture(scope="session")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Give path and commit of a repository with what this one has for such tools."""
    directory = tmp_path_factory.mktemp("this one") / "tskeyvault"
    shutil.copytree(SOURCES / "hooks", directory / "hooks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SOURCES / ".pre-commit-hooks.yaml", directory)
    commands: list[list[str]] = [
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "hooks"],
    ]
    for command in commands:
        subprocess.run(["git", *command], cwd=directory, check=True)
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=directory, text=True)
    return str(directory), commit.strip()


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of what the tools fetch and keep: each does so once."""
    return tmp_path_factory.mktemp("homes of the tools")


@pytest.fixture(params=TOOLS)
def repository(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    hooks: tuple[str, str],
    homes: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Framed:
    """Give a repository of each tool, with a commit that the remote ``origin`` has."""
    for name in ("PRE_COMMIT_HOME", "PREK_HOME"):
        monkeypatch.setenv(name, str(homes / name))
    made = Framed(tmp_path / "repository")
    made.tool = request.param
    ids = "".join(f"  - id: {name}\n" for name in IDS)
    made.configuration = f"repos:\n- repo: '{hooks[0]}'\n  rev: {hooks[1]}\n  hooks:\n{ids}"
    made.commit(".pre-commit-config.yaml", made.configuration.encode())
    Repository(tmp_path / "origin", "--bare")
    made.git("remote", "add", "origin", str(tmp_path / "origin"))
    made.git("push", "--quiet", "--set-upstream", "origin", "main")
    made.install()
    return made


def test_a_commit_with_a_key_is_stopped_and_a_clean_one_is_not(repository: Framed, key: bytes) -> None:
    repository.commit("clean")
    repository.add("leak", key)
    assert "  leak:1: Tailscale key" in repository.refuses(key, "commit", "--message", "change")
    assert "  leak:1: Tailscale key" in repository.refuses(key, "commit", "--message", "change", "leak")
    repository.add("leak")
    said = repository.refuses(key, "commit", "--message", f"it is {key.decode()}")
    assert "vault: commit-msg: 1 key found" in said


def test_what_is_not_staged_is_not_looked_at(repository: Framed, key: bytes) -> None:
    repository.commit("file")
    repository.write("file", key)
    repository.commit("another")
    assert (repository.directory / "file").read_bytes() == key
    repository.add("file", key)
    repository.write("file")
    repository.refuses(key, "commit", "--message", "change")


def test_a_merge_with_a_key_is_stopped(repository: Framed, key: bytes) -> None:
    repository.git("checkout", "--quiet", "-b", "side")
    repository.leak("leak", key)
    repository.git("checkout", "--quiet", "main")
    repository.commit("another")
    assert "pre-commit: 1 key found" in repository.refuses(key, "merge", "--no-edit", "side")


def test_a_push_with_a_key_is_stopped_wherever_it_is(repository: Framed, key: bytes) -> None:
    repository.commit("clean")
    repository.git("push", "--quiet", "origin", "main")
    repository.leak("leak", key)
    repository.leak("leak", b"gone\n")
    said = repository.refuses(key, "push", "origin", "main")
    assert "vault: pre-push: 1 key found" in said
    repository.git("branch", "leak")
    repository.git("reset", "--quiet", "--hard", "HEAD~2")
    repository.commit("clean too")
    # Of several refs the tools tell only the first.
    repository.refuses(key, "push", "origin", "main", "leak")
    repository.git("branch", "--quiet", "-D", "leak")
    repository.git("push", "--quiet", "origin", "main", "main:other")
    repository.git("push", "--quiet", "origin", ":other")


def test_what_another_remote_has_is_new_to_this_one(repository: Framed, tmp_path: Path, key: bytes) -> None:
    Repository(tmp_path / "other", "--bare")
    repository.git("remote", "add", "origin/other", str(tmp_path / "other"))
    repository.leak("leak", key)
    repository.leak("leak", b"gone\n")
    repository.git("push", "--quiet", "--no-verify", "origin/other", "main")
    repository.refuses(key, "push", "origin", "main")


def test_the_first_push_of_all_is_looked_at_whole(repository: Framed, tmp_path: Path, key: bytes) -> None:
    repository.leak("leak", key)
    repository.leak("leak", b"gone\n")
    empty = Repository(tmp_path / "empty", "--bare")
    repository.git("remote", "add", "empty", str(empty.directory))
    repository.refuses(key, "push", "empty", "main")
    repository.refuses(key, "push", str(empty.directory), "main")
    assert empty.git("for-each-ref") == ""


def test_a_run_by_hand_looks_at_all_files(repository: Framed, key: bytes) -> None:
    assert repository.run_tool("run", "--all-files").code == 0
    repository.leak("leak", key)
    for arguments in (["--all-files"], ["--from-ref", "HEAD~1", "--to-ref", "HEAD"]):
        done = repository.run_tool("run", *arguments)
        assert done.code == 1
        assert b"  leak:1: Tailscale key" in done.out
        assert_silent(done, key)
    repository.leak("leak", b"gone\n")
    assert repository.run_tool("run", "--all-files").code == 0
    done = repository.run_tool("run", "--from-ref", "HEAD~2", "--to-ref", "HEAD")
    assert done.code == 1
    assert b"Tailscale key" in done.out


def test_a_filter_of_files_takes_nothing_away(repository: Framed, key: bytes) -> None:
    filtered = f"files: ^only/\nexclude: .\n{repository.configuration}"
    repository.commit(".pre-commit-config.yaml", filtered.encode())
    repository.add("leak", key)
    repository.refuses(key, "commit", "--message", "change")
    repository.add("leak")
    said = repository.refuses(key, "commit", "--message", f"it is {key.decode()}")
    assert "vault: commit-msg: 1 key found" in said


def test_without_a_python_nothing_passes(tmp_path: Path) -> None:
    entry = SOURCES / "hooks/tskeyvault_hooks/framework.sh"
    (tmp_path / "bin").mkdir()
    for text in (None, "exit 1"):
        if text:
            (tmp_path / "bin/python3").write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / "bin/python3").chmod(0o755)
        done = subprocess.run(
            ["/bin/sh", entry, "pre-commit"],
            env={"PATH": str(tmp_path / "bin")},
            cwd=tmp_path,
            check=False,
            capture_output=True,
        )
        assert done.returncode != 0


@pytest.mark.parametrize("event", ["pre-commit", "commit-msg", "pre-push"])
def test_outside_a_repository_nothing_passes(event: str, tmp_path: Path) -> None:
    entry = SOURCES / "hooks/tskeyvault_hooks/framework.sh"
    done = subprocess.run([entry, event], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 10
    assert done.stderr.startswith(f"vault: {event}: ")
    assert "so nothing passes" in done.stderr


@pytest.mark.parametrize("first", ["tool", "tool, and again", "vault"])
def test_the_tool_and_our_own_hooks_get_along(repository: Framed, key: bytes, first: str) -> None:
    folder = repository.directory / ".git/hooks"
    if first == "vault":
        assert repository.run_tool("uninstall", *(f"--hook-type={event}" for event in EVENTS)).code == 0
        witness.put(folder / "pre-commit", repository.directory / "log")
    assert repository.vault("hooks", "install").code == 0
    if first == "tool, and again":
        repository.install()  # which runs ours now, and says of itself within them that it is a bug
        repository.git("commit", "--quiet", "--allow-empty", "--message", "change")
        repository.add("leak", key)
        assert "vault: pre-commit: " in repository.refuses(key, "commit", "--message", "change")
        repository.git("rm", "--quiet", "--force", "leak")
        assert repository.vault("hooks", "install").code == 0
    if first == "vault":
        repository.install()
        status = repository.vault("hooks", "status")
        assert status.code == 1
        assert "pre-commit' is not ours: another program has put its own there" in status.err
        both = repository.attempt("commit", "--allow-empty", "--message", "change")
        assert both.code == 0, both.err
        repository.add("leak", key)
        assert "vault: pre-commit: " in repository.refuses(key, "commit", "--message", "change")
        repository.git("rm", "--quiet", "--force", "leak")
        (repository.directory / "log").unlink()
        assert repository.vault("hooks", "install").code == 0
    assert repository.vault("hooks", "status").code == 0
    repository.git("commit", "--quiet", "--allow-empty", "--message", "change")
    if first == "vault":
        assert len(witness.runs(repository.directory / "log")) == 1
    repository.git("push", "--quiet", "origin", "main")
    assert repository.vault("hooks", "uninstall").code == 0
    assert "Tailscale" not in (folder / "pre-commit").read_text()
    assert repository.tool in (folder / "pre-commit").read_text()
    assert not folder.with_name("hooks.pre-vault").exists()
    repository.git("commit", "--quiet", "--allow-empty", "--message", "change")
