"""Every way to have git store a key in the index, and a commit that the hook stops each time."""

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.guarded import Guarded, found, guarded
from support.repositories import Repository
from support.vaults import made_key

pytestmark = pytest.mark.usefixtures("each_git")

ATTRIBUTES = b"*.nd -diff\n*.sec binary\n*.tc diff=hide\n*.fl filter=hide\n*.id ident\n*.crlf text eol=crlf\n"
CONFIG = """\
[diff]
\texternal = true
\trelative = true
[color]
\tui = always
[diff "hide"]
\ttextconv = echo nothing #
"""


@pytest.fixture
def repository(tmp_path: Path) -> Guarded:
    """Give a repository with hooks, whose attributes and drivers hide what they can from ``git diff``."""
    made = guarded(tmp_path / "repository")
    made.commit(".gitattributes", ATTRIBUTES)
    with (made.directory / ".git/config").open("a") as file:
        file.write(CONFIG)
    return made


def _plain(repository: Guarded, key: bytes) -> str:
    repository.add("plain", b"first\nkey = " + key + b"\n")
    repository.write("plain", b"cleaned\n")
    return "plain:2:"


def _renamed(repository: Guarded, key: bytes) -> str:
    repository.commit("old", b"".join(b"line %d\n" % number for number in range(50)))
    repository.git("mv", "old", "new")
    repository.add("new", (repository.directory / "new").read_bytes() + key + b"\n")
    return "new:51:"


def _named(name: str, shown: str = "", line: int = 1) -> Callable[[Guarded, bytes], str]:
    def stage(repository: Guarded, key: bytes) -> str:
        repository.add(name, b"\n" * (line - 1) + b"key = " + key + b"\n")
        return f"{shown or name}:{line}:"

    return stage


def _holding(make: Callable[[bytes], bytes], line: int = 1) -> Callable[[Guarded, bytes], str]:
    def stage(repository: Guarded, key: bytes) -> str:
        repository.add("file", make(key))
        return f"file:{line}:"

    return stage


def _link(repository: Guarded, key: bytes) -> str:
    (repository.directory / "link").symlink_to(os.fsdecode(b"/nowhere/" + key))
    repository.git("add", "link")
    return "link:1:"


def _executable(repository: Guarded, key: bytes) -> str:
    repository.write("run.sh", b"#!/bin/sh\nexport KEY=" + key + b"\n").chmod(0o755)
    repository.git("add", "run.sh")
    return "run.sh:2:"


def _filtered(repository: Guarded, key: bytes) -> str:
    repository.git("config", "filter.hide.smudge", "echo nothing #")
    repository.git("config", "filter.hide.clean", "cat")
    return _named("file.fl")(repository, key)


def _assumed_unchanged(repository: Guarded, key: bytes) -> str:
    shown = _named("file")(repository, key)
    repository.git("update-index", "--assume-unchanged", "file")
    repository.write("file", b"cleaned\n")
    return shown


def _left_out_of_the_work_tree(repository: Guarded, key: bytes) -> str:
    shown = _named("file")(repository, key)
    repository.git("update-index", "--skip-worktree", "file")
    (repository.directory / "file").unlink()
    return shown


def _without_a_file(repository: Guarded, key: bytes) -> str:
    blob = repository.git("hash-object", "-w", "--stdin", data=key)
    repository.git("update-index", "--add", "--cacheinfo", f"100644,{blob},deep/file")
    return "deep/file:1:"


def _twice(repository: Guarded, key: bytes) -> str:
    _named("another")(repository, key)
    return _named("file")(repository, key)


def _replaced(repository: Guarded, key: bytes) -> str:
    shown = _named("file")(repository, key)
    clean = repository.git("hash-object", "-w", "--stdin", data=b"nothing\n")
    repository.git("replace", repository.git("rev-parse", ":file"), clean)
    return shown


def _in_a_split_index(repository: Guarded, key: bytes) -> str:
    repository.git("update-index", "--split-index")
    return _named("file")(repository, key)


def _in_place_of_a_folder(repository: Guarded, key: bytes) -> str:
    repository.commit("place/file")
    repository.git("rm", "--quiet", "-r", "place")
    return _named("place")(repository, key)


CASES = {
    "a file whose key the work tree no longer has": _plain,
    "a file that was renamed and edited": _renamed,
    "an attribute against differences": _named("file.nd"),
    "an attribute for binary files": _named("file.sec"),
    "a driver that shows other text": _named("file.tc"),
    "UTF-16 from the little end": _holding(lambda key: b"\xff\xfe" + key.decode().encode("utf-16-le")),
    "UTF-16 from the big end": _holding(lambda key: b"\xfe\xff" + key.decode().encode("utf-16-be")),
    "Latin-1": _holding(lambda key: b"caf\xe9 \xfc\n" + key + b" \xff\n", 2),
    "a NUL before it": _holding(lambda key: b"\0" + key),
    "base64": _holding(lambda key: b"data:\n  key: " + base64.b64encode(key) + b"\n", 2),
    "base64, one byte later": _holding(lambda key: base64.b64encode(b"x" + key)),
    "base64, two bytes later": _holding(lambda key: base64.b64encode(b"xy" + key)),
    "a name beyond ASCII": _named("schlüssel-鍵"),
    "a name that is no UTF-8": _named(os.fsdecode(b"caf\xe9"), "caf\\xe9"),
    "a blank in the name": _named("a file"),
    "a line end in the name": _named("a\nfile", "a\\x0afile"),
    "a tab and quotes in the name": _named('a\t"file"', 'a\\x09"file"'),
    "a name like an option": _named("--staged"),
    "a name like a pattern": _named("*[a]"),
    "a line like a header": _holding(lambda key: b"++ " + key + b"\n--- a\n+++ b\n"),
    "the target of a link": _link,
    "a file in a folder": _named("one/two/three/file", line=900),
    "an executable file": _executable,
    "a filter of content": _filtered,
    "an attribute for ident": _named("file.id"),
    "an attribute for line ends": _named("file.crlf"),
    "a file assumed to be unchanged": _assumed_unchanged,
    "a file left out of the work tree": _left_out_of_the_work_tree,
    "an entry that never had a file": _without_a_file,
    "two files of the same content": _twice,
    "an object with a replacement": _replaced,
    "a split index": _in_a_split_index,
    "a file in the place of a folder": _in_place_of_a_folder,
    "the attributes themselves": _named(".gitattributes"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_commit_is_stopped_however_the_key_is_stored(case: str, repository: Guarded, key: bytes) -> None:
    shown = CASES[case](repository, key)
    staged = repository.staged()
    said = repository.refuses("commit", "--message", "change", key=key)
    assert f"  {shown} Tailscale key " in said
    assert "pre-commit: " in said
    assert repository.staged() == staged
    assert repository.marks() == []


@pytest.mark.parametrize(
    "arguments",
    [["--all"], ["--", "README"], ["--only", "README"], ["--include", "README"], ["--all", "--amend"]],
    ids=" ".join,
)
def test_what_only_the_commit_itself_stages_is_scanned(
    arguments: list[str], repository: Guarded, key: bytes
) -> None:
    repository.write("README", b"key = " + key + b"\n")
    said = repository.refuses("commit", "--message", "change", *arguments, key=key)
    assert "README:1:" in said
    assert repository.git("diff", "--no-ext-diff", "--cached", "--name-only") == ""


def test_a_key_that_is_staged_does_not_stop_a_commit_of_another_file(repository: Guarded, key: bytes) -> None:
    repository.add("leak", key)
    repository.write("README", b"new\n")
    repository.git("commit", "--quiet", "--message", "change", "--", "README")
    assert repository.git("show", "HEAD:README") == "new"
    assert "leak:1:" in repository.refuses("commit", "--message", "change", key=key)


def test_the_first_commit_is_scanned(tmp_path: Path, key: bytes) -> None:
    repository = Guarded(tmp_path / "new", empty=True)
    repository.add("file", key)
    assert "file:1:" in repository.refuses("commit", "--message", "change", key=key)
    repository.add("file", b"clean\n")
    repository.git("commit", "--quiet", "--message", "change")


def test_the_first_commit_of_a_branch_without_history_is_scanned(repository: Guarded, key: bytes) -> None:
    repository.leak("file", key)
    repository.git("checkout", "--quiet", "--orphan", "new")
    assert "file:1:" in repository.refuses("commit", "--message", "change", key=key)


def test_a_repository_of_sha256_is_scanned(tmp_path: Path, key: bytes) -> None:
    repository = Guarded(tmp_path / "new", "--object-format=sha256")
    repository.add("file", key)
    assert "file:1:" in repository.refuses("commit", "--message", "change", key=key)
    repository.refuses("commit", "--no-verify", "--message", "change", key=key)
    repository.add("file", b"clean\n")
    repository.git("commit", "--quiet", "--message", "change")


def test_a_linked_work_tree_is_scanned(repository: Guarded, key: bytes, tmp_path: Path) -> None:
    repository.git("worktree", "add", "--quiet", "-b", "side", tmp_path / "linked")
    linked = found(tmp_path / "linked")
    linked.add("file", key)
    for more in ([], ["--no-verify"]):
        assert "file:1:" in linked.refuses("commit", "--message", "change", *more, key=key)
    linked.commit("file", b"clean\n")


def test_a_submodule_is_left_to_its_own_hooks(repository: Guarded, tmp_path: Path, key: bytes) -> None:
    inner = guarded(tmp_path / "inner")
    inner.leak("file", key)
    repository.git(
        "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.directory, "inner"
    )
    repository.git("commit", "--quiet", "--message", "change")
    assert repository.git("ls-files", "--stage", "inner").startswith("160000")


def test_an_index_of_the_users_own_is_scanned(repository: Guarded, key: bytes, tmp_path: Path) -> None:
    mine = {"GIT_INDEX_FILE": str(tmp_path / "mine")}
    repository.git("read-tree", "HEAD", env=mine)
    repository.write("file", key)
    repository.git("add", "file", env=mine)
    for more in ([], ["--no-verify"]):
        said = repository.refuses("commit", "--message", "change", *more, key=key, env=mine)
        assert "file:1:" in said
    repository.git("commit", "--quiet", "--allow-empty", "--message", "of the usual index")


def test_what_is_only_intended_to_be_added_is_not_committed_and_not_scanned(
    repository: Guarded, key: bytes
) -> None:
    repository.write("later", key)
    repository.git("add", "--intent-to-add", "later")
    repository.commit("now")
    assert repository.git("ls-tree", "--name-only", "HEAD", "later") == ""
    repository.git("add", "later")
    assert "later:1:" in repository.refuses("commit", "--message", "change", key=key)


def test_removing_a_key_is_no_alarm(repository: Guarded, key: bytes) -> None:
    repository.leak("file", key)
    repository.commit("file", b"clean\n")
    repository.leak("file", key)
    repository.git("rm", "--quiet", "file")
    repository.git("commit", "--quiet", "--message", "removed")


def test_a_key_in_the_name_of_a_file_is_found_and_not_printed(repository: Guarded, key: bytes) -> None:
    repository.add(f"keys/{key.decode()}.txt", b"nothing\n")
    said = repository.refuses("commit", "--message", "change", key=key)
    assert "  the name of a file keys/tskey-auth-" in said
    assert ".txt:1: Tailscale key" in said


def test_a_file_with_a_key_in_its_name_and_content_is_named_without_it(
    repository: Guarded, key: bytes
) -> None:
    repository.add(f"{key.decode()}.txt", made_key())
    said = repository.refuses("commit", "--message", "change", key=key)
    assert "2 keys found" in said
    for form in ("--json", "--sarif"):
        done = repository.vault("scan", form)
        assert done.code == 1
        assert key.rpartition(b"-")[2] not in done.out


def test_thousands_of_files_are_scanned_in_one_go(repository: Guarded, key: bytes) -> None:
    # More ids than a pipe holds.
    files = {f"file{number}": b"content %d\n" % number for number in range(5000)} | {"file4321": key}
    rows = b"".join(b"M 644 inline %s\ndata %d\n%s\n" % (n.encode(), len(it), it) for n, it in files.items())
    commit = b"commit refs/heads/many\ncommitter a <b> 0 +0000\ndata 0\n" + rows
    repository.git("fast-import", "--quiet", data=commit)
    repository.git("read-tree", "many")
    said = repository.refuses("commit", "--message", "change", key=key)
    assert "  file4321:1: " in said
    assert "scanned 5000 objects" in said


@pytest.mark.parametrize("name", ["outside/deep/file", "outside/new/file", "new/folder/file"])
def test_a_sparse_index_is_scanned_beyond_what_is_checked_out(
    name: str, repository: Guarded, key: bytes
) -> None:
    repository.commit("inside/file")
    repository.commit("outside/deep/file")
    repository.git("checkout", "--quiet", "-b", "side")
    repository.leak(name, key)
    repository.git("checkout", "--quiet", "main")
    repository.commit("inside/file", b"of main\n")
    repository.git("sparse-checkout", "set", "--cone", "--sparse-index", "inside")
    assert not (repository.directory / "outside").exists()
    for more in ([], ["--no-verify"]):
        said = repository.refuses("merge", "--no-edit", *more, "side", key=key)
        assert f"  {name}:1:" in said
        repository.git("merge", "--abort")
    repository.git("checkout", "--quiet", "-b", "clean", "side~1")
    repository.git("merge", "--quiet", "--no-edit", "main")


def test_objects_of_another_repository_are_scanned(repository: Guarded, key: bytes, tmp_path: Path) -> None:
    other = Repository(tmp_path / "other")
    blob = other.git("hash-object", "-w", "--stdin", data=key)
    alternates = repository.directory / ".git/objects/info/alternates"
    alternates.write_text(f"{other.directory}/.git/objects\n")
    repository.git("update-index", "--add", "--cacheinfo", f"100644,{blob},file")
    assert "file:1:" in repository.refuses("commit", "--message", "change", key=key)


def test_a_packed_object_is_scanned(repository: Guarded, key: bytes) -> None:
    repository.add("file", b"".join(b"line %d\n" % number for number in range(9000)) + key)
    repository.lets_by("commit", "--quiet", "--message", "change")
    repository.git("gc", "--quiet")
    repository.git("reset", "--quiet", "--soft", "HEAD~1")
    assert "file:9001:" in repository.refuses("commit", "--message", "change", key=key)


def test_a_commit_from_a_folder_scans_all_that_is_staged(repository: Guarded, key: bytes) -> None:
    repository.add("file", key)
    repository.add("deep/er/clean")
    said = repository.refuses("-C", "deep/er", "commit", "--message", "change", key=key)
    assert "  file:1: " in said


def test_a_clean_commit_says_nothing(repository: Guarded) -> None:
    repository.add("file", b"clean\n")
    done = repository.attempt("commit", "--quiet", "--message", "change")
    assert done == (0, b"", "")
