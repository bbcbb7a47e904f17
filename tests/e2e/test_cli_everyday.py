"""The commands of every day on secrets: generate, insert --expires, mv, cp, find, grep and git."""

import json
import os
import shutil
import string
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.everyday import commits, committed, git, keygen, put
from support.vaults import SOURCES, Made, Result, make_vault, run_python, run_vault

ALPHABETS = {
    "text": string.ascii_letters + string.digits + "-_.,:;!?+*#%&/()=@",
    "alphanumeric": string.ascii_letters + string.digits,
    "hex": "0123456789abcdef",
    "digits": string.digits,
}
NOT_A_TIME = "vault: --expires is neither like 90d, 12w or 2y nor a date\nhint: like 2027-01-31\n"


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Give a vault, in which the test stands."""
    made = make_vault(tmp_path / "vault")
    monkeypatch.chdir(made.directory)
    return made


@pytest.fixture
def demo(vault: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Install the third-party plugin, let all who have its passphrase read, and return its recipient."""
    packages = tmp_path / "packages"
    info = packages / "tskeyvault_demo-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tskeyvault-demo\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[tskeyvault.plugins]\ndemo = tskeyvault_demo:Plugin\n")
    source = SOURCES / "tests/third_party/tskeyvault_demo/tskeyvault_demo.py"
    (packages / source.name).write_text(source.read_text())
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("the passphrase of this test\n")
    config = tmp_path / "home/.config/tskeyvault/config.toml"
    config.write_text(f'[plugins.demo]\nkey_file = "{passphrase}"\n')
    monkeypatch.setenv("PYTHONPATH", str(packages))
    code = (
        "import sys, tskeyvault_demo as d; print(*d.Plugin({'key_file': sys.argv[1]}).vault_own_recipients())"
    )
    recipient = run_python("-c", code, passphrase, env={"PYTHONPATH": str(packages)}).out.decode().strip()
    assert with_demo(tmp_path, "recipients", "add", recipient, "--plugin", "demo").code == 0
    assert (vault.directory / "secrets/.demo-recipients").exists()
    return recipient


def with_demo(tmp_path: Path, *arguments: str, value: bytes = b"") -> Result:
    return run_vault(*arguments, input=value, env={"PYTHONPATH": str(tmp_path / "packages")})


def shown(name: str, *options: str | Path) -> bytes:
    done = run_vault("show", name, *options)
    assert done.code == 0, done.err
    return done.out


def names() -> list[str]:
    return run_vault("ls").out.decode().splitlines()


def tree() -> dict[str, bytes | None]:
    """Return every path of the vault but git's own, with its content."""
    found = [path for path in Path().rglob("*") if ".git" not in path.parts]
    return {str(path): path.read_bytes() if path.is_file() else None for path in found}


def status(name: str) -> dict[str, object]:
    rows = json.loads(run_vault("status", "--json").out)
    return next(row for row in rows if row["name"] == name)


# generate


@pytest.mark.usefixtures("vault")
def test_generate_makes_32_characters_that_nobody_sees_and_commits_them() -> None:
    done = run_vault("generate", "a/b")
    assert done == Result(0, b"", "vault: wrote secret 'a/b'\n")
    value = shown("a/b").decode()
    assert len(value) == 32
    assert set(value) <= set(ALPHABETS["text"])
    assert set(committed()) == {"secrets/a/b.age"}
    assert git("log", "-1", "--format=%s") == "Add secret a/b\n"


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_generate_takes_all_letters_of_an_alphabet_about_equally_often(alphabet: str) -> None:
    letters = ALPHABETS[alphabet]
    assert run_vault("generate", "a", "4096", "--alphabet", alphabet).code == 0
    counts = Counter(shown("a").decode())
    assert counts.total() == 4096
    assert set(counts) == set(letters)  # one of 80 is missing once in 10**20 runs
    mean = 4096 / len(letters)
    # Chi squared is about as large as the number of letters; it is never so much larger by chance.
    excess = sum((counts[letter] - mean) ** 2 / mean for letter in letters) - len(letters)
    assert excess < 10 * (2 * len(letters)) ** 0.5


@pytest.mark.usefixtures("vault")
def test_generate_never_makes_the_same_twice() -> None:
    for name in ("a", "b"):
        assert run_vault("generate", name).code == 0
    assert shown("a") != shown("b")


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("length", ["0", "-1", "4097", "x", "1e3"])
def test_generate_refuses_a_length_that_is_none(length: str) -> None:
    before = tree()
    done = run_vault("generate", "a", length)
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("vault: ")
    assert "defect" not in done.err
    assert tree() == before


@pytest.mark.usefixtures("vault")
def test_generate_replaces_only_with_force() -> None:
    put("a", b"first")
    before = tree()
    refused = Result(2, b"", "vault: secret 'a' exists\nhint: --force replaces it\n")
    assert run_vault("generate", "a") == refused
    assert tree() == before
    assert run_vault("generate", "--force", "a") == Result(0, b"", "vault: replaced secret 'a'\n")
    assert shown("a") != b"first"
    assert status("a")["generation"] == 2
    assert git("log", "-1", "--format=%s") == "Replace secret a\n"


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize(
    ("length", "alphabet", "weak"),
    [
        (12, "text", True),
        (13, "text", False),
        (13, "alphanumeric", True),
        (14, "alphanumeric", False),
        (19, "hex", True),
        (20, "hex", False),
        (24, "digits", True),
        (25, "digits", False),
    ],
)
def test_generate_warns_of_less_than_80_bits(length: int, alphabet: str, *, weak: bool) -> None:
    done = run_vault("generate", "a", str(length), "--alphabet", alphabet)
    warning = f"vault: warning: {length} characters of that kind can be guessed; use more\n"
    assert done == Result(0, b"", "vault: wrote secret 'a'\n" + (warning if weak else ""))


@pytest.mark.usefixtures("vault")
def test_generate_without_commit_leaves_git_alone() -> None:
    assert run_vault("generate", "a", "--no-commit").code == 0
    assert git("status", "--porcelain") == "?? secrets/a.age\n"


# --expires


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("command", ["insert", "generate"])
@pytest.mark.parametrize(("when", "days"), [("1d", 1), ("90d", 90), ("12w", 84), ("2y", 730)])
def test_an_expiry_is_days_weeks_or_years_from_now(command: str, when: str, days: int) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    assert run_vault(command, "a", "--expires", when, input=b"x").code == 0
    after = datetime.now(UTC)
    expires = datetime.fromisoformat(str(status("a")["expires"]))
    assert before <= expires - timedelta(days=days) <= after


@pytest.mark.usefixtures("vault")
def test_an_expiry_by_date_is_the_end_of_that_day() -> None:
    put("a", b"x", "--expires", "2191-02-28")
    assert status("a")["expires"] == "2191-02-28T23:59:59Z"


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("command", ["insert", "generate"])
@pytest.mark.parametrize(
    "when",
    ["90", "0d", "-1d", "1.5y", "90 d", "90d ", "d", "2027-02-30", "2027-13-01", "tomorrow", "٩d", "90D"],
)
def test_what_is_no_expiry_is_refused_before_anything_is_written(command: str, when: str) -> None:
    before = tree()
    assert run_vault(command, "a", f"--expires={when}", input=b"x") == Result(2, b"", NOT_A_TIME)
    assert tree() == before


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("when", ["99999y", "9000y", "99999w"])
def test_an_expiry_beyond_all_calendars_is_refused_or_can_be_read_again(when: str) -> None:
    before = tree()
    done = run_vault("insert", "a", f"--expires={when}", input=b"x")
    if done.code == 0:
        assert shown("a") == b"x"
        assert run_vault("status").code == 0
    else:
        assert done.code == 2
        assert tree() == before


@pytest.mark.usefixtures("vault")
def test_a_new_value_without_an_expiry_has_none() -> None:
    put("a", b"1", "--expires", "90d")
    put("a", b"2", "--force")
    assert status("a")["expires"] is None


# mv and cp


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize(("target", "there"), [("new", "new"), ("x/y", "x/y"), ("folder/", "folder/b")])
def test_mv_of_a_secret_opens_at_the_new_name_alone_in_one_commit(target: str, there: str) -> None:
    put("a/b", b"1")
    before = commits()
    done = run_vault("mv", "a/b", target)
    assert done == Result(0, b"", f"vault: moved 'a/b' to '{there}'\n")
    assert names() == [there]
    assert shown(there) == b"1"
    assert not Path("secrets/a").exists()
    assert commits() == before + 1
    assert set(committed()) == {"secrets/a/b.age", f"secrets/{there}.age"}
    assert git("log", "-1", "--format=%s") == f"Move a/b to {target}\n"
    assert git("status", "--porcelain") == ""


@pytest.mark.usefixtures("vault")
def test_cp_keeps_the_old_one_untouched() -> None:
    put("a", b"1")
    before = Path("secrets/a.age").read_bytes()
    assert run_vault("cp", "a", "b/c") == Result(0, b"", "vault: copied 'a' to 'b/c'\n")
    assert (shown("a"), shown("b/c")) == (b"1", b"1")
    assert Path("secrets/a.age").read_bytes() == before
    assert set(committed()) == {"secrets/b/c.age"}
    assert git("log", "-1", "--format=%s") == "Copy a to b/c\n"


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize(
    ("old", "new", "there"),
    [("a", "z", "z"), ("a/", "z", "z"), ("a", "z/", "z/a"), ("a/", "z/", "z/a"), ("a", "a/in", "a/in")],
)
@pytest.mark.parametrize("command", ["mv", "cp"])
def test_a_folder_goes_as_a_whole_in_one_commit(command: str, old: str, new: str, there: str) -> None:
    for name in ("a/1", "a/deep/2", "ab/3"):
        put(name, name.encode())
    before = commits()
    assert run_vault(command, old, new).code == 0
    olds, news = ["a/1", "a/deep/2"], [f"{there}/1", f"{there}/deep/2"]
    assert names() == sorted(["ab/3", *news, *(olds if command == "cp" else [])])
    assert [shown(name) for name in news] == [b"a/1", b"a/deep/2"]
    assert commits() == before + 1
    touched = news if command == "cp" else news + olds
    assert set(committed()) == {f"secrets/{name}.age" for name in touched}
    assert git("status", "--porcelain") == ""


@pytest.mark.usefixtures("vault")
def test_a_secret_is_meant_before_a_folder_of_its_name_and_a_slash_means_the_folder() -> None:
    put("a", b"secret")
    put("a/b", b"within")
    assert run_vault("cp", "a", "one").code == 0
    assert run_vault("cp", "a/", "all").code == 0
    assert (shown("one"), shown("all/b")) == (b"secret", b"within")


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("command", ["mv", "cp"])
def test_an_existing_target_is_replaced_only_with_force(command: str) -> None:
    put("a", b"1")
    put("b", b"2")
    before = tree()
    done = run_vault(command, "a", "b")
    assert done == Result(2, b"", "vault: secret 'b' exists\nhint: --force replaces it\n")
    assert tree() == before
    assert run_vault(command, "a", "b", "--force").code == 0
    assert shown("b") == b"1"
    assert status("b")["generation"] == 2


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("command", ["mv", "cp"])
def test_one_existing_target_of_many_stops_all(command: str) -> None:
    for name in ("a/1", "a/2", "z/2"):
        put(name)
    before = tree()
    assert run_vault(command, "a", "z").code == 2
    assert tree() == before


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("command", ["mv", "cp"])
@pytest.mark.parametrize(("old", "new"), [("a", "a"), ("a/1", "a/"), ("a/", "a"), ("a/1", "a/1")])
def test_onto_itself_is_refused(command: str, old: str, new: str) -> None:
    put("a/1")
    before = tree()
    assert run_vault(command, old, new, "-f") == Result(2, b"", "vault: old and new are the same\n")
    assert tree() == before


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize(("old", "new"), [("a", "a/b"), ("a/b", "a")])
def test_a_folder_whose_new_place_is_in_use_by_itself_loses_nothing(old: str, new: str) -> None:
    for name in ("a/c", "a/b/c", "a/b/b/c"):
        put(name, name.encode())
    before = tree()
    done = run_vault("mv", old, new, "--force")
    assert done.code == 2
    assert "is in the old and in the new place" in done.err
    assert tree() == before


@pytest.mark.usefixtures("vault")
def test_the_moved_file_is_bound_to_its_new_name() -> None:
    put("a", b"1")
    old = Path("secrets/a.age").read_bytes()
    assert run_vault("mv", "a", "b").code == 0
    assert shown("b") == b"1"
    Path("secrets/b.age").write_bytes(old)
    done = run_vault("show", "b")
    said = done.err.splitlines()
    assert (done.code, done.out) == (5, b"")
    assert said[0] == "vault: secret 'b': its file is that of secret 'a', copied over it"
    assert said[1].startswith("hint: when this is intended")


@pytest.mark.usefixtures("vault")
def test_what_was_moved_away_cannot_be_brought_back_by_its_old_file() -> None:
    put("a", b"1")
    old = Path("secrets/a.age").read_bytes()
    for target, source in (("b", "a"), ("a", "b")):
        assert run_vault("mv", source, target).code == 0
    assert status("a")["generation"] == 3  # the commits that have touched it count
    Path("secrets/a.age").write_bytes(old)
    assert run_vault("show", "a").code == 5


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("command", ["mv", "cp"])
def test_age_and_expiry_go_along(command: str) -> None:
    put("a", b"1", "--expires", "2190-01-02")
    before = status("a")
    assert run_vault(command, "a", "b").code == 0
    after = status("b")
    assert (after["created"], after["expires"]) == (before["created"], before["expires"])


@pytest.mark.usefixtures("vault")
def test_the_new_place_decides_who_reads(tmp_path: Path) -> None:
    host = keygen(tmp_path / "host")
    put("a", b"1")
    assert run_vault("recipients", "add", host, "--folder", "web", "--name", "web1").code == 0
    assert run_vault("show", "a", "-i", tmp_path / "host").code == 4
    assert run_vault("cp", "a", "web/").code == 0
    assert shown("web/a", "-i", tmp_path / "host") == b"1"
    assert run_vault("mv", "web/a", "b").code == 0
    assert run_vault("show", "b", "-i", tmp_path / "host").code == 4
    assert shown("b") == b"1"


@pytest.mark.parametrize("command", ["mv", "cp"])
@pytest.mark.usefixtures("vault")
def test_one_secret_of_many_that_cannot_be_read_stops_all(command: str) -> None:
    put("a/1")
    put("a/2")
    damaged = bytearray(Path("secrets/a/2.age").read_bytes())
    damaged[-1] ^= 1
    Path("secrets/a/2.age").write_bytes(damaged)
    before, count = tree(), commits()
    done = run_vault(command, "a", "z")
    assert (done.code, done.out) == (5, b"")
    assert "secret 'a/2'" in done.err
    assert (tree(), commits()) == (before, count)


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("command", ["mv", "cp"])
def test_who_has_no_key_moves_nothing(tmp_path: Path, command: str) -> None:
    keygen(tmp_path / "stranger")
    put("a")
    before = tree()
    assert run_vault(command, "a", "b", "-i", tmp_path / "stranger").code == 4
    assert tree() == before


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("command", ["mv", "cp"])
def test_what_is_not_there_is_not_found(command: str) -> None:
    put("a")
    before = tree()
    done = run_vault(command, "none", "b")
    assert done == Result(3, b"", "vault: 'none' holds no secrets\nhint: vault ls shows what there is\n")
    assert tree() == before


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize(("old", "new"), [("a", "../b"), ("a", "/"), ("/", "b"), ("a", ".b"), ("a", "x//y")])
def test_a_bad_name_is_refused_and_nothing_is_moved(old: str, new: str) -> None:
    put("a")
    before = tree()
    assert run_vault("mv", old, new).code == 2
    assert tree() == before


@pytest.mark.usefixtures("vault")
def test_a_stranger_among_the_readers_of_the_new_place_stops_it(tmp_path: Path) -> None:
    put("a")
    put("web/x")
    Path("secrets/web/.age-recipients").write_text(f"{keygen(tmp_path / 'stranger')}\n")
    before = tree()
    done = run_vault("mv", "a", "web/a")
    assert done.code == 5
    assert "secrets/web/.age-recipients" in done.err
    assert tree() == before


@pytest.mark.usefixtures("demo")
def test_a_secret_moves_to_another_plugin_and_back(tmp_path: Path) -> None:
    put("a", b"1")
    assert with_demo(tmp_path, "mv", "a", "demo:b").code == 0
    assert Path("secrets/b.demo").exists()
    assert not Path("secrets/a.age").exists()
    assert set(committed()) == {"secrets/a.age", "secrets/b.demo"}
    assert with_demo(tmp_path, "show", "b") == Result(0, b"1", "")
    assert with_demo(tmp_path, "mv", "b", "age:a").code == 0
    assert names() == ["a"]
    assert shown("a") == b"1"


@pytest.mark.usefixtures("demo")
def test_a_name_that_another_plugin_has_is_taken(tmp_path: Path) -> None:
    put("a", b"1")
    assert with_demo(tmp_path, "insert", "demo:b", value=b"2").code == 0
    before = tree()
    done = with_demo(tmp_path, "mv", "a", "b")
    assert done == Result(2, b"", "vault: secret 'b' exists\nhint: --force replaces it\n")
    assert tree() == before
    assert with_demo(tmp_path, "mv", "a", "b", "-f").code == 0
    assert with_demo(tmp_path, "ls").out == b"b\n"
    assert with_demo(tmp_path, "show", "b").out == b"1"


@pytest.mark.usefixtures("demo")
def test_two_secrets_never_become_one(tmp_path: Path) -> None:
    put("a/x", b"1")
    assert with_demo(tmp_path, "insert", "demo:a/x", value=b"2").code == 0
    before = tree()
    done = with_demo(tmp_path, "mv", "a", "age:z", "-f")
    assert done == Result(2, b"", "vault: two secrets would get the same name\n")
    assert tree() == before


# find


@pytest.mark.usefixtures("vault")
def test_find_looks_for_a_part_of_the_name_in_any_case() -> None:
    for name in ("tailscale/Container-Key", "db/password", "other", "straße"):
        put(name)
    assert run_vault("find", "KEY") == Result(0, b"tailscale/Container-Key\n", "")
    assert run_vault("find", "db/", "key") == Result(0, b"db/password\ntailscale/Container-Key\n", "")
    assert run_vault("find", "STRASSE").out.decode() == "straße\n"
    found = json.loads(run_vault("find", "--json", "pass").out)
    assert found == [{"name": "db/password", "plugin": "age", "path": "secrets/db/password.age"}]


@pytest.mark.usefixtures("vault")
def test_find_needs_no_key_and_finds_no_values(tmp_path: Path) -> None:
    put("a", b"needle")
    env = {"XDG_CONFIG_HOME": str(tmp_path / "none")}
    assert run_vault("find", "A", env=env) == Result(0, b"a\n", "")
    missing = "vault: no secret has that in its name\nhint: vault ls shows what there is\n"
    assert run_vault("find", "needle", env=env) == Result(3, b"", missing)


# grep


@pytest.fixture
def values(vault: Made) -> Made:
    """Give a vault with values to search in."""
    put("a/env", b"user=root\npassword=Geheim.1\n")
    put("a/two", b"password=x\npassword=y")
    put("b/binary", b"\xff\xfepassword\n\x1b[31m")
    return vault


@pytest.mark.usefixtures("values")
def test_grep_tells_names_only_and_each_once() -> None:
    assert run_vault("grep", "password") == Result(0, b"a/env\na/two\nb/binary\n", "")
    assert run_vault("grep", "password=", "a/") == Result(0, b"a/env\na/two\n", "")
    assert run_vault("grep", "GEHEIM", "--ignore-case") == Result(0, b"a/env\n", "")


@pytest.mark.usefixtures("values")
def test_grep_shows_the_lines_only_when_asked_and_never_raw_bytes() -> None:
    assert run_vault("grep", "password=", "-v").out == (
        b"a/env: password=Geheim.1\na/two: password=x\na/two: password=y\n"
    )
    binary = run_vault("grep", "--values", "[31").out
    assert binary == b"b/binary: \\x1b[31m\n"


@pytest.mark.usefixtures("values")
def test_grep_takes_a_text_as_it_is_and_a_regular_expression_when_told() -> None:
    nothing = Result(3, b"", "vault: no secret holds that\n")
    assert run_vault("grep", "Geheim?1") == nothing
    assert run_vault("grep", "^password") == nothing
    assert run_vault("grep", "-E", "^password=[xy]$") == Result(0, b"a/two\n", "")


@pytest.mark.usefixtures("values")
@pytest.mark.parametrize("pattern", ["(", "[", "*", "a{99999999999}", "(?P<n", "(" * 20000 + ")" * 20000])
def test_grep_refuses_what_is_no_regular_expression(pattern: str) -> None:
    assert run_vault("grep", "-E", pattern) == Result(2, b"", "vault: that is no regular expression\n")


@pytest.mark.usefixtures("values")
def test_grep_never_searches_a_part_of_what_it_was_to_search(tmp_path: Path) -> None:
    keygen(tmp_path / "stranger")
    done = run_vault("grep", "password", "-i", tmp_path / "stranger")
    assert (done.code, done.out) == (4, b"")
    done = run_vault("grep", "password", "none")
    assert (done.code, done.out) == (3, b"")


@pytest.mark.usefixtures("values")
def test_grep_finds_text_that_is_not_ascii() -> None:
    put("c", "grün\n".encode())
    assert run_vault("grep", "rü").out == b"c\n"


# git


def test_git_runs_in_the_vault_with_its_arguments_and_its_exit_code(vault: Made, tmp_path: Path) -> None:
    put("a")
    elsewhere = ("git", "--vault", str(vault.directory))
    done = run_vault("git", "log", "-1", "--format=%s", cwd=vault.directory / "secrets")
    assert done == Result(0, b"Add secret a\n", "")
    assert run_vault(
        "--vault", vault.directory, *elsewhere[:1], "rev-parse", "--show-toplevel", cwd=tmp_path
    ) == Result(0, f"{vault.directory}\n".encode(), "")
    assert run_vault(*elsewhere, "rev-parse", "--show-prefix", cwd=tmp_path) == Result(0, b"\n", "")
    assert run_vault("git", "rev-parse", "--verify", "--quiet", "none").code == 1
    assert run_vault("git", "no-such-command").code == 1
    assert run_vault("git", "cat-file", "-e", "0" * 40).code == 1


@pytest.mark.usefixtures("vault")
def test_git_takes_options_of_its_own_after_two_dashes() -> None:
    assert run_vault("git", "--no-pager", "log", "--format=%s") == Result(0, b"Make a vault\n", "")
    done = run_vault("git", "-c", "vault.test=1", "config", "vault.test")
    assert done == Result(0, b"1\n", "")


@pytest.mark.usefixtures("vault")
def test_git_options_that_look_like_ours_are_gits() -> None:
    done = run_vault("git", "log", "-i", "--grep=MAKE", "--format=%s", "--", "vault.toml")
    assert done == Result(0, b"Make a vault\n", "")


def test_git_follows_no_variable_to_another_tree(vault: Made, tmp_path: Path) -> None:
    other = make_vault(tmp_path / "other")
    done = run_vault("git", "rev-parse", "--show-toplevel", env={"GIT_DIR": str(other.directory / ".git")})
    assert done.out.decode() == f"{vault.directory}\n"


def test_git_without_a_vault(tmp_path: Path) -> None:
    assert run_vault("git", "status", cwd=tmp_path).code == 3


@pytest.mark.usefixtures("vault")
def test_grep_searches_what_can_be_read_and_tells_the_rest() -> None:
    put("a", b"needle")
    put("b", b"needle")
    put("team/c", b"needle")
    Path("secrets/b.age").write_bytes(b"age-encryption.org/v1\n-> X25519 x\n")
    done = run_vault("grep", "needle")
    assert (done.code, done.out) == (5, b"a\nteam/c\n")
    assert "vault: warning: not searched: secret 'b'" in done.err


KILLER = """\
#!/bin/sh
case " $* " in *" add "*) kill -9 $PPID; exit 1 ;; esac
exec {git} "$@"
"""


@pytest.mark.usefixtures("vault")
def test_what_was_killed_while_git_was_told_is_committed_by_the_next_change(tmp_path: Path) -> None:
    put("a")
    killer = tmp_path / "bin/git"
    killer.parent.mkdir()
    killer.write_text(KILLER.format(git=shutil.which("git")))
    killer.chmod(0o755)
    path = {"PATH": f"{killer.parent}:{os.environ['PATH']}"}
    for arguments in (["mv", "a", "b"], ["insert", "-f", "b"]):
        assert run_vault(*arguments, input=b"1", env=path).code == -9
        assert git("status", "--porcelain") != ""
        done = run_vault("insert", "-f", "other", input=b"2")
        assert (done.code, "finished what was cut off" in done.err) == (0, True), done.err
        assert git("status", "--porcelain") == ""


@pytest.mark.usefixtures("vault")
def test_what_git_refused_is_committed_when_it_no_longer_does() -> None:
    put("a")
    lock = Path(".git/index.lock")
    lock.touch()
    for name in ("b", "c"):
        done = run_vault("insert", name, input=b"1")
        assert (done.code, "the next change commits it too" in done.err) == (6, True), done.err
        assert Path(f"secrets/{name}.age").exists()
    lock.unlink()
    assert run_vault("insert", "d", input=b"1").code == 0
    assert git("status", "--porcelain") == ""


@pytest.mark.usefixtures("vault")
def test_where_the_host_can_remember_nothing_no_value_is_replaced(tmp_path: Path) -> None:
    put("a")
    before = Path("secrets/a.age").read_bytes()
    state = tmp_path / "state"
    state.write_text("no directory")
    done = run_vault("insert", "-f", "a", input=b"2", env={"XDG_STATE_HOME": str(state)})
    assert done.code != 0
    assert Path("secrets/a.age").read_bytes() == before
    assert git("status", "--porcelain") == ""
