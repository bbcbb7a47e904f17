"""The commands as they are used: what they do, what they say, and what they leave alone."""

import json
import os
import subprocess
from pathlib import Path

import pytest

import tskeyvault
from support import needs
from support.everyday import committed, git, keygen, put
from support.vaults import Made, Result, made_key, make_vault, run_python, run_vault, services
from tskeyvault.cli import COMMANDS


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Give a vault, in which the test stands."""
    made = make_vault(tmp_path / "vault")
    monkeypatch.chdir(made.directory)
    return made


def run_shell(script: str) -> Result:
    """Run a shell *script*, in which ``vault`` is the command line of the checkout."""
    code = "import os, sys; os.execvp('sh', ['sh', '-c', sys.argv[1], sys.executable])"
    return run_python("-c", code, f'vault() {{ "$0" -m tskeyvault "$@"; }}; {script}')


def config_file(text: str) -> None:
    directory = Path(os.environ["XDG_CONFIG_HOME"]) / "tskeyvault"
    directory.mkdir(exist_ok=True)
    (directory / "config.toml").write_text(text)


def opens(identity: Path, name: str) -> bool:
    return run_vault("show", name, "-i", identity).code == 0


def tree(directory: Path) -> dict[str, bytes | None]:
    """Return every path below *directory* but git's own, with its content."""
    found = [path for path in directory.rglob("*") if ".git" not in path.relative_to(directory).parts]
    return {str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None for path in found}


# init and keygen


def test_init_makes_the_first_key_a_repository_and_a_vault_and_says_so(tmp_path: Path) -> None:
    done = run_vault("init", "new/vault", cwd=tmp_path)
    identities = tmp_path / "home/.config/tskeyvault/identities"
    directory = tmp_path / "new/vault"
    recipient = identities.read_text().splitlines()[1].removeprefix("# public key: ")
    assert done == Result(
        0,
        b"",
        f"vault: there is no age key yet: making one\n"
        f"vault: wrote '{identities}': back it up, and show it to nobody\n"
        f"vault: made a git repository in '{directory}'\n"
        f"vault: made a vault in '{directory}'; it is read by {recipient}\n",
    )
    assert identities.stat().st_mode & 0o7777 == 0o600
    assert identities.parent.stat().st_mode & 0o7777 == 0o700
    assert set(tree(directory)) == {
        "vault.toml",
        "secrets",
        "secrets/.age-recipients",
        "secrets/.gitattributes",
    }
    assert (directory / "secrets/.age-recipients").read_text().splitlines()[1:] == [recipient]
    assert git("log", "--format=%s", cwd=directory) == "Make a vault\n"
    assert git("status", "--porcelain", cwd=directory) == ""


def test_init_takes_the_key_that_is_there(tmp_path: Path) -> None:
    recipient = run_vault("keygen").out.decode().strip()
    identities = tmp_path / "home/.config/tskeyvault/identities"
    before = identities.read_bytes()
    done = run_vault("init", tmp_path / "vault")
    assert done.code == 0
    assert "there is no age key" not in done.err
    assert f"it is read by {recipient}\n" in done.err
    assert identities.read_bytes() == before


def test_init_takes_the_key_that_is_named(tmp_path: Path) -> None:
    recipient = keygen(tmp_path / "mine")
    assert (
        f"it is read by {recipient}\n" in run_vault("init", tmp_path / "vault", "-i", tmp_path / "mine").err
    )
    assert not (tmp_path / "home/.config/tskeyvault").exists()


def test_init_with_a_key_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    done = run_vault("init", tmp_path / "vault", "-i", tmp_path / "none")
    assert (done.code, done.err.splitlines()[0]) == (4, "vault: --identity names no file")
    assert not (tmp_path / "vault").exists()


def test_init_in_a_repository_commits_its_own_files_and_nothing_that_was_staged(tmp_path: Path) -> None:
    git("init", "--quiet", cwd=tmp_path)
    for name in ("committed", "staged", "untracked"):
        (tmp_path / name).write_text("1")
    git("add", "committed", cwd=tmp_path)
    git("commit", "--quiet", "-m", "first", cwd=tmp_path)
    git("add", "staged", cwd=tmp_path)
    (tmp_path / "committed").write_text("2")
    (tmp_path / "inner").mkdir()
    done = run_vault("init", cwd=tmp_path / "inner")
    assert (done.code, "made a git repository" in done.err) == (0, False)
    assert committed(tmp_path) == [
        "inner/secrets/.age-recipients",
        "inner/secrets/.gitattributes",
        "inner/vault.toml",
    ]
    status = git("status", "--porcelain", "--", "committed", "staged", "untracked", cwd=tmp_path)
    assert status == " M committed\nA  staged\n?? untracked\n"


def test_init_without_commit_leaves_git_alone(tmp_path: Path) -> None:
    assert run_vault("init", tmp_path / "vault", "--no-commit").code == 0
    assert git("status", "--porcelain", cwd=tmp_path / "vault") == "?? secrets/\n?? vault.toml\n"


def test_a_second_init_is_refused_and_changes_nothing(vault: Made) -> None:
    before = tree(vault.directory)
    done = run_vault("init")
    assert done == Result(2, b"", f"vault: '{vault.directory}' is a vault already\n")
    assert tree(vault.directory) == before
    assert git("rev-list", "--count", "HEAD") == "1\n"


def test_every_vault_has_an_id_of_its_own(tmp_path: Path) -> None:
    texts = [(make_vault(tmp_path / name).directory / "vault.toml").read_text() for name in ("a", "b")]
    assert texts[0] != texts[1]


def test_keygen_prints_only_the_recipient_and_never_the_key(tmp_path: Path) -> None:
    done = run_vault("keygen", "-o", "folder/key", cwd=tmp_path)
    path = tmp_path / "folder/key"
    lines = path.read_text().splitlines()
    assert lines[1] == "# public key: " + done.out.decode().strip()
    assert done.out.decode().startswith("age1")
    assert done.err == f"vault: wrote '{path}': back it up, and show it to nobody\n"
    assert path.stat().st_mode & 0o7777 == 0o600
    assert os.listdir(path.parent) == ["key"]


def test_keygen_never_writes_over_anything(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    for name in ("file", "link", "folder"):
        done = run_vault("keygen", "-o", tmp_path / name)
        assert done == Result(
            2, b"", f"vault: '{tmp_path / name}' exists and is kept\nhint: --output names another file\n"
        )
    assert (tmp_path / "file").read_text() == "kept"
    assert set(os.listdir(tmp_path)) == {"file", "folder", "home", "link"}
    assert run_vault("keygen").code == 0
    assert run_vault("keygen").code == 2


def test_keygen_with_output_makes_a_key_that_age_can_use(vault: Made, tmp_path: Path) -> None:
    needs.program("age")
    recipient = keygen(tmp_path / "key")
    argv = ["age", "-r", recipient]
    ciphertext = subprocess.run(argv, input=b"x", capture_output=True, check=True).stdout
    (vault.directory / "secrets/x.age").write_bytes(ciphertext)
    assert run_vault("show", "x", "-i", tmp_path / "key").out == b"x"


# insert


@pytest.mark.parametrize(
    "value",
    [b"\0", b"a\r\nb\r\n", b"no newline", b"\n", bytes(range(256)) * 300],
    ids=["nul", "crlf", "no-newline", "newline", "binary"],
)
def test_insert_keeps_the_exact_bytes(vault: Made, value: bytes) -> None:
    done = run_vault("insert", "tailscale/key", input=value)
    assert done == Result(0, b"", "vault: wrote secret 'tailscale/key'\n")
    assert run_vault("show", "tailscale/key") == Result(0, value, "")
    assert (vault.directory / "secrets/tailscale/key.age").stat().st_mode & 0o111 == 0


def test_insert_is_opened_by_plain_age(vault: Made, tmp_path: Path) -> None:
    needs.program("age")
    value = made_key()
    put("a", value)
    argv = ["age", "-d", "-i", f"{tmp_path}/home/.config/tskeyvault/identities", "secrets/a.age"]
    assert subprocess.run(argv, capture_output=True, check=True, cwd=vault.directory).stdout == value


def test_insert_takes_what_is_just_not_too_large(vault: Made) -> None:
    value = os.urandom(1 << 20) * 16
    put("large", value)
    assert run_vault("show", "large").out == value
    before = tree(vault.directory)
    done = run_vault("insert", "larger", input=value + b"1")
    assert done.code in {2, 5}
    assert done.err.startswith("vault: ")
    assert f"larger than {16 << 20} bytes" in done.err
    assert tree(vault.directory) == before


def test_an_empty_secret_is_refused(vault: Made) -> None:
    before = tree(vault.directory)
    assert run_vault("insert", "a") == Result(2, b"", "vault: an empty secret is refused\n")
    assert tree(vault.directory) == before


def test_insert_does_not_replace_without_force(vault: Made) -> None:
    put("a", b"first")
    before = tree(vault.directory)
    done = run_vault("insert", "a", input=b"second")
    assert done == Result(2, b"", "vault: secret 'a' exists\nhint: --force replaces it\n")
    assert tree(vault.directory) == before


def test_force_writes_the_next_generation(vault: Made, tmp_path: Path) -> None:
    put("a", b"first")
    old = (vault.directory / "secrets/a.age").read_bytes()
    done = run_vault("insert", "--force", "a", input=b"second")
    assert done == Result(0, b"", "vault: replaced secret 'a'\n")
    assert run_vault("show", "a").out == b"second"
    assert git("log", "-1", "--format=%s") == "Replace secret a\n"
    [state] = (tmp_path / "home/.local/state/tskeyvault").glob("*.json")
    assert json.loads(state.read_text())["seen"]["secrets/a.age"][0] == 2
    assert (vault.directory / "secrets/a.age").read_bytes() != old


@pytest.mark.parametrize(
    "name", ["with space/and two", "schlüssel/日本", "*", "a[b]?", "it's", "$HOME", "x.age", "age:y"]
)
def test_unusual_names_work_in_every_command(vault: Made, name: str) -> None:
    plain = name.removeprefix("age:")
    done = run_vault("insert", name, input=b"value")
    assert done == Result(0, b"", f"vault: wrote secret '{name}'\n")
    assert committed() == [f"secrets/{plain}.age"]
    assert run_vault("ls").out.decode() == f"{plain}\n"
    assert run_vault("show", name).out == b"value"
    assert run_vault("rm", "-f", name).code == 0
    assert committed() == [f"secrets/{plain}.age"]
    assert git("status", "--porcelain") == ""
    assert set(os.listdir(vault.directory / "secrets")) == {".age-recipients", ".gitattributes"}


@pytest.mark.usefixtures("vault")
def test_names_are_listed_where_the_terminal_has_no_such_letters() -> None:
    put("schlüssel")
    done = run_vault("ls", env={"PYTHONIOENCODING": "ascii"})
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(b"schl")


@pytest.mark.parametrize("ignored", ["", "*.age\nsecrets/\n"], ids=["not-ignored", "ignored"])
def test_insert_commits_exactly_the_touched_path(vault: Made, ignored: str) -> None:
    (vault.directory / ".gitignore").write_text(ignored)
    (vault.directory / "staged").write_text("1")
    git("add", "staged")
    services(vault.directory, "# changed\n")
    (vault.directory / "secrets/other.age").write_text("untracked")
    put("tailscale/key")
    assert git("log", "-1", "--format=%s") == "Add secret tailscale/key\n"
    assert committed() == ["secrets/tailscale/key.age"]
    assert git("diff", "--cached", "--name-only") == "staged\n"
    assert git("diff", "--name-only") == "vault.toml\n"


@pytest.mark.usefixtures("vault")
def test_no_commit_on_the_command_line() -> None:
    put("a", b"1", "--no-commit")
    assert git("rev-list", "--count", "HEAD") == "1\n"
    assert git("status", "--porcelain") == "?? secrets/a.age\n"


def test_no_commit_by_the_local_configuration(vault: Made) -> None:
    config_file("commit = false\n")
    put("a")
    put("b")
    assert run_vault("rm", "-f", "a").code == 0
    assert run_vault("recipients", "add", keygen(vault.directory / "other")).code == 0
    assert git("rev-list", "--count", "HEAD") == "1\n"


def test_a_vault_outside_git_works_and_says_that_nothing_is_committed(vault: Made) -> None:
    (vault.directory / ".git").rename(vault.directory.parent / "elsewhere")
    done = run_vault("insert", "a", input=b"1")
    warning = f"vault: warning: '{vault.directory}' is not in a git work tree: nothing was committed\n"
    assert done == Result(0, b"", f"{warning}vault: wrote secret 'a'\n")
    assert run_vault("show", "a") == Result(0, b"1", "")


def test_without_a_git_identity_the_secret_is_kept_and_the_reason_is_told(
    vault: Made, tmp_path: Path
) -> None:
    (tmp_path / "home/.gitconfig").write_text("[user]\nuseConfigOnly = true\n")
    done = run_vault("insert", "a", input=b"1")
    assert done.code == 6
    assert done.err.startswith("vault: git commit failed: ")
    assert f"git -C {vault.directory} commit" in done.err
    assert run_vault("show", "a") == Result(0, b"1", "")
    assert git("rev-list", "--count", "HEAD") == "1\n"


def test_a_commit_hook_that_refuses_leaves_the_secret_and_its_reason(vault: Made) -> None:
    hook = vault.directory / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n")
    hook.chmod(0o755)
    done = run_vault("insert", "a", input=b"1")
    assert (done.code, done.err.splitlines()[0]) == (6, "vault: git commit failed: not today")
    assert run_vault("show", "a").out == b"1"


@pytest.mark.usefixtures("vault")
def test_variables_that_send_git_elsewhere_are_not_followed(tmp_path: Path) -> None:
    git("init", "--quiet", "--bare", tmp_path / "trap")
    env = {"GIT_DIR": str(tmp_path / "trap"), "GIT_INDEX_FILE": str(tmp_path / "index")}
    assert run_vault("insert", "a", input=b"1", env=env).code == 0
    assert committed() == ["secrets/a.age"]
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("command", ["insert", "show", "ls"])
def test_closed_standard_streams_are_explained(vault: Made, command: str) -> None:
    put("a")
    stream = "<&-" if command == "insert" else ">&-"
    name = {"insert": "b", "show": "a", "ls": ""}[command]
    done = run_shell(f"vault {command} {name} {stream}")
    assert done.code in {2, 7}
    assert "defect" not in done.err
    assert sorted(os.listdir(vault.directory / "secrets")) == [".age-recipients", ".gitattributes", "a.age"]


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("command", ["show a", "ls", "ls --json"])
def test_a_full_standard_output_is_explained(command: str) -> None:
    put("a")
    done = run_shell(f"vault {command} >/dev/full")
    assert done.code == 7
    assert "no space left on device" in done.err
    assert "defect" not in done.err
    assert len(done.err.splitlines()) <= 2


# show, ls


@pytest.mark.usefixtures("vault")
def test_show_names_the_nearest_when_there_is_no_such_secret() -> None:
    put("tailscale/container-key")
    done = run_vault("show", "tailscale/contaner-key")
    message = "vault: secret 'tailscale/contaner-key': not in the vault\n"
    assert done == Result(3, b"", f"{message}hint: did you mean 'tailscale/container-key'\n")
    assert run_vault("show", "zzz").err.endswith("\nhint: vault ls shows what there is\n")


@pytest.mark.usefixtures("vault")
def test_show_with_a_key_that_does_not_open_it(tmp_path: Path) -> None:
    put("a", b"a value")
    keygen(tmp_path / "other")
    done = run_vault("show", "a", "--identity", tmp_path / "other")
    assert (done.code, done.out) == (4, b"")
    assert done.err.splitlines()[0] == "vault: secret 'a': no identity opens it"


@pytest.mark.usefixtures("vault")
def test_show_without_any_key(tmp_path: Path) -> None:
    put("a")
    (tmp_path / "home/.config/tskeyvault/identities").unlink()
    done = run_vault("show", "a")
    assert done == Result(4, b"", "vault: no identity\nhint: vault keygen makes one\n")


@pytest.mark.usefixtures("vault")
def test_identities_are_found_in_their_order(tmp_path: Path) -> None:
    put("a", b"1")
    own = tmp_path / "home/.config/tskeyvault/identities"
    (tmp_path / "credentials").mkdir()
    good = tmp_path / "credentials/tskeyvault-identity"
    own.rename(good)
    keygen(tmp_path / "bad")
    credential = {"CREDENTIALS_DIRECTORY": str(good.parent)}
    assert run_vault("show", "a", env=credential).code == 0
    assert run_vault("show", "a", env={"TSKEYVAULT_IDENTITY": str(good)}).code == 0
    assert run_vault("show", "a", env={**credential, "TSKEYVAULT_IDENTITY": str(tmp_path / "bad")}).code == 4
    both = {"TSKEYVAULT_IDENTITY": str(tmp_path / "bad")}
    assert run_vault("-i", good, "show", "a", env=both).code == 0
    pasted = "AGE-SECRET-" + "KEY-1QQQQ"
    for done in (
        run_vault("show", "a", "-i", pasted),
        run_vault("show", "a", env={"TSKEYVAULT_IDENTITY": pasted}),
    ):
        assert (done.code, "QQQQ" in done.err) == (4, False)


@pytest.mark.usefixtures("vault")
def test_ls_is_sorted_and_tells_names_only() -> None:
    assert run_vault("ls") == Result(0, b"", "")
    for name in ("b", "a/z", "a/y/x", "a b", "ab"):
        put(name, b"1", "--no-commit")
    assert run_vault("ls") == Result(0, b"a b\na/y/x\na/z\nab\nb\n", "")
    assert run_vault("ls", "a") == Result(0, b"a/y/x\na/z\n", "")
    assert run_vault("ls", "a/") == Result(0, b"a/y/x\na/z\n", "")
    assert run_vault("ls", "c") == Result(3, b"", "vault: 'c' holds no secrets\nhint: vault ls shows all\n")


@pytest.mark.usefixtures("vault")
def test_ls_as_json() -> None:
    assert json.loads(run_vault("ls", "--json").out) == []
    put("a/b")
    put("ü")
    assert json.loads(run_vault("ls", "--json").out) == [
        {"name": "a/b", "plugin": "age", "path": "secrets/a/b.age"},
        {"name": "ü", "plugin": "age", "path": "secrets/ü.age"},
    ]
    assert [row["name"] for row in json.loads(run_vault("ls", "a", "--json").out)] == ["a/b"]


def test_ls_passes_over_links_and_says_so(vault: Made) -> None:
    put("a")
    (vault.directory / "secrets/link.age").symlink_to("a.age")
    (vault.directory / "secrets/folder").symlink_to("/etc")
    done = run_vault("ls")
    assert (done.code, done.out) == (0, b"a\n")
    assert sorted(done.err.splitlines()) == [
        "vault: warning: passed over, not a secret: folder",
        "vault: warning: passed over, not a secret: link.age",
    ]


@pytest.mark.usefixtures("vault")
def test_ls_needs_no_key(tmp_path: Path) -> None:
    put("a")
    (tmp_path / "home/.config/tskeyvault/identities").unlink()
    assert run_vault("ls") == Result(0, b"a\n", "")


# rm


@pytest.mark.usefixtures("vault")
def test_rm_without_a_terminal_needs_force() -> None:
    put("a")
    done = run_vault("rm", "a", input=b"y\n")
    assert done == Result(2, b"", "vault: 'a' not removed\nhint: --force removes without asking\n")
    assert run_vault("show", "a").code == 0


def test_rm_removes_several_secrets_and_empty_folders_in_one_commit(vault: Made) -> None:
    for name in ("deep/er/a", "deep/er/b", "deep/c", "d"):
        put(name)
    done = run_vault("rm", "--force", "deep/er/a", "deep/er/b", "d")
    assert (done.code, done.out) == (0, b"")
    assert done.err.startswith("vault: removed 'deep/er/a', 'deep/er/b', 'd': ")
    assert committed() == ["secrets/d.age", "secrets/deep/er/a.age", "secrets/deep/er/b.age"]
    assert git("status", "--porcelain") == ""
    assert not (vault.directory / "secrets/deep/er").exists()
    assert run_vault("ls").out == b"deep/c\n"


def test_rm_recursive_takes_a_folder_and_only_with_the_option(vault: Made) -> None:
    for name in ("a/b", "a/c/d", "ab"):
        put(name)
    refused = run_vault("rm", "-f", "a")
    assert (refused.code, refused.err.splitlines()[0]) == (3, "vault: secret 'a': not in the vault")
    assert run_vault("rm", "-f", "-r", "a/").code == 0
    assert run_vault("ls").out == b"ab\n"
    assert not (vault.directory / "secrets/a").exists()


def test_rm_removes_all_or_nothing(vault: Made) -> None:
    put("a")
    put("b")
    before = tree(vault.directory)
    assert run_vault("rm", "-f", "a", "none", "b").code == 3
    assert run_vault("rm", "-rf", "a", "none").code == 3
    assert tree(vault.directory) == before
    assert git("status", "--porcelain") == ""


@pytest.mark.usefixtures("vault")
def test_rm_of_what_was_never_committed_beside_what_was() -> None:
    put("a", b"1", "--no-commit")
    put("b")
    done = run_vault("rm", "-f", "a", "b")
    assert done.code == 0, done.err
    assert committed() == ["secrets/b.age"]
    assert git("status", "--porcelain") == ""


@pytest.mark.usefixtures("vault")
def test_rm_without_commit() -> None:
    put("a")
    assert run_vault("rm", "-f", "a", "--no-commit").code == 0
    assert git("status", "--porcelain") == " D secrets/a.age\n"


@pytest.mark.usefixtures("vault")
def test_a_removed_secret_can_be_made_again() -> None:
    put("a", b"1")
    assert run_vault("rm", "-f", "a").code == 0
    put("a", b"2")
    assert run_vault("show", "a") == Result(0, b"2", "")


# recipients


def test_recipients_ls(vault: Made) -> None:
    label = (vault.directory / "secrets/.age-recipients").read_text().splitlines()[0].removeprefix("# ")
    expected = f"secrets/.age-recipients\n  {vault.recipient}  {label}\n"
    assert run_vault("recipients", "ls") == Result(0, expected.encode(), "")
    assert json.loads(run_vault("recipients", "ls", "--json").out) == [
        {
            "path": "secrets/.age-recipients",
            "approved": True,
            "recipients": [{"recipient": vault.recipient, "name": label}],
        }
    ]


def test_recipients_ls_says_what_is_not_approved(vault: Made, tmp_path: Path) -> None:
    with (vault.directory / "secrets/.age-recipients").open("a") as file:
        file.write(keygen(tmp_path / "other") + "\n")
    listed = run_vault("recipients", "ls").out.decode().splitlines()
    assert listed[0] == "secrets/.age-recipients (not approved on this host)"
    assert json.loads(run_vault("recipients", "ls", "--json").out)[0]["approved"] is False


@pytest.mark.usefixtures("vault")
def test_recipients_ls_passes_over_links_and_says_so() -> None:
    Path("secrets/link").symlink_to("/etc")
    done = run_vault("recipients", "ls")
    assert (done.code, done.err) == (0, "vault: warning: passed over: link\n")


def test_a_new_recipient_can_read_everything_that_the_file_governs(vault: Made, tmp_path: Path) -> None:
    for name in ("a", "b/c", "b/d"):
        put(name, name.encode())
    other = keygen(tmp_path / "other")
    (vault.directory / "staged").write_text("1")
    git("add", "staged")
    done = run_vault("recipients", "add", other, "--name", "Bob's host")
    plan = "vault: to re-encrypt, encrypted to other recipients: a, b/c, b/d\n"
    assert done == Result(0, b"", f"{plan}vault: Bob's host can read 3 secrets\n")
    assert (vault.directory / "secrets/.age-recipients").read_text().splitlines()[2:] == [
        "# Bob's host",
        other,
    ]
    assert committed() == [
        "secrets/.age-recipients", "secrets/a.age", "secrets/b/c.age", "secrets/b/d.age"
    ]  # fmt: skip
    assert git("status", "--porcelain") == "A  staged\n"
    for name in ("a", "b/c", "b/d"):
        assert run_vault("show", name, "-i", tmp_path / "other") == Result(0, name.encode(), "")
        assert run_vault("show", name) == Result(0, name.encode(), "")
    put("new")
    assert opens(tmp_path / "other", "new")


@pytest.mark.usefixtures("vault")
def test_a_recipient_of_a_folder_reads_only_there(tmp_path: Path) -> None:
    for name in ("a", "b/c", "b/d/e", "bb"):
        put(name)
    other = keygen(tmp_path / "other")
    done = run_vault("recipients", "add", other, "--folder", "b/")
    plan = "vault: to re-encrypt, encrypted to other recipients: b/c, b/d/e\n"
    assert done == Result(0, b"", f"{plan}vault: {other} can read 2 secrets\n")
    assert committed() == ["secrets/b/.age-recipients", "secrets/b/c.age", "secrets/b/d/e.age"]
    put("b/new")
    put("new")
    assert {name for name in ("a", "b/c", "b/d/e", "b/new", "bb", "new") if opens(tmp_path / "other", name)} == {
        "b/c", "b/d/e", "b/new"
    }  # fmt: skip
    assert all(run_vault("show", name).code == 0 for name in ("a", "b/c", "b/new", "new"))
    third = keygen(tmp_path / "third")
    assert run_vault("recipients", "add", third).err.splitlines()[1] == f"vault: {third} can read 3 secrets"
    assert not opens(tmp_path / "third", "b/c")
    assert opens(tmp_path / "third", "a")


@pytest.mark.usefixtures("vault")
def test_a_folder_can_have_recipients_before_it_has_secrets(tmp_path: Path) -> None:
    other = keygen(tmp_path / "other")
    assert run_vault("recipients", "add", other, "--folder", "new").code == 0
    put("new/a")
    assert opens(tmp_path / "other", "new/a")


def test_who_cannot_read_a_secret_cannot_let_others_read_it(vault: Made, tmp_path: Path) -> None:
    put("a")
    other = keygen(tmp_path / "other")
    before = tree(vault.directory)
    done = run_vault("recipients", "add", other, "-i", tmp_path / "other")
    assert (done.code, done.err.splitlines()[1]) == (4, "vault: secret 'a': no identity opens it")
    assert tree(vault.directory) == before
    assert git("rev-list", "--count", "HEAD") == "2\n"


def test_somebody_who_reads_already_is_not_added_again(vault: Made) -> None:
    before = tree(vault.directory)
    done = run_vault("recipients", "add", vault.recipient)
    assert done == Result(2, b"", f"vault: {vault.recipient} can read that already\n")
    assert tree(vault.directory) == before


@pytest.mark.parametrize("lower", [False, True])
def test_a_private_key_in_the_place_of_a_recipient_is_refused_and_not_shown(
    vault: Made, tmp_path: Path, *, lower: bool
) -> None:
    keygen(tmp_path / "other")
    key = (tmp_path / "other").read_text().splitlines()[2]
    before = tree(vault.directory)
    done = run_vault("recipients", "add", key.lower() if lower else key)
    assert done.code == 2
    assert "private key" in done.err
    assert key[15:].lower() not in done.err.lower()
    assert tree(vault.directory) == before


@pytest.mark.parametrize("recipient", ["", "#", "nonsense", "age1qqqq", "age1 x", "a\nb", "-x"])
def test_what_is_no_recipient_is_refused(vault: Made, recipient: str) -> None:
    before = tree(vault.directory)
    done = run_vault("recipients", "add", recipient)
    assert done.code == 2
    assert tree(vault.directory) == before


@pytest.mark.parametrize(
    "label", ["Bob\nage1evil", "Bob\rage1evil", "Bob\x1b[2J", "Bob\u202eevil", "Bob\x85age1evil"]
)
def test_a_name_cannot_bring_in_another_line(vault: Made, tmp_path: Path, label: str) -> None:
    other = keygen(tmp_path / "other")
    before = tree(vault.directory)
    done = run_vault("recipients", "add", other, "--name", label)
    assert done == Result(2, b"", "vault: the name is not one line of text\n")
    assert tree(vault.directory) == before


@pytest.mark.usefixtures("vault")
def test_ack_has_nothing_to_do_when_all_is_approved() -> None:
    assert run_vault("recipients", "ack") == Result(0, b"", "vault: all recipients are approved\n")


def test_ack_asks_and_without_a_terminal_the_answer_is_no(vault: Made, tmp_path: Path) -> None:
    other = keygen(tmp_path / "other")
    with (vault.directory / "secrets/.age-recipients").open("a") as file:
        file.write(f"# Eve\n{other}\n")
    refused = run_vault("recipients", "ack", input=b"y\n")
    assert refused.code == 5
    lines = refused.err.splitlines()
    assert lines[0] == "vault: secrets/.age-recipients"
    assert lines[1] == f"vault:   + {other}  (Eve)"
    assert "vault:   with changes that are not committed" in lines
    assert lines[-2:] == ["vault: not approved", "hint: vault recipients ack --yes approves without asking"]
    assert run_vault("insert", "a", input=b"1").code == 5
    done = run_vault("recipients", "ack", "--yes")
    assert (done.code, done.err.splitlines()[-1]) == (0, "vault: approved secrets/.age-recipients")
    put("a")
    assert opens(tmp_path / "other", "a")


# plugins and the command line itself


def test_plugins_are_listed_without_a_vault(tmp_path: Path) -> None:
    version = tskeyvault.__version__
    done = run_vault("plugins", cwd=tmp_path)
    assert (done.code, f"age      tskeyvault {version}\n" in done.out.decode(), done.err) == (0, True, "")
    rows = json.loads(run_vault("plugins", "--json", cwd=tmp_path).out)
    assert {"name": "age", "package": "tskeyvault", "version": version, "refused": ""} in rows


def test_help_names_every_command(tmp_path: Path) -> None:
    for option in ("--help", "-h"):
        done = run_vault(option, cwd=tmp_path)
        assert (done.code, done.err) == (0, "")
        assert all(f"  {name} " in done.out.decode() for name in COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "recipients ls", "recipients add", "recipients ack"])
def test_every_command_explains_itself(tmp_path: Path, command: str) -> None:
    done = run_vault(*command.split(), "--help", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.decode().startswith(f"usage: vault {command}")
    assert "--identity" in done.out.decode()


def test_version(tmp_path: Path) -> None:
    assert run_vault("--version", cwd=tmp_path) == Result(0, f"vault {tskeyvault.__version__}\n".encode(), "")


def test_no_command_at_all_is_told_what_there_is(tmp_path: Path) -> None:
    done = run_vault(cwd=tmp_path)
    assert done == Result(2, b"", "vault: which command?\nhint: vault --help lists them\n")


def test_an_unknown_command_gets_a_hint(tmp_path: Path) -> None:
    assert run_vault("lss", cwd=tmp_path) == Result(
        2, b"", "vault: no such command\nhint: did you mean 'vault ls'\n"
    )
    assert run_vault("zzzzzz", cwd=tmp_path).err == "vault: no such command\nhint: vault --help lists them\n"


KEY_PLACES = {
    "command": ["{}"],
    "option": ["--{}"],
    "option's value": ["ls", "--x={}"],
    "another argument": ["show", "a", "{}"],
    "value of a flag": ["insert", "--force={}", "a"],
    "verb": ["recipients", "{}"],
    "format": ["materialize", "--secret", "a", "--to", "b", "--format", "{}"],
    "mode": ["materialize", "--secret", "a", "--to", "b", "--mode", "{}"],
    "timeout": ["materialize", "a", "--timeout", "{}"],
    "identity": ["show", "a", "--identity", "{}"],
    "recipient": ["recipients", "add", "{}"],
}


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("place", KEY_PLACES)
def test_a_key_pasted_into_the_wrong_place_is_not_shown(place: str) -> None:
    put("a")
    key = made_key().decode()
    done = run_vault(*(word.format(key) for word in KEY_PLACES[place]))
    assert done.code == (4 if place == "identity" else 2)
    assert key not in done.err + done.out.decode()
    assert key[:20] not in done.err
    assert done.err.startswith("vault: ")
    assert "_seconds" not in done.err


@pytest.mark.parametrize(
    "words",
    ["insert", "show", "rm", "recipients", "recipients add", "materialize", "ls --jsn", "ls --js", "ls a b"],
)
def test_wrong_usage_is_told_with_where_help_is(tmp_path: Path, words: str) -> None:
    done = run_vault(*words.split(), cwd=tmp_path)
    assert (done.code, done.out) == (2, b"")
    message, hint = done.err.splitlines()
    assert message.startswith("vault: ")
    assert hint == f"hint: vault {words.split(' -', maxsplit=1)[0].removesuffix(' a b')} --help"


# where the vault is


@pytest.mark.usefixtures("vault")
def test_only_what_opens_secrets_may_spend_a_try_or_free_a_reader() -> None:
    for option in ("--last-try", "--free-reader"):
        for words in (["ls"], ["insert", "a"], ["recipients", "ls"], ["hooks", "status"], ["doctor"]):
            assert run_vault(*words, option).code == 2
        for words in (["show", "none"], ["recipients", "rm", "none"], ["rekey", "none"]):
            assert run_vault(*words, option).code == 3
        assert (run_vault(option, "ls").code, run_vault(option, "show", "none").code) == (2, 3)


@pytest.mark.parametrize("command", [["ls"], ["recipients", "ls"]], ids=" ".join)
def test_the_vault_and_the_key_are_named_before_or_after_the_command(
    vault: Made, tmp_path: Path, command: list[str]
) -> None:
    put("a")
    options = ["--vault", str(vault.directory), "-i", str(tmp_path / "home/.config/tskeyvault/identities")]
    expected = run_vault(*command)
    assert (expected.code, expected.out != b"") == (0, True)
    assert run_vault(*options, *command, cwd=tmp_path) == expected
    assert run_vault(*command, *options, cwd=tmp_path) == expected
    assert run_vault(f"--vault={vault.directory}", *command, cwd=tmp_path) == expected


def test_the_place_after_the_command_wins(vault: Made, tmp_path: Path) -> None:
    put("a")
    other = make_vault(tmp_path / "other").directory
    assert run_vault("--vault", other, "ls", "--vault", vault.directory, cwd=tmp_path).out == b"a\n"
    assert run_vault("--vault", vault.directory, "ls", "--vault", other, cwd=tmp_path).out == b""


def test_the_vault_is_found_in_its_order(vault: Made, tmp_path: Path) -> None:
    made = {"here": vault.directory}
    for name in ("named", "variable", "configured"):
        made[name] = make_vault(tmp_path / name).directory
    for name, directory in made.items():
        assert run_vault("--vault", directory, "insert", name, "--no-commit", input=b"1").code == 0
    config_file(f"vault = '{made['configured']}'\n")
    deep = vault.directory / "x/y"
    deep.mkdir(parents=True)
    variable = {"TSKEYVAULT_DIR": str(made["variable"])}
    assert run_vault("--vault", made["named"], "ls", env=variable, cwd=deep).out == b"named\n"
    assert run_vault("ls", env=variable, cwd=deep).out == b"variable\n"
    assert run_vault("ls", cwd=deep).out == b"here\n"
    assert run_vault("ls", cwd=tmp_path).out == b"configured\n"


def test_no_vault_anywhere(tmp_path: Path) -> None:
    message = "vault: no vault here or above\nhint: vault init makes one, --vault DIR names one\n"
    assert run_vault("ls", cwd=tmp_path) == Result(3, b"", message)
    named = run_vault("--vault", tmp_path, "ls", cwd=tmp_path)
    assert named.err.startswith(f"vault: '{tmp_path}' holds no vault.toml\n")
    assert named.code == run_vault("ls", env={"TSKEYVAULT_DIR": str(tmp_path)}, cwd=tmp_path).code == 3


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("comit = false", "unknown key 'comit'"),
        ("commit = 'no'", "vault is a text, commit is true or false"),
        ("vault = [", "broken TOML (at end of document)"),
        ("[plugins]\nage = 1", "[plugins.age]: is not a table"),
    ],
)
def test_a_wrong_local_configuration_is_explained(text: str, reason: str) -> None:
    config_file(text)
    done = run_vault("ls")
    assert done.code == 2
    assert reason in done.err
    assert "tskeyvault/config.toml" in done.err


@pytest.mark.usefixtures("vault")
def test_a_local_configuration_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    config_file("commit = false")
    (tmp_path / "home/.config/tskeyvault/config.toml").chmod(0o666)
    done = run_vault("ls")
    assert done.code == 2
    assert "can be changed by others" in done.err


@pytest.mark.usefixtures("vault")
def test_output_into_a_pipe_that_is_closed_is_no_failure_with_a_traceback() -> None:
    put("a", b"x" * 1_000_000, "--no-commit")
    done = run_shell("vault show a | head -c 1")
    assert (done.out, done.err) == (b"x", "")
