"""Every operation of git that makes a commit: which hook stops a key in it, and what git lets by until it is pushed."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.guarded import EVENTS, Guarded, assert_silent, guarded, guarded_server
from support.repositories import Repository

pytestmark = pytest.mark.usefixtures("each_git")


@pytest.fixture
def repository(tmp_path: Path) -> Guarded:
    """Give a repository with hooks, and a remote that has all of it."""
    made = guarded(tmp_path / "repository")
    Repository(tmp_path / "remote", "--bare")
    made.git("remote", "add", "origin", tmp_path / "remote")
    made.git("push", "--quiet", "origin", "main")
    return made


@pytest.fixture
def side(repository: Guarded, key: bytes) -> str:
    """Give the id of a commit with the key, on the branch ``side``, from which ``main`` went another way."""
    repository.git("checkout", "--quiet", "-b", "side")
    commit = repository.leak("file", b"key = " + key + b"\n")
    repository.git("checkout", "--quiet", "main")
    repository.commit("another")
    return commit


def test_the_table_is_tried_with_hooks_in_both_places(
    repository: Guarded, request: pytest.FixtureRequest
) -> None:
    how = {"files": "by files", "configuration": "by git's configuration"}[
        request.node.callspec.params["each_git"]
    ]
    said = repository.vault("hooks", "status").out.decode()
    assert said.splitlines() == [f"{event}  {how}" for event in EVENTS]
    assert (repository.directory / ".git/hooks/pre-commit").exists() == (how == "by files")


def stopped_by(said: str) -> str:
    """Return the hook that stopped git, as it *said* itself."""
    return next(line.split(": ")[1] for line in said.splitlines() if line.endswith("so nothing passes"))


@pytest.mark.parametrize(
    ("arguments", "hook"),
    [
        ([], "pre-commit"),
        (["--all"], "pre-commit"),
        (["--amend"], "pre-commit"),
        (["--amend", "--no-edit"], "pre-commit"),
        (["--no-verify"], "prepare-commit-msg"),
        (["--no-verify", "--all"], "prepare-commit-msg"),
        (["--no-verify", "--amend"], "prepare-commit-msg"),
        (["--no-verify", "--amend", "--no-edit"], "prepare-commit-msg"),
        (["--no-verify", "--", "file"], "prepare-commit-msg"),
        (["--no-verify", "--reuse-message", "HEAD"], "prepare-commit-msg"),
        (["--no-verify", "--fixup", "HEAD"], "prepare-commit-msg"),
    ],
    ids=str,
)
def test_a_commit_is_stopped(arguments: list[str], hook: str, repository: Guarded, key: bytes) -> None:
    repository.add("file", key)
    own = {"--no-edit", "--reuse-message", "--fixup"} & set(arguments)
    said = repository.refuses("commit", *([] if own else ["--message", "change"]), *arguments, key=key)
    assert stopped_by(said) == hook
    assert "  file:1: Tailscale key" in said


@pytest.mark.parametrize(
    ("arguments", "hook"),
    [
        ([], "commit-msg"),
        (["--amend"], "commit-msg"),
        (["--no-verify"], "prepare-commit-msg"),
        (["--no-verify", "--amend"], "prepare-commit-msg"),
        (["--cleanup=verbatim"], "commit-msg"),
    ],
    ids=str,
)
def test_a_key_in_the_message_is_stopped(
    arguments: list[str], hook: str, repository: Guarded, key: bytes
) -> None:
    message = b"change\n\nwith " + key
    said = repository.refuses("commit", "--allow-empty", "--file", "-", *arguments, key=key, data=message)
    assert stopped_by(said) in {hook, "commit-msg"}
    assert "  the message of the commit:3: Tailscale key" in said


def test_a_key_as_the_whole_message_is_stopped(repository: Guarded, key: bytes) -> None:
    for more in ([], ["--no-verify"]):
        repository.refuses("commit", "--allow-empty", "--message", key.decode(), *more, key=key)


def test_a_key_that_an_editor_writes_into_the_message_is_stopped(
    repository: Guarded, key: bytes, tmp_path: Path
) -> None:
    (tmp_path / "message").write_bytes(b"change " + key)
    editor = {"GIT_EDITOR": f"cp {tmp_path}/message"}
    said = repository.refuses("commit", "--allow-empty", key=key, env=editor)
    assert stopped_by(said) == "commit-msg"


def test_a_removed_key_below_the_scissors_of_a_verbose_commit_is_no_alarm(
    repository: Guarded, key: bytes
) -> None:
    repository.leak("file", b"a\n" + key + b"\nb\n")
    repository.add("file", b"a\nb\n")
    editor = {"GIT_EDITOR": "sed -i 1s/^/a-long-word-of-the-message/"}
    repository.git("commit", "--verbose", env=editor)
    assert "a-long-word" in repository.git("log", "-1", "--format=%B")


def test_scissors_in_a_message_of_ones_own_hide_no_key(repository: Guarded, key: bytes) -> None:
    line = "# ------------------------ >8 ------------------------"
    for more in ([], ["--no-verify"]):
        for text in (
            f"a\n{line}\n{key.decode()}",
            f"a {line}\n# b\n{key.decode()}",
            f"a\n{line}\n# b\n{key.decode()}",
            f"a\n{line}\nb\ndiff --git c d\n{key.decode()}",
        ):
            repository.refuses("commit", "--allow-empty", "--message", text, *more, key=key)


@pytest.mark.parametrize(
    ("arguments", "hook"),
    [([], "pre-merge-commit"), (["--no-verify"], "prepare-commit-msg"), (["--no-ff"], "pre-merge-commit")],
    ids=str,
)
def test_a_merge_is_stopped(
    arguments: list[str], hook: str, repository: Guarded, key: bytes, side: str
) -> None:
    said = repository.refuses("merge", "--no-edit", *arguments, side, key=key)
    assert stopped_by(said) == hook
    assert "  file:1: Tailscale key" in said
    said = repository.refuses("commit", "--no-edit", key=key)
    assert stopped_by(said) == "pre-commit"
    repository.git("merge", "--abort")


@pytest.mark.parametrize(
    ("arguments", "hook"), [([], "pre-commit"), (["--no-verify"], "prepare-commit-msg")], ids=str
)
def test_the_commit_that_ends_a_merge_with_conflicts_is_stopped(
    arguments: list[str], hook: str, repository: Guarded, key: bytes, side: str
) -> None:
    repository.commit("file", b"of main\n")
    assert repository.attempt("merge", "--no-edit", side).code == 1
    repository.add("file", b"of both\n" + key)
    said = repository.refuses("commit", "--no-edit", *arguments, key=key)
    assert stopped_by(said) == hook
    assert "  file:2: Tailscale key" in said
    repository.add("file", b"of both\n")
    repository.git("commit", "--quiet", "--no-edit", *arguments)


def test_a_merge_of_three_branches_is_stopped(repository: Guarded, key: bytes, side: str) -> None:
    repository.git("checkout", "--quiet", "-b", "third", "main~1")
    repository.commit("third")
    repository.git("checkout", "--quiet", "main")
    said = repository.refuses("merge", "--no-edit", "third", side, key=key)
    assert stopped_by(said) == "pre-merge-commit"


def test_a_key_that_only_the_merge_has_is_stopped(repository: Guarded, key: bytes) -> None:
    repository.git("checkout", "--quiet", "-b", "clean")
    repository.commit("file")
    repository.git("checkout", "--quiet", "main")
    repository.commit("another")
    repository.git("merge", "--quiet", "--no-commit", "clean")
    repository.add("evil", key)
    assert "  evil:1: " in repository.refuses("commit", "--no-edit", key=key)


def test_a_squashed_merge_is_stopped(repository: Guarded, key: bytes, side: str) -> None:
    repository.git("merge", "--quiet", "--squash", side)
    assert stopped_by(repository.refuses("commit", "--no-edit", key=key)) == "pre-commit"
    assert stopped_by(repository.refuses("commit", "-n", "--no-edit", key=key)) == "prepare-commit-msg"


def test_a_cherry_pick_is_stopped(repository: Guarded, key: bytes, side: str) -> None:
    for more in ([], ["-x"], ["--keep-redundant-commits"]):
        said = repository.refuses("cherry-pick", *more, side, key=key)
        assert stopped_by(said) == "prepare-commit-msg"
        assert "  file:1: Tailscale key" in said
        repository.git("cherry-pick", "--abort")


def test_the_commit_that_ends_a_cherry_pick_is_stopped(repository: Guarded, key: bytes, side: str) -> None:
    repository.commit("file", b"of main\n")
    assert repository.attempt("cherry-pick", side).code == 1
    repository.add("file", key)
    said = repository.refuses("cherry-pick", "--continue", key=key, env={"GIT_EDITOR": "true"})
    assert "  file:1: Tailscale key" in said


def test_a_revert_is_stopped(repository: Guarded, key: bytes) -> None:
    repository.leak("file", key)
    removal = repository.commit("file", b"clean\n")
    said = repository.refuses("revert", "--no-edit", removal, key=key)
    assert stopped_by(said) == "prepare-commit-msg"


@pytest.mark.parametrize("arguments", [[], ["--no-ff"], ["--rebase-merges"]], ids=str)
def test_a_rebase_is_stopped(arguments: list[str], repository: Guarded, key: bytes, side: str) -> None:
    repository.git("checkout", "--quiet", side)
    said = repository.refuses("rebase", *arguments, "main", key=key)
    assert stopped_by(said) == "prepare-commit-msg"
    repository.git("rebase", "--abort")
    assert repository.git("rev-parse", "HEAD") == side


@pytest.mark.parametrize("word", ["pick", "reword", "edit", "squash", "fixup"])
def test_a_rebase_with_a_list_is_stopped_and_goes_on_when_the_key_is_out(
    word: str, repository: Guarded, key: bytes
) -> None:
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commit("file", b"before\n")
    repository.leak("file", b"before\nkey = " + key + b"\n")
    repository.git("checkout", "--quiet", "main")
    repository.commit("another")
    repository.git("checkout", "--quiet", "side")
    env = {"GIT_SEQUENCE_EDITOR": f"sed -i '2s/^pick/{word}/'", "GIT_EDITOR": "true"}
    said = repository.refuses("rebase", "--interactive", "main", key=key, env=env)
    assert stopped_by(said) == "prepare-commit-msg"
    # git has put what it could not do back into the list, and newer ones do not commit by --continue.
    repository.add("file", b"before\nclean\n")
    repository.git("commit", "--quiet", "--no-edit")
    repository.git("rebase", "--edit-todo", env={"GIT_SEQUENCE_EDITOR": "sed -i 1d"})
    repository.git("rebase", "--continue", env=env)
    assert repository.git("symbolic-ref", "--short", "HEAD") == "side"
    assert repository.git("show", "side:file") == "before\nclean"
    repository.git("push", "--quiet", "origin", "side")


def test_a_pull_is_stopped(repository: Guarded, key: bytes, tmp_path: Path, side: str) -> None:
    repository.lets_by("push", "--quiet", tmp_path / "remote", f"{side}:refs/heads/main")
    said = repository.refuses(
        "-c", "pull.rebase=false", "pull", "--no-edit", tmp_path / "remote", "main", key=key
    )
    assert stopped_by(said) == "pre-merge-commit"


def test_a_patch_by_mail_is_stopped(repository: Guarded, key: bytes, side: str) -> None:
    mail = repository.git("format-patch", "--stdout", "-1", side).encode()
    said = repository.refuses("am", "--quiet", key=key, data=mail)
    assert stopped_by(said) == "pre-applypatch"
    assert "  file:1: Tailscale key" in said
    repository.git("am", "--abort")


def _stash(repository: Guarded, key: bytes) -> list[str]:
    repository.add("file", key)
    repository.git("stash", "--quiet")
    return ["stash@{0}:refs/heads/stashed"]


def _tag(repository: Guarded, key: bytes) -> list[str]:
    repository.git("tag", "--annotate", "--file", "-", "v1", data=b"release " + key)
    return ["v1"]


def _tag_of_a_file(repository: Guarded, key: bytes) -> list[str]:
    repository.git("tag", "v1", repository.git("hash-object", "-w", "--stdin", data=key))
    return ["v1"]


def _tag_of_a_tag(repository: Guarded, key: bytes) -> list[str]:
    repository.git(
        "-c",
        "advice.nestedTag=false",
        "tag",
        "--annotate",
        "--message",
        "outer",
        "v2",
        _tag(repository, key)[0],
    )
    repository.git("tag", "--delete", "v1")
    return ["v2"]


def _note(repository: Guarded, key: bytes) -> list[str]:
    repository.git("notes", "add", "--file", "-", data=key)
    return ["refs/notes/commits"]


def _message_by_mail(repository: Guarded, key: bytes) -> list[str]:
    repository.git("checkout", "--quiet", "-b", "side")
    repository.add("file")
    repository.lets_by("commit", "--quiet", "--file", "-", data=b"change\n\n" + key)
    mail = repository.git("format-patch", "--stdout", "-1").encode()
    repository.git("checkout", "--quiet", "main")
    repository.git("am", "--quiet", data=mail)
    return ["main"]


def _written_after_the_hook(repository: Guarded, key: bytes) -> list[str]:
    (repository.directory / "../message").write_bytes(b"change " + key)
    editor = {"GIT_EDITOR": "cp ../message"}
    repository.git("commit", "--quiet", "--no-verify", "--allow-empty", env=editor)
    return ["main"]


def _plumbing(repository: Guarded, key: bytes) -> list[str]:
    repository.add("file", key)
    tree = repository.git("write-tree")
    commit = repository.git("commit-tree", "-p", "HEAD", tree, data=b"change")
    repository.git("update-ref", "refs/heads/main", commit)
    return ["main"]


def _hooks_switched_off(repository: Guarded, key: bytes) -> list[str]:
    repository.leak("file", key)
    return ["main"]


def _fast_forward(repository: Guarded, key: bytes) -> list[str]:
    repository.git("checkout", "--quiet", "-b", "side")
    repository.leak("file", key)
    repository.git("checkout", "--quiet", "main")
    repository.git("merge", "--quiet", "--ff-only", "side")
    repository.git("rebase", "--quiet", "HEAD~1")
    return ["main"]


def _typed(*command: str) -> Callable[[Guarded, bytes], list[str]]:
    """Return what does *command*, in whose editor the key is typed, with two commits of its own before it."""

    def type_it(repository: Guarded, key: bytes) -> list[str]:
        repository.commit("another")
        repository.commit("one more")
        (repository.directory / "../message").write_bytes(b"change " + key)
        editor = {"GIT_EDITOR": "cp ../message", "GIT_SEQUENCE_EDITOR": "sed -i 2s/^pick/squash/"}
        repository.git(*command, env=editor)
        assert key.decode() in repository.git("log", "-1", "--format=%B")
        return ["main"]

    return type_it


def _fast_import(repository: Guarded, key: bytes) -> list[str]:
    commit = b"commit refs/heads/new\ncommitter a <b> 0 +0000\ndata 0\nM 644 inline file\ndata %d\n%s\n"
    repository.git("fast-import", "--quiet", data=commit % (len(key), key))
    return ["new"]


LETS_BY = {
    "stash": _stash,
    "tag": _tag,
    "tag of a file": _tag_of_a_file,
    "tag of a tag": _tag_of_a_tag,
    "notes": _note,
    "am, in the message": _message_by_mail,
    "commit --no-verify, in the message that an editor wrote": _written_after_the_hook,
    "a fast-forward": _fast_forward,
    "cherry-pick, in the message that is typed": _typed(
        "cherry-pick", "--edit", "--allow-empty", "--keep-redundant-commits", "HEAD"
    ),
    "rebase, in the message that is typed for a squash": _typed(
        "rebase", "--quiet", "--interactive", "HEAD~2"
    ),
    "commit-tree": _plumbing,
    "fast-import": _fast_import,
    "commit without hooks": _hooks_switched_off,
}


@pytest.mark.parametrize("operation", LETS_BY)
def test_what_git_lets_by_is_stopped_at_the_push(operation: str, repository: Guarded, key: bytes) -> None:
    pushed = LETS_BY[operation](repository, key)
    said = repository.refuses("push", "origin", *pushed, key=key)
    assert stopped_by(said) == "pre-push"
    assert "Tailscale key" in said


@pytest.mark.parametrize("arguments", [["--no-verify"], ["--no-verify", "--mirror"]], ids=str)
def test_what_is_pushed_past_the_hooks_is_stopped_by_the_server(
    arguments: list[str], repository: Guarded, key: bytes, tmp_path: Path
) -> None:
    server = guarded_server(tmp_path / "server")
    repository.git("push", "--quiet", server.directory, "main")
    repository.leak("file", key)
    before = server.refs()
    said = repository.refuses(
        "push", *arguments, server.directory, *([] if "--mirror" in arguments else ["main"]), key=key
    )
    assert "remote: vault: pre-receive: 1 key found" in said
    assert server.refs() == before
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    repository.commit("file", b"clean\n")
    repository.git("push", "--quiet", server.directory, "main")


# What a marker of an earlier scan must not do: let an index by that was not scanned against this HEAD.


def test_a_squash_by_reset_is_scanned_although_the_index_was_scanned_before(
    repository: Guarded, key: bytes
) -> None:
    repository.leak("file", key)
    repository.commit("another")
    repository.git("reset", "--quiet", "--soft", "HEAD~2")
    said = repository.refuses("commit", "--no-verify", "--message", "squashed", key=key)
    assert "  file:1: Tailscale key" in said


def test_a_scan_for_a_commit_that_did_not_come_counts_for_no_other(repository: Guarded, key: bytes) -> None:
    repository.leak("file", key)
    repository.add("another")
    abort = {"GIT_EDITOR": "false"}
    assert repository.attempt("commit", env=abort).code == 1
    repository.git("reset", "--quiet", "--soft", "HEAD~1")
    repository.refuses("commit", "--no-verify", "--message", "change", key=key)


def test_a_marker_that_another_hook_left_behind_counts_for_no_other_commit(
    repository: Guarded, key: bytes
) -> None:
    repository.leak("file", key)
    repository.add("another")
    # As when another hook ends the commit after ours let it pass.
    repository.git("hook", "run", "pre-commit", env={"GIT_INDEX_FILE": ".git/index"})
    assert len(repository.marks()) == 1
    repository.git("reset", "--quiet", "--soft", "HEAD~1")
    repository.refuses("commit", "--no-verify", "--message", "change", key=key)


def test_a_marker_of_another_process_or_another_index_counts_for_nothing(
    repository: Guarded, key: bytes
) -> None:
    repository.commit("clean")
    marks = repository.directory / ".git/vault/scanned"
    repository.git("hook", "run", "pre-commit", env={"GIT_INDEX_FILE": ".git/index"})
    (old,) = repository.marks()
    repository.add("file", key)
    for name in (str(os.getpid()), "1", "0", old):
        (marks / name).unlink(missing_ok=True)
        (marks / name).hardlink_to(repository.directory / ".git/index")
        repository.refuses("commit", "--no-verify", "--message", "change", key=key)


def test_a_scan_counts_for_no_later_process_of_the_same_number(repository: Guarded, key: bytes) -> None:
    # In a container every git can have the same number.
    repository.add("file", key)
    (repository.directory / ".git/vault/scanned").mkdir(exist_ok=True)
    mark = 'ln .git/index ".git/vault/scanned/$$-$2" && "$1" README'
    began = "$(cut -d ' ' -f 22 /proc/$$/stat)"
    for number, code in (("1", 1), (began, 0)):
        done = subprocess.run(
            ["sh", "-c", mark.replace("$2", number), "sh", repository.hook("prepare-commit-msg")],
            cwd=repository.directory,
            env={**os.environ, "GIT_INDEX_FILE": ".git/index"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == code


def test_a_marker_of_the_same_process_counts_for_the_same_index_alone(
    repository: Guarded, key: bytes
) -> None:
    repository.write("late", key)
    for between, code in (("true", 0), ("git add late", 1)):
        done = subprocess.run(
            [
                "sh",
                "-c",
                f'"$1" && {between} && "$2" README',
                "sh",
                *map(repository.hook, ("pre-commit", "prepare-commit-msg")),
            ],
            cwd=repository.directory,
            env={**os.environ, "GIT_INDEX_FILE": ".git/index"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == code
        assert key not in done.stderr


def test_a_marker_leads_to_no_other_file(repository: Guarded, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    marks = repository.directory / ".git/vault/scanned"
    marks.mkdir(exist_ok=True)
    (marks / "1").symlink_to(tmp_path / "mine")
    repository.commit("file")
    assert (tmp_path / "mine").read_text() == "precious"
    assert repository.marks() != ["1"]


def test_an_index_that_changes_after_it_was_scanned_is_scanned_again(repository: Guarded, key: bytes) -> None:
    (repository.directory / "late").write_bytes(key)
    editor = {"GIT_EDITOR": "git add late && true"}
    repository.add("file")
    assert repository.attempt("commit", env=editor).code in {0, 1}
    assert repository.git("ls-tree", "--name-only", "HEAD", "late") == ""
    repository.refuses("commit", "--no-verify", "--message", "change", key=key)


@pytest.mark.parametrize(
    "setting", ["index.skipHash", "core.splitIndex", "core.untrackedCache", "core.fsmonitor"]
)
def test_a_setting_of_the_index_lets_nothing_by(setting: str, repository: Guarded, key: bytes) -> None:
    repository.git("config", setting, "true")
    repository.commit("clean")
    repository.add("file", key)
    repository.refuses("commit", "--message", "change", key=key)
    repository.refuses("commit", "--no-verify", "--message", "change", key=key)
    repository.add("file", b"clean\n")
    repository.git("commit", "--quiet", "--message", "change")
    repository.attempt("fsmonitor--daemon", "stop")


def test_a_clean_commit_of_each_sort_passes(repository: Guarded) -> None:
    repository.commit("file")
    repository.git("commit", "--quiet", "--amend", "--no-edit")
    repository.git("commit", "--quiet", "--allow-empty", "--message", "see https://example.org/a/long/path")
    repository.git("checkout", "--quiet", "-b", "side", "HEAD~1")
    repository.commit("another")
    repository.git("merge", "--quiet", "--no-edit", "main")
    repository.git("checkout", "--quiet", "main")
    repository.git("cherry-pick", "side~1")
    repository.git("revert", "--no-edit", "HEAD")
    repository.git("rebase", "--quiet", "side")
    done = repository.attempt("push", "origin", "main")
    assert done.code == 0
    assert_silent(done, b"so nothing passes")
