"""The commands on a real terminal: what is asked, what is shown, and what never is."""

import os
import re
from pathlib import Path

import pytest

from support import needs
from support.terminal import Terminal
from support.vaults import Made, made_key, make_vault, run_vault

ENTER = b"\r"
END_OF_FILE = b"\x04"
INTERRUPT = b"\x03"


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Give a vault, in which the test stands."""
    needs.program("setsid")
    made = make_vault(tmp_path / "vault")
    monkeypatch.chdir(made.directory)
    return made


def put(name: str, value: bytes) -> None:
    done = run_vault("insert", name, "--no-commit", input=value)
    assert done.code == 0, done.err


def shown(name: str) -> bytes:
    return run_vault("show", name).out


def stored() -> dict[str, bytes]:
    """Return all files of the store, temporary ones too."""
    return {str(path): path.read_bytes() for path in Path("secrets").rglob("*") if path.is_file()}


def add_a_stranger(tmp_path: Path) -> str:
    """Write a recipient that this host has not approved into the recipients file, and return it."""
    recipient = run_vault("keygen", "-o", tmp_path / "stranger").out.decode().strip()
    with Path("secrets/.age-recipients").open("a") as file:
        file.write(f"# Mallory\n{recipient}\n")
    return recipient


@pytest.mark.usefixtures("vault")
def test_insert_asks_twice_without_echo() -> None:
    value = made_key()
    with Terminal("insert", "tailscale/key") as terminal:
        for prompt in ("enter 'tailscale/key': ", "repeat 'tailscale/key': "):
            terminal.expect(prompt)
            terminal.type(value + ENTER)
        assert terminal.end() == 0
    assert value.decode() not in terminal.seen
    assert not re.search("tskey|CNTRL", terminal.seen)
    assert terminal.seen == (
        "enter 'tailscale/key': \nrepeat 'tailscale/key': \nvault: wrote secret 'tailscale/key'\n"
    )
    assert shown("tailscale/key") == value


@pytest.mark.usefixtures("vault")
def test_insert_refuses_two_answers_that_differ() -> None:
    before = stored()
    with Terminal("insert", "a") as terminal:
        terminal.expect("enter 'a': ")
        terminal.type(b"one-answer" + ENTER)
        terminal.expect("repeat 'a': ")
        terminal.type(b"another-answer" + ENTER)
        assert terminal.end() == 2
    assert terminal.seen.endswith("\nvault: the two are not the same\n")
    assert "answer" not in terminal.seen
    assert stored() == before


@pytest.mark.usefixtures("vault")
def test_insert_refuses_an_empty_answer() -> None:
    before = stored()
    with Terminal("insert", "a") as terminal:
        for prompt in ("enter 'a': ", "repeat 'a': "):
            terminal.expect(prompt)
            terminal.type(ENTER)
        assert terminal.end() == 2
    assert terminal.seen.endswith("\nvault: an empty secret is refused\n")
    assert stored() == before


@pytest.mark.usefixtures("vault")
def test_end_of_file_at_the_prompt_is_no_defect() -> None:
    before = stored()
    with Terminal("insert", "a") as terminal:
        terminal.expect("enter 'a': ")
        terminal.type(END_OF_FILE)
        assert terminal.end() == 2
    assert "defect" not in terminal.seen
    assert stored() == before


@pytest.mark.usefixtures("vault")
def test_typed_bytes_that_are_no_text_are_stored_or_refused_without_a_defect() -> None:
    value = b"\xff\xfe-not-utf-8"
    with Terminal("insert", "a") as terminal:
        for prompt in ("enter 'a': ", "repeat 'a': "):
            terminal.expect(prompt)
            terminal.type(value + ENTER)
        assert terminal.end() == 0, terminal.seen
    assert shown("a") == value


@pytest.mark.usefixtures("vault")
def test_a_typed_line_is_never_silently_cut() -> None:
    # A terminal passes on 4095 bytes of a line at most, and drops the others.
    before = stored()
    value = b"0123456789" * 500
    with Terminal("insert", "a") as terminal:
        terminal.expect("enter 'a': ")
        terminal.type(value + ENTER)
        if terminal.shows("repeat 'a': "):
            terminal.type(value + ENTER)
        assert terminal.end() == 2, "a cut secret was stored"
    assert stored() == before


@pytest.mark.usefixtures("vault")
def test_several_lines_are_read_to_end_of_file() -> None:
    with Terminal("insert", "-m", "a") as terminal:
        terminal.expect("vault: enter 'a', and Ctrl-D on a line of its own to end\r\n")
        terminal.type(b"first\r  second\r\rlast\r" + END_OF_FILE)
        assert terminal.end() == 0
    assert terminal.seen.endswith("vault: wrote secret 'a'\n")
    assert shown("a") == b"first\n  second\n\nlast\n"


@pytest.mark.parametrize("answer", [b"", b"n", b"yess", b"j", END_OF_FILE])
def test_an_existing_secret_is_kept_without_a_yes(vault: Made, answer: bytes) -> None:
    put("a", b"first")
    before = stored()
    with Terminal("insert", "a", cwd=vault.directory) as terminal:
        terminal.expect("secret 'a' exists. replace it? [y/N] ")
        terminal.type(answer if answer == END_OF_FILE else answer + ENTER)
        assert terminal.end() == 2
    assert "vault: secret 'a' exists\nhint: --force replaces it\n" in terminal.seen
    assert stored() == before


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("answer", [b"y", b"YES"])
def test_an_existing_secret_is_replaced_after_a_yes(answer: bytes) -> None:
    put("a", b"first")
    with Terminal("insert", "a") as terminal:
        terminal.expect("secret 'a' exists. replace it? [y/N] ")
        terminal.type(answer + ENTER)
        for prompt in ("enter 'a': ", "repeat 'a': "):
            terminal.expect(prompt)
            terminal.type(b"second" + ENTER)
        assert terminal.end() == 0
    assert shown("a") == b"second"


@pytest.mark.usefixtures("vault")
def test_force_does_not_ask_whether() -> None:
    put("a", b"first")
    with Terminal("insert", "-f", "a") as terminal:
        terminal.expect("enter 'a': ")
        assert "exists" not in terminal.seen


@pytest.mark.usefixtures("vault")
def test_rm_asks_once_for_all() -> None:
    for name in ("a", "b"):
        put(name, b"1")
    for answer, code, left in ((b"n", 2, b"a\nb\n"), (b"y", 0, b"")):
        with Terminal("rm", "a", "b") as terminal:
            terminal.expect("remove 'a', 'b'? [y/N] ")
            terminal.type(answer + ENTER)
            assert terminal.end() == code
        assert run_vault("ls").out == left


@pytest.mark.usefixtures("vault")
def test_changed_recipients_are_shown_and_asked_about_before_the_secret_is(tmp_path: Path) -> None:
    stranger = add_a_stranger(tmp_path)
    with Terminal("insert", "a") as terminal:
        terminal.expect("are not those this host approved\r\n")
        terminal.expect(f"+ {stranger}  (Mallory)\r\n")
        terminal.expect("is this how it should be? [y/N] ")
        assert "enter 'a'" not in terminal.seen
        terminal.type(b"y" + ENTER)
        for prompt in ("enter 'a': ", "repeat 'a': "):
            terminal.expect(prompt)
            terminal.type(b"value" + ENTER)
        assert terminal.end() == 0
    assert run_vault("show", "a", "-i", tmp_path / "stranger").out == b"value"
    assert run_vault("recipients", "ack").err == "vault: all recipients are approved\n"


@pytest.mark.usefixtures("vault")
def test_changed_recipients_that_are_denied_get_nothing(tmp_path: Path) -> None:
    add_a_stranger(tmp_path)
    before = stored()
    with Terminal("insert", "a") as terminal:
        terminal.expect("is this how it should be? [y/N] ")
        terminal.type(b"n" + ENTER)
        assert terminal.end() == 5
    assert re.search(
        r"hint: vault recipients ack, when this is how it should be; git revert [0-9a-f]+, when not\n$",
        terminal.seen,
    )
    assert stored() == before
    assert run_vault("insert", "a", input=b"value").code == 5


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize(("answer", "code"), [(b"n", 5), (b"y", 0)])
def test_ack_asks(tmp_path: Path, answer: bytes, code: int) -> None:
    stranger = add_a_stranger(tmp_path)
    with Terminal("recipients", "ack") as terminal:
        terminal.expect(f"+ {stranger}  (Mallory)\r\n")
        terminal.expect("is this how it should be? [y/N] ")
        terminal.type(answer + ENTER)
        assert terminal.end() == code
    assert run_vault("insert", "a", input=b"value").code == code


@pytest.mark.parametrize(("answer", "code"), [(b"n", 5), (b"y", 0)])
def test_adding_somebody_asks_about_what_others_changed(
    vault: Made, tmp_path: Path, answer: bytes, code: int
) -> None:
    put("a", b"value")
    add_a_stranger(tmp_path)
    other = run_vault("keygen", "-o", tmp_path / "other").out.decode().strip()
    before = stored()
    with Terminal("recipients", "add", other, cwd=vault.directory) as terminal:
        terminal.expect("is this how it should be? [y/N] ")
        terminal.type(answer + ENTER)
        assert terminal.end() == code
    assert (stored() == before) is bool(code)
    assert (run_vault("show", "a", "-i", tmp_path / "other").out == b"value") is not bool(code)


HOSTILE = {
    "binary": b"\x00\x01\x02\xff",
    "not-utf-8": b"caf\xe9",
    "escape": b"\x1b]0;title\x07",
    "carriage-return": b"hidden\rshown",
    "c1": "\x9b2J".encode(),
    "bidi": "\u202eevil".encode(),
    "backspace": b"a\x08b",
}


@pytest.mark.usefixtures("vault")
def test_show_does_not_send_to_a_terminal_what_could_confuse_it() -> None:
    for name, value in HOSTILE.items():
        put(name, value)
        with Terminal("show", name) as terminal:
            assert terminal.end() == 2, name
        assert terminal.seen == (
            "vault: the secret is binary and standard output is a terminal\n"
            "hint: send it to a file or a pipe\n"
        )
        assert shown(name) == value


@pytest.mark.usefixtures("vault")
def test_show_gives_text_to_a_terminal() -> None:
    put("a", "zwei Zeilen,\n\tü und 日本\n".encode())
    with Terminal("show", "a") as terminal:
        assert terminal.end() == 0
    assert terminal.seen == "zwei Zeilen,\n\tü und 日本\n"


@pytest.mark.usefixtures("vault")
def test_show_gives_anything_to_a_file_while_there_is_a_terminal(tmp_path: Path) -> None:
    put("a", b"\x00\x1b[2J")
    with (tmp_path / "out").open("wb") as file, Terminal("show", "a", output=file.fileno()) as terminal:
        assert terminal.end() == 0
    assert (terminal.seen, (tmp_path / "out").read_bytes()) == ("", b"\x00\x1b[2J")


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize(
    ("words", "prompt"),
    [
        (["insert", "new"], "enter 'new': "),
        (["insert", "-m", "new"], "to end\r\n"),
        (["insert", "a"], "replace it? [y/N] "),
        (["rm", "a"], "remove 'a'? [y/N] "),
    ],
    ids=["secret", "lines", "replace", "remove"],
)
def test_interrupted_at_a_question_nothing_has_happened(words: list[str], prompt: str) -> None:
    put("a", b"first")
    before = stored()
    with Terminal(*words) as terminal:
        terminal.expect(prompt)
        terminal.type(b"typed" + INTERRUPT)
        assert terminal.end() == 130
    assert "Traceback" not in terminal.seen
    assert terminal.seen.rstrip("\n").endswith("vault: interrupted")
    assert stored() == before
    assert set(os.listdir()) == {".git", "secrets", "vault.toml"}


@pytest.mark.usefixtures("vault")
def test_interrupted_at_the_second_prompt_the_first_answer_is_gone() -> None:
    before = stored()
    with Terminal("insert", "new") as terminal:
        terminal.expect("enter 'new': ")
        terminal.type(b"the-answer" + ENTER)
        terminal.expect("repeat 'new': ")
        terminal.type(INTERRUPT)
        assert terminal.end() == 130
    assert "the-answer" not in terminal.seen
    assert stored() == before
