"""Installing and uninstalling hooks as files: nobody's own is lost, wherever git looks for them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import needs, witness
from support.guarded import EVENTS, assert_silent
from support.installing import blocks, install, uninstall
from support.repositories import Repository, at
from support.vaults import PATH, SOURCES, run_python, run_vault


def git_dir(repository: Repository) -> Path:
    return Path(repository.git("rev-parse", "--absolute-git-dir"))


# What is there afterwards.


def test_the_hooks_are_named_and_do_their_work(repository: Repository, key: bytes) -> None:
    said = install(repository)
    assert f"vault: installed {', '.join(EVENTS)}\n" in said
    assert "hint: vault hooks refresh" in said
    repository.commit("clean")
    assert "pre-commit: 1 key found, so nothing passes" in blocks(repository, key)
    assert "prepare-commit-msg: 1 key found" in blocks(repository, key, "--no-verify")


def test_a_commit_is_scanned_once(repository: Repository, tmp_path: Path) -> None:
    install(repository)
    repository.add("clean")
    trace = tmp_path / "trace"
    repository.git("commit", "--quiet", "--message", "a word", env={"GIT_TRACE": str(trace)})
    text = trace.read_text()
    assert (text.count(": git diff-index"), text.count(": git cat-file")) == (1, 1)


def test_a_second_install_changes_nothing(repository: Repository) -> None:
    witness.put(repository.directory / ".git/hooks/pre-commit", repository.directory / "log")
    install(repository)
    before = witness.everything(git_dir(repository))
    times = {path: Path(path).lstat().st_mtime_ns for path in before if not Path(path).is_dir()}
    install(repository)
    assert witness.everything(git_dir(repository)) == before
    assert {path: Path(path).lstat().st_mtime_ns for path in times} == times


def test_what_is_kept_can_be_read_by_others_who_share_the_repository(repository: Repository) -> None:
    install(repository)
    assert {path.stat().st_mode & 0o444 for path in (git_dir(repository) / "vault").rglob("*")} == {0o444}


def test_status_says_what_there_is_and_exits_accordingly(repository: Repository) -> None:
    none = repository.vault("hooks", "status")
    assert (none.code, none.out) == (1, b"")
    assert "no hooks are installed\nhint: vault hooks install\n" in none.err
    assert json.loads(repository.vault("hooks", "status", "--json").out) == {
        "events": [],
        "by": "files",
        "problems": [],
    }
    install(repository)
    done = repository.vault("hooks", "status")
    assert (done.code, done.err) == (0, "")
    assert done.out.decode().splitlines() == [f"{event}  by files" for event in EVENTS]
    listed = repository.vault("hooks", "status", "--json")
    assert listed.code == 0
    assert json.loads(listed.out) == {"events": list(EVENTS), "by": "files", "problems": []}


def test_to_uninstall_what_was_never_installed_changes_nothing(repository: Repository) -> None:
    before = witness.everything(git_dir(repository))
    assert uninstall(repository) == "vault: nothing was installed\n"
    assert witness.everything(git_dir(repository)) == before


@pytest.mark.parametrize("verb", ["install", "uninstall", "status", "refresh"])
def test_outside_a_repository_it_is_said_that_there_is_none(verb: str, tmp_path: Path) -> None:
    done = run_vault("hooks", verb, cwd=tmp_path)
    assert done.code == 6
    assert "not a git repository" in done.err
    assert "Traceback" not in done.err


def test_git_has_to_be_there_and_not_too_old(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert "git cannot be started" in repository.vault("hooks", "install").err
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text("#!/bin/sh\necho git version 2.30.2\n")
    (tmp_path / "bin/git").chmod(0o755)
    done = repository.vault("hooks", "install")
    assert (done.code, done.err.splitlines()) == (
        6,
        ["vault: git 2.30 is too old", "hint: git 2.31 or newer will do"],
    )


# What was there before.


def foreign(folder: Path, log: Path) -> None:
    """Put hooks of all sorts into *folder*: run, not run, links, and one that no git knows."""
    folder.mkdir(parents=True, exist_ok=True)
    for event in ("pre-commit", "pre-push", "post-commit"):
        witness.put(folder / event, log)
    (folder / "pre-push").chmod(0o711)
    (folder / "commit-msg").write_text("exit 1\n")  # not executable, so git ignores it
    (folder / "commit-msg").chmod(0o640)
    witness.put(folder / "shared.sh", log)
    (folder / "pre-merge-commit").symlink_to("shared.sh")
    (folder / "pre-applypatch").symlink_to("/nowhere")
    (folder / "post-rewrite").symlink_to("pre-commit")


def nothing(repository: Repository) -> None:
    foreign(repository.directory / ".git/hooks", repository.directory / "log")


def no_folder(repository: Repository) -> None:
    shutil.rmtree(repository.directory / ".git/hooks")


def relative(repository: Repository) -> None:
    repository.git("config", "core.hooksPath", ".husky/_")
    foreign(repository.directory / ".husky/_", repository.directory / "log")
    foreign(repository.directory / ".git/hooks", repository.directory / "never")


def absolute(repository: Repository) -> None:
    repository.git("config", "core.hooksPath", str(repository.directory.parent / "its hooks"))
    foreign(repository.directory.parent / "its hooks", repository.directory / "log")


def at_home(repository: Repository) -> None:
    repository.git("config", "core.hooksPath", "~/my 'hooks'")
    foreign(Path.home() / "my 'hooks'", repository.directory / "log")


def for_all(repository: Repository) -> None:
    repository.git("config", "--global", "core.hooksPath", "~/hooks")
    foreign(Path.home() / "hooks", repository.directory / "log")


def for_all_and_here(repository: Repository) -> None:
    repository.git("config", "--global", "core.hooksPath", "/nowhere")
    repository.git("config", "core.hooksPath", "scripts")
    foreign(repository.directory / "scripts", repository.directory / "log")


def twice(repository: Repository) -> None:
    repository.git("config", "--add", "core.hooksPath", "/nowhere")
    repository.git("config", "--add", "core.hooksPath", "scripts")
    foreign(repository.directory / "scripts", repository.directory / "log")


def for_this_worktree(repository: Repository) -> None:
    repository.git("config", "extensions.worktreeConfig", "true")
    repository.git("config", "--worktree", "core.hooksPath", "scripts")
    foreign(repository.directory / "scripts", repository.directory / "log")


def its_own(repository: Repository) -> None:
    repository.git("config", "core.hooksPath", ".git/hooks")
    foreign(repository.directory / ".git/hooks", repository.directory / "log")


def linked(repository: Repository) -> None:
    shutil.rmtree(repository.directory / ".git/hooks")
    (repository.directory / ".git/hooks").symlink_to("../scripts")
    foreign(repository.directory / "scripts", repository.directory / "log")


PLACES: dict[str, Callable[[Repository], None]] = {
    "git's own folder": nothing,
    "no folder": no_folder,
    "a link to a folder in the work tree": linked,
    "a folder in the work tree": relative,
    "a folder elsewhere": absolute,
    "a folder at home": at_home,
    "a folder for all": for_all,
    "a folder for all, another here": for_all_and_here,
    "two settings": twice,
    "a setting for this work tree": for_this_worktree,
    "a setting that names git's own folder": its_own,
}


def settings(repository: Repository) -> list[str]:
    return sorted(repository.git("config", "--list", "--show-scope").splitlines())


@pytest.mark.parametrize("place", PLACES)
def test_uninstall_brings_back_exactly_what_was_there(place: str, repository: Repository, key: bytes) -> None:
    PLACES[place](repository)
    roots = (repository.directory / ".git", repository.directory, Path.home())
    before, configured = witness.everything(*roots), settings(repository)
    led = ": the hooks there are run by these" in install(repository)
    own = {"git's own folder", "no folder", "a link to a folder in the work tree"}
    assert led == (place not in {*own, "a setting that names git's own folder"})
    assert repository.vault("hooks", "status").code == 0
    assert "pre-commit: 1 key found" in blocks(repository, key)
    install(repository)
    uninstall(repository)
    (repository.directory / "log").unlink(missing_ok=True)
    after = witness.everything(*roots)
    config = str(repository.directory / ".git/config")
    assert settings(repository) == configured
    assert {**after, config: b""} == {**before, config: b""}


@pytest.mark.parametrize("place", [place for place in PLACES if place != "no folder"])
def test_the_hooks_that_were_there_run_as_before(place: str, repository: Repository, tmp_path: Path) -> None:
    PLACES[place](repository)
    install(repository)
    install(repository)
    repository.git("commit", "--quiet", "--allow-empty", "--message", "change")
    log = repository.directory / "log"
    assert [run[0][0].partition(".")[0] for run in witness.runs(log)] == ["pre-commit", "post-commit"]
    log.unlink()
    repository.git("checkout", "--quiet", "-b", "side", "HEAD~1")
    repository.commit("on the side")
    log.unlink()
    repository.git("merge", "--quiet", "--no-edit", "main")
    assert [run[0][0].partition(".")[0] for run in witness.runs(log)] == ["pre-merge-commit"]
    log.unlink()
    Repository(tmp_path / "remote", "--bare")
    repository.git("push", "--quiet", str(tmp_path / "remote"), "main")
    assert [run[0][0].partition(".")[0] for run in witness.runs(log)] == ["pre-push"]
    assert not (repository.directory / "never").exists()


def test_a_hook_that_was_there_can_still_stop_git(repository: Repository, tmp_path: Path) -> None:
    hooks = repository.directory / ".git/hooks"
    for event in ("pre-commit", "commit-msg", "pre-push"):
        witness.put(hooks / event, tmp_path / "log", code=3)
    install(repository)
    head = repository.git("rev-parse", "HEAD")
    assert repository.attempt("commit", "--allow-empty", "--message", "change").code == 1
    witness.put(hooks.with_name("hooks.pre-vault") / "pre-commit", tmp_path / "log")
    assert repository.attempt("commit", "--allow-empty", "--message", "change").code == 1
    assert repository.git("rev-parse", "HEAD") == head
    remote = Repository(tmp_path / "remote", "--bare")
    assert repository.attempt("push", str(remote.directory), "main").code == 1
    assert remote.git("for-each-ref") == ""
    assert [run[0][0] for run in witness.runs(tmp_path / "log")] == [
        "pre-commit",
        "pre-commit",
        "commit-msg",
        "pre-push",
    ]


def test_a_hook_that_was_there_gets_its_arguments(repository: Repository, tmp_path: Path) -> None:
    for event in EVENTS:
        witness.put(repository.directory / ".git/hooks" / event, tmp_path / "log")
    install(repository)
    repository.git("commit", "--quiet", "--allow-empty", "--message", "change")
    repository.git("commit", "--quiet", "--amend", "--no-edit", "--allow-empty")
    assert [run[0] for run in witness.runs(tmp_path / "log")] == [
        ["pre-commit"],
        ["prepare-commit-msg", ".git/COMMIT_EDITMSG", "message"],
        ["commit-msg", ".git/COMMIT_EDITMSG"],
        ["pre-commit"],
        ["prepare-commit-msg", ".git/COMMIT_EDITMSG", "commit", "HEAD"],
        ["commit-msg", ".git/COMMIT_EDITMSG"],
    ]


@pytest.mark.parametrize("reads", [True, False])
def test_a_hook_that_was_there_reads_what_git_gives_it_byte_for_byte(
    repository: Repository, tmp_path: Path, key: bytes, reads: bool
) -> None:
    witness.put(repository.directory / ".git/hooks/pre-push", tmp_path / "before", reads=True)
    remote = Repository(tmp_path / "remote", "--bare")
    refs = [*(f"refs/heads/{number:03}" for number in range(600)), os.fsdecode(b"refs/heads/caf\xe9")]
    head = repository.git("rev-parse", "HEAD")
    lines = "".join(f"create {ref} {head}\n" for ref in refs)
    repository.git("update-ref", "--stdin", data=os.fsencode(lines))
    push = ("push", "--quiet", "--dry-run", str(remote.directory), "--all")
    repository.git(*push)
    ((words, given),) = witness.runs(tmp_path / "before")
    assert len(given) > 1 << 16  # more than a pipe holds
    assert b"caf\xe9" in given
    witness.put(repository.directory / ".git/hooks/pre-push", tmp_path / "after", reads=reads)
    install(repository)
    assert "printf" not in repository.attempt(*push).err
    ((again, read),) = witness.runs(tmp_path / "after")
    assert again[1:] == words[1:]
    assert read == (given if reads else b"")
    repository.add("leak", key)
    repository.git("-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--message", "change")
    repository.git("update-ref", os.fsdecode(b"refs/heads/caf\xe9"), "HEAD")
    refused = repository.attempt(*push)
    assert refused.code == 1
    assert "pre-push: 1 key found" in refused.err


def test_what_a_hook_that_was_there_stages_is_scanned(repository: Repository, key: bytes) -> None:
    hook = repository.directory / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\ngit add late\n")
    hook.chmod(0o755)
    install(repository)
    repository.write("late", key)
    repository.add("early")
    done = repository.attempt("commit", "--message", "change")
    assert done.code == 1
    assert "  late:1: Tailscale key" in done.err


def test_two_hooks_for_one_place_are_not_chosen_from(repository: Repository) -> None:
    hooks = repository.directory / ".git/hooks"
    witness.put(hooks / "pre-push", repository.directory / "log")
    witness.put(hooks.with_name("hooks.pre-vault") / "pre-push", repository.directory / "another log")
    before = witness.everything(git_dir(repository))
    done = repository.vault("hooks", "install")
    assert done.code == 6
    assert f"'{hooks}/pre-push' and '{hooks}.pre-vault/pre-push' are both there" in done.err
    assert witness.everything(git_dir(repository)) == before


# Other tools, later.


def test_status_says_that_another_tool_took_a_place(repository: Repository, key: bytes) -> None:
    install(repository)
    witness.put(repository.directory / ".git/hooks/pre-commit", repository.directory / "log")
    done = repository.vault("hooks", "status")
    assert done.code == 1
    path = git_dir(repository) / "hooks/pre-commit"
    assert f"pre-commit: '{path}' is not ours: another program has put its own there" in done.err
    assert b"pre-commit  " not in done.out
    install(repository)
    assert repository.vault("hooks", "status").code == 0
    assert "pre-commit: 1 key found" in blocks(repository, key)
    assert len(witness.runs(repository.directory / "log")) == 1
    uninstall(repository)
    assert b"Somebody's own" in path.read_bytes()


def test_status_says_that_git_is_led_elsewhere(repository: Repository, key: bytes) -> None:
    install(repository)
    repository.git("config", "core.hooksPath", ".husky/_")
    witness.put(repository.directory / ".husky/_/pre-commit", repository.directory / "log")
    done = repository.vault("hooks", "status")
    assert done.code == 1
    assert f"git looks for hooks in '{repository.directory}/.husky/_', so ours are not run" in done.err
    install(repository)
    assert repository.vault("hooks", "status").code == 0
    assert "pre-commit: 1 key found" in blocks(repository, key)
    repository.git("config", "core.hooksPath", ".husky/_")  # as "npm install" does, again
    assert repository.vault("hooks", "status").code == 1
    uninstall(repository)
    assert repository.git("config", "core.hooksPath") == ".husky/_"


@pytest.mark.parametrize("mend", ["removed", "not executable"])
def test_a_hook_that_is_gone_is_said_and_mended(repository: Repository, key: bytes, mend: str) -> None:
    install(repository)
    hook = repository.directory / ".git/hooks/pre-commit"
    if mend == "removed":
        hook.unlink()
    else:
        hook.chmod(0o644)
    done = repository.vault("hooks", "status")
    assert done.code == 1
    assert "vault: pre-commit: " in done.err
    assert "hint: vault hooks install" in done.err
    install(repository)
    assert repository.vault("hooks", "status").code == 0
    assert "pre-commit: 1 key found" in blocks(repository, key)


# Where repositories are.


def test_hooks_of_one_work_tree_are_those_of_all(repository: Repository, tmp_path: Path, key: bytes) -> None:
    repository.git("worktree", "add", "--quiet", "-b", "linked", str(tmp_path / "another tree"))
    linked = at(tmp_path / "another tree")
    install(linked)
    for tree in (repository, linked):
        assert tree.vault("hooks", "status").code == 0
        tree.git("commit", "--quiet", "--allow-empty", "--message", "change")
        assert "pre-commit: 1 key found" in blocks(tree, key)
        assert "prepare-commit-msg: 1 key found" in blocks(tree, key, "--no-verify")
    uninstall(repository)
    assert linked.vault("hooks", "status").code == 1


def test_a_setting_of_one_work_tree_concerns_no_other(
    repository: Repository, tmp_path: Path, key: bytes
) -> None:
    repository.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    linked = at(tmp_path / "linked")
    repository.git("config", "extensions.worktreeConfig", "true")
    linked.git("config", "--worktree", "core.hooksPath", "scripts")
    install(repository)
    assert linked.vault("hooks", "status").code == 1
    install(linked)
    for tree in (repository, linked):
        assert tree.vault("hooks", "status").code == 0
        assert "pre-commit: 1 key found" in blocks(tree, key)
    uninstall(linked)
    assert linked.git("config", "core.hooksPath") == "scripts"


def test_a_submodule_has_hooks_of_its_own(repository: Repository, tmp_path: Path, key: bytes) -> None:
    part = Repository(tmp_path / "part")
    part.commit("file")
    repository.git(
        "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part.directory), "part"
    )
    inner = at(repository.directory / "part")
    install(inner)
    assert inner.vault("hooks", "status").code == 0
    assert repository.vault("hooks", "status").code == 1
    assert "pre-commit: 1 key found" in blocks(inner, key)
    inner.git("commit", "--quiet", "--allow-empty", "--message", "change")
    install(repository)
    repository.git("add", "part")
    repository.git("commit", "--quiet", "--message", "with a submodule")


NAMES = [
    "with space",
    "quo'te",
    'quo"te',
    "ünïcödé",
    "-dash",
    "$(echo gone)`x`",
    "line\nbreak",
    "back\\slash",
    "@STATE@",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_repository_can_have_any_name(name: str, tmp_path: Path, key: bytes) -> None:
    repository = Repository(tmp_path / name)
    witness.put(repository.directory / ".git/hooks/pre-commit", tmp_path / "log")
    install(repository)
    assert repository.vault("hooks", "status").code == 0
    repository.commit("clean")
    assert "pre-commit: 1 key found" in blocks(repository, key)
    assert len(witness.runs(tmp_path / "log")) == 2


@pytest.mark.parametrize("name", [name for name in NAMES if name != "-dash"])  # git cannot run those itself
def test_a_folder_of_hooks_can_have_any_name(
    name: str, repository: Repository, tmp_path: Path, key: bytes
) -> None:
    repository.git("config", "core.hooksPath", name)
    witness.put(repository.directory / name / "pre-commit", tmp_path / "log")
    install(repository)
    repository.commit("clean")
    assert "pre-commit: 1 key found" in blocks(repository, key)
    assert len(witness.runs(tmp_path / "log")) == 2
    uninstall(repository)
    assert repository.git("config", "core.hooksPath") == name


@pytest.mark.parametrize("place", ["git's own folder", "a folder in the work tree"])
def test_a_repository_that_was_moved_is_still_guarded(
    place: str, repository: Repository, tmp_path: Path, key: bytes
) -> None:
    PLACES[place](repository)
    install(repository)
    repository.directory = repository.directory.rename(tmp_path / "moved")
    assert repository.vault("hooks", "status").code == 0
    repository.git("commit", "--quiet", "--allow-empty", "--message", "change")
    assert "pre-commit: 1 key found" in blocks(repository, key)


def test_a_folder_of_hooks_that_is_a_link_leads_to_what_the_hooks_know(
    repository: Repository, tmp_path: Path
) -> None:
    hooks = repository.directory / ".git/hooks"
    hooks.rename(tmp_path / "hooks")
    hooks.symlink_to(tmp_path / "hooks")
    install(repository)
    repository.commit("clean")
    shutil.rmtree(repository.directory / ".git/vault")
    repository.add("another")
    refused = repository.attempt("commit", "--message", "change")
    assert refused.code == 1
    assert "pre-commit: what it knows, in .git/vault, is gone, so nothing passes" in refused.err
    assert "hint: vault hooks install mends it" in refused.err
    install(repository)
    repository.git("commit", "--quiet", "--message", "change")


# What can break.


def broken(repository: Repository, **changes: str) -> None:
    """Let the hooks name another interpreter or scanner, as when theirs was moved."""
    for event in EVENTS:
        path = repository.directory / ".git/hooks" / event
        lines = path.read_text().split("\n")
        for name, value in changes.items():
            (place,) = [number for number, line in enumerate(lines) if line.startswith(f"{name}=")]
            lines[place] = f"{name}='{value}'"
        path.write_text("\n".join(lines))


FAULTS = {
    "no interpreter": ("python", None, "is gone"),
    "an interpreter that is not executable": ("python", "", "is gone"),
    "an interpreter that fails": ("python", "exit 1", "the scanner failed with status 1"),
    "an interpreter without its libraries": ("python", "exit 127", "the scanner failed with status 127"),
    "an interpreter that is killed": ("python", "kill -KILL $$", "the scanner failed with status 137"),
    "no scanner": ("scanner", None, "is gone"),
    "a scanner that is cut off": ("scanner", "import os (", "the scanner failed with status 1"),
    "a scanner without its package": (
        "scanner",
        "import tskeyvault_nothing",
        "the scanner failed with status 1",
    ),
    "a scanner that is killed": (
        "scanner",
        "import os; os.kill(os.getpid(), 9)",
        "the scanner failed with status 137",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_scan_lets_nothing_pass_and_says_what_to_do(
    fault: str, repository: Repository, tmp_path: Path
) -> None:
    name, text, message = FAULTS[fault]
    install(repository)
    other = tmp_path / "moved to"
    if text is not None:
        other.write_text(text if name == "scanner" else f"#!/bin/sh\n{text}\n")
        other.chmod(0o644 if not text else 0o755)
    broken(repository, **{name: str(other)})
    repository.add("clean")
    head = repository.git("rev-parse", "HEAD")
    for options in ([], ["--no-verify"]):
        refused = repository.attempt("commit", "--message", "change", *options)
        assert refused.code == 1
        assert message in refused.err
        assert "hint: vault hooks install mends it, vault hooks uninstall takes it away" in refused.err
    assert repository.git("rev-parse", "HEAD") == head
    done = repository.vault("hooks", "status")
    assert done.code == 1
    assert "runs another interpreter or scanner than this one" in done.err
    install(repository)
    assert repository.vault("hooks", "status").code == 0
    repository.git("commit", "--quiet", "--message", "change")


def test_a_git_directory_that_cannot_be_written_is_left_as_it_is(repository: Repository) -> None:
    needs.root()
    before = witness.everything(git_dir(repository))
    command = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", command, str(git_dir(repository))]
    done = subprocess.run(
        [*argv, sys.executable, "-m", "tskeyvault", "hooks", "install"],
        cwd=repository.directory,
        env={**os.environ, "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6
    assert f"'{git_dir(repository)}/vault' cannot be changed: read-only file system" in done.stderr
    assert witness.everything(git_dir(repository)) == before


@pytest.mark.parametrize(
    ("place", "verb"),
    [
        ("git's own folder", "install"),
        ("git's own folder", "uninstall"),
        ("a link to a folder in the work tree", "install"),
        ("a link to a folder in the work tree", "uninstall"),
        ("a folder in the work tree", "install"),
        ("a folder for all", "uninstall"),
    ],
)
def test_whenever_it_is_killed_nothing_is_lost_and_the_next_one_mends_it(
    place: str, verb: str, repository: Repository
) -> None:
    PLACES[place](repository)
    environment = {"PYTHONPATH": str(SOURCES / "tests")}
    done = run_python("-m", "support.interrupted", verb, env=environment, cwd=repository.directory)
    assert done.code == 0, done.err
    before, *after = done.out.decode().split()
    assert len(after) > 8
    assert set(after) == {before}


# For servers.


@pytest.fixture
def server(tmp_path: Path) -> Repository:
    """Give a bare repository with the hook of servers."""
    made = Repository(tmp_path / "server.git", "--bare")
    assert "vault: installed pre-receive\n" in install(made, "--server")
    return made


def test_a_server_takes_what_is_clean_and_nothing_else(
    server: Repository, repository: Repository, key: bytes
) -> None:
    assert server.vault("hooks", "status").out == b"pre-receive  by files\n"
    bare = Repository(server.directory.parent / "another.git", "--bare")
    assert "hint: with --server they also guard what is pushed to this repository" in install(bare)
    repository.git("push", "--quiet", str(server.directory), "main", "main:other")
    repository.commit("leak", key)
    refused = repository.attempt("push", str(server.directory), "main")
    assert refused.code == 1
    assert "remote: vault: pre-receive: 1 key found, so nothing passes" in refused.err
    assert_silent(refused, key)
    repository.git("push", "--quiet", str(server.directory), ":other")
    uninstall(server)
    repository.git("push", "--quiet", str(server.directory), "main")


def test_a_hook_of_a_server_gets_what_is_pushed_and_can_refuse_it(
    server: Repository, repository: Repository, tmp_path: Path
) -> None:
    uninstall(server)
    witness.put(server.directory / "hooks/pre-receive", tmp_path / "log", reads=True)
    install(server, "--server")
    repository.git("push", "--quiet", str(server.directory), "main", "main:other")
    head = repository.git("rev-parse", "HEAD")
    ((words, given),) = witness.runs(tmp_path / "log")
    assert words == ["pre-receive"]
    assert given.decode() == "".join(f"{'0' * 40} {head} refs/heads/{name}\n" for name in ("main", "other"))
    witness.put(server.directory / "hooks.pre-vault/pre-receive", tmp_path / "log", code=1)
    assert repository.attempt("push", str(server.directory), ":other").code == 1


def test_the_hooks_of_clients_and_servers_can_both_be_there(repository: Repository) -> None:
    install(repository)
    assert f"installed {', '.join(EVENTS)}, pre-receive\n" in install(repository, "--server")
    install(repository)
    assert repository.vault("hooks", "status").out.count(b"\n") == len(EVENTS) + 1
    uninstall(repository)
    assert repository.vault("hooks", "status").code == 1


# For all of a user's repositories.


def test_hooks_for_all_guard_every_repository_and_run_its_own(
    repository: Repository, tmp_path: Path, key: bytes
) -> None:
    (Path.home() / ".local/share").mkdir(parents=True)
    before = witness.everything(Path.home())
    install(repository, "--global")
    install(repository, "--global")
    assert repository.vault("hooks", "status", "--global").code == 0
    later = Repository(tmp_path / "later one")
    foreign(later.directory / ".git/hooks", later.directory / "log")
    later.commit("clean")
    assert "pre-commit: 1 key found" in blocks(later, key)
    assert "prepare-commit-msg: 1 key found" in blocks(later, key, "--no-verify")
    assert [run[0][0] for run in witness.runs(later.directory / "log")] == [
        "pre-commit",
        "post-commit",
        "pre-commit",
    ]
    later.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    linked = at(tmp_path / "linked")
    linked.commit("in a linked work tree")
    assert "pre-commit: 1 key found" in blocks(linked, key)
    uninstall(repository, "--global")
    assert witness.everything(Path.home()) == before


def test_hooks_for_all_lie_where_the_user_keeps_data(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "my data"))
    install(repository, "--global")
    assert repository.git("config", "core.hooksPath") == str(tmp_path / "my data/tskeyvault/hooks")
    uninstall(repository, "--global")
    assert not (tmp_path / "my data").exists()
    monkeypatch.setenv("XDG_DATA_HOME", "relative")  # which the specification says to ignore
    install(repository, "--global")
    assert repository.git("config", "core.hooksPath") == str(Path.home() / ".local/share/tskeyvault/hooks")


def test_hooks_for_all_run_those_that_a_user_had_for_all(repository: Repository, key: bytes) -> None:
    for_all(repository)
    (Path.home() / ".local/share").mkdir(parents=True)
    before = witness.everything(Path.home())
    install(repository, "--global")
    repository.git("commit", "--quiet", "--allow-empty", "--message", "change")
    assert [run[0][0] for run in witness.runs(repository.directory / "log")] == ["pre-commit", "post-commit"]
    assert "pre-commit: 1 key found" in blocks(repository, key)
    uninstall(repository, "--global")
    assert witness.everything(Path.home()) == before


def test_hooks_for_all_and_here_scan_once(repository: Repository, key: bytes) -> None:
    witness.put(repository.directory / ".git/hooks/pre-commit", repository.directory / "log")
    install(repository, "--global")
    install(repository)
    assert repository.vault("hooks", "status").code == 0
    assert blocks(repository, key).count("1 key found") == 1
    assert len(witness.runs(repository.directory / "log")) == 1
    uninstall(repository, "--global")
    assert blocks(repository, key).count("1 key found") == 1
    install(repository, "--global")
    uninstall(repository)
    assert blocks(repository, key).count("1 key found") == 1


def test_a_push_still_updates_a_work_tree(repository: Repository, tmp_path: Path) -> None:
    install(repository, "--global")
    target = Repository(tmp_path / "target")
    target.git("config", "receive.denyCurrentBranch", "updateInstead")
    repository.git("push", "--quiet", str(target.directory), "main")
    assert (target.directory / "first").read_bytes() == b"something\n"
    repository.commit("second")
    target.write("first", b"changed\n")
    assert repository.attempt("push", str(target.directory), "main").code == 1
    target.write("first")
    repository.git("push", "--quiet", str(target.directory), "main")
    assert (target.directory / "second").exists()
    assert target.git("status", "--porcelain") == ""
    witness.put(target.directory / ".git/hooks/push-to-checkout", tmp_path / "log")
    repository.commit("third")
    repository.git("push", "--quiet", str(target.directory), "main")
    assert [run[0] for run in witness.runs(tmp_path / "log")] == [
        ["push-to-checkout", repository.git("rev-parse", "HEAD")]
    ]


# Shells.


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox sh"])
def test_the_hooks_work_with_every_usual_shell(
    shell: str, repository: Repository, tmp_path: Path, key: bytes
) -> None:
    program, *arguments = shell.split()
    needs.program(program)
    hooks = repository.directory / ".git/hooks"
    for event in EVENTS:
        witness.put(hooks / event, tmp_path / "log", reads=event == "pre-push")
    install(repository)
    line = " ".join(["#!" + str(shutil.which(program)), *arguments])
    for event in EVENTS:
        text = (hooks / event).read_text()
        (hooks / event).write_text(text.replace("#!/bin/sh", line, 1))
    repository.commit("clean")
    assert "pre-commit: 1 key found" in blocks(repository, key)
    assert "prepare-commit-msg: 1 key found" in blocks(repository, key, "--no-verify")
    said = repository.attempt("commit", "--allow-empty", "--message", f"with {key.decode()}").err
    assert "vault: commit-msg: 1 key found" in said
    remote = Repository(tmp_path / "remote", "--bare")
    repository.git("push", "--quiet", str(remote.directory), "main")
    broken(repository, python="/nowhere")
    refused = repository.attempt("commit", "--allow-empty", "--message", "change")
    assert refused.err.splitlines()[0] == (
        "vault: pre-commit: the interpreter /nowhere is gone, so nothing passes"
    )
    assert witness.runs(tmp_path / "log")[-2][1].count(b"\n") == 1


def test_where_an_included_file_leads_git_elsewhere_it_is_said_that_nothing_is_scanned(
    repository: Repository,
) -> None:
    repository.write(".gitconfig", b"[core]\n\thooksPath = .githooks\n")
    repository.git("config", "include.path", "../.gitconfig")
    done = repository.vault("hooks", "install")
    assert (done.code, "installed" in done.err.split("vault: git will not run")[0]) == (1, False), done.err
    assert "vault: git will not run what was installed for pre-commit" in done.err
    assert "hint: git config --show-origin" in done.err
