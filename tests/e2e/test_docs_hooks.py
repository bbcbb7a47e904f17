"""docs/hooks.md does what it says: every block is run, and rows of its table are tried against git."""

import json
import re
from pathlib import Path

import pytest

from support import documents
from support.documents import CHECKOUT, shell
from support.repositories import Repository
from support.vaults import made_key, make_vault, run_vault
from tskeyvault.cli import parser_for
from tskeyvault_hooks.finder import Finder
from tskeyvault_hooks.hook import EVENTS, SERVER_EVENTS
from tskeyvault_hooks.kinds import KINDS
from tskeyvault_hooks.scan import Scan

PAGE = "docs/hooks.md"


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below *heading*."""
    text = (CHECKOUT / PAGE).read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_the_blocks_of_the_page_work_one_after_the_other(tmp_path: Path) -> None:
    install, refresh, allowing, by_hand, server = documents.texts(PAGE, "sh")
    made = make_vault(tmp_path / "vault")
    work = Repository(made.directory)
    work.commit("README.md")
    run_vault("insert", "web/password", cwd=made.directory, input=b"correct horse battery staple 9")
    said = [shell(block, cwd=made.directory) for block in (install, refresh)]
    assert [done.returncode for done in said] == [0, 0], said
    assert [line.split(maxsplit=1)[0] for line in said[0].stdout.decode().splitlines()] == list(EVENTS)
    assert "the hooks know 1 of 1 values" in said[1].stderr.decode()

    work.add("note", b"the password is correct horse battery staple 9\n")
    blocked = work.attempt("commit", "--message", "x")
    assert "value of secret 'web/password'" in blocked.err
    (found,) = re.findall(r"fingerprint (\w+)", blocked.err)
    assert shell(allowing.replace("FINGERPRINT", found), cwd=made.directory).returncode == 0
    work.git("commit", "--quiet", "--message", "x")

    done = shell(by_hand, cwd=made.directory)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(b"no key found") == 7
    assert json.loads((made.directory / "findings.json").read_text())["findings"] == []
    assert json.loads((made.directory / "findings.sarif").read_text())["version"] == "2.1.0"

    bare = Repository(tmp_path / "server", "--bare")
    assert shell(server, cwd=bare.directory).returncode == 0
    work.git("push", "--quiet", str(bare.directory), "HEAD")
    work.add("slip", made_key())
    work.slip()
    assert "vault: pre-receive: " in work.attempt("push", "--no-verify", str(bare.directory), "HEAD").err


def test_the_report_that_the_page_shows_is_what_is_said(tmp_path: Path) -> None:
    (shown,) = documents.texts(PAGE, "text")
    work = Repository(tmp_path / "work")
    work.commit("README")
    work.vault("hooks", "install")
    work.add("deploy/stack.yaml", b"\n" * 11 + made_key())
    said = work.attempt("commit", "--message", "x").err
    changing = r"\S…\S+|[0-9a-f]{32}|\d+ objects?, \d+ bytes|\S+…\S*"
    assert re.sub(changing, "*", said) == re.sub(changing, "*", shown)
    blob = work.git("rev-parse", ":deploy/stack.yaml").strip()
    work.git("restore", "--staged", "deploy/stack.yaml")
    assert work.attempt("cat-file", "-e", blob).code == 0
    work.git("gc", "--quiet", "--prune=now")
    assert work.attempt("cat-file", "-e", blob).code != 0


@pytest.fixture
def work(tmp_path: Path) -> Repository:
    """Give a repository with hooks, whose branch ``key`` has a key in a file, and which does not."""
    made = Repository(tmp_path / "work")
    start = made.commit("a")
    made.git("switch", "--quiet", "--create", "key")
    made.commit("b", made_key())
    made.write("../patch", made.attempt("format-patch", "-1", "--stdout").out)
    made.git("switch", "--quiet", "--create", "reverted")
    made.git("rm", "--quiet", "b")
    made.git("commit", "--quiet", "--message", "away")
    made.git("switch", "--quiet", "--create", "own", start)
    made.commit("c")
    assert made.vault("hooks", "install").code == 0
    return made


OPERATIONS = {
    "`git commit`, `-a`, `--amend`, with paths": "git commit -m x",
    "the message of a commit": "git reset -q; git commit --allow-empty -m $KEY",
    "`git commit --no-verify`": "git commit --no-verify -m x",
    "`git merge`": "git reset -q --hard; git merge key -m x",
    "`git merge --no-verify`": "git reset -q --hard; git merge --no-verify key -m x",
    "`git cherry-pick`": "git reset -q --hard; git cherry-pick key",
    "`git revert`": "git reset -q --hard; git switch -q reverted; git revert --no-edit HEAD",
    "`git rebase`": "git reset -q --hard; git rebase own key",
    "`git am`": "git reset -q --hard; git am ../patch",
    "`git stash`": "git stash",
    "`git tag -a`": "git tag -a -m $KEY v1; git reset -q --hard",
    "`git notes`": "git notes add -m $KEY; git reset -q --hard",
    "`git push`": "git push ../server key",
    "`git push --no-verify`": "git push --no-verify ../server key",
    "a push to a server with our hook": "git push --no-verify ../guarded key",
}
PASSED = {
    "`git stash`": "git push ../server stash@{0}:refs/heads/x",
    "`git tag -a`": "git push ../server v1",
    "`git notes`": "git push ../server refs/notes/commits",
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_row_of_the_table_is_true(tmp_path: Path, work: Repository, operation: str) -> None:
    Repository(tmp_path / "server", "--bare")
    assert Repository(tmp_path / "guarded", "--bare").vault("hooks", "install", "--server").code == 0
    caught, passed = next(
        row[1:] for row in rows("Which operation is caught by which hook") if row[0] == operation
    )
    key = made_key().decode()
    work.add("new", made_key())
    done = shell(OPERATIONS[operation].replace("$KEY", key), cwd=work.directory)
    blocking = re.findall(r"vault: ([a-z-]+): \d+ keys? found, so nothing passes", done.stderr.decode())
    assert blocking == ([] if caught == "none" else [caught]), done.stderr
    assert (done.returncode == 0) == (caught == "none"), done.stderr
    if operation in PASSED:
        assert "pre-push" in passed
        done = shell(PASSED[operation], cwd=work.directory)
        assert b"vault: pre-push: " in done.stderr


def test_the_table_names_every_hook_that_is_installed_and_no_other() -> None:
    named = {row[1] for row in rows("Which operation is caught by which hook")}
    assert named == {*EVENTS, *SERVER_EVENTS, "none"}


def test_every_kind_is_described() -> None:
    kinds = [row[0] for row in rows("What is found")]
    assert kinds == [*dict.fromkeys(kind.name for kind in KINDS), "value of secret", "others"]


def test_the_keys_of_json_and_the_options_are_those_that_there_are(tmp_path: Path) -> None:
    text = (CHECKOUT / PAGE).read_text()
    found = json.loads(run_vault("scan", "--stdin", "--json", cwd=tmp_path, input=made_key()).out)
    for name in (*found, *found["findings"][0]):
        assert name == "findings" or f"`{name}`" in text
    options = {text for action in parser_for("scan")._actions for text in action.option_strings}
    assert set(re.findall(r"vault scan (--[a-z]+)", text)) <= options


def test_what_is_not_found_is_not_found() -> None:
    # A promise that is broken for the better has to be taken from the page.
    key = made_key()
    done = Scan(Finder(), outside=True)
    for data in (key.hex().encode(), key[:20] + b" + " + key[20:], key.replace(b"-", b"%2D")):
        done.pieces(iter([data]), "x")
    assert done.findings == []
