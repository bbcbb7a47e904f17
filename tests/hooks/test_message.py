"""What of a message is scanned: what git will store, without comments and what is below scissors only where it cuts."""

from itertools import product
from pathlib import Path

import pytest

from support.guarded import assert_silent, guarded
from support.repositories import Repository
from support.vaults import made_key
from tskeyvault_hooks import caller

SCISSORS = "------------------------ >8 ------------------------"
ARGUMENTS = {
    "nothing": [],
    "-v": ["-v"],
    "-qvv": ["-qvv"],
    "-v and its opposite": ["-v", "--no-verbose"],
    "scissors": ["--cleanup=scissors"],
    "scissors in two words": ["--cleanup", "scissors"],
    "whitespace": ["--cleanup=whitespace"],
    "verbatim and -v": ["--cleanup=verbatim", "--verbose"],
    "verbatim": ["--cleanup=verbatim"],
    "strip": ["--cleanup=strip"],
    "an author called -v": ["--author", "-v <a@b>"],
    "a trailer called -v": ["--trailer", "-v"],
    "a path called -v": ["--", "-v"],
}
SETTINGS = {
    "nothing": {},
    "verbose": {"commit.verbose": "true"},
    "verbose 2": {"commit.verbose": "2"},
    "not verbose": {"commit.verbose": "0"},
    "scissors": {"commit.cleanup": "scissors"},
    "another comment": {"core.commentChar": ";", "commit.verbose": "true"},
    "its own comment": {"core.commentChar": "auto", "commit.verbose": "true"},
}
NOT_SURE = {"its own comment"}
CASES = [
    *product(ARGUMENTS, ["nothing"]),
    *product(["nothing"], SETTINGS.keys() - {"nothing"}),
    ("strip", "verbose"),
    ("-v and its opposite", "scissors"),
]


def written(comment: str, key: bytes) -> bytes:
    """Return a message that looks as if git had put a difference below it."""
    return (
        f"a message\n\n{comment} {SCISSORS}\n{comment} Do not\ndiff --git a/b b/b\n+{key.decode()}\n".encode()
    )


def commit(
    repository: Repository, message: Path, arguments: list[str], settings: dict[str, str], *, editor: bool
) -> bytes:
    """Commit with *message* that a file or an *editor* has; return what was stored, or ``b""`` where nothing was."""
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    source = [] if editor else ["--file", str(message)]
    env = {"GIT_EDITOR": f"cp '{message}'"}
    done = repository.attempt(*words, "commit", "--allow-empty", *source, *arguments, env=env)
    return repository.git("cat-file", "commit", "HEAD").encode() if done.code == 0 else b""


def check(folder: Path, arguments: str, settings: str, *, sure: bool = True) -> None:
    """Commit with and without hooks, and compare; unless it is *sure* what git does, more may be refused."""
    plain, hooked = Repository(folder / "plain"), guarded(folder / "hooked")
    message, key = folder / "message", made_key()
    for repository in (plain, hooked):
        repository.commit("-v")
        repository.write("-v", b"changed\n")
    for comment, editor in product("#;" if "comment" in settings else "#", (False, True)):
        message.write_bytes(written(comment, key))
        given = (message, ARGUMENTS[arguments], SETTINGS[settings])
        kept, passed = commit(plain, *given, editor=editor), commit(hooked, *given, editor=editor)
        assert b"a message" in kept
        assert key not in passed, (comment, editor)
        if sure:
            assert bool(passed) == (key not in kept), (comment, editor)


@pytest.mark.parametrize(("arguments", "settings"), sorted(CASES))
def test_what_git_keeps_below_scissors_is_scanned_and_what_it_cuts_off_is_not(
    arguments: str, settings: str, tmp_path: Path
) -> None:
    check(tmp_path, arguments, settings, sure=settings != "its own comment")


@pytest.mark.usefixtures("newer_git")
@pytest.mark.parametrize(("arguments", "settings"), [("nothing", "nothing"), ("strip", "verbose")])
def test_what_a_newer_git_keeps_is_scanned_too(arguments: str, settings: str, tmp_path: Path) -> None:
    check(
        tmp_path, arguments, settings, sure=False
    )  # the tests may start it in a way that does not show its options


@pytest.mark.parametrize(
    ("arguments", "editor", "kept"),
    [
        ([], True, False),
        ([], False, True),
        (["--cleanup=strip"], False, False),
        (["--cleanup=whitespace"], True, True),
        (["-v"], True, False),
        (["--cleanup=scissors"], True, True),
        (["-c", "core.commentChar=;"], True, True),
    ],
    ids=str,
)
def test_a_key_in_a_comment_is_an_alarm_where_git_keeps_it(
    arguments: list[str], tmp_path: Path, *, editor: bool, kept: bool
) -> None:
    repository, key = guarded(tmp_path / "repository"), made_key()
    message = repository.write("../message", b"words\n# " + key + b"\n")
    settings = arguments[:2] if arguments[:1] == ["-c"] else []
    source = [] if editor else ["--file", str(message)]
    words = [*settings, "commit", "--allow-empty", *source, *arguments[len(settings) :]]
    done = repository.attempt(*words, env={"GIT_EDITOR": f"cp '{message}'"})
    assert (done.code != 0) == kept
    assert key not in repository.git("cat-file", "commit", "HEAD").encode()


def test_an_untracked_file_with_a_key_in_its_name_is_no_alarm(tmp_path: Path) -> None:
    repository, key = guarded(tmp_path / "repository"), made_key()
    repository.write(key.decode())
    repository.git("commit", "--allow-empty", env={"GIT_EDITOR": "sed -i 1s/^/a-long-word-of-the-message/"})
    assert key not in repository.git("cat-file", "commit", "HEAD").encode()


def test_an_alias_is_understood(tmp_path: Path) -> None:
    repository = guarded(tmp_path / "repository")
    repository.leak("file", made_key())
    repository.add("file", b"clean\n")
    repository.git("config", "alias.ci", "commit --verbose")
    repository.git("ci", env={"GIT_EDITOR": "sed -i 1s/^/a-long-word-of-the-message/"})
    assert "a-long-word" in repository.git("log", "-1", "--format=%B")


def test_a_difference_that_was_left_from_another_commit_is_part_of_a_message(tmp_path: Path) -> None:
    repository = guarded(tmp_path / "repository")
    key = made_key()
    repository.leak("file", key)
    repository.add("file", b"clean\n")
    failing = {"GIT_EDITOR": "sh -c 'sed -i 1s/^/words/ \"$1\"; exit 1' sh"}
    assert repository.attempt("commit", "--verbose", env=failing).code != 0
    left = repository.directory / ".git/COMMIT_EDITMSG"
    assert key in left.read_bytes()
    repository.refuses("commit", "--file", left, key=key)
    done = repository.attempt("commit", "--verbose", "--file", left)
    assert (done.code, key in repository.git("cat-file", "commit", "HEAD").encode()) == (0, False)
    assert_silent(done, key)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("-avm v", {"all", "verbose", "message"}),
        ("-mv", {"message"}),
        ("-m -v", {"message"}),
        ("--message -v --amend", {"message", "amend"}),
        ("--message=-v", {"message"}),
        ("-v --no-verbose", {"no-verbose"}),
        ("--no-verbose -v", {"no-verbose", "verbose"}),
        ("a -v", {"--", "verbose"}),
        ("-- -v", {"--"}),
        ("--", set()),
        ("- -a", {"--", "all"}),
        ("--verb", None),
        ("-Sv", None),
        ("-x", None),
        ("--all=1", None),
        ("--something-new", None),
    ],
)
def test_the_options_of_a_commit_are_read_as_git_reads_them_or_not_at_all(
    words: str, options: set[str] | None
) -> None:
    found = caller.of_commit(words.split())
    assert (found if found is None else set(found)) == options
