"""What an attacker who can write to the repository may try: each is refused, and nothing is changed by it."""

import base64
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import needs
from support.terminal import VAULT
from support.vaults import Made, Result, copy_world, made_key, make_vault, run_python, run_vault, services

VALUE = made_key()
SECRET = Path("secrets/t/key.age")
RECIPIENTS = Path("secrets/.age-recipients")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a home and a vault with the secret ``t/key``, to be copied."""
    top = tmp_path_factory.mktemp("original")
    environ = {"XDG_CONFIG_HOME": f"{top}/home/.config", "XDG_STATE_HOME": f"{top}/home/.local/state"}
    for role in ("AUTHOR", "COMMITTER"):
        environ |= {f"GIT_{role}_NAME": "Test User", f"GIT_{role}_EMAIL": "test@example.org"}
    vault = top / "vault"
    assert run_vault("init", vault, env=environ).code == 0
    assert run_vault("insert", "t/key", "--vault", vault, input=VALUE, env=environ).code == 0
    return top


@pytest.fixture
def vault(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Give a vault, in which the test stands, with the secret ``t/key``."""
    copy_world(original, tmp_path)
    monkeypatch.chdir(tmp_path / "vault")
    return Made(tmp_path / "vault", RECIPIENTS.read_text().splitlines()[-1])


@pytest.fixture
def target() -> Iterator[Path]:
    """Give a directory on tmpfs."""
    directory = Path(tempfile.mkdtemp(prefix="tskeyvault-test-", dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory)


def run(*words: str | Path, input: bytes = b"") -> Result:  # noqa: A002 - the name that subprocess.run has
    """Run the command; whatever it is given it ends in order, and sends nothing to confuse a terminal."""
    done = run_vault(*words, input=input)
    assert "Traceback" not in done.err
    assert "defect" not in done.err
    assert done.code in range(8)
    assert all(character.isprintable() or character == "\n" for character in done.err)
    return done


def put(name: str, value: bytes, *options: str) -> None:
    done = run("insert", name, *options, input=value)
    assert done.code == 0, done.err


def git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout


def keygen(path: Path) -> str:
    done = run("keygen", "-o", path)
    assert done.code == 0
    return done.out.decode().strip()


def picture(directory: Path) -> dict[str, tuple[int, int, object]]:
    """Return path, kind and mode, inode and content of everything in *directory*, but git's own files."""
    found = {}
    for path in sorted(directory.rglob("*")):
        info = path.lstat()
        content: object = None
        if path.is_symlink():
            content = path.readlink()
        elif path.is_file():
            content = path.read_bytes()
        if ".git" not in path.parts:
            found[str(path)] = (info.st_mode, info.st_ino, content)
    return found


def memory(tmp_path: Path) -> dict[str, tuple[int, int, object]]:
    return picture(tmp_path / "home/.local/state")


def refused(tmp_path: Path, code: int, reason: str, *words: str | Path, value: bytes = b"") -> Result:
    """Assert that the command fails so, and changes neither vault nor what this host remembers."""
    before = picture(Path.cwd()), memory(tmp_path), git("rev-parse", "HEAD")
    done = run(*words, input=value)
    assert (done.code, done.out, reason in done.err) == (code, b"", True), done
    assert VALUE not in done.err.encode()
    assert (picture(Path.cwd()), memory(tmp_path), git("rev-parse", "HEAD")) == before
    return done


# ciphertexts that are put where they do not belong


@pytest.fixture
def refused_everywhere(tmp_path: Path, target: Path) -> Callable[[int, str], None]:
    """Give the assertion that ``t/key`` is refused by each command that would read it."""
    stranger = keygen(tmp_path / "stranger")

    def check(code: int, reason: str) -> None:
        refused(tmp_path, code, reason, "show", "t/key")
        refused(tmp_path, code, reason, "materialize", "--secret", "t/key", "--to", target / "k")
        refused(tmp_path, code, reason, "recipients", "add", stranger)
        assert os.listdir(target) == []

    return check


@pytest.mark.usefixtures("vault")
def test_a_file_copied_over_another_name(refused_everywhere: Callable[[int, str], None]) -> None:
    put("t/other", b"another value")
    shutil.copy("secrets/t/other.age", SECRET)
    refused_everywhere(5, "secret 't/key': its file is that of secret 't/other', copied over it")


@pytest.mark.usefixtures("vault")
def test_a_file_copied_to_a_new_name(tmp_path: Path) -> None:
    shutil.copy(SECRET, "secrets/new.age")
    refused(tmp_path, 5, "secret 'new': its file is that of secret 't/key', copied over it", "show", "new")


@pytest.mark.usefixtures("vault")
def test_a_file_of_another_vault(tmp_path: Path, refused_everywhere: Callable[[int, str], None]) -> None:
    other = make_vault(tmp_path / "other").directory
    assert run("--vault", other, "insert", "t/key", input=b"theirs").code == 0
    shutil.copy(other / SECRET, SECRET)
    refused_everywhere(5, "secret 't/key': its file was written for another vault")


@pytest.mark.usefixtures("vault")
def test_an_older_generation_put_back_with_git(refused_everywhere: Callable[[int, str], None]) -> None:
    put("t/key", b"the new value", "--force")
    git("checkout", "--quiet", "HEAD~1", "--", str(SECRET))
    git("commit", "--quiet", "-m", "back")
    refused_everywhere(5, "secret 't/key': rolled back to generation 1; this host has seen 2")
    put("t/key", VALUE, "--force")
    assert run("show", "t/key") == Result(0, VALUE, "")
    state = next(Path(os.environ["XDG_STATE_HOME"], "tskeyvault").glob("*.json"))
    assert json.loads(state.read_text())["seen"][str(SECRET)][0] == 3


@pytest.mark.usefixtures("vault")
def test_two_files_of_one_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused_everywhere: Callable[[int, str], None]
) -> None:
    old = SECRET.read_bytes()
    put("t/key", b"ours", "--force")
    SECRET.write_bytes(old)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_STATE_HOME", str(tmp_path / "another-host"))
        assert run("recipients", "ack", "--yes").code == 0
        put("t/key", b"theirs", "--force")
        assert run("show", "t/key").out == b"theirs"
    refused_everywhere(5, "secret 't/key': two different files claim generation 2")


def split(ciphertext: bytes) -> tuple[bytes, bytes, bytes]:
    """Return *ciphertext* around the binding stanza: what is before, the stanza, what is after."""
    start = ciphertext.index(b"-> tskeyvault v1\n")
    end = ciphertext.index(b"\n--- ") + 1
    return ciphertext[:start], ciphertext[start:end], ciphertext[end:]


def rebound(ciphertext: bytes, **changes: object) -> bytes:
    """Return *ciphertext* with *changes* in its binding, by somebody who has no key."""
    before, stanza, after = split(ciphertext)
    fields = json.loads(base64.b64decode(stanza.split(b"\n", 1)[1].replace(b"\n", b"") + b"=="))
    encoded = json.dumps(fields | changes, sort_keys=True, separators=(",", ":")).encode()
    text = base64.b64encode(encoded).rstrip(b"=")
    lines = [text[at : at + 64] for at in range(0, len(text) + 1, 64)]
    return before + b"-> tskeyvault v1\n" + b"\n".join(lines) + b"\n" + after


STANZAS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "removed": (lambda it: split(it)[0] + split(it)[2], "this host has seen it bound, and this file is not"),
    "doubled": (lambda it: split(it)[0] + split(it)[1] * 2 + split(it)[2], "there is more than one"),
    "newer": (lambda it: rebound(it, generation=2), "MAC: the header was changed"),
    "huge": (lambda it: rebound(it, generation=2**60), "the binding cannot be read"),
    "negative": (lambda it: rebound(it, generation=-1), "the binding cannot be read"),
    "no-number": (lambda it: rebound(it, generation=None), "the binding cannot be read"),
    "created": (
        lambda it: rebound(it, generation=2, created="2000-01-01T00:00:00Z"),
        "the header was changed",
    ),
    "another-field": (lambda it: rebound(it, generation=2, extra=1), "the binding cannot be read"),
    "long": (lambda it: rebound(it, name="t" * 5000), "the binding is larger than 4096 bytes"),
    "escapes": (lambda it: rebound(it, name="\x1b[2Jx"), "copied over it"),
    "version": (lambda it: it.replace(b"tskeyvault v1", b"tskeyvault v2"), "written by a newer version"),
    "malformed": (lambda it: it.replace(b"tskeyvault v1", b"tskeyvault v1 x"), "binding: malformed"),
    "renamed": (lambda it: it.replace(b"tskeyvault v1", b"tskeyvaulx v1"), "has seen it bound"),
}


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("how", STANZAS)
def test_a_changed_binding(tmp_path: Path, how: str) -> None:
    change, reason = STANZAS[how]
    SECRET.write_bytes(change(SECRET.read_bytes()))
    refused(tmp_path, 5, reason, "show", "t/key")


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("how", ["removed", "newer", "renamed", "created"])
def test_a_changed_binding_on_a_host_that_has_seen_nothing_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home/.local/state/new"))
    SECRET.write_bytes(STANZAS[how][0](SECRET.read_bytes()))
    refused(tmp_path, 5, "the header was changed", "show", "t/key")


def by_plain_age(recipient: str, value: bytes) -> bytes:
    needs.program("age")
    return subprocess.run(["age", "-r", recipient], input=value, capture_output=True, check=True).stdout


def test_an_unbound_file_in_the_place_of_a_bound_one(
    vault: Made, refused_everywhere: Callable[[int, str], None]
) -> None:
    SECRET.write_bytes(by_plain_age(vault.recipient, b"forged"))
    refused_everywhere(5, "secret 't/key': this host has seen it bound, and this file is not")


def test_a_file_of_plain_age_is_opened_with_one_warning_and_bound_at_the_next_write(vault: Made) -> None:
    Path("secrets/plain.age").write_bytes(by_plain_age(vault.recipient, b"plain value"))
    warning = "vault: warning: secret 'plain' is not bound to its name yet; the next write binds it\n"
    assert run("show", "plain") == Result(0, b"plain value", warning)
    assert run("show", "plain") == Result(0, b"plain value", "")
    Path("secrets/plain.age").write_bytes(by_plain_age(vault.recipient, b"another value"))
    assert run("show", "plain") == Result(0, b"another value", warning)
    put("plain", b"bound value", "--force")
    assert b"-> tskeyvault v1\n" in Path("secrets/plain.age").read_bytes()
    assert run("show", "plain") == Result(0, b"bound value", "")
    Path("secrets/plain.age").write_bytes(by_plain_age(vault.recipient, b"forged"))
    assert run("show", "plain").code == 5


def test_a_file_of_plain_age_is_bound_when_somebody_is_added(vault: Made, tmp_path: Path) -> None:
    Path("secrets/plain.age").write_bytes(by_plain_age(vault.recipient, b"plain value"))
    assert run("recipients", "add", keygen(tmp_path / "other")).code == 0
    assert b"-> tskeyvault v1\n" in Path("secrets/plain.age").read_bytes()
    assert run("show", "plain", "-i", tmp_path / "other").out == b"plain value"


# recipients


@pytest.mark.usefixtures("vault")
def test_a_recipient_added_behind_our_back_gets_nothing_until_it_is_approved(tmp_path: Path) -> None:
    stranger, other = keygen(tmp_path / "stranger"), keygen(tmp_path / "other")
    RECIPIENTS.write_text(f"{RECIPIENTS.read_text()}# Alice\n{stranger}\n")
    author = "Mallory \x1b[31m <m@example.org>"
    git("-c", "user.name=Mallory", "commit", "--quiet", "--author", author, "-am", "tidy up")
    head = git("log", "-1", "--format=%h by %an").strip()
    for words in (("insert", "new"), ("insert", "-f", "t/key"), ("recipients", "add", other)):
        done = refused(tmp_path, 5, "are not those this host approved", *words, value=b"typed")
        lines = done.err.splitlines()
        assert lines[:2] == [
            "vault: the recipients in 'secrets/.age-recipients' are not those this host approved",
            f"vault:   + {stranger}  (Alice)",
        ]
        assert lines[2].startswith("vault:   last changed in " + head.replace("\x1b", "\\x1b"))
        commit = head.partition(" ")[0]
        assert (
            lines[-1]
            == f"hint: vault recipients ack, when this is how it should be; git revert {commit}, when not"
        )
    assert run("show", "t/key") == Result(0, VALUE, "")
    acknowledged = run("recipients", "ack", "--yes")
    assert acknowledged.code == 0
    assert "last changed in " + head.replace("\x1b", "\\x1b") in acknowledged.err
    put("new", b"value")
    assert run("show", "new", "-i", tmp_path / "stranger").out == b"value"


def test_a_recipient_that_was_removed_or_exchanged(vault: Made, tmp_path: Path) -> None:
    other = keygen(tmp_path / "other")
    assert run("recipients", "add", other).code == 0
    text = RECIPIENTS.read_text()
    for changed, line in (
        (text.replace(vault.recipient, ""), f"- {vault.recipient}"),
        (text.replace(other, keygen(tmp_path / "evil")), f"- {other}"),
    ):
        RECIPIENTS.write_text(changed)
        refused(tmp_path, 5, line, "insert", "new", value=b"1")
    RECIPIENTS.write_text("# nobody\n")
    refused(tmp_path, 3, "names nobody", "insert", "new", value=b"1")
    RECIPIENTS.unlink()
    refused(tmp_path, 3, "has no recipients", "insert", "new", value=b"1")
    lines = text.splitlines()
    RECIPIENTS.write_text("\n".join(["", *lines[2:], *lines[1:2], ""]))
    put("order-and-labels-are-no-change", b"1")


@pytest.mark.usefixtures("vault")
def test_a_nearer_recipients_file_that_was_planted(tmp_path: Path) -> None:
    Path("secrets/t/.age-recipients").write_text(keygen(tmp_path / "stranger") + "\n")
    for name in ("t/new", "t/deep/er"):
        refused(tmp_path, 5, "'secrets/t/.age-recipients' are not those", "insert", name, value=b"1")
    refused(tmp_path, 5, "'secrets/t/.age-recipients'", "insert", "-f", "t/key", value=b"1")
    refused(
        tmp_path,
        5,
        "'secrets/t/.age-recipients'",
        "recipients",
        "add",
        "--folder",
        "t",
        keygen(tmp_path / "o"),
    )
    put("elsewhere", b"1")


@pytest.mark.usefixtures("vault")
def test_a_nearer_recipients_file_that_was_deleted(tmp_path: Path) -> None:
    assert run("recipients", "add", keygen(tmp_path / "other"), "--folder", "t/deep").code == 0
    git("rm", "--quiet", "secrets/t/deep/.age-recipients")
    git("commit", "--quiet", "-m", "tidy up")
    for name in ("t/deep/new", "t/deep/er/new"):
        done = refused(
            tmp_path, 5, "'secrets/t/deep/.age-recipients' are not those", "insert", name, value=b"1"
        )
        assert "the file is gone" in done.err
        assert "last changed in" in done.err
    put("t/new", b"1")
    assert "the file is gone" in run("recipients", "ack", "--yes").err
    put("t/deep/new", b"1")


@pytest.mark.usefixtures("vault")
def test_recipients_that_are_none_are_refused_even_when_they_were_approved(tmp_path: Path) -> None:
    good = RECIPIENTS.read_bytes()
    key = b"AGE-SECRET-" + b"KEY-1QQQQQQ\n"
    for garbage in (b"age1qqq\n", b"\x1b[2J\n", key, b"x" * 100_000 + b"\n"):
        RECIPIENTS.write_bytes(good + garbage)
        refused(tmp_path, 5, "are not those this host approved", "insert", "new", value=b"1")
        assert run("recipients", "ack", "--yes").code == 0
        done = refused(tmp_path, 2, "recipient 2", "insert", "new", value=b"1")
        assert "QQQ" not in done.err
        assert run("show", "t/key") == Result(0, VALUE, "")
    RECIPIENTS.write_bytes(b"\xff\xfe")
    for words in (("insert", "new"), ("recipients", "ls"), ("recipients", "ack", "--yes")):
        refused(tmp_path, 2, "secrets/.age-recipients: not in UTF-8", *words, value=b"1")


@pytest.mark.usefixtures("vault")
def test_more_recipients_than_anybody_has(tmp_path: Path) -> None:
    alphabet = "023456789acdefghjklmnpqrstuvwxyz"
    pick = random.Random(7)  # noqa: S311 - not for keys
    lines = ["age1" + "".join(pick.choices(alphabet, k=58)) for _ in range(100_000)]
    own = RECIPIENTS.read_text()
    RECIPIENTS.write_text("\n".join([own, *lines[:60_000], ""]))
    done = refused(tmp_path, 5, "are not those this host approved", "insert", "new", value=b"1")
    assert len(done.err.splitlines()) < 200
    RECIPIENTS.write_text("\n".join([own, *lines, ""]))
    refused(tmp_path, 5, f"is larger than {4 << 20} bytes", "insert", "new", value=b"1")
    assert run("ls").out == b"t/key\n"


# what is no regular file


def to_link(path: Path) -> None:
    kept = path.with_name(f"kept-{path.name.lstrip('.')}")
    path.rename(kept)
    path.symlink_to(kept.name)


def to_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def to_device(path: Path) -> None:
    needs.root()
    path.unlink()
    os.mknod(path, 0o20644, os.makedev(1, 5))  # /dev/zero


def to_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


KINDS = {"link": to_link, "fifo": to_fifo, "device": to_device, "directory": to_directory}


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_that_is_no_regular_file(tmp_path: Path, kind: str) -> None:
    KINDS[kind](SECRET)
    for words in (("show", "t/key"), ("materialize", "--secret", "t/key", "--to", tmp_path / "no/k")):
        done = run(*words)
        assert (done.code, done.out) == (5, b"")
    before = picture(Path.cwd())
    assert run("recipients", "add", keygen(tmp_path / "other")).code in {0, 5}
    listed = run("ls")
    assert (listed.code, b"t/key\n" in listed.out) == (0, False)
    assert {path: what for path, what in picture(Path.cwd()).items() if "kept" in path} == {
        path: what for path, what in before.items() if "kept" in path
    }


@pytest.mark.parametrize("kind", ["link", "fifo", "device"])
def test_a_secret_is_not_written_through_what_is_no_regular_file(vault: Made, kind: str) -> None:
    KINDS[kind](SECRET)
    kept = SECRET.with_name("kept-key.age")
    before = kept.read_bytes() if kind == "link" else b""
    done = run("insert", "-f", "t/key", input=b"new")
    assert done.code in {0, 5}
    if kind == "link":
        assert kept.read_bytes() == before
    if done.code == 0:
        assert (SECRET.is_symlink(), SECRET.is_file()) == (False, True)
    assert vault.directory.is_dir()


@pytest.mark.usefixtures("vault")
def test_a_hard_link_is_no_way_out_of_the_store(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.hardlink_to(SECRET)
    before = outside.read_bytes()
    put("t/key", b"new", "--force")
    assert (outside.read_bytes(), outside.stat().st_nlink) == (before, 1)
    RECIPIENTS.chmod(0o644)
    (tmp_path / "recipients").hardlink_to(RECIPIENTS)
    before = RECIPIENTS.read_bytes()
    assert run("recipients", "add", keygen(tmp_path / "other")).code == 0
    assert (tmp_path / "recipients").read_bytes() == before


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("folder", ["secrets/t", "secrets"])
@pytest.mark.parametrize("kind", ["link-inside", "link-outside", "fifo", "file", "missing"])
def test_a_folder_that_is_no_directory(tmp_path: Path, folder: str, kind: str) -> None:
    path, moved = Path(folder), tmp_path / "moved"
    if kind == "link-inside":
        path.rename("elsewhere")
        path.symlink_to(os.path.relpath("elsewhere", path.parent))
        moved = Path("elsewhere")
    else:
        path.rename(moved)
    if kind == "link-outside":
        path.symlink_to(moved)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "file":
        path.write_text("x")
    before = picture(moved)
    expected = 3 if kind == "missing" else 5
    assert run("show", "t/key").code == expected
    assert run("rm", "-f", "t/key").code == expected
    assert run("insert", "-f", "t/new", input=b"1").code == (
        0 if (kind, folder) == ("missing", "secrets/t") else expected
    )
    assert run("ls").code in {0, 5}
    assert run("recipients", "ls").code in {0, 5}
    assert picture(moved) == before


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("kind", KINDS)
def test_a_recipients_file_that_is_no_regular_file(tmp_path: Path, kind: str) -> None:
    KINDS[kind](RECIPIENTS)
    for words in (
        ("insert", "new"),
        ("insert", "-f", "t/key"),
        ("recipients", "add", keygen(tmp_path / "other")),
    ):
        refused(tmp_path, 5, "", *words, value=b"1")
    assert run("recipients", "ls").code in {0, 5}
    assert run("show", "t/key").code == 0


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("kind", KINDS)
def test_a_vault_toml_that_is_no_regular_file(tmp_path: Path, kind: str) -> None:
    KINDS[kind](Path("vault.toml"))
    for words in (("show", "t/key"), ("ls",), ("insert", "new"), ("rm", "-f", "t/key")):
        refused(tmp_path, 5, "'vault.toml' ", *words, value=b"1")
    done = run("init")
    assert (done.code, "is a vault already" in done.err) == (2, True)


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("kind", KINDS)
def test_a_state_file_that_is_no_regular_file(tmp_path: Path, kind: str) -> None:
    [state] = (tmp_path / "home/.local/state/tskeyvault").iterdir()
    KINDS[kind](state)
    for words in (("show", "t/key"), ("insert", "new"), ("recipients", "ack", "--yes")):
        refused(tmp_path, 5, "", *words, value=b"1")


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"{}",
        b"[" * 200_000,
        b'{"seen": {"a": 1}, "approved": {}}',
        b'{"seen": {"a": [Infinity, ""]}, "approved": {}}',
        b'{"seen": {}, "approved": {"a": 1}}',
    ],
    ids=["empty", "broken", "list", "not-utf-8", "no-keys", "nested", "number", "infinity", "approved"],
)
def test_a_damaged_state_file_is_not_taken_for_an_empty_one(tmp_path: Path, data: bytes) -> None:
    [state] = (tmp_path / "home/.local/state/tskeyvault").iterdir()
    state.write_bytes(data)
    refused(tmp_path, 5, "is damaged", "show", "t/key")
    refused(tmp_path, 5, "is damaged", "insert", "new", value=b"1")


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("kind", ["fifo", "device", "directory"])
def test_an_identity_file_that_is_no_regular_file(tmp_path: Path, kind: str) -> None:
    identities = tmp_path / "home/.config/tskeyvault/identities"
    KINDS[kind](identities)
    refused(tmp_path, 4, "", "show", "t/key")
    refused(tmp_path, 4, "--identity names no file", "show", "t/key", "-i", identities)
    assert run("keygen").code == 2


@pytest.mark.usefixtures("vault")
def test_garbage_for_an_identity(tmp_path: Path) -> None:
    path = tmp_path / "identity"
    secret = "SECRET-" + "KEY-1QQQQQQQQ"
    for data, code in (
        (b"", 4),
        (b"\xff", 2),
        (f"AGE-{secret}".encode(), 2),
        (b"x" * (2 << 20), 2),
        (b"\x1b[2J", 2),
    ):
        path.write_bytes(data)
        done = refused(tmp_path, code, "", "show", "t/key", "-i", path)
        assert "QQQ" not in done.err


# names


NAMES = [
    "..", "../x", "a/../../x", "a/..", ".", "./a", "a/./b", "/etc/passwd", "a//b", "a/", "", "-", "--", "-x/y",
    "a/-b", ".hidden", "a/.git", "a\nb", "a\x1b[2Jb", "a\\b", "a:b:c", "age:", "AGE:a", "a\u202eb", "a\u200bb",
    " a", "a ", "e\u0301", "x" * 201, "/".join(["x" * 100] * 11), "age:../a",
]  # fmt: skip
RAW = [b"a\xffb", b"\xc3"]


@pytest.mark.usefixtures("vault")
def test_names_that_are_none_are_refused_by_every_command(tmp_path: Path, target: Path) -> None:
    commands: list[list[str]] = [
        ["insert", "--force", "--"],
        ["show", "--"],
        ["rm", "-f", "--"],
        ["recipients", "add", "age1x", "--folder"],
        ["materialize", "--to", str(target / "k"), "--secret"],
        ["materialize", "--directory", str(target), "--"],
    ]
    before = picture(Path.cwd()), memory(tmp_path)
    # One process for all: it is the same code, and each start costs more than the work.
    words = [
        [*command, name]
        for name in [*NAMES, *map(os.fsdecode, RAW)]
        for command in commands
        if not (name.endswith("/") and command[0] in {"rm", "recipients"}) and name != "--"
    ]
    ends = in_one_process(words)
    wrong = [(line, code) for line, code in zip(words, ends.codes, strict=True) if code != 2]
    assert wrong == []
    assert all(character.isprintable() or character == "\n" for character in ends.err)
    assert (picture(Path.cwd()), memory(tmp_path)) == before
    assert os.listdir(target) == []


class Ends:
    """How many runs in one process ended."""

    def __init__(self, done: Result):
        assert done.code == 0, done.err
        *_, last = done.out.decode().splitlines()
        self.codes: list[int] = json.loads(last)
        self.out = done.out.rpartition(b"[")[0]
        self.err = done.err
        assert "Traceback" not in self.err
        assert "defect" not in self.err
        assert all(code in range(8) for code in self.codes)


def in_one_process(words: list[list[str]], before: str = "pass") -> Ends:
    """Run ``vault`` for each of *words* in one process, and the statement *before* with its number first."""
    code = f"""
import json, os, shutil, sys
from tskeyvault.cli import main
def end(number, line):
    {before}
    try:
        return main(line)
    except SystemExit as error:
        return error.code
codes = [end(number, line) for number, line in enumerate(json.load(sys.stdin))]
sys.stdout.flush()
os.write(1, b"\\n" + json.dumps(codes).encode())
"""
    return Ends(run_python("-c", code, input=json.dumps(words).encode()))


# damage


def damaged_in_every_way(ciphertext: bytes) -> dict[str, bytes]:
    pick = random.Random(20)  # noqa: S311 - not for keys
    found = {f"cut at {size}": ciphertext[:size] for size in range(0, len(ciphertext), 64)}
    found |= {f"without the last {less}": ciphertext[:-less] for less in (1, 15, 16, 17)}
    for _ in range(100):
        at, bit = pick.randrange(len(ciphertext)), pick.randrange(8)
        changed = bytes([ciphertext[at] ^ 1 << bit])
        found[f"bit {bit} of {at}"] = ciphertext[:at] + changed + ciphertext[at + 1 :]
    line = b"-> X25519 " + b"A" * 43 + b"\n" + b"B" * 43 + b"\n"
    start = b"age-encryption.org/v1\n"
    rest = ciphertext[ciphertext.index(b"\n--- ") + 1 :]
    found |= {
        "doubled": ciphertext * 2,
        "one byte more": ciphertext + b"\0",
        "zeros": bytes(1000),
        "noise": pick.randbytes(5000),
        "text": b"-----BEGIN AGE ENCRYPTED FILE-----\n",
        "no stanza": start + rest,
        "many stanzas": start + line * 2000 + rest,
        "header without an end": start + line * 20_000,
        "a long line": start + b"-> " + b"x" * (2 << 20),
        "many arguments": start + b"-> " + b"x " * 100_000 + b"x\n\n" + rest,
        "only newlines": start + b"\n" * 100_000,
        "crlf": ciphertext.replace(b"\n", b"\r\n"),
        "upper case": ciphertext.upper(),
    }
    return found


@pytest.mark.usefixtures("vault")
def test_damaged_ciphertexts(tmp_path: Path) -> None:
    good = SECRET.read_bytes()
    variants = damaged_in_every_way(good)
    folder = tmp_path / "variants"
    folder.mkdir()
    for number, data in enumerate(variants.values()):
        (folder / str(number)).write_bytes(data)
    before = memory(tmp_path)
    # In one process, as above.
    ends = in_one_process(
        [["show", "t/key"]] * len(variants), f"shutil.copy(f'{folder}/{{number}}', '{SECRET}')"
    )
    accepted = {how: code for how, code in zip(variants, ends.codes, strict=True) if code not in {4, 5}}
    assert accepted == {}
    assert ends.out == b"\n"
    assert VALUE.decode() not in ends.err
    assert all(character.isprintable() or character == "\n" for character in ends.err)
    assert memory(tmp_path) == before
    SECRET.write_bytes(good)
    assert run("show", "t/key").out == VALUE


@pytest.mark.usefixtures("vault")
def test_a_huge_file(tmp_path: Path) -> None:
    with SECRET.open("r+b") as file:
        file.truncate(10 << 30)
    done = run("show", "t/key")
    assert (done.code, f"is larger than {(16 << 20) + (2 << 20)} bytes" in done.err) == (5, True)
    SECRET.unlink()
    SECRET.write_bytes(b"age-encryption.org/v1\n")
    refused(tmp_path, 5, "cut short", "show", "t/key")


# vault.toml


START = f'[vault]\nformat = 1\nid = "{"0" * 32}"\n'
SERVICE = "[services.s.files.k]\nsecret = 't/key'\n"
TOML: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "[vault]: is missing"),
    "broken": ("[vault", "broken TOML (at "),
    "key in a broken line": ("x = tskey-auth-x", "broken TOML (at line 1"),
    "not utf-8": (b"\xff", "not a TOML file in UTF-8"),
    "nested": ("x = " + "[" * 50_000, "vault.toml: "),
    "format": ('[vault]\nformat = 2\nid = "x"', "format is not 1"),
    "format is true": (START.replace("= 1", "= true"), "format is not 1"),
    "id": ("[vault]\nformat = 1\nid = '../../x'", "id is not 32 hexadecimal digits"),
    "id of another kind": ("[vault]\nformat = 1\nid = 5", "id is not 32 hexadecimal digits"),
    "backend": (START + "backend = '../x'", "[vault] backend"),
    "unknown": ("[volt]\n", "unknown key 'volt'"),
    "command": (START + "command = 'rm -rf'", "[vault]: unknown key 'command'"),
    "plugins": (START + "[plugins.age]\nx = 1", "vault.toml: unknown key 'plugins'"),
    "directory": (START + "[services.s]\ndirectory = '/etc'\n", "[services.s]: unknown key 'directory'"),
    "file's directory": (START + SERVICE + "directory = '/etc'", "unknown key 'directory'"),
    "path": (START + "[services.s.files.'../k']\nsecret = 't/key'", "must not begin with a dot"),
    "absolute": (START + "[services.s.files.'/etc/k']\nsecret = 't/key'", "must not contain '/'"),
    "service": (START + SERVICE.replace("services.s", "services.'../s'"), "must not begin with a dot"),
    "escapes in a key": (START + '[vault2."\\u001b[2J\\u202e"]\n', "unknown key"),
    "escapes in a service": (START + '[services."\\u001b[2J"]\n', "\\x1b"),
    "escapes in a variable": (START + '[services.s.files.k]\nformat="env"\nvalues={"\\u001b[2J"="a"}', "\\x1b"),
    "variable": (START + "[services.s.files.k]\nformat='env'\nvalues={'A\\nB'='a'}", "letters, digits"),
    "mode": (START + SERVICE + "mode = '0666'", "would open the secret to every user"),
    "setuid": (START + SERVICE + "mode = '4400'", "is not three octal digits"),
    "mode is a number": (START + SERVICE + "mode = 0o400", "mode is not a text"),
    "secret": (START + "[services.s.files.k]\nsecret = '../../etc/shadow'", "must not begin with a dot"),
    "no files": (START + "[services.s]\n", "has neither files nor credentials"),
    "both": (START + SERVICE + "values = {A = 'a'}", "take 'secret'"),
    "values": (START + "[services.s.files.k]\nformat='env'\nvalues=[1]", "is not a table"),
    "template": (START + SERVICE + "format = 'template'", "take 'values'"),
    "format of a file": (START + SERVICE + "format = 'jinja'", "format is not one of"),
    "array": (START + "[[services.s]]\n", "is not a table"),
}  # fmt: skip


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("how", TOML)
def test_a_hostile_vault_toml(tmp_path: Path, target: Path, how: str) -> None:
    text, reason = TOML[how]
    Path("vault.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    done = refused(tmp_path, 2, reason, "materialize", "s", "--directory", target)
    assert "tskey-auth" not in done.err
    assert os.listdir(target) == []


def test_a_vault_toml_of_two_mebibytes(vault: Made, tmp_path: Path) -> None:
    services(vault.directory, "#" * (2 << 20))
    refused(tmp_path, 5, f"'vault.toml' is larger than {1 << 20} bytes", "ls")


def test_an_unknown_key_names_the_nearest(vault: Made, tmp_path: Path) -> None:
    services(vault.directory, "[services.s.files.k]\nsecrt = 't/key'\n")
    done = refused(tmp_path, 2, "unknown key 'secrt'", "ls")
    assert done.err.endswith("hint: did you mean 'secret'\n")


# what reaches the terminal, and other things that are found in a store


HOSTILE = "\x1b]0;x\x07\x1b[2J\u202e\r"


@pytest.mark.usefixtures("vault")
def test_nothing_from_the_store_reaches_the_terminal_unescaped(tmp_path: Path) -> None:
    stranger = keygen(tmp_path / "stranger")
    RECIPIENTS.write_text(f"{RECIPIENTS.read_text()}# {HOSTILE}\n{stranger}\n{HOSTILE}\n")
    for name in (f"{HOSTILE}.age", f"a.{HOSTILE}", "\udcff.age"):
        Path("secrets", name).write_bytes(b"x")
    Path("secrets", f"{HOSTILE}folder").mkdir()
    (Path("secrets") / f"{HOSTILE}folder/.age-recipients").write_text(HOSTILE)
    Path("secrets", f"{HOSTILE}link").symlink_to("/")
    for words in (
        ("ls",),
        ("ls", "--json"),
        ("recipients", "ls"),
        ("recipients", "ls", "--json"),
        ("insert", "new"),
        ("recipients", "ack"),
        ("recipients", "ack", "--yes"),
        ("rm", "-rf", "zzz"),
        ("show", "zzz"),
        ("insert", "new2"),
    ):
        done = run(*words, input=b"1")  # which looks at the messages
        text = done.out.decode()
        assert all(character.isprintable() or character == "\n" for character in text), words


@pytest.mark.usefixtures("vault")
def test_files_of_plugins_that_are_not_installed_are_no_secrets(tmp_path: Path) -> None:
    before = run("ls")
    for number in range(300):
        Path(f"secrets/t/x.plugin{number}").write_bytes(b"x")
    shutil.copy(SECRET, "secrets/t/key.evil")
    assert run("ls") == before
    assert run("show", "t/key") == Result(0, VALUE, "")
    for words in (("show", "evil:t/key"), ("show", "t/x"), ("insert", "evil:t/new")):
        assert run(*words, input=b"1").code in {2, 3, 6}
    refused(tmp_path, 6, "plugin 'evil' is not installed", "show", "evil:t/key")


@pytest.mark.usefixtures("vault")
def test_deep_folders() -> None:
    deep = Path("secrets", *["d" * 10] * 300)
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    for part in deep.parts:
        if part != "secrets":
            os.mkdir(part, dir_fd=fd)
        below = os.open(part, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("x.age", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=fd))
    os.close(fd)
    done = run("ls")
    assert (done.code, done.out) == (0, b"t/key\n")
    assert len(done.err) < 3000
    assert run("recipients", "ls").code == 0
    assert run("show", "t/key").out == VALUE
    assert run("show", "/".join(["d" * 10] * 50)).code == 3


# where a value never is


COMMANDS: dict[str, Callable[[Path, str], list[str]]] = {
    "insert": lambda _, __: ["insert", "new"],
    "show": lambda _, __: ["show", "t/key"],
    "materialize": lambda target, _: ["materialize", "--secret", "t/key", "--to", f"{target}/k"],
    "recipients add": lambda _, stranger: ["recipients", "add", stranger],
}


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_value_is_in_no_argument_no_environment_and_no_file_but_its_target(
    tmp_path: Path, target: Path, command: str
) -> None:
    needs.root()  # for others strace cannot look into a process whose memory is protected
    needs.program("strace")
    words = COMMANDS[command](target, keygen(tmp_path / "stranger"))
    log = tmp_path / "log"
    calls = "trace=execve,open,openat,creat,write,writev,pwrite64,sendto,sendmsg,rename,renameat,renameat2"
    trace = ["strace", "-f", "-qq", "-v", "-y", "-s", "100000", "-o", str(log), "-e", calls]
    done = subprocess.run([*trace, *VAULT, *words], input=VALUE, capture_output=True, check=True)
    lines = log.read_text(errors="replace").splitlines()
    starts = [line for line in lines if " execve(" in line]
    assert len(starts) > (1 if command in {"insert", "recipients add"} else 0)
    holding = [line for line in lines if VALUE.decode() in line]
    wanted = {"show": r"write\(1<", "materialize": rf"write\(\d+<{target}/\.vault-[0-9a-f]{{16}}>"}.get(
        command
    )
    assert [line for line in holding if wanted is None or not re.search(wanted, line)] == []
    assert len(holding) == (1 if wanted else 0)
    assert (done.stdout, VALUE in done.stderr) == (VALUE if command == "show" else b"", False)
    key = Path(os.environ["XDG_CONFIG_HOME"], "tskeyvault/identities").read_text().splitlines()[2]
    assert key not in "\n".join(lines)
    for path in (*Path.cwd().rglob("*"), *(tmp_path / "home").rglob("*")):
        assert not path.is_file() or VALUE not in path.read_bytes()
