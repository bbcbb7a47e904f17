"""Hooks that git, from 2.54 on, is told of by its configuration: no file of anybody's is touched."""

import os
from pathlib import Path

import pytest

from support import needs, witness
from support.guarded import EVENTS, assert_silent
from support.installing import install
from support.repositories import Repository, at

pytestmark = pytest.mark.usefixtures("newer_git")


@pytest.fixture
def repository(tmp_path: Path, newer_git: None) -> Repository:  # noqa: ARG001 - it has to be on PATH first
    """Give a repository of the newer git, with one commit and with hooks of its own that ours are not to touch."""
    made = Repository(tmp_path / "repository")
    for event in ("pre-commit", "post-commit", "pre-push"):
        witness.put(made.directory / ".git/hooks" / event, tmp_path / "log")
    made.commit("first")
    (tmp_path / "log").unlink()
    return made


@pytest.fixture
def guarded(repository: Repository) -> Repository:
    """Give the same with our hooks."""
    install(repository)
    return repository


def refuses(repository: Repository, key: bytes, *arguments: str, data: bytes = b"") -> str:
    """Run git, which has to fail and to move no branch; return what it said."""
    refs = repository.git("for-each-ref", "refs/heads")
    done = repository.attempt(*arguments, data=data)
    assert done.code != 0, f"git {arguments} passed"
    assert repository.git("for-each-ref", "refs/heads") == refs
    assert_silent(done, key)
    assert "so nothing passes" in done.err
    return done.err


def leaking(repository: Repository, key: bytes) -> None:
    """Make a branch ``leak`` with a key, as somebody without hooks would, and stay where we are."""
    here = repository.git("symbolic-ref", "--short", "HEAD")
    repository.git("checkout", "--quiet", "-b", "leak")
    repository.add("leak", key)
    off = [word for event in EVENTS for word in ("-c", f"hook.vault-{event}.enabled=false")]
    repository.git(*off, "commit", "--quiet", "--message", "a leak")
    repository.git("checkout", "--quiet", here)


def test_the_hooks_stand_in_the_configuration_and_in_no_folder(repository: Repository) -> None:
    git_dir = repository.directory / ".git"
    before = witness.everything(git_dir)
    assert f"vault: installed {', '.join(EVENTS)}\n" in install(repository)
    added = {Path(path).relative_to(git_dir) for path in set(witness.everything(git_dir)) - set(before)}
    assert {path.parts[0] for path in added} == {"vault"}
    assert repository.git("hook", "list", "pre-commit").splitlines()[0] == "vault-pre-commit"
    done = repository.vault("hooks", "status")
    assert (done.code, done.err) == (0, "")
    assert done.out.decode().splitlines() == [f"{event}  by git's configuration" for event in EVENTS]
    again = witness.everything(git_dir)
    install(repository)
    assert witness.everything(git_dir) == again
    assert repository.vault("hooks", "uninstall").code == 0
    assert witness.everything(git_dir) == before


@pytest.mark.parametrize("folder", ["", ".husky/_", "/dev/null"])
def test_a_key_is_stopped_wherever_git_looks_for_hooks(
    folder: str, guarded: Repository, tmp_path: Path, key: bytes
) -> None:
    if folder:
        guarded.git("config", "core.hooksPath", folder)
    guarded.add("leak", key)
    assert "pre-commit: 1 key found" in refuses(guarded, key, "commit", "--message", "change")
    said = refuses(guarded, key, "commit", "--no-verify", "--message", "change")
    assert "prepare-commit-msg: 1 key found" in said
    guarded.git("rm", "--quiet", "--force", "leak")
    refuses(guarded, key, "commit", "--allow-empty", "--message", key.decode())
    (tmp_path / "log").unlink(missing_ok=True)
    guarded.git("commit", "--quiet", "--allow-empty", "--message", "clean")
    own = [run[0] for run in witness.runs(tmp_path / "log")]
    assert own == ([] if folder else [["pre-commit"], ["post-commit"]])


@pytest.mark.parametrize(
    "operation",
    [["merge", "--no-ff", "--no-edit", "leak"], ["merge", "--no-ff", "--no-edit", "--no-verify", "leak"],
     ["cherry-pick", "leak"], ["rebase", "--onto", "HEAD", "HEAD", "leak"]],
    ids=" ".join,
)  # fmt: skip
def test_an_operation_that_brings_a_key_is_stopped(
    operation: list[str], guarded: Repository, key: bytes
) -> None:
    leaking(guarded, key)
    guarded.commit("second")
    refuses(guarded, key, *operation)


def test_a_patch_that_brings_a_key_is_stopped(guarded: Repository, key: bytes) -> None:
    leaking(guarded, key)
    patch = os.fsencode(guarded.git("format-patch", "--stdout", "main..leak"))
    assert "pre-applypatch: 1 key found" in refuses(guarded, key, "am", data=patch)


def test_a_push_of_a_key_is_stopped_and_the_other_hook_reads_it_too(
    guarded: Repository, tmp_path: Path, key: bytes
) -> None:
    remote = Repository(tmp_path / "remote", "--bare")
    witness.put(guarded.directory / ".git/hooks/pre-push", tmp_path / "pushes", reads=True)
    guarded.git("push", "--quiet", str(remote.directory), "main")
    head = guarded.git("rev-parse", "HEAD")
    ((words, read),) = witness.runs(tmp_path / "pushes")
    assert words == ["pre-push", str(remote.directory), str(remote.directory)]
    assert read.decode() == f"refs/heads/main {head} refs/heads/main {'0' * 40}\n"
    leaking(guarded, key)
    assert "pre-push: 1 key found" in refuses(guarded, key, "push", str(remote.directory), "main", "leak")
    assert remote.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_a_server_takes_what_is_clean_and_nothing_else(
    repository: Repository, tmp_path: Path, key: bytes
) -> None:
    server = Repository(tmp_path / "server.git", "--bare")
    assert "vault: installed pre-receive\n" in install(server, "--server")
    repository.git("push", "--quiet", str(server.directory), "main")
    leaking(repository, key)
    said = refuses(repository, key, "push", str(server.directory), "leak")
    assert "remote: vault: pre-receive: 1 key found" in said


def test_an_index_that_the_hook_of_the_folder_changes_is_scanned_again(
    guarded: Repository, key: bytes
) -> None:
    hook = guarded.directory / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\ngit add late\n")
    guarded.write("late", key)
    guarded.add("early")
    assert "prepare-commit-msg: 1 key found" in refuses(guarded, key, "commit", "--message", "change")


def test_a_commit_is_scanned_once(guarded: Repository, tmp_path: Path) -> None:
    guarded.add("clean")
    trace = tmp_path / "trace"
    guarded.git("commit", "--quiet", "--message", "a word", env={"GIT_TRACE": str(trace)})
    text = trace.read_text()
    assert (text.count(": git diff-index"), text.count(": git cat-file")) == (1, 1)


def test_hooks_of_one_work_tree_are_those_of_all(guarded: Repository, tmp_path: Path, key: bytes) -> None:
    guarded.git("worktree", "add", "--quiet", "-b", "linked", str(tmp_path / "another tree"))
    linked = at(tmp_path / "another tree")
    assert linked.vault("hooks", "status").code == 0
    linked.commit("clean")
    linked.add("leak", key)
    assert "pre-commit: 1 key found" in refuses(linked, key, "commit", "--message", "change")


def test_a_submodule_has_hooks_of_its_own(guarded: Repository, tmp_path: Path, key: bytes) -> None:
    part = Repository(tmp_path / "part")
    part.commit("file")
    guarded.git(
        "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part.directory), "part"
    )
    guarded.git("commit", "--quiet", "--message", "with a submodule")
    inner = at(guarded.directory / "part")
    install(inner)
    inner.commit("clean")
    inner.add("leak", key)
    assert "pre-commit: 1 key found" in refuses(inner, key, "commit", "--message", "change")


@pytest.mark.parametrize("name", ["moved", "-dash", 'quo\'te "and" $(more)', "line\nbreak"])
def test_a_repository_can_be_moved_anywhere(
    name: str, guarded: Repository, tmp_path: Path, key: bytes
) -> None:
    guarded.directory = guarded.directory.rename(tmp_path / name)
    assert guarded.vault("hooks", "status").code == 0
    guarded.commit("clean")
    guarded.add("leak", key)
    assert "pre-commit: 1 key found" in refuses(guarded, key, "commit", "--message", "change")


def test_a_hook_that_is_gone_lets_nothing_pass_and_says_what_to_do(guarded: Repository) -> None:
    for path in (guarded.directory / ".git/vault/hooks").iterdir():
        path.unlink()
    guarded.add("clean")
    done = guarded.attempt("commit", "--message", "change")
    assert done.code == 1
    assert "hint: vault hooks install mends it" in done.err
    status = guarded.vault("hooks", "status")
    assert status.code == 1
    assert f"pre-commit: there is no '{guarded.directory}/.git/vault/hooks/pre-commit'" in status.err
    install(guarded)
    guarded.git("commit", "--quiet", "--message", "change")


@pytest.mark.parametrize("switch", ["hook.vault-pre-commit.enabled", "hook.vault-pre-commit.command"])
def test_status_says_that_a_hook_is_switched_off(switch: str, guarded: Repository) -> None:
    guarded.git("config", switch, "false")
    done = guarded.vault("hooks", "status")
    assert done.code == 1
    assert "vault: pre-commit: " in done.err
    assert b"pre-commit  by" not in done.out.splitlines()[0]


@pytest.mark.parametrize("data", ["", "my 'data'"])
def test_hooks_for_all_guard_every_repository_once(
    data: str, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: bytes
) -> None:
    if data:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / data))
    (Path.home() / ".local/share").mkdir(parents=True)
    before = witness.everything(Path.home())
    install(repository, "--global")
    assert repository.vault("hooks", "status", "--global").code == 0
    repository.add("leak", key)
    assert refuses(repository, key, "commit", "--message", "change").count("1 key found") == 1
    install(repository)
    assert refuses(repository, key, "commit", "--message", "change").count("1 key found") == 1
    assert repository.vault("hooks", "uninstall").code == 0
    assert refuses(repository, key, "commit", "--message", "change").count("1 key found") == 1
    repository.git("rm", "--quiet", "--force", "leak")
    repository.commit("clean")
    assert repository.vault("hooks", "uninstall", "--global").code == 0
    assert witness.everything(Path.home()) == before


def test_hooks_as_files_are_replaced_when_git_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: bytes
) -> None:
    older = tmp_path / "older"
    older.mkdir()
    (older / "git").write_text(
        f"#!/bin/sh\ncase $* in *version) echo git version 2.53.0 ;; *) exec '{needs.new_git()}' \"$@\" ;; esac\n"
    )
    (older / "git").chmod(0o755)
    repository = Repository(tmp_path / "repository")
    repository.git("config", "core.hooksPath", "scripts")
    witness.put(repository.directory / "scripts/pre-commit", tmp_path / "log")
    before = witness.everything(repository.directory / ".git/hooks")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(older), prepend=":")
        install(repository)
        assert repository.vault("hooks", "status").code == 0
        assert witness.everything(repository.directory / ".git/hooks") != before
    assert repository.vault("hooks", "status").code == 1
    install(repository)
    assert repository.vault("hooks", "status").code == 0
    assert witness.everything(repository.directory / ".git/hooks") == before
    assert repository.git("config", "core.hooksPath") == "scripts"
    repository.add("leak", key)
    assert refuses(repository, key, "commit", "--message", "change").count("1 key found") == 1
    assert len(witness.runs(tmp_path / "log")) == 1
