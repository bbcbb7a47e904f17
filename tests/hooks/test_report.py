"""What is said of findings: no more of a key than may be seen, in one line, as JSON and SARIF, and what to do now."""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import pytest

from support.repositories import Done, Repository
from support.vaults import PATH, made_key
from tskeyvault_hooks import advice, report
from tskeyvault_hooks.finder import Finder, Hit
from tskeyvault_hooks.scan import Finding, Scan, masked

FINGERPRINT = "0" * 32
UNDER_WAY = ("CHERRY_PICK_HEAD", "MERGE_HEAD", "REVERT_HEAD", "rebase-merge", "sequencer")
ODD_NAMES = [
    b".env",
    b"-rf",
    b"a b",
    b"a'b\"c$(x)`y`",
    b"a\nb",
    b"b\x1b[31m",
    b"back\\slash",
    b"glob*[a]?",
    b"latin-\xff",
    b"schl\xc3\xbcssel",
    b"sub/deep er/#x",
    b"tail ",
    b":colon:",
    b"x\xe2\x80\xaegnp.exe",
    b"~_@!",
]


def finding(path: str = "", place: str = "", kind: str = "Tailscale key", line: int = 1) -> Finding:
    """Return a finding of a new key."""
    hit = Hit(kind, made_key().rpartition(b"-")[2], line, allowed=False)
    return Finding(place, path, hit, FINGERPRINT, "")


def scan(*findings: Finding, objects: int = 1, size: int = 1) -> Scan:
    """Return a scan that found these."""
    done = Scan(Finder(), outside=True)
    done.findings = list(findings)
    done.objects, done.bytes = objects, size
    return done


def text_of(name: bytes) -> str:
    """Return a file name of git as the scanner has it."""
    return name.decode(errors="surrogateescape")


# For people


@pytest.mark.parametrize("size", [1, 11, 12, 15, 16, 31, 32, 63, 64, 128, 3000])
def test_of_a_key_at_most_four_characters_of_each_end_are_shown_and_an_eighth_in_all(size: int) -> None:
    secret = secrets.token_hex(size)[:size].encode()
    first, last = masked(secret).split("…")
    assert len(first) <= 4
    assert len(last) <= 4
    assert (len(first) + len(last)) * 8 <= size
    assert secret.startswith(first.encode())
    assert secret.endswith(last.encode())


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain", "plain"),
        ("schlüssel", "schlüssel"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\nb\rc\td", "a\\x0ab\\x0dc\\x09d"),
        ("a\x7f\x9b", "a\\x7f\\x9b"),
        ("a\u202eb", "a\\u202eb"),
        ("a\U000e0041b", "a\\U000e0041b"),
        ("a\udcffb", "a\\xffb"),
    ],
)
def test_a_name_is_shown_without_what_a_terminal_would_obey(name: str, shown: str) -> None:
    (line,) = report.lines([finding(name)])
    assert line.startswith(f"  {shown}:1: Tailscale key ")
    assert line.isprintable()


def test_a_long_name_is_cut_in_the_middle() -> None:
    (line,) = report.lines([finding("first/" + "x" * 4000 + "/last.yaml")])
    assert len(line) < 500
    assert line.startswith("  first/xxx")
    assert "x…x" in line
    assert "/last.yaml:1: " in line


def test_a_line_says_file_line_kind_masked_key_commit_and_fingerprint() -> None:
    found = finding("deploy.yaml", line=7)
    assert report.lines([found]) == [
        f"  deploy.yaml:7: Tailscale key {found.masked} (fingerprint {FINGERPRINT})"
    ]
    found.commit = "ab" * 20
    assert report.lines([found]) == [
        f"  deploy.yaml:7: Tailscale key {found.masked} in commit ababababab (fingerprint {FINGERPRINT})"
    ]


def test_a_key_in_the_name_of_a_file_is_told_from_one_in_the_file() -> None:
    (line,) = report.lines([finding("some/path", "the name of a file")])
    assert line.startswith("  the name of a file some/path:1: ")


def test_of_many_findings_fifty_are_shown() -> None:
    assert len(report.lines([finding("a")] * 50)) == 50
    lines = report.lines([finding("a")] * 73)
    assert (len(lines), lines[-1]) == (51, "  and 23 more")


def test_one_is_singular_and_more_are_plural() -> None:
    assert report.counted(scan(objects=0, size=0)) == "scanned 0 objects, 0 bytes"
    assert report.counted(scan(objects=1, size=1)) == "scanned 1 object, 1 byte"
    assert report.counted(scan(objects=2, size=10)) == "scanned 2 objects, 10 bytes"
    assert [report.total([finding("a")] * count) for count in range(3)] == [
        "no key found",
        "1 key found",
        "2 keys found",
    ]


# As JSON and SARIF


def test_json_has_the_same_keys_for_each_finding() -> None:
    told = report.as_json(scan(finding("a"), finding(place="standard input"), size=5))
    assert list(told) == ["findings", "objects", "bytes"]
    assert (told["objects"], told["bytes"]) == (1, 5)
    found = told["findings"]
    assert isinstance(found, list)
    keys = ["place", "path", "line", "kind", "masked", "fingerprint", "object", "commit"]
    assert [list(it) for it in found] == [keys, keys]
    assert [(it["place"], it["path"]) for it in found] == [("a", "a"), ("standard input", "")]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_json_is_text_whatever_a_name_is_made_of(name: bytes) -> None:
    told = json.dumps(report.as_json(scan(finding(text_of(name)))), ensure_ascii=False)
    back = json.loads(told.encode())["findings"][0]["path"]
    assert back == name.decode(errors="backslashreplace")


def check_sarif(log: object) -> list[dict[str, object]]:
    """Check *log* by what the schema of SARIF 2.1.0 asks of the parts that we use; return its results."""
    assert isinstance(log, dict)
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert set(run) == {"tool", "results"}
    driver = run["tool"]["driver"]
    assert set(driver) <= {"name", "version", "informationUri", "rules"}
    assert driver["name"]
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(ids) == len(set(ids))
    for rule in driver["rules"]:
        assert set(rule) == {"id", "shortDescription"}
        assert rule["shortDescription"]["text"]
    for result in run["results"]:
        assert set(result) == {"ruleId", "level", "message", "locations", "partialFingerprints"}
        assert result["ruleId"] in ids
        assert result["level"] == "error"
        assert result["message"]["text"]
        assert all(isinstance(value, str) for value in result["partialFingerprints"].values())
        (location,) = result["locations"]
        check_location(location)
    return list(run["results"])


def check_location(location: dict[str, dict[str, dict[str, object]]]) -> None:
    """Check a place in a file, or of another name."""
    if "logicalLocations" in location:
        (named,) = location["logicalLocations"]
        assert set(named) == {"fullyQualifiedName"}
        return
    place = location["physicalLocation"]
    assert set(place) == {"artifactLocation", "region"}
    assert isinstance(place["region"]["startLine"], int)
    assert place["region"]["startLine"] >= 1
    # RFC 3986: these characters alone, and no colon before the first slash of what is relative.
    uri = str(place["artifactLocation"]["uri"])
    assert re.fullmatch(r"(file:///)?(?:[A-Za-z0-9._~!$&'()*+,;=@/-]|%[0-9A-F]{2})+", uri)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_sarif_names_every_file_by_a_uri(name: bytes) -> None:
    (result,) = check_sarif(report.as_sarif(scan(finding(text_of(name), line=3)), "1.0"))
    place = json.loads(json.dumps(result))["locations"][0]["physicalLocation"]
    assert unquote_to_bytes(place["artifactLocation"]["uri"]) == name
    assert place["region"] == {"startLine": 3}


def test_sarif_names_a_file_by_its_whole_path_where_that_was_given() -> None:
    (result,) = check_sarif(report.as_sarif(scan(finding("/srv/a b")), "1.0"))
    uri = json.loads(json.dumps(result))["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert (urlsplit(uri).scheme, urlsplit(uri).netloc, urlsplit(uri).path) == ("file", "", "/srv/a%20b")


def test_sarif_has_one_rule_for_each_kind_and_one_for_all_values_of_the_vault() -> None:
    kinds = ["Tailscale key", "age secret key", "value of secret 'a'", "value of secret 'b'", "Tailscale key"]
    log = report.as_sarif(scan(*(finding("a", kind=kind) for kind in kinds)), "1.0")
    results = check_sarif(log)
    assert [result["ruleId"] for result in results] == [
        "tailscale-key",
        "age-secret-key",
        "own-value",
        "own-value",
        "tailscale-key",
    ]
    assert {str(result["partialFingerprints"]) for result in results} == {f"{{'vault/v1': '{FINGERPRINT}'}}"}
    rules = json.loads(json.dumps(log))["runs"][0]["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["age-secret-key", "own-value", "tailscale-key"]


def test_sarif_of_what_is_no_file_and_of_nothing_is_valid_too() -> None:
    (result,) = check_sarif(report.as_sarif(scan(finding(place="the message of the commit")), "1.0"))
    assert result["locations"] == [
        {"logicalLocations": [{"fullyQualifiedName": "the message of the commit"}]}
    ]
    assert check_sarif(report.as_sarif(scan(), "1.0")) == []


# What to do now


def shell(command: str, cwd: Path, **env: str) -> None:
    """Do in a shell what a hint says."""
    done = in_a_shell(command, cwd, **env)
    assert done.code == 0, f"{command}: {done.err}"


def in_a_shell(command: str, cwd: Path, **env: str) -> Done:
    """Do in a shell what a hint says, however it ends."""
    done = subprocess.run(
        ["sh", "-euc", command],
        cwd=cwd,
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, **env},
    )
    return Done(done.returncode, done.stdout, done.stderr.decode())


def command(said: str, what: str) -> str:
    """Return the command of the hint that begins with *what* in the standard error *said*."""
    found = re.findall(rf"^hint: {re.escape(what)}.*?:  (.*)$", said, re.MULTILINE)
    assert len(found) == 1, said
    return str(found[0])


@pytest.fixture
def work(tmp_path: Path) -> Repository:
    """Give a repository with hooks, one commit, and a subfolder."""
    made = Repository(tmp_path / "work")
    made.commit("sub/one")
    assert made.vault("hooks", "install").code == 0
    return made


def staged(work: Repository) -> set[str]:
    """Return the names of what is staged."""
    out = work.git("diff", "--cached", "--name-only", "-z", "--no-renames")
    return set(out.split("\0")) - {""}


@pytest.mark.parametrize("first", [False, True], ids=["later commit", "first commit"])
def test_the_command_takes_out_just_the_file_with_the_key_whatever_it_is_called(
    tmp_path: Path, *, first: bool
) -> None:
    work = Repository(tmp_path / "work")
    if not first:
        work.commit("sub/one")
    names = [text_of(name) for name in ODD_NAMES]
    for name in [*names, "sub/other", "aXb"]:
        work.write(name, made_key() if name in names else b"something\n")
    work.git("add", ".")
    done = work.vault("scan")
    assert (done.code, done.out.count(b"\n")) == (1, len(names))
    take_out = command(done.err, "take it out of this commit")
    assert take_out.isprintable()
    shell(take_out, work.directory / "sub")
    assert staged(work) == {"sub/other", "aXb"}
    assert all((work.directory / name).exists() for name in names)
    assert work.vault("scan").code == 0


def test_where_the_names_are_too_many_for_a_line_all_is_taken_out(work: Repository) -> None:
    for number in range(40):
        work.write(f"{'x' * 60}{number}", made_key())
    work.git("add", ".")
    shell(command(work.vault("scan").err, "take it out of this commit"), work.directory / "sub")
    assert staged(work) == set()


def test_a_first_commit_with_a_file_that_was_cleaned_since_is_unstaged_too(tmp_path: Path) -> None:
    work = Repository(tmp_path / "work")
    work.add("a", made_key())
    work.write("a", b"clean\n")
    shell(command(work.vault("scan").err, "take it out of this commit"), work.directory)
    assert staged(work) == set()
    assert (work.directory / "a").read_bytes() == b"clean\n"


def test_after_a_blocked_commit_each_of_the_ways_on_lets_the_next_one_pass(work: Repository) -> None:
    work.add("a", made_key())
    work.add("b")
    blocked = work.attempt("commit", "--message", "x")
    assert blocked.code == 1
    shell(command(blocked.err, "take it out of this commit"), work.directory)
    work.git("commit", "--message", "x")
    assert work.git("show", "--name-only", "--format=") == "b"

    work.git("add", "a")
    blocked = work.attempt("commit", "--message", "y")
    allow = command(blocked.err, "or, when it is no secret")
    path = os.pathsep.join([str(vault_on_path(work.directory.parent)), os.environ["PATH"]])
    shell(allow, work.directory / "sub", PATH=path)
    work.git("commit", "--message", "y")
    assert work.git("show", "--name-only", "--format=") == ".tskeyvault-allow\na"
    assert "hint: keep it in the vault:  vault insert NAME\n" in blocked.err
    assert "hint: what was ever pushed or shown has to be revoked\n" in blocked.err


def vault_on_path(scratch: Path) -> Path:
    """Return a directory with a program ``vault``, which is the checkout's."""
    program = scratch / "bin/vault"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nPYTHONPATH={PATH} exec {sys.executable} -m tskeyvault "$@"\n')
    program.chmod(0o755)
    return program.parent


def test_commit_a_is_not_told_to_unstage_what_is_not_staged(work: Repository) -> None:
    work.write("sub/one", made_key())
    blocked = work.attempt("commit", "--all", "--message", "x")
    assert blocked.code == 1
    assert "hint: take it out of the file, and commit again\n" in blocked.err
    assert "git restore" not in blocked.err


@pytest.mark.parametrize("how", ["am", "cherry-pick", "merge", "merge --no-verify", "rebase"])
def test_an_operation_that_is_blocked_can_be_given_up_by_the_command_that_is_named(
    tmp_path: Path, how: str
) -> None:
    work = Repository(tmp_path / "work")
    start = work.commit("a")
    work.git("switch", "--quiet", "--create", "side")
    work.commit("b", made_key())
    patch = work.write("../patch", work.attempt("format-patch", "-1", "--stdout").out)
    work.git("branch", "key")
    work.git("switch", "--quiet", "--create", "own", start)
    work.commit("c")
    work.vault("hooks", "install")
    branch, before = work.git("branch", "--show-current"), work.git("rev-parse", "HEAD")
    arguments = {
        "am": ["am", str(patch)],
        "cherry-pick": ["cherry-pick", "key"],
        "merge": ["merge", "--no-edit", "key"],
        "merge --no-verify": ["merge", "--no-edit", "--no-verify", "key"],
        "rebase": ["rebase", "own", "key"],
    }[how]
    blocked = work.attempt(*arguments)
    assert blocked.code != 0
    assert work.git("log", "--format=%h", f"{before}..HEAD") == ""
    give_up = command(blocked.err, "take it out of the file and git add that, or give it all up")
    assert give_up == f"git {how.split(maxsplit=1)[0]} --abort"
    shell(give_up, work.directory)
    assert work.git("status", "--porcelain") == ""
    if how != "rebase":
        assert (work.git("branch", "--show-current"), work.git("rev-parse", "HEAD")) == (branch, before)


def _in_the_message(work: Repository, key: str, *arguments: str) -> Done:
    return work.attempt("commit", "--message", f"words\n\nand {key}", *arguments)


def _staged(work: Repository, key: str) -> Done:
    work.add("a")
    return _in_the_message(work, key)


def _amended(work: Repository, key: str) -> Done:
    return _in_the_message(work, key, "--amend")


def _all(work: Repository, key: str) -> Done:
    work.write("sub/one", b"changed\n")
    return _in_the_message(work, key, "-a", "--no-verify")


def _empty(work: Repository, key: str) -> Done:
    return _in_the_message(work, key, "--allow-empty", "--quiet", "--signoff")


def _verbose(work: Repository, key: str) -> Done:
    work.write("sub/one", b"changed\n")
    return work.attempt("commit", "-av", env={"GIT_EDITOR": f"sed -i '1s/^/words\\n\\nand {key}/'"})


def _begun(work: Repository, key: str) -> Repository:
    """Make the branches ``side``, with *key* in two messages of somebody else, and ``own``, which is another way."""
    work.git("switch", "--quiet", "--create", "side")
    for name in "ab":
        work.add(name)
        tree, text = work.git("write-tree"), f"words {key}"
        made = work.git("commit-tree", tree, "-p", "HEAD", "-m", text, env={"GIT_AUTHOR_NAME": "Another"})
        work.git("update-ref", "HEAD", made)
    work.git("switch", "--quiet", "--create", "own", "HEAD~2")
    work.commit("c")
    return work


def _merge(work: Repository, key: str) -> Done:
    return _begun(work, key).attempt("merge", "-m", f"words\n\nand {key}", "side")


def _end_of_a_merge(work: Repository, key: str) -> Done:
    _begun(work, key).git("merge", "--no-commit", "side")
    return _in_the_message(work, key)


def _cherry_pick(work: Repository, key: str) -> Done:
    return _begun(work, key).attempt("cherry-pick", "side~1")


def _two_cherry_picks(work: Repository, key: str) -> Done:
    return _begun(work, key).attempt("cherry-pick", "side~1", "side")


def _end_of_a_cherry_pick(work: Repository, key: str) -> Done:
    _cherry_pick(work, key)
    return work.attempt("cherry-pick", "--continue", env={"GIT_EDITOR": "true"})


def _revert(work: Repository, key: str) -> Done:
    _begun(work, key).git("reset", "--quiet", "--hard", "side")
    return work.attempt("revert", "--no-edit", "HEAD")


def _rebase(work: Repository, key: str) -> Done:
    return _begun(work, key).attempt("rebase", "own", "side")


def _reword(work: Repository, key: str) -> Done:
    for name in "ab":
        work.commit(name)
    env = {
        "GIT_SEQUENCE_EDITOR": "sed -i 1s/^pick/reword/",
        "GIT_EDITOR": f"sed -i '1s/^/words\\n\\nand {key}/'",
    }
    return work.attempt("rebase", "--interactive", "HEAD~2", env=env)


# By how many commits each brings, when it is done.
WAYS: dict[Callable[[Repository, str], Done], int] = {
    _staged: 1, _amended: 1, _all: 1, _empty: 1, _verbose: 1, _merge: 1, _end_of_a_merge: 1, _cherry_pick: 1,
    _two_cherry_picks: 2, _end_of_a_cherry_pick: 1, _revert: 1, _rebase: 2, _reword: 2,
}  # fmt: skip


@pytest.mark.parametrize("how", WAYS, ids=lambda how: how.__name__[1:].replace("_", " "))
def test_a_message_with_a_key_can_be_mended_by_the_command_that_is_named(
    work: Repository, how: Callable[[Repository, str], Done]
) -> None:
    work.commit("two")
    key = made_key().decode()
    done = how(work, key)
    editor = f"sed -i -e 's/{key}//' -e '/^Signed-off/d'"
    for _ in range(WAYS[how]):  # another commit of the same operation may have a key of its own
        if done.code == 0:
            break
        command_ = command(done.err, "take it out of the message")
        done = in_a_shell(command_, work.directory / "sub", GIT_EDITOR=editor)
    assert done.code == 0, done.err
    assert not any((work.directory / ".git" / name).exists() for name in UNDER_WAY)
    assert work.git("status", "--porcelain") == ""
    messages = work.git("log", "--first-parent", f"-{WAYS[how]}", "--format=%an%n%B")
    assert key not in messages
    assert "words" in messages
    assert ("Another" in messages) == (
        how in {_cherry_pick, _two_cherry_picks, _end_of_a_cherry_pick, _rebase}
    )
    assert "diff --git" not in messages


@pytest.mark.parametrize(
    "more", [["staged"], ["--author", "a <b@c>"], ["--reset-author", "--amend", "--verb"]]
)
def test_what_is_not_done_by_a_command_is_to_be_done_as_before(work: Repository, more: list[str]) -> None:
    work.add("staged")
    said = _in_the_message(work, made_key().decode(), *more).err
    assert "hint: take it out of the message, and commit again as before\n" in said


def test_a_blocked_push_of_the_last_commit_is_mended_by_amending(tmp_path: Path, work: Repository) -> None:
    Repository(tmp_path / "server", "--bare")
    work.git("remote", "add", "origin", "../server")
    work.git("push", "--quiet", "origin", "HEAD")
    work.add("a", made_key())
    work.slip()
    blocked = work.attempt("push", "origin", "HEAD")
    assert blocked.code == 1
    assert "  a:1: Tailscale key " in blocked.err
    assert f" in commit {work.git('rev-parse', 'HEAD')[:10]} " in blocked.err
    amend = command(blocked.err, "take it out of the last commit")
    assert amend == "git add the file without it, and git commit --amend"
    work.add("a")
    work.git("commit", "--amend", "--no-edit")
    work.git("push", "origin", "HEAD")


@pytest.mark.parametrize("first", [False, True], ids=["later commit", "first commit"])
def test_a_blocked_push_of_an_older_commit_is_mended_by_the_command_that_is_named(
    tmp_path: Path, *, first: bool
) -> None:
    server = Repository(tmp_path / "server", "--bare")
    work = Repository(tmp_path / "work")
    if not first:
        work.commit("zero")
    oldest = work.commit("a b", made_key())
    work.commit("c", made_key())
    work.commit("d")
    work.vault("hooks", "install")
    blocked = work.attempt("push", str(server.directory), "HEAD")
    assert blocked.code == 1
    rebase = command(blocked.err, "take it out of its commit")
    assert rebase == f"git rebase --interactive {'--root' if first else f'{oldest[:10]}^'}"
    shell(f"{rebase} --quiet", work.directory, GIT_SEQUENCE_EDITOR="sed -i s/^pick/edit/")
    for _ in range(9):
        if not (work.directory / ".git/rebase-merge").exists():
            break
        for name in ("a b", "c"):
            if (work.directory / name).exists():
                work.add(name)
        work.attempt("rebase", "--continue", env={"GIT_EDITOR": "true"})
    work.git("push", str(server.directory), "HEAD")
    assert server.vault("scan", "--history").code == 0


def test_a_tag_with_a_key_in_its_message_is_to_be_made_anew(tmp_path: Path, work: Repository) -> None:
    server = Repository(tmp_path / "server", "--bare")
    work.git("tag", "--annotate", "--message", made_key().decode(), "v1")
    blocked = work.attempt("push", str(server.directory), "v1")
    assert "  the message of a tag:" in blocked.err
    anew = command(blocked.err, "take it out of the tag").replace("NAME", "v1")
    shell(anew, work.directory, GIT_EDITOR="echo fine >")
    work.git("push", str(server.directory), "v1")


def test_an_author_and_names_with_a_key_are_mended_by_the_commands_that_are_named(
    tmp_path: Path, work: Repository
) -> None:
    server = Repository(tmp_path / "server", "--bare")
    work.add("a")
    keys = [made_key().decode() for _ in range(3)]
    work.git("commit", "--quiet", "--message", "x", "--author", f"{keys[0]} <a@b>")
    work.git("tag", keys[1])
    work.git("branch", "--move", keys[2])
    blocked = work.attempt("push", server.directory, keys[1], keys[2])
    assert blocked.err.count("\n  the ") == 3
    shell(command(blocked.err, "of its author or committer"), work.directory, GIT_EDITOR="true")
    shell(command(blocked.err, "give the branch another name").replace("OLD NEW", "fine"), work.directory)
    retag = command(blocked.err, "give the tag another name").replace("OLD", keys[1]).replace("NEW", "v1")
    shell(f"{retag} && git tag --force v1 fine", work.directory)  # it was on the commit of that author
    work.git("push", server.directory, "fine", "v1")
    assert server.vault("scan", "--history").code == 0


def test_a_server_says_what_a_clone_can_do(tmp_path: Path) -> None:
    server, work = Repository(tmp_path / "server", "--bare"), Repository(tmp_path / "work")
    assert server.vault("hooks", "install", "--server").code == 0
    oldest = work.commit("a", made_key())
    work.commit("b")
    blocked = work.attempt("push", str(server.directory), "HEAD")
    assert blocked.code == 1
    said = re.sub(r"^remote: (.*?) *$", r"\1", blocked.err, flags=re.MULTILINE)
    assert f" in commit {oldest[:10]} " in said
    assert command(said, "take it out of its commit") == "git rebase --interactive --root"
    assert "hint: it has left the machine that it was on: revoke it\n" in said
    assert "scan in your clone, allow it there" in said
    assert "--allow" not in said


def test_what_a_blocked_commit_left_behind_goes_by_the_command_that_is_named(work: Repository) -> None:
    work.add("a", made_key())
    assert work.attempt("commit", "--message", "x").code == 1
    work.git("restore", "--staged", "a")
    left = work.vault("scan", "--history")
    assert left.code == 1
    assert "git filter-repo" not in left.err
    shell(command(left.err, "remove what no commit has"), work.directory)
    assert work.vault("scan", "--history").code == 0


def test_a_history_with_a_key_is_to_be_rewritten_and_the_key_revoked(work: Repository) -> None:
    work.add("a", made_key())
    work.slip()
    said = work.vault("scan", "--history").err
    assert "git filter-repo --replace-text FILE" in said
    assert "git gc" not in said
    assert "hint: what was ever pushed or shown has to be revoked\n" in said


def test_a_value_that_is_in_the_vault_is_not_to_be_put_there() -> None:
    own = finding("a", kind="value of secret 'x'")
    assert not [line for line in advice.lines([own], advice.FILES) if "vault insert" in line]
    assert [line for line in advice.lines([own, finding("a")], advice.FILES) if "vault insert" in line]
