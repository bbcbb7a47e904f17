"""What ``vault hooks`` does in other work trees, for all repositories, after a move, in nested ones, and for several users."""

import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import needs, witness
from support.installing import blocks, vault
from support.repositories import Repository, at
from support.vaults import SOURCES

NOBODY = 65534


# Work trees with settings of their own.


@pytest.mark.parametrize("by", ["uninstall", "a newer git"])
def test_no_work_tree_is_left_leading_to_what_is_gone(
    by: str, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: bytes
) -> None:
    repository.git("config", "extensions.worktreeConfig", "true")
    trees = [repository]
    for name in ("one", "two"):
        repository.git("worktree", "add", "--quiet", str(tmp_path / name))
        trees.append(at(tmp_path / name))
    for tree in trees[:2]:
        tree.git("config", "--worktree", "core.hooksPath", "scripts")
    repository.git("config", "--file", ".git/worktrees/two/config.worktree", "core.hooksPath", "own/scripts")
    before = witness.everything(repository.directory / ".git")
    for tree in trees:
        vault(tree, "install")
        assert "pre-commit: 1 key found" in blocks(tree, key)
    if by == "uninstall":
        vault(trees[1], "uninstall")
    else:
        monkeypatch.setenv("PATH", str(Path(needs.new_git()).parent), prepend=":")
        vault(repository, "install")
        assert not (repository.directory / ".git/worktrees/one/vault").exists()
    assert [tree.git("config", "core.hooksPath") for tree in trees] == ["scripts", "scripts", "own/scripts"]
    if by == "uninstall":
        assert sorted(witness.everything(repository.directory / ".git")) == sorted(before)
        for tree in trees:
            tree.git("commit", "--quiet", "--allow-empty", "--message", "change")
    else:
        for tree in trees:
            assert blocks(tree, key).count("1 key found") == 1


# For all repositories.


@pytest.mark.parametrize("git", ["older", "newer"])
@pytest.mark.parametrize("config", ["no settings", "some settings"])
def test_uninstall_for_all_leaves_no_trace_anywhere(
    git: str, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: bytes
) -> None:
    if git == "newer":
        monkeypatch.setenv("PATH", str(Path(needs.new_git()).parent), prepend=":")
    home = tmp_path / "a home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@b")
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    if config == "some settings":
        (home / ".gitconfig").write_text("[core]\n\teditor = vi\n")
    repositories = [Repository(home / name) for name in ("one", "line\nbreak", "installed")]
    for each in repositories:
        each.commit("first")
    vault(repositories[2], "install")
    repositories[2].commit("second")
    before = witness.everything(home)
    vault(repositories[0], "install", "--global")
    for each in repositories:
        each.commit("clean")
        assert "pre-commit: 1 key found" in blocks(each, key)
        (each.directory / "clean").unlink()
    deeper = at(home / "one/deeper")
    deeper.directory.mkdir()
    deeper.commit("file")
    repositories[0].git("worktree", "add", "--quiet", str(home / "linked"))
    at(home / "linked").commit("file")
    repositories[0].git("worktree", "remove", str(home / "linked"))
    shutil.rmtree(deeper.directory)
    repositories[1].git("config", "core.editor", "vi")
    repositories[1].git("config", "--unset", "core.editor")
    vault(repositories[0], "uninstall", "--global")
    after = witness.everything(home)
    ignored = ("/.git/vault/scanned", "/.git/branches")
    assert {path: it for path, it in after.items() if not any(word in path for word in ignored)} == {
        path: it for path, it in before.items() if not any(word in path for word in ignored)
    }
    assert "pre-commit: 1 key found" in blocks(repositories[2], key)


def test_what_was_learned_in_a_repository_outlives_the_hooks_for_all(
    repository: Repository, key: bytes
) -> None:
    vault(repository, "install", "--global")
    blocks(repository, key)
    patterns = repository.directory / ".git/vault/patterns"
    patterns.write_bytes(b"of somebody\n")
    vault(repository, "uninstall", "--global")
    assert patterns.exists()


@pytest.mark.usefixtures("each_git")
def test_a_servers_hook_for_all_guards_every_repository_and_stops_no_commit(
    repository: Repository, tmp_path: Path, key: bytes
) -> None:
    servers = [Repository(tmp_path / name, "--bare") for name in ("one", "another")]
    assert "installed pre-receive\n" in vault(servers[0], "install", "--global", "--server")
    for server in servers:
        repository.git("push", "--quiet", str(server.directory), "main")
    repository.commit("leak", key)
    for server in servers:
        done = repository.attempt("push", str(server.directory), "main")
        assert "remote: vault: pre-receive: 1 key found" in done.err
    vault(repository, "install", "--global")
    assert len(repository.vault("hooks", "status", "--global").out.splitlines()) == 7
    vault(repository, "uninstall", "--global")
    repository.git("push", "--quiet", str(servers[0].directory), "main")


# After a move.


@pytest.mark.parametrize("scope", ["--global", "--worktree"])
@pytest.mark.parametrize("moved", ["renamed", "copied"])
def test_status_says_that_git_still_looks_where_the_repository_was(
    scope: str, moved: str, repository: Repository, tmp_path: Path, key: bytes
) -> None:
    repository.git("config", "extensions.worktreeConfig", "true")
    repository.git("config", scope, "core.hooksPath", str(tmp_path / "scripts"))
    vault(repository, "install")
    was = repository.git("config", "core.hooksPath")
    if moved == "renamed":
        repository.directory.rename(tmp_path / "elsewhere")
    else:
        shutil.copytree(repository.directory, tmp_path / "elsewhere", symlinks=True)
    elsewhere = at(tmp_path / "elsewhere")
    done = elsewhere.vault("hooks", "status")
    assert done.code == 1
    assert (
        f"pre-commit: core.hooksPath leads to '{was}', where they were before the repository was moved"
        in done.err
    )
    vault(elsewhere, "install")
    assert elsewhere.vault("hooks", "status").code == 0
    assert "pre-commit: 1 key found" in blocks(elsewhere, key)
    vault(elsewhere, "uninstall")
    assert elsewhere.git("config", "core.hooksPath") == str(tmp_path / "scripts")


def test_status_looks_at_the_hooks_of_the_repository_behind_those_for_all(repository: Repository) -> None:
    vault(repository, "install", "--global")
    vault(repository, "install")
    hook = repository.directory / ".git/hooks/pre-commit"
    lines = hook.read_text().splitlines(keepends=True)
    hook.write_text("".join("python=/moved\n" if line.startswith("python=") else line for line in lines))
    assert repository.attempt("commit", "--allow-empty", "--message", "change").code != 0
    done = repository.vault("hooks", "status")
    assert done.code == 1
    assert f"pre-commit: '{hook}' runs another interpreter or scanner than this one" in done.err


def test_status_says_that_a_hook_asks_another_repository(repository: Repository, tmp_path: Path) -> None:
    repository.git("config", "--global", "core.hooksPath", str(tmp_path / "scripts"))
    vault(repository, "install")
    other = Repository(tmp_path / "other")
    other.git("config", "core.hooksPath", repository.git("config", "core.hooksPath"))
    done = other.vault("hooks", "status")
    assert done.code == 1
    assert "is of where this repository was, or of another one" in done.err


def test_with_a_newer_git_status_knows_the_hooks_for_all(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(needs.new_git()).parent), prepend=":")
    assert repository.vault("hooks", "status").code == 1
    vault(repository, "install", "--global")
    assert repository.vault("hooks", "status").out.splitlines()[0] == b"pre-commit  by git's configuration"
    repository.git("config", "hook.vault-pre-commit.enabled", "false")
    done = repository.vault("hooks", "status")
    assert done.code == 1
    assert "pre-commit: hook.vault-pre-commit.enabled has switched it off" in done.err


# A bare repository within a work tree.


@pytest.mark.parametrize("git", ["older", "newer"])
def test_a_bare_repository_in_a_work_tree_has_to_be_meant(
    git: str, repository: Repository, monkeypatch: pytest.MonkeyPatch, key: bytes
) -> None:
    if git == "newer":
        monkeypatch.setenv("PATH", str(Path(needs.new_git()).parent), prepend=":")
    server = Repository(repository.directory / "its server.git", "--bare")
    done = server.vault("hooks", "install", "--server")
    assert done.code == 6
    assert f"cannot use bare repository '{server.directory}'" in done.err
    (hint,) = [line.removeprefix("hint: ") for line in done.err.splitlines() if line.startswith("hint: ")]
    assert hint == f"GIT_DIR='{server.directory}' before the command says that you mean this one"
    named = {"GIT_DIR": str(server.directory)}
    done = server.vault("hooks", "install", "--server", env=named)
    assert done.code == 0, done.err
    assert server.vault("hooks", "status", env=named).code == 0
    repository.git("push", "--quiet", str(server.directory), "main")
    repository.add("leak", key)
    repository.slip()
    refused = repository.attempt("push", str(server.directory), "main")
    assert refused.code != 0
    assert "pre-receive: 1 key found" in refused.err


# Several users in one repository.


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """Give a repository that two users share, with hooks whose interpreter and scanner both can read."""
    needs.root()
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        home = folder / "home"
        home.mkdir()
        (home / ".gitconfig").write_text("[safe]\n\tdirectory = *\n[user]\n\tname = a\n\temail = a@b\n")
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
        monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
        repository = Repository(folder / "shared", "--shared=group")
        repository.commit("first")
        vault(repository, "install")
        shutil.copytree(SOURCES / "hooks/tskeyvault_hooks", folder / "tskeyvault_hooks")
        for_everybody(repository.directory / ".git/hooks", folder)
        for path in [repository.directory, *repository.directory.rglob("*")]:
            os.chown(path, -1, NOBODY)
        yield repository
    finally:
        shutil.rmtree(folder)


def for_everybody(hooks: Path, folder: Path) -> None:
    """Let *hooks* run an interpreter and the scanner in *folder*, which all can read."""
    programs = {"python": needs.system_python(), "scanner": str(folder / "tskeyvault_hooks/run.py")}
    for path in hooks.iterdir():
        text = path.read_text()
        for name, there in programs.items():
            text = re.sub(f"^{name}=.*$", f"{name}={there}", text, flags=re.MULTILINE)
        path.write_text(text)


def as_nobody(repository: Repository, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run git as another user of the same group."""
    os.chown(repository.directory, -1, NOBODY)
    repository.directory.chmod(0o2775)
    (repository.directory / ".git/COMMIT_EDITMSG").unlink(missing_ok=True)  # git itself does not share it
    return subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "git", *arguments],
        cwd=repository.directory, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **env},
    )  # fmt: skip


def test_one_users_values_stand_in_nobody_elses_way(shared: Repository, key: bytes) -> None:
    state = shared.directory / ".git/vault"
    for name in (f"own-{os.geteuid()}", f"own-{os.geteuid()}.key"):
        (state / name).write_bytes(b"what nobody else can read")
        (state / name).chmod(0o600)
    (shared.directory / "file").write_bytes(b"clean\n")
    assert as_nobody(shared, "add", "file").returncode == 0
    done = as_nobody(shared, "commit", "--message", "change")
    assert done.returncode == 0, done.stderr
    (shared.directory / "file").write_bytes(key)
    assert as_nobody(shared, "add", "file").returncode == 0
    done = as_nobody(shared, "commit", "--message", "change")
    assert done.returncode == 1
    assert "pre-commit: 1 key found" in done.stderr


@pytest.mark.parametrize("suffix", ["", ".key"])
def test_what_a_user_cannot_read_of_their_own_lets_nothing_pass(shared: Repository, suffix: str) -> None:
    path = shared.directory / f".git/vault/own-{NOBODY}{suffix}"
    path.write_bytes(b"x")
    path.chmod(0o600)
    done = as_nobody(shared, "commit", "--allow-empty", "--message", "change")
    assert done.returncode == 1
    assert f"vault: pre-commit: '.git/vault/{path.name}': permission denied, so nothing passes" in done.stderr
    assert "hint: vault hooks refresh" in done.stderr


def test_what_is_ours_is_for_whom_git_shares_the_repository(shared: Repository) -> None:
    folders = [shared.directory / ".git/vault" / name for name in ("", "hooks", "scanned")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o2775}
    done = as_nobody(shared, "commit", "--allow-empty", "--message", "change")
    assert done.returncode == 0, done.stderr
    assert len(list((shared.directory / ".git/vault/scanned").iterdir())) == 1  # it could be marked


@pytest.mark.parametrize("first", ["one", "another"])
def test_users_who_have_hooks_for_all_alone_share_what_these_make(
    first: str, shared: Repository, key: bytes
) -> None:
    vault(shared, "uninstall")
    vault(shared, "install", "--global")
    mine, theirs = Path.home(), shared.directory.with_name("their home")
    for_everybody(mine / ".local/share/tskeyvault/hooks", shared.directory.parent)
    shutil.copytree(mine, theirs)
    for path in [theirs, *theirs.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    config = theirs / ".gitconfig"
    config.write_text(config.read_text().replace(str(mine), str(theirs)))
    env = {"HOME": str(theirs), "XDG_CONFIG_HOME": str(theirs / ".config")}

    def commit(name: str, data: bytes) -> str:
        (shared.directory / "file").write_bytes(data)
        for path in (shared.directory / ".git").rglob("*"):
            os.chown(path, -1, NOBODY)
        if name == "one":
            shared.git("add", "file")
            return shared.attempt("commit", "--quiet", "--message", "change").err
        assert as_nobody(shared, "add", "file", **env).returncode == 0
        return as_nobody(shared, "commit", "--quiet", "--message", "change", **env).stderr

    both = [first, *{"one", "another"} - {first}]
    assert [commit(name, f"clean, of {name}\n".encode()) for name in both] == ["", ""]
    assert stat.S_IMODE((shared.directory / ".git/vault").stat().st_mode) == 0o2775
    said = [commit(name, key) for name in reversed(both)]
    assert all("pre-commit: 1 key found" in it for it in said)
    assert len({*re.findall(r"fingerprint (\w+)", "".join(said))}) == 1
    for name in both:
        assert commit(name, key + f" vault:allow sample of {name}\n".encode()) == ""


def test_short_words_matter_as_long_as_one_users_values_have_such(repository: Repository) -> None:
    vault(repository, "install")
    (repository.directory / ".git/vault/slow-own-1").touch()
    (repository.directory / ".git/hooks/commit-msg").write_text(
        (repository.directory / ".git/hooks/commit-msg").read_text().replace("scanner=", "scanner=/nowhere")
    )
    done = repository.attempt("commit", "--allow-empty", "--message", "short words")
    assert "commit-msg: the scanner" in done.err
