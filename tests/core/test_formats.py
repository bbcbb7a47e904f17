"""What a delivered file holds, read back by those who read it: a shell, systemd's rules, a JSON parser."""

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.vaults import made_key
from tskeyvault.errors import DeliveryError
from tskeyvault.materialize import formats
from tskeyvault.names import Reference
from tskeyvault.services import File

PRINTABLE = st.text(
    st.characters(exclude_categories=("C", "Z")) | st.sampled_from(" \t\\\"'`$!#~*?;&|<>(){}[]=%"), min_size=1
)
TRICKY = [
    "plain", " leading", "trailing ", "a b", "#comment", ";comment", "a#b", "$HOME", "${HOME}", "$(id)", "`id`", "'", '"',
    "\\", "\\\\", "\\n", "a\\", '\\"', "'a'", '"a"', "~", "~/x", "a:~", "!x", "*", "%h", "%%", "é", "鍵🔑", "\t", "a\tb",
    "-", "=", "a=b", "&", "|", "\\x41", "$$", "\\$", "export A=b",
]  # fmt: skip


def of_secret(form: str, data: bytes) -> bytes:
    reference = Reference("", "a/key")
    file = File("key", reference, (), form, 0o400, "", "")
    return formats.render(file, {reference: data})


def of_values(form: str, values: dict[str, bytes]) -> bytes:
    references = {name: Reference("", f"a/{name}") for name in values}
    file = File("file", None, tuple(references.items()), form, 0o400, "", "")
    return formats.render(file, {references[name]: data for name, data in values.items()})


def of_template(text: str, values: dict[str, bytes]) -> bytes:
    references = {name: Reference("", f"a/{name}") for name in values}
    file = File("file", None, tuple(references.items()), "template", 0o400, "", "", text)
    return formats.render(file, {references[name]: data for name, data in values.items()})


def refusal(form: str, data: bytes) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        of_secret(form, data) if form in {"raw", "line"} else of_values(form, {"A": b"good", "B": data})
    assert caught.value.message.startswith("secret 'a/")
    return caught.value


def environment_file(text: str) -> dict[str, str]:
    """Read *text* by the rules of EnvironmentFile= in systemd.exec(5); refuse what it would warn about."""
    found: dict[str, str] = {}
    rest = text
    while rest:
        if rest[0] in "#;":
            rest = rest.partition("\n")[2]
            continue
        name, equals, rest = rest.partition("=")
        assert equals
        assert "\n" not in name
        found[name], rest = _value(rest.lstrip(" \t"))
    return found


def _value(rest: str) -> tuple[str, str]:
    """Return the value at the start of *rest*, and what follows its line."""
    value, quote, trailing, at = "", "", 0, 0
    while at < len(rest):
        character = rest[at]
        at += 1
        following = rest[at : at + 1]
        if quote == "'":
            quote, value = ("", value) if character == "'" else (quote, value + character)
        elif character == "\\" and following:
            at += 1
            kept = quote and following not in '"\\`$\n'
            value += f"\\{following}" if kept else following.strip("\n")
            trailing = len(value)
        elif quote:
            quote, value = ("", value) if character == '"' else (quote, value + character)
        elif character == "\n":
            return value[:trailing] + value[trailing:].rstrip(" \t"), rest[at:]
        elif character in "'\"" and not value:
            quote = character
        else:
            value += character
            continue
        trailing = len(value)
    return value, ""


def test_the_reader_of_environment_files_follows_the_manual() -> None:
    text = '# A=1\n; A=2\nA=b c  \nB=\' x \'\nC="a\\"b\\c\\$"\nD=a\\ b\nE=\n'
    assert environment_file(text) == {"A": "b c", "B": " x ", "C": 'a"b\\c$', "D": "a b", "E": ""}


def shell(path: Path, name: str) -> bytes:
    """Return the variable *name* as a shell has it after reading the file at *path*."""
    done = subprocess.run(
        ["/bin/sh", "-eu", "-c", f'. "$1"; printf %s "${name}"', "sh", path],
        capture_output=True,
        check=True,
        env={"HOME": "/nonexistent", "PATH": "/nonexistent", "LC_ALL": "C.UTF-8"},
        cwd=path.parent,
    )
    assert done.stderr == b""
    return done.stdout


@given(st.binary(min_size=1))
@example(b"\0")
@example(b"a\n")
def test_raw_is_the_very_bytes(data: bytes) -> None:
    assert of_secret("raw", data) == data


@given(st.binary(min_size=1).filter(lambda data: not set(data) & set(b"\n\r\0")))
def test_line_is_the_bytes_without_the_newline_at_their_end(data: bytes) -> None:
    assert of_secret("line", data) == data
    assert of_secret("line", data + b"\n") == data


@pytest.mark.parametrize("data", [b"a\nb", b"\na", b"a\n\n", b"a\r\n", b"a\rb", b"a\0", b"\0"])
@pytest.mark.parametrize("form", ["line", "env"])
def test_more_than_one_line_is_refused(form: str, data: bytes) -> None:
    assert refusal(form, data).hint == "format raw or json holds it"


@pytest.mark.parametrize("form", ["raw", "line", "env", "json"])
def test_an_empty_secret_is_refused(form: str) -> None:
    assert refusal(form, b"").message.endswith("is empty")


@pytest.mark.parametrize("form", ["line", "env"])
def test_an_empty_line_is_refused(form: str) -> None:
    assert refusal(form, b"\n").message.endswith("is an empty line")


@pytest.mark.parametrize("data", [b"\xff", b"a\xc3", b"\xed\xa0\x80"])
@pytest.mark.parametrize("form", ["env", "json"])
def test_what_is_not_utf_8_is_refused(form: str, data: bytes) -> None:
    error = refusal(form, data)
    assert error.message.endswith("is not text in UTF-8")
    assert error.hint == "format raw holds it"


@pytest.mark.parametrize(
    "text", ["\x1b", "a\x7f", "\x01b", "a\x85b", "\u202e", "\u200b", "\u2028", "\ufeffa", "\ue000", "\ufdd0"]
)
def test_env_refuses_what_systemd_or_an_eye_would_stumble_over(text: str) -> None:
    refusal("env", text.encode())


def test_no_refusal_shows_the_secret() -> None:
    key = made_key()
    for form, data in {"line": key + b"\n" + key, "env": key + b"\x1b", "json": key + b"\xff"}.items():
        error = refusal(form, data)
        assert key.decode() not in error.message + error.hint
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None


def test_a_plain_value_is_not_quoted() -> None:
    key = made_key()
    assert of_values("env", {"TS_AUTHKEY": key + b"\n", "B": b"a b"}) == b"TS_AUTHKEY=" + key + b'\nB="a b"\n'


@given(PRINTABLE, PRINTABLE)
def test_systemd_reads_what_was_put_in(one: str, two: str) -> None:
    text = of_values("env", {"A": one.encode(), "B": two.encode() + b"\n"}).decode()
    assert environment_file(text) == {"A": one, "B": two}
    assert len(text.split("\n")) == 3


@pytest.mark.parametrize("value", TRICKY)
def test_systemd_reads_a_tricky_value(value: str) -> None:
    assert environment_file(of_values("env", {"A": value.encode(), "B": b"x"}).decode()) == {
        "A": value,
        "B": "x",
    }


@settings(max_examples=40)
@given(PRINTABLE)
def test_a_shell_reads_what_was_put_in(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    path = tmp_path_factory.mktemp("env") / "file.env"
    path.write_bytes(of_values("env", {"A": value.encode()}))
    assert shell(path, "A") == value.encode()


@pytest.mark.parametrize("value", TRICKY)
def test_a_shell_reads_a_tricky_value(tmp_path: Path, value: str) -> None:
    (tmp_path / "file.env").write_bytes(of_values("env", {"A": value.encode(), "B": b"x"}))
    assert shell(tmp_path / "file.env", "A") == value.encode()
    assert shell(tmp_path / "file.env", "B") == b"x"


@given(st.dictionaries(st.sampled_from("ABCDE"), st.text(st.characters(codec="utf-8"), min_size=1)))
@example({"A": '"\\\n\0\u2028'})
def test_json_is_one_object_of_the_very_texts(values: dict[str, str]) -> None:
    data = of_values("json", {name: text.encode() for name, text in values.items()})
    assert json.loads(data) == values
    assert list(json.loads(data)) == list(values)
    assert data.endswith(b"}\n")
    assert data.count(b"\n") == 1


def test_env_refuses_what_no_program_could_be_given() -> None:
    longest = b"x" * ((128 << 10) - len("A=") - 1)
    assert of_values("env", {"A": longest}) == b"A=" + longest + b"\n"
    assert refusal("env", longest + b"x").message.endswith("is too long for a variable")


def test_a_template_has_its_values_in_it() -> None:
    key = made_key()
    text = "[db]\npassword = ${A}\nprice = 5$$\nagain ${A}${B}$${B}"
    made = of_template(text, {"A": key + b"\n", "B": b"  b \\"})
    assert made == b"[db]\npassword = %b\nprice = 5$\nagain %b  b \\${B}" % (key, key)


@pytest.mark.parametrize("value", [*TRICKY, "${A}", "${B}", "$${B}", "$", "${", "\\1", "\\g<1>", "{0}", "%s"])
def test_what_is_put_in_is_not_looked_at_again(value: str) -> None:
    made = of_template("${A}|${B}|${A}", {"A": value.encode(), "B": b"other"})
    assert made == f"{value}|other|{value}".encode()


@pytest.mark.parametrize("data", [b"", b"\n", b"a\nb", b"a\r", b"a\0", b"\xff"])
def test_a_template_refuses_a_value_that_is_not_one_line_of_text(data: bytes) -> None:
    with pytest.raises(DeliveryError, match="secret 'a/B' "):
        of_template("${A}${B}", {"A": b"good", "B": data})


def test_a_template_makes_no_more_than_a_secret_may_hold() -> None:
    value = b"x" * (1 << 20)
    assert of_template("${A}" * 16, {"A": value}) == value * 16
    for text in ("${A}" * 17, "${A}" * 16 + "$$", "${A}" * 16 + "x${A}", "${A}" * 16_000):
        with pytest.raises(DeliveryError, match="what the template makes is larger than 16777216 bytes"):
            of_template(text, {"A": value})


def test_variables_keep_their_order() -> None:
    values = dict.fromkeys(("Z", "A", "M"), b"x")
    assert of_values("env", values) == b"Z=x\nA=x\nM=x\n"
    assert of_values("json", values) == b'{"Z": "x", "A": "x", "M": "x"}\n'
