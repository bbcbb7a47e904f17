"""``vault scan``: what it reads, what it says where, its exit codes, and that it never says a key."""

import base64
import json
import os
import secrets
import string
from collections.abc import Callable
from pathlib import Path

import pytest

from support.repositories import Repository
from support.vaults import Made, Result, made_key, make_vault, run_vault

ALLOWED = ".tskeyvault-allow"
WINDOW = 8
"""Characters of a key in a row that stand nowhere by chance."""


def letters(alphabet: str, size: int) -> str:
    """Return so many random characters of *alphabet*."""
    return "".join(secrets.choice(alphabet) for _ in range(size))


def wrapped_key() -> bytes:
    """Return an auth key that is wrapped for Tailnet Lock."""
    parts = (base64.b64encode(secrets.token_bytes(size)).rstrip(b"=") for size in (40, 64))
    return made_key() + b"--TL" + b"-".join(parts)


def headscale_key() -> bytes:
    """Return a pre-auth key of Headscale."""
    hexadecimal = "0123456789abcdef"
    return "-".join(("hskey", "auth", letters(hexadecimal, 12), letters(hexadecimal, 64))).encode()


def armored_key() -> bytes:
    """Return a private key in PEM."""
    text = base64.encodebytes(secrets.token_bytes(120)).decode()
    return "".join(
        f"-----{word} PRIVATE KEY-----\n{body}" for word, body in (("BEGIN", text), ("END", ""))
    ).encode()


KEYS: dict[str, Callable[[], bytes]] = {
    "Tailscale": made_key,
    "wrapped": wrapped_key,
    "Headscale": headscale_key,
    "node": lambda: ":".join(("privkey", secrets.token_hex(32))).encode(),
    "age": lambda: "".join(
        ("AGE-SECRET", "-KEY-1", letters("023456789ACDEFGHJKLMNPQRSTUVWXYZ", 58))
    ).encode(),
    "armored": armored_key,
    "base64": lambda: base64.b64encode(b"key: " + made_key()),
    "UTF-16": lambda: made_key().decode().encode("utf-16"),
    "own value": lambda: letters(string.ascii_letters + string.digits, 24).encode(),
}


def secret_of(kind: str, key: bytes) -> bytes:
    """Return the part of *key* that nobody may see."""
    if kind == "base64":
        key = base64.b64decode(key)
    if kind == "UTF-16":
        key = key.decode("utf-16").encode()
    if kind == "armored":
        return b"".join(key.splitlines()[1:-1])
    return key.rpartition(b":" if kind == "node" else b"-")[2]


def shows(said: bytes, secret: bytes) -> bool:
    """Tell whether some of *secret* stands in *said*: more than its masked form has."""
    return any(secret[at : at + WINDOW] in said for at in range(len(secret) - WINDOW + 1))


@pytest.fixture
def work(tmp_path: Path) -> Repository:
    """Give a repository with one commit."""
    made = Repository(tmp_path / "work")
    made.commit("README")
    return made


def places(done: Result) -> list[str]:
    """Return the places that ``vault scan --json`` found."""
    return [it["place"] for it in json.loads(done.out)["findings"]]


def one_line(done: Result, code: int) -> str:
    """Return the message of a failure: one line, a hint perhaps, and nothing on standard output."""
    assert (done.code, done.out) == (code, b"")
    first, *rest = done.err.splitlines()
    assert first.startswith("vault: ")
    assert [line for line in rest if not line.startswith("hint: ")] == []
    return first.removeprefix("vault: ")


# What is never said


def test_a_key_of_no_kind_stands_in_any_output(work: Repository) -> None:
    keys = {kind: make() for kind, make in KEYS.items()}
    make_vault(work.directory)
    work.vault("insert", "web/password", data=keys["own value"])
    assert work.vault("hooks", "refresh").code == 0
    assert work.vault("hooks", "install").code == 0
    for kind, key in keys.items():
        work.write(f"keys/{kind}", key if kind == "UTF-16" else b"first\nkey: " + key + b"\n")
    work.git("add", "keys")
    forms: tuple[list[str], ...] = ([], ["--json"], ["--sarif"])
    done = [work.vault("scan", *what, *form) for what in ([], ["keys"]) for form in forms]
    everything = b"\n".join(key for kind, key in keys.items() if kind != "UTF-16")
    done += [work.vault("scan", "--stdin", *form, data=everything) for form in forms]
    blocked = work.attempt("commit", "--message", "x")
    work.slip()
    done += [work.vault("scan", option) for option in ("--history", "--range=HEAD")]
    assert [it.code for it in done] == [1] * len(done)
    assert blocked.code == 1
    for said in (done[0].out, done[3].out, blocked.err.encode(), done[-2].out, done[-1].out):
        assert [kind for kind in keys if f"keys/{kind}:".encode() not in said] == []
    assert b" in commit " in done[-1].out
    said = b"".join([*(it.out + it.err.encode() for it in done), blocked.out, blocked.err.encode()])
    assert [kind for kind, key in keys.items() if shows(said, secret_of(kind, key))] == []


@pytest.mark.parametrize("coded", [False, True], ids=["plain", "base64"])
def test_a_key_in_the_name_of_a_file_is_found_and_stands_in_no_output(
    work: Repository, *, coded: bool
) -> None:
    key = made_key()
    name = key.decode()
    if coded:
        while "/" in (name := base64.b64encode(b"key: " + key).decode().strip("=")):
            key = made_key()
    secret = name.encode() if coded else key.rpartition(b"-")[2]
    work.add(f"keys/{name}.txt", made_key())
    said = [work.vault("scan", *options) for options in ([], ["--json"], ["--sarif"], ["keys"])]
    assert [done.code for done in said] == [1] * 4
    assert b"the name of a file" in said[0].out
    work.git("commit", "--quiet", "--message", "x")
    said += [work.vault("scan", "--history"), work.vault("scan", "--range", "HEAD")]
    (work.directory / "keys" / f"{name}.txt").chmod(0)
    assert not [done for done in said if shows(done.out + done.err.encode(), secret)]


def test_a_key_that_is_put_in_the_wrong_place_is_not_repeated(work: Repository) -> None:
    key = made_key().decode()
    wrong = (
        ["--range", key],
        ["--range", f"{key}..HEAD"],
        [key],
        ["--allow", key, "--reason", "a test"],
        ["--allow", "0" * 32, "--reason", "a test", "--until", key],
        ["--history", key],
        ["--staged", key],
    )
    for arguments in wrong:
        done = work.vault("scan", *arguments)
        assert done.code in {2, 6}
        assert not shows(done.out + done.err.encode(), key.rpartition("-")[2].encode()), arguments[0]
    assert not (work.directory / ALLOWED).exists()


# What is read


def test_without_arguments_it_is_what_the_next_commit_changes(work: Repository) -> None:
    work.write("not-staged", made_key())
    assert work.vault("scan") == Result(0, b"", "vault: scanned 0 objects, 0 bytes: no key found\n")
    work.add("a", key := made_key())
    work.write("a", b"clean in the work tree\n")
    done = work.vault("scan")
    assert done == work.vault("scan", "--staged")
    assert (done.code, done.out[:20]) == (1, b"  a:1: Tailscale key")
    assert f"vault: scanned 1 object, {len(key)} bytes: 1 key found\n" in done.err


def test_from_a_subfolder_all_that_is_staged_is_scanned_and_named_from_the_top(work: Repository) -> None:
    work.add("sub/a", made_key())
    work.add("b", made_key())
    work.git("commit", "--quiet", "--message", "x")
    work.add("sub/a", made_key())
    work.add("b", made_key())
    for arguments in ([], ["--history"], ["--range", "HEAD"]):
        done = run_vault("scan", "--json", *arguments, cwd=work.directory / "sub")
        assert set(places(done)) == {"sub/a", "b"} or "--history" in arguments
        assert {"sub/a", "b"} <= set(places(done))


def test_paths_are_named_as_they_were_given(work: Repository) -> None:
    work.write("sub/deep/a", made_key())
    work.write("sub/.git/config", made_key())
    done = run_vault("scan", "--json", "deep", "../sub/deep/a", cwd=work.directory / "sub")
    assert places(done) == ["deep/a", "../sub/deep/a"]
    done = work.vault("scan", "--json", work.directory / "sub")
    assert places(done) == [f"{work.directory}/sub/deep/a"]


@pytest.mark.parametrize("arguments", [["here"], ["--stdin"]], ids=["path", "stdin"])
def test_outside_a_repository_files_and_a_stream_can_be_scanned(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "here").write_bytes(key := b"a\nb\n" + made_key())
    done = run_vault("scan", *arguments, cwd=tmp_path, input=key)
    where = "here" if arguments == ["here"] else "standard input"
    assert done.code == 1
    assert done.out.decode().startswith(f"  {where}:3: Tailscale key ")
    assert "vault:allow TEXT" in done.err
    assert "--allow" not in done.err
    assert run_vault("scan", *arguments, cwd=tmp_path, input=b"nothing").code == int(arguments == ["here"])


@pytest.mark.parametrize(
    "arguments",
    [[], ["--staged"], ["--history"], ["--range", "a..b"], ["--allow", "0" * 32, "--reason", "a test"]],
)
def test_outside_a_repository_the_rest_says_so_in_one_line(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert one_line(run_vault("scan", *arguments, cwd=tmp_path / "empty"), 6) == "this is no git repository"


def test_a_bare_repository_has_a_history_and_nothing_staged(tmp_path: Path, work: Repository) -> None:
    bare = Repository(tmp_path / "bare", "--bare")
    work.commit("a", made_key())
    work.git("push", "--quiet", str(bare.directory), "HEAD:main")
    for arguments in (["--history"], ["--range", "main"]):
        done = bare.vault("scan", "--json", *arguments)
        assert (done.code, places(done)) == (1, ["a"])
    assert one_line(bare.vault("scan"), 6) == "a bare repository has nothing staged"


def test_a_range_has_what_its_commits_brought(work: Repository) -> None:
    start = work.commit("a", made_key())
    work.commit("b", made_key())
    work.git("rm", "--quiet", "b")
    work.git("commit", "--quiet", "--message", f"x\n\n{made_key().decode()}")
    found = json.loads(work.vault("scan", "--json", "--range", f"{start}..HEAD").out)["findings"]
    assert {(it["place"], it["commit"]) for it in found} == {
        ("b", work.git("rev-parse", "HEAD~1")),
        ("the message of a commit", work.git("rev-parse", "HEAD")),
    }
    assert work.vault("scan", "--range", "HEAD..HEAD").code == 0


@pytest.mark.parametrize("given", ["", "no..HEAD", "HEAD..no", "--all", ".."], ids=repr)
def test_what_is_no_range_is_not_scanned_as_an_empty_one(work: Repository, given: str) -> None:
    work.add("a", made_key())
    done = work.vault("scan", f"--range={given}")
    assert one_line(done, 6) == "git knows no such range of commits"


def test_an_empty_standard_input_is_clean(tmp_path: Path) -> None:
    assert run_vault("scan", "--stdin", cwd=tmp_path) == Result(
        0, b"", "vault: scanned 1 object, 0 bytes: no key found\n"
    )


def test_the_same_key_twice_in_a_file_is_one_finding_and_in_two_files_two_of_one_fingerprint(
    work: Repository,
) -> None:
    key = made_key()
    work.add("a", b"\n" + key + b"\n" + key)
    work.add("b", b"other " + key)
    found = json.loads(work.vault("scan", "--json").out)["findings"]
    assert sorted((it["place"], it["line"]) for it in found) == [("a", 2), ("b", 1)]
    assert len({it["fingerprint"] for it in found}) == 1


# What is said where


@pytest.mark.parametrize("form", ["--json", "--sarif"])
@pytest.mark.parametrize("clean", [False, True], ids=["found", "clean"])
def test_one_document_is_all_of_standard_output(work: Repository, form: str, *, clean: bool) -> None:
    work.add("a", b"clean" if clean else made_key())
    done = work.vault("scan", form)
    assert done.code == int(not clean)
    document = json.loads(done.out)
    assert document.get("version") == ("2.1.0" if form == "--sarif" else None)
    assert done.err.startswith("vault: scanned 1 object, ")
    assert ("hint: " in done.err) is not clean


def test_what_cannot_be_scanned_leaves_no_document(work: Repository) -> None:
    work.add("a", made_key())
    for path in (work.directory / ".git/objects").glob("??/*"):
        path.chmod(0o600)
        path.write_bytes(b"")
    for arguments in (["--json"], ["--sarif", "--history"]):
        assert one_line(work.vault("scan", *arguments), 6)
    assert one_line(work.vault("scan", "missing", "--json"), 6) == "'missing': no such file or directory"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--staged", "--history"],
        ["--history", "--stdin"],
        ["--range", "a..b", "--staged"],
        ["--json", "--sarif"],
        ["--staged", "a"],
        ["--history", "a"],
        ["--range", "", "a"],
        ["--stdin", "a"],
        ["--allow", "", "a"],
        ["--reason", "a test"],
        ["--until", "2999-01-31"],
        ["--allow", "0" * 32, "--reason", "a test", "--json"],
        ["--allow", "0" * 32, "--history", "--reason", "a test"],
        ["--hist"],
    ],
    ids=" ".join,
)
def test_options_that_exclude_each_other_are_refused(work: Repository, arguments: list[str]) -> None:
    done = work.vault("scan", *arguments)
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("vault: ")


# What may stay


def fingerprint(work: Repository) -> str:
    """Return the one fingerprint of what is staged."""
    (found,) = {it["fingerprint"] for it in json.loads(work.vault("scan", "--json").out)["findings"]}
    return str(found)


def test_what_is_allowed_stays_allowed_when_lines_move_and_in_other_files(work: Repository) -> None:
    key = made_key()
    work.add("a", key)
    done = run_vault(
        "scan", "--allow", fingerprint(work), "--reason", "a sample\nof ours", cwd=work.directory
    )
    assert (done.code, done.out) == (0, b"")
    assert "hint: it counts once it is staged, and has to be committed:  git add :/" in done.err
    assert work.vault("scan").code == 1, "it is read from the index"
    work.git("add", ALLOWED)
    assert work.vault("scan").code == 0
    work.add("a", b"\n\n" + key)
    work.add("b", b"once more " + key)
    assert work.vault("scan").code == 0
    work.add("c", made_key())
    assert places(work.vault("scan", "--json")) == ["c"]
    assert key not in (work.directory / ALLOWED).read_bytes()
    assert b" - a sample of ours\n" in (work.directory / ALLOWED).read_bytes()


def test_it_is_allowed_for_a_clone_too_and_from_a_subfolder(tmp_path: Path, work: Repository) -> None:
    work.add("sub/a", made_key())
    allowing = ("scan", "--allow", fingerprint(work), "--reason", "sample")
    assert run_vault(*allowing, cwd=work.directory / "sub").code == 0
    work.git("add", ".")
    work.git("commit", "--quiet", "--message", "x")
    work.git("clone", "--quiet", str(work.directory), str(tmp_path / "clone"))
    for arguments in (["--history"], ["--range", "HEAD"], ["sub/a"]):
        assert run_vault("scan", *arguments, cwd=tmp_path / "clone").code == 0


def test_the_list_is_sorted_and_keeps_what_is_in_it(work: Repository) -> None:
    names = [secrets.token_hex(16) for _ in range(5)]
    for name in names:
        assert (
            work.vault("scan", "--allow", name, "--reason", f"as {name[:4]} says", "--until", "2999-1-5").code
            == 0
        )
    lines = (work.directory / ALLOWED).read_text().splitlines()
    assert [line for line in lines if line[0] != "#"] == [
        f"{name} 2999-01-05 as {name[:4]} says" for name in sorted(names)
    ]


def test_one_whose_time_is_over_alarms_again(work: Repository) -> None:
    work.add("a", made_key())
    name = fingerprint(work)
    assert work.vault("scan", "--allow", name, "--reason", "a test", "--until", "2999-01-31").code == 0
    work.git("add", ALLOWED)
    assert work.vault("scan").code == 0
    text = (work.directory / ALLOWED).read_bytes().replace(b"2999", b"2020")
    work.add(ALLOWED, text)
    assert work.vault("scan").code == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--allow", "0" * 32], 2, "why?"),
        (["--allow", "0" * 32, "--reason", " \n"], 2, "why?"),
        (["--allow", "0" * 32, "--reason", "a\x1b[2J"], 2, "the reason is no text of one line"),
        (["--allow", "0" * 31, "--reason", "a test"], 6, "that is no fingerprint"),
        (["--allow", "", "--reason", "a test"], 6, "that is no fingerprint"),
        (["--allow", "x" * 32, "--reason", "a test"], 6, "that is no fingerprint"),
        (["--allow", "0" * 32, "--reason", "a test", "--until", "soon"], 6, "a day is written as 2027-01-31"),
        (["--allow", "0" * 32, "--reason", "a test", "--until", ""], 6, "a day is written as 2027-01-31"),
        (["--allow", "0" * 32, "--reason", "a test", "--until", "2020-01-31"], 2, "that day is over"),
    ],
)
def test_what_cannot_be_allowed_changes_nothing(
    work: Repository, arguments: list[str], code: int, message: str
) -> None:
    assert one_line(work.vault("scan", *arguments), code) == message
    assert not (work.directory / ALLOWED).exists()


def test_a_reason_that_is_no_text_changes_nothing(work: Repository) -> None:
    reason = os.fsdecode(b"\xff")
    done = work.vault("scan", "--allow", "0" * 32, "--reason", reason)
    assert one_line(done, 2) == "the reason is no text of one line"
    assert not (work.directory / ALLOWED).exists()


def test_a_list_that_is_not_understood_is_no_list(work: Repository) -> None:
    work.add("a", made_key())
    work.add(ALLOWED, b"anything\n")
    assert one_line(work.vault("scan"), 6) == f"{ALLOWED}: line 1 is not understood"


def test_a_reason_in_the_line_lets_that_line_stand(work: Repository) -> None:
    work.add("a", made_key() + b"  # vault:allow a sample of ours\n")
    assert work.vault("scan").code == 0
    work.add("a", made_key() + b"  # vault:allow\n")
    assert work.vault("scan").code == 1
    work.add("a", made_key() + b"\n# vault:allow another line\n")
    assert work.vault("scan").code == 1


def test_a_reason_in_one_line_says_nothing_of_another_with_the_same_key(work: Repository) -> None:
    key = made_key()
    work.add("a", key + b"  # vault:allow a sample of ours\n" + key + b"\n")
    done = work.vault("scan")
    assert done.code == 1
    assert done.out.startswith(b"  a:2: ")


def test_a_vault_of_its_own_is_clean(tmp_path: Path) -> None:
    made: Made = make_vault(tmp_path / "vault")
    for name in ("a", "b/c"):
        run_vault("insert", name, "--vault", made.directory, input=made_key())
    for arguments in ([], ["--history"], ["--range", "HEAD"], ["."]):
        assert run_vault("scan", *arguments, cwd=made.directory).code == 0
