"""What is pushed: every new object is scanned, where it leaves and where it arrives."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.guarded import Guarded, assert_silent, found, guarded, guarded_server
from support.repositories import Repository


@pytest.fixture
def client(tmp_path: Path) -> Guarded:
    """Give a repository with hooks, and a remote without any that has all of it."""
    return _with_remote(guarded(tmp_path / "client"), Repository(tmp_path / "remote", "--bare"))


@pytest.fixture
def sender(tmp_path: Path) -> Guarded:
    """Give a repository without hooks, and a remote with them that has all of it."""
    Repository(tmp_path / "client").commit("README")
    return _with_remote(found(tmp_path / "client"), guarded_server(tmp_path / "remote"))


def _with_remote(client: Guarded, remote: Repository) -> Guarded:
    client.git("remote", "add", "origin", remote.directory)
    client.git("push", "--quiet", "origin", "main")
    return client


def _remote(client: Guarded) -> Guarded:
    return found(client.directory.with_name("remote"))


def _branch(client: Guarded, key: bytes) -> list[str]:
    client.leak("file", b"a\nkey = " + key)
    return ["main"]


def _new_branch(client: Guarded, key: bytes) -> list[str]:
    client.leak("file", key)
    return ["main:refs/heads/new"]


def _second_of_three(client: Guarded, key: bytes) -> list[str]:
    client.git("branch", "clean")
    client.leak("file", key)
    client.git("branch", "leak")
    client.git("branch", "other", "clean")
    return ["clean", "leak", "other"]


def _last_of_many(client: Guarded, key: bytes) -> list[str]:
    for number in range(30):
        client.git("branch", f"a{number}")
    client.leak("file", key)
    client.git("branch", "z")
    return ["--all"]


def _beside_a_deletion(client: Guarded, key: bytes) -> list[str]:
    client.git("push", "--quiet", "origin", "main:old")
    client.leak("file", key)
    return [":old", "main"]


def _added_and_removed(client: Guarded, key: bytes) -> list[str]:
    client.leak("file", key)
    client.commit("file", b"clean\n")
    return ["main"]


def _message(client: Guarded, key: bytes) -> list[str]:
    client.lets_by("commit", "--quiet", "--allow-empty", "--file", "-", data=b"change\n\n" + key)
    return ["main"]


def _name(client: Guarded, key: bytes) -> list[str]:
    client.leak(f"deep/{key.decode()}/file", b"clean\n")
    return ["main"]


def _tag_message(client: Guarded, key: bytes) -> list[str]:
    client.git("tag", "--annotate", "--file", "-", "v1", data=b"release\n\n" + key)
    return ["v1"]


def _tag_of_a_tree(client: Guarded, key: bytes) -> list[str]:
    client.add("file", key)
    client.git("tag", "v1", client.git("write-tree"))
    client.git("rm", "--quiet", "--cached", "file")
    return ["--tags"]


def _forced(client: Guarded, key: bytes) -> list[str]:
    client.commit("file")
    client.git("push", "--quiet", "origin", "main")
    client.git("reset", "--quiet", "--hard", "HEAD~1")
    client.leak("file", key)
    return ["--force", "main"]


def _author(client: Guarded, key: bytes) -> list[str]:
    client.lets_by(
        "commit", "--quiet", "--allow-empty", "--author", f"{key.decode()} <a@b>", "--message", "x"
    )
    return ["main"]


def _committer(client: Guarded, key: bytes) -> list[str]:
    env = {"GIT_COMMITTER_EMAIL": f"{key.decode()}@example.org"}
    client.lets_by("commit", "--quiet", "--allow-empty", "--message", "x", env=env)
    return ["main"]


def _tagger(client: Guarded, key: bytes) -> list[str]:
    client.git("tag", "--annotate", "--message", "x", "v1", env={"GIT_COMMITTER_NAME": key.decode()})
    return ["v1"]


def _name_of_a_branch(client: Guarded, key: bytes) -> list[str]:
    client.git("branch", f"fix/{key.decode()}")
    return [f"fix/{key.decode()}"]


def _name_of_a_tag(client: Guarded, key: bytes) -> list[str]:
    client.git("tag", key.decode())
    return ["--tags"]


def _name_over_there(client: Guarded, key: bytes) -> list[str]:
    client.git("branch", "fine")
    return [f"fine:refs/heads/{key.decode()}"]


def _mirror(client: Guarded, key: bytes) -> list[str]:
    client.git("update-ref", "refs/elsewhere/x", client.git("hash-object", "-w", "--stdin", data=key))
    return ["--mirror"]


def _expression_with_blanks(client: Guarded, key: bytes) -> list[str]:
    client.leak("file", key)
    words = client.git("log", "-1", "--format=%s")
    client.commit("another")
    return [f"HEAD^{{/{words}}}:refs/heads/new"]


def _name_with_a_wide_blank(client: Guarded, key: bytes) -> list[str]:
    client.leak("file", key)
    client.git("branch", "a\u00a0b\u2003c\x85d")
    return ["a\u00a0b\u2003c\x85d"]


def _name_that_is_no_utf8(client: Guarded, key: bytes) -> list[str]:
    client.leak("file", key)
    client.git("branch", os.fsdecode(b"caf\xe9\x85"))
    return [os.fsdecode(b"caf\xe9\x85")]


def _behind_a_graft(client: Guarded, key: bytes) -> list[str]:
    client.leak("file", key)
    last = client.commit("file", b"clean\n")
    (client.directory / ".git/info/grafts").write_text(f"{last} {client.git('rev-parse', 'HEAD~2')}\n")
    return ["main"]


def _behind_a_replacement(client: Guarded, key: bytes) -> list[str]:
    client.leak("file", key)
    clean = client.git("hash-object", "-w", "--stdin", data=b"nothing\n")
    client.git("replace", client.git("rev-parse", "HEAD:file"), clean)
    return ["main"]


def _merge(client: Guarded, key: bytes) -> list[str]:
    client.git("checkout", "--quiet", "-b", "side")
    client.commit("file")
    client.git("checkout", "--quiet", "main")
    client.commit("another")
    client.git("merge", "--quiet", "--no-commit", "side")
    client.add("evil", key)
    client.lets_by("commit", "--quiet", "--no-edit")
    return ["main"]


def _history_of_another(client: Guarded, key: bytes) -> list[str]:
    client.git("checkout", "--quiet", "--orphan", "new")
    client.leak("file", key)
    return ["new"]


CASES: dict[str, Callable[[Guarded, bytes], list[str]]] = {
    "a branch": _branch,
    "a new branch": _new_branch,
    "the second of three branches": _second_of_three,
    "the last of many branches": _last_of_many,
    "a branch beside a deletion": _beside_a_deletion,
    "a key that was added and removed again": _added_and_removed,
    "a message of a commit": _message,
    "a name of a folder": _name,
    "a message of a tag": _tag_message,
    "a tag of a tree": _tag_of_a_tree,
    "a forced push": _forced,
    "a name of an author": _author,
    "an address of a committer": _committer,
    "a name of a tagger": _tagger,
    "a name of a branch": _name_of_a_branch,
    "a name of a tag": _name_of_a_tag,
    "a name of a branch over there": _name_over_there,
    "a mirror": _mirror,
    "a commit named by an expression with blanks": _expression_with_blanks,
    "a branch with other blanks in its name": _name_with_a_wide_blank,
    "a branch whose name is no UTF-8": _name_that_is_no_utf8,
    "what a graft hides": _behind_a_graft,
    "what a replacement hides": _behind_a_replacement,
    "what only a merge has": _merge,
    "a history of its own": _history_of_another,
}


OF_NAMES = ("a name of a branch", "a name of a tag", "a name of a branch over there")


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_key_does_not_leave(case: str, client: Guarded, key: bytes) -> None:
    arguments = CASES[case](client, key)
    there = _remote(client).refs()
    said = client.refuses("push", "origin", *arguments, key=key)
    assert "vault: pre-push: 1 key found, so nothing passes" in said
    assert _remote(client).refs() == there


@pytest.mark.parametrize("case", sorted(CASES.keys() - {"what a graft hides", *OF_NAMES}))
def test_a_key_does_not_arrive(case: str, sender: Guarded, key: bytes) -> None:
    arguments = CASES[case](sender, key)
    there = _remote(sender).refs()
    said = sender.refuses("push", "origin", *arguments, key=key)
    assert "remote: vault: pre-receive: 1 key found, so nothing passes" in said
    assert _remote(sender).refs() == there
    assert key not in _remote(sender).attempt("cat-file", "--batch-all-objects", "--batch").out


@pytest.mark.parametrize("damage", [b"<<<<<<< HEAD\n", b"# salt 00\n# salt 01\n", b"#" * (2 << 20)])
def test_what_would_damage_the_list_of_the_server_does_not_arrive(
    damage: bytes, sender: Guarded, key: bytes
) -> None:
    sender.commit(".tskeyvault-allow", damage)
    said = sender.refuses("push", "origin", "main", key=key)
    assert "remote: vault: pre-receive: .tskeyvault-allow" in said
    assert "remote: hint: " in said or damage.startswith(b"##")
    sender.git("push", "--quiet", "origin", "main:other")  # the list of HEAD alone counts
    sender.commit(".tskeyvault-allow", b"# salt 00\n")
    sender.git("push", "--quiet", "origin", "main")
    sender.git("rm", "--quiet", ".tskeyvault-allow")
    sender.git("commit", "--quiet", "--message", "without")
    sender.git("push", "--quiet", "origin", "main")


@pytest.mark.parametrize("case", OF_NAMES)
def test_a_ref_with_a_key_in_its_name_does_not_arrive(case: str, sender: Guarded, key: bytes) -> None:
    arguments = CASES[case](sender, key)
    there = _remote(sender).refs()
    done = sender.attempt("push", "origin", *arguments)  # git itself says which ref was refused
    said = [line for line in done.err.splitlines() if "vault" in line or "the name of the ref" in line]
    assert "remote: vault: pre-receive: 1 key found, so nothing passes" in said[0]
    assert not any(key.decode() in line for line in said)
    assert (done.code != 0, _remote(sender).refs()) == (True, there)


@pytest.mark.parametrize(
    ("case", "place"),
    [
        (_message, "the message of a commit:3"),
        (_author, "the header of a commit:3"),
        (_tag_message, "the message of a tag:3"),
        (_tagger, "the header of a tag:4"),
        (_name_of_a_tag, "the name of the ref refs/tags/tskey-"),
    ],
)
def test_the_report_of_a_push_says_where_outside_of_files_it_is(
    case: Callable[[Guarded, bytes], list[str]], place: str, client: Guarded, key: bytes
) -> None:
    assert f"\n  {place}" in client.refuses("push", "origin", *case(client, key), key=key)


def test_the_report_of_a_push_names_commit_and_path(client: Guarded, key: bytes) -> None:
    commit = client.leak("deep/schlüssel datei", b"a\nkey = " + key)
    client.commit("deep/schlüssel datei", b"clean\n")
    said = client.refuses("push", "origin", "main", key=key)
    assert "  deep/schlüssel datei:2: Tailscale key " in said
    assert f" in commit {commit[:7]}" in said


def test_what_one_remote_has_may_not_go_to_another(client: Guarded, key: bytes, tmp_path: Path) -> None:
    client.leak("file", key)
    client.git("push", "--quiet", "--no-verify", "origin", "main")
    client.git("remote", "add", "public", Repository(tmp_path / "other", "--bare").directory)
    client.refuses("push", "public", "main", key=key)
    client.git("push", "--quiet", "origin", "main:refs/heads/again")


def test_a_first_push_is_scanned_from_the_first_commit(tmp_path: Path, key: bytes) -> None:
    client = guarded(tmp_path / "client")
    client.leak("file", key)
    client.commit("file", b"clean\n")
    client.git("remote", "add", "origin", Repository(tmp_path / "remote", "--bare").directory)
    client.refuses("push", "--set-upstream", "origin", "main", key=key)


def test_what_holds_no_key_goes_through(client: Guarded) -> None:
    client.git("branch", "a\u00a0b")
    client.git("tag", "--annotate", "--message", "release", "v1")
    client.commit("file")
    for arguments in (["main"], ["--all"], ["--tags"], ["--delete", "a\u00a0b"], ["main"]):
        client.git("push", "--quiet", "origin", *arguments)
    assert "refs/tags/v1" in _remote(client).refs()
    assert "a\u00a0b" not in _remote(client).refs()


def test_a_ref_with_a_key_in_its_name_can_be_deleted(client: Guarded, key: bytes) -> None:
    client.git("push", "--quiet", "--no-verify", "origin", f"main:{key.decode()}")
    client.git("push", "--quiet", "origin", "--delete", key.decode())
    assert key.decode() not in _remote(client).refs()


def test_a_server_lets_a_ref_with_a_key_in_its_name_be_deleted(sender: Guarded, key: bytes) -> None:
    _remote(sender).git("branch", key.decode(), "main")
    sender.git("push", "--quiet", "origin", "--delete", key.decode())
    assert key.decode() not in _remote(sender).refs()


def test_what_holds_no_key_arrives(sender: Guarded) -> None:
    sender.git("branch", "a\u00a0b")
    sender.commit("file")
    for arguments in (["main"], ["--all"], ["--delete", "a\u00a0b"]):
        done = sender.attempt("push", "origin", *arguments)
        assert done.code == 0
        assert "vault" not in done.err


def test_an_object_that_no_ref_leads_to_does_not_arrive(sender: Guarded, key: bytes) -> None:
    there = _remote(sender)
    old = there.git("rev-parse", "main").strip()
    sender.commit("clean")
    new = sender.git("rev-parse", "HEAD").strip()
    ids = sender.git("rev-list", "--objects", "--no-object-names", f"{old}..{new}")
    ids += "\n" + sender.git("hash-object", "-w", "--stdin", data=key)
    packing = ["git", "-C", str(sender.directory), "pack-objects", "--stdout", "--quiet"]
    pack = subprocess.run(packing, input=f"{ids}\n".encode(), check=True, capture_output=True).stdout
    line = f"{old} {new} refs/heads/main\0 report-status\n"
    said = subprocess.run(
        ["git", "receive-pack", str(there.directory)],
        input=f"{len(line) + 4:04x}{line}0000".encode() + pack,
        check=False,
        capture_output=True,
    )
    assert b"pre-receive: 1 key found, so nothing passes" in said.stderr
    assert there.git("rev-parse", "main").strip() == old
    assert key not in there.attempt("cat-file", "--batch-all-objects", "--batch").out


def test_what_takes_an_old_key_away_arrives(sender: Guarded, key: bytes) -> None:
    there = _remote(sender)
    lines = b"".join(b"%d is a line of it\n" % number for number in range(200))
    there.git("config", "core.hooksPath", "/dev/null")
    sender.leak("file", lines + key + b"\n" + lines)
    sender.git("push", "--quiet", "--no-verify", "origin", "main")
    there.git("config", "--unset", "core.hooksPath")
    there.git(
        "config", "receive.unpackLimit", "1"
    )  # so the pack is kept, with the old file, which it builds on
    sender.write("file", lines + lines)
    sender.git("add", "file")
    sender.git("commit", "--quiet", "--message", "Take it away")
    sender.git("push", "--quiet", "origin", "main")
    assert there.git("rev-parse", "main") == sender.git("rev-parse", "main")


def test_one_key_stops_all_that_is_pushed_with_it(sender: Guarded, key: bytes) -> None:
    sender.commit("clean")
    sender.git("branch", "clean")
    sender.leak("file", key)
    sender.refuses("push", "origin", "clean", "main", key=key)
    sender.git("push", "--quiet", "origin", "clean")


def test_a_server_takes_no_exception_from_the_push_that_needs_it(sender: Guarded, key: bytes) -> None:
    server = _remote(sender)
    sender.leak("file", key)
    said = sender.refuses("push", "origin", "main", key=key)
    fingerprint = said.partition("fingerprint ")[2][:32]
    salt = (server.directory / "vault/salt").read_text()
    listed = f"# salt {salt}\n{fingerprint} - a sample\n".encode()
    sender.leak(".tskeyvault-allow", listed)
    sender.refuses("push", "origin", "main", key=key)
    sender.git("reset", "--quiet", "--hard", "HEAD~2")
    sender.commit(".tskeyvault-allow", listed)
    sender.git("push", "--quiet", "origin", "main")
    sender.leak("file", key)
    sender.git("push", "--quiet", "origin", "main")


def test_a_push_that_git_describes_in_another_way_is_stopped(client: Guarded) -> None:
    none = "0" * 40
    for line in (
        "refs/heads/main",
        f"main {none}",
        f"main HEAD refs/heads/main {none}",
        f"a\nb {none} c {none}",
    ):
        done = client.attempt(
            "hook", "run", "--to-stdin=/dev/stdin", "pre-push", "--", "origin", "x", data=line.encode()
        )
        assert done.code != 0


def test_a_shallow_clone_is_pushed_from(client: Guarded, key: bytes, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        client.commit(name)
    client.git("push", "--quiet", "origin", "main")
    Repository(tmp_path).git(
        "clone", "--quiet", "--depth", "1", f"file://{tmp_path}/remote", tmp_path / "shallow"
    )
    shallow = found(tmp_path / "shallow")
    assert shallow.vault("hooks", "install").code == 0
    shallow.commit("file")
    shallow.git("push", "--quiet", "origin", "main")
    shallow.leak("leak", key)
    shallow.refuses("push", "origin", "main", key=key)


def test_without_standard_error_a_push_is_stopped_all_the_same(client: Guarded, key: bytes) -> None:
    client.leak("file", key)
    there = _remote(client).refs()
    done = client.attempt("-c", "alias.p=!git push origin main 2>&-", "p")
    assert done.code != 0
    assert_silent(done, key)
    assert _remote(client).refs() == there


def test_a_server_does_not_let_a_line_allow_itself(sender: Guarded, key: bytes) -> None:
    sender.leak("file", key + b"  # vault:allow I say so\n")
    done = sender.attempt("push", "origin", "main")
    assert (done.code != 0, "so nothing passes" in done.err) == (True, True), done.err
    assert_silent(done, key)
