"""``.tskeyvault-allow`` and ``vault:allow``: what was found and may stay, and nothing beside it."""

import base64
import datetime as dt
import re
from pathlib import Path

import pytest

from support.guarded import Guarded, found, guarded
from support.repositories import Repository
from support.vaults import made_key

LIST = ".tskeyvault-allow"


@pytest.fixture
def repository(tmp_path: Path) -> Guarded:
    """Give a repository with hooks."""
    return guarded(tmp_path / "repository")


def fingerprint(said: str) -> str:
    """Return the fingerprint in a report."""
    found = re.search(r"\(fingerprint ([0-9a-f]{32})\)", said)
    assert found
    return found[1]


def allow(repository: Guarded, name: str, *more: str) -> None:
    """Let stand what *name* names, and stage the list."""
    done = repository.vault("scan", "--allow", name, "--reason", "a sample of the manual", *more)
    assert done.code == 0, done.err
    repository.git("add", LIST)


def day(distance: int) -> str:
    """Return the day that many days from now, UTC."""
    return str(dt.datetime.now(dt.UTC).date() + dt.timedelta(distance))


def commits(repository: Guarded, message: str = "change") -> None:
    """Commit what is staged, which has to pass."""
    repository.git("commit", "--quiet", "--message", message)


def test_what_is_allowed_is_committed_and_pushed(repository: Guarded, key: bytes, tmp_path: Path) -> None:
    repository.add("file", key)
    allow(repository, fingerprint(repository.refuses("commit", "--message", "change", key=key)))
    commits(repository)
    repository.git("remote", "add", "origin", Repository(tmp_path / "remote", "--bare").directory)
    repository.git("push", "--quiet", "origin", "main")
    assert repository.vault("scan", "--history").code == 0
    repository.add("another", b"elsewhere too: " + key)
    commits(repository)


def test_one_key_that_is_allowed_allows_no_other(repository: Guarded, key: bytes) -> None:
    repository.add("file", key)
    allow(repository, fingerprint(repository.refuses("commit", "--message", "change", key=key)))
    other = made_key()
    repository.add("file", key + b"\n" + other)
    said = repository.refuses("commit", "--message", "change", key=other)
    assert "1 key found" in said
    assert "  file:2:" in said


def test_the_list_has_one_sorted_line_each(repository: Guarded) -> None:
    names = ["f" * 32, "0" * 32, "a" * 32]
    for name in names:
        allow(repository, name)
    allow(repository, names[0], "--until", "2030-12-31")
    head, salt, *lines = (repository.directory / LIST).read_text().splitlines()
    assert head.startswith("# ")
    assert re.fullmatch(r"# salt [0-9a-f]{32}", salt)
    assert lines == [
        f"{'0' * 32} - a sample of the manual",
        f"{'a' * 32} - a sample of the manual",
        f"{'f' * 32} 2030-12-31 a sample of the manual",
    ]


def test_a_reason_has_words_and_no_key(repository: Guarded, key: bytes) -> None:
    for reason, said in (
        (f"like {key.decode()}", "the reason has a key in it"),
        (base64.b64encode(key).decode(), "the reason has a key in it"),
        ("-", "the reason has no word"),
        ("a 12", "the reason has no word"),
    ):
        done = repository.vault("scan", "--allow", "0" * 32, "--reason", reason)
        assert (done.code, said in done.err) == (2, True), done.err
        assert key.decode() not in done.err
        assert not (repository.directory / LIST).exists()


def test_lines_of_two_branches_are_merged_by_git(repository: Guarded) -> None:
    for name in ("0" * 32, "8" * 32, "f" * 32):
        allow(repository, name)
    commits(repository)
    repository.git("checkout", "--quiet", "-b", "side")
    allow(repository, "4" * 32)
    commits(repository)
    repository.git("checkout", "--quiet", "main")
    allow(repository, "c" * 32)
    commits(repository)
    repository.git("merge", "--quiet", "--no-edit", "side")
    assert len((repository.directory / LIST).read_text().splitlines()) == 7


def test_the_list_is_read_from_the_index_and_not_from_the_work_tree(repository: Guarded, key: bytes) -> None:
    repository.add("file", key)
    name = fingerprint(repository.refuses("commit", "--message", "change", key=key))
    assert repository.vault("scan", "--allow", name, "--reason", "a test").code == 0
    repository.refuses("commit", "--message", "change", key=key)
    repository.git("add", LIST)
    (repository.directory / LIST).unlink()
    commits(repository)


def test_a_list_that_is_staged_for_removal_allows_nothing(repository: Guarded, key: bytes) -> None:
    repository.add("file", key)
    allow(repository, fingerprint(repository.refuses("commit", "--message", "change", key=key)))
    commits(repository)
    repository.git("rm", "--quiet", LIST)
    repository.add("another", b"again: " + key)
    repository.refuses("commit", "--message", "change", key=key)


def test_a_commit_of_one_file_takes_no_exception_from_what_is_staged_beside_it(
    repository: Guarded, key: bytes
) -> None:
    repository.write("README", key)
    name = fingerprint(repository.refuses("commit", "--message", "change", "README", key=key))
    allow(repository, name)
    repository.refuses("commit", "--message", "change", "README", key=key)
    repository.git("commit", "--quiet", "--message", "change", "README", LIST)


@pytest.mark.parametrize(("distance", "passes"), [(-400, False), (-2, False), (1, True), (400, True)])
def test_an_entry_holds_until_its_day_is_over(
    distance: int, passes: bool, repository: Guarded, key: bytes
) -> None:
    repository.add("file", key)
    name = fingerprint(repository.refuses("commit", "--message", "change", key=key))
    allow(repository, name, "--until", day(3))
    text = (repository.directory / LIST).read_text()
    repository.add(LIST, text.replace(day(3), day(distance)).encode())
    if passes:
        commits(repository)
    else:
        said = repository.refuses("commit", "--message", "change", key=key)
        assert fingerprint(said) == name


def test_a_clone_has_the_same_fingerprints_and_exceptions(
    repository: Guarded, key: bytes, tmp_path: Path
) -> None:
    repository.add("file", key)
    name = fingerprint(repository.refuses("commit", "--message", "change", key=key))
    allow(repository, name)
    commits(repository)
    repository.git("clone", "--quiet", repository.directory, tmp_path / "clone")
    clone = found(tmp_path / "clone")
    assert clone.vault("hooks", "install").code == 0
    clone.commit("another", key)
    clone.git("rm", "--quiet", "--cached", LIST)
    clone.add("third", b"x\n" + key)
    assert fingerprint(clone.refuses("commit", "--message", "change", key=key)) != name


def test_a_repository_without_hooks_keeps_its_fingerprints_until_they_are_allowed(
    tmp_path: Path, key: bytes
) -> None:
    repository = Repository(tmp_path / "plain")
    repository.add("file", key)
    first, second = (repository.vault("scan").out.decode() for _ in range(2))
    assert fingerprint(first) == fingerprint(second)
    assert repository.vault("scan", "--allow", fingerprint(first), "--reason", "a test").code == 0
    repository.git("add", LIST)
    assert repository.vault("scan").code == 0


def test_two_repositories_have_different_fingerprints(tmp_path: Path, key: bytes) -> None:
    said = []
    for name in ("one", "two"):
        repository = Repository(tmp_path / name)
        repository.add("file", key)
        said.append(fingerprint(repository.vault("scan").out.decode()))
    assert said[0] != said[1]


DAMAGED = {
    "marks of a conflict": b"# salt 00\n<<<<<<< HEAD\n=======\n>>>>>>> side\n",
    "two salts": b"# salt 00\n# salt 01\n",
    "a word": b"# salt 00\nsomething\n",
    "a short fingerprint": b"# salt 00\n0123 - why\n",
    "a fingerprint that is none": b"# salt 00\n" + b"z" * 32 + b" - why\n",
    "a day that is none": b"# salt 00\n" + b"0" * 32 + b" 2030-02-30 why\n",
    "no reason": b"# salt 00\n" + b"0" * 32 + b" -\n",
    "a blank reason": b"# salt 00\n" + b"0" * 32 + b" -  \n",
    "no salt": b"0" * 32 + b" - why\n",
    "a salt that is none": b"# salt xy\n",
    "a salt too long": b"# salt " + b"00" * 65 + b"\n",
    "no UTF-8": b"# salt 00\n" + b"0" * 32 + b" - caf\xe9\n",
    "too much": b"# salt 00\n" + b"#\n" * (1 << 20),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_list_lets_nothing_pass(damage: str, repository: Guarded, key: bytes) -> None:
    repository.add(LIST, DAMAGED[damage])
    said = repository.refuses("commit", "--message", "change", key=key)
    assert LIST in said
    repository.lets_by("commit", "--quiet", "--message", "damaged")
    repository.add("file", key)
    for more in ([], ["--no-verify"]):
        said = repository.refuses("commit", "--message", "change", *more, key=key)
        assert LIST in said
        assert len([line for line in said.splitlines() if line.startswith("vault: ")]) == 1


def test_a_list_that_is_a_link_or_a_folder_lets_nothing_pass(repository: Guarded, key: bytes) -> None:
    repository.add("file", key)
    (repository.directory / LIST).symlink_to("/etc/passwd")
    repository.git("add", LIST)
    repository.refuses("commit", "--message", "change", key=key)
    (repository.directory / LIST).unlink()
    repository.add(f"{LIST}/file")
    repository.refuses("commit", "--message", "change", key=key)


def test_a_list_in_conflict_allows_nothing(repository: Guarded, key: bytes) -> None:
    repository.add("file", key)
    name = fingerprint(repository.refuses("commit", "--message", "change", key=key))
    allow(repository, name)
    blob = repository.git("rev-parse", f":{LIST}")
    repository.git("rm", "--quiet", "--cached", "--force", LIST)
    rows = "".join(f"100644 {blob} {stage}\t{LIST}\n" for stage in (1, 2, 3))
    repository.git("update-index", "--index-info", data=rows.encode())
    assert repository.vault("scan").code == 1


def conflicting(repository: Guarded, *secrets: bytes) -> None:
    """Let two branches allow one of *secrets* each, and merge them."""
    start = repository.git("rev-parse", "HEAD")
    for number, secret in enumerate(secrets):
        repository.git("checkout", "--quiet", "-b", f"side{number}", start)
        repository.add(f"file{number}", secret)
        allow(repository, fingerprint(repository.refuses("commit", "--message", "change", key=secret)))
        repository.git("add", LIST)
        commits(repository)
        (repository.directory / ".git/vault/salt").unlink(missing_ok=True)  # as in another clone
        assert repository.vault("hooks", "install").code == 0


@pytest.mark.parametrize("common", [True, False])
def test_a_list_that_two_branches_have_changed_is_merged_by_who_knows(
    common: bool, repository: Guarded, key: bytes
) -> None:
    if common:
        allow(repository, "0" * 32)
        repository.git("add", LIST)
        commits(repository)
    other = made_key()
    conflicting(repository, key, other)
    merged = repository.attempt("merge", "--no-edit", "side0")
    assert merged.code != 0
    assert f"CONFLICT ({'content' if common else 'add/add'}): Merge conflict in {LIST}" in merged.out.decode()
    repository.git("add", LIST)
    said = repository.refuses("commit", "--no-edit", key=key)
    told = [line for line in said.splitlines() if line.startswith("vault: ")]
    (told_line,) = told
    assert re.fullmatch(
        rf"vault: pre-commit: {LIST}: line [234] is a mark of a conflict, so nothing passes", told_line
    )
    assert "hint: keep the lines of both sides, one line with a salt" in said
    path = repository.directory / LIST
    path.write_text("".join(line for line in path.read_text().splitlines(True) if line[0] not in "<=>"))
    repository.git("add", LIST)
    if not common:
        said = repository.refuses("commit", "--no-edit", key=key)
        assert (
            f"vault: pre-commit: {LIST} has two lines with a salt, of two branches, so nothing passes" in said
        )
        lines = path.read_text().splitlines(keepends=True)
        (*_, last) = [line for line in lines if line.startswith("# salt ")]
        path.write_text("".join(line for line in lines if line != last))
        repository.git("add", LIST)
        said = repository.refuses("commit", "--no-edit", key=key)
        allow(repository, fingerprint(said))
        repository.git("add", LIST)
    commits(repository)
    for number, secret in enumerate((key, other)):
        repository.add(f"again{number}", secret)
    commits(repository)


def test_a_list_that_is_merged_by_union_keeps_all_lines(repository: Guarded, key: bytes) -> None:
    repository.add(".gitattributes", f"{LIST} merge=union\n".encode())
    allow(repository, "0" * 32)
    repository.git("add", LIST)
    commits(repository)
    other = made_key()
    conflicting(repository, key, other)
    repository.git("merge", "--quiet", "--no-edit", "side0")
    for number, secret in enumerate((key, other)):
        repository.add(f"again{number}", secret)
    commits(repository)


def test_lines_of_others_are_kept(repository: Guarded) -> None:
    repository.write(LIST, b"# salt 0123\n\n" + b"b" * 32 + b" 2031-01-31 of somebody else \xc3\xa9\r\n")
    allow(repository, "a" * 32)
    assert (repository.directory / LIST).read_text().splitlines()[1:] == [
        "# salt 0123",
        f"{'a' * 32} - a sample of the manual",
        f"{'b' * 32} 2031-01-31 of somebody else é",
    ]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--allow", "0" * 32], 2),
        (["--allow", "0" * 32, "--reason", " \n "], 2),
        (["--allow", "0" * 31, "--reason", "a test"], 6),
        (["--allow", "g" * 32, "--reason", "a test"], 6),
        (["--allow", "0" * 32, "--reason", "a test", "--until", "tomorrow"], 6),
        (["--allow", "0" * 32, "--reason", "a test", "file"], 2),
    ],
    ids=str,
)
def test_an_exception_that_is_not_complete_is_not_written(
    arguments: list[str], code: int, repository: Guarded
) -> None:
    done = repository.vault("scan", *arguments)
    assert done.code == code
    assert "Traceback" not in done.err
    assert not (repository.directory / LIST).exists()


def test_a_damaged_list_is_not_overwritten(repository: Guarded) -> None:
    repository.write(LIST, b"<<<<<<<\n")
    done = repository.vault("scan", "--allow", "0" * 32, "--reason", "a test")
    assert done.code == 6
    assert (repository.directory / LIST).read_bytes() == b"<<<<<<<\n"


@pytest.mark.parametrize(
    ("line", "passes"),
    [
        (b"key = KEY # vault:allow a sample of the manual", True),
        (b"<!-- vault:allow a sample --> KEY", True),
        (b"key = KEY # vault:allow", False),
        (b"key = KEY # vault:allow ", False),
        (b"key = KEY # vault:allow */", False),
        (b"# vault:allow a sample\nkey = KEY", False),
        (b"key = KEY\n# vault:allow a sample", False),
        (b"key = KEY # vault:allowed a sample", False),
    ],
    ids=str,
)
def test_a_line_that_says_why_may_have_a_key(
    line: bytes, passes: bool, repository: Guarded, key: bytes
) -> None:
    repository.add("file", b"a\n" + line.replace(b"KEY", key) + b"\nb\n")
    if passes:
        commits(repository)
    else:
        repository.refuses("commit", "--message", "change", key=key)
