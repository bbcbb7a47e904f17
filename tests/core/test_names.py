"""Names: what may name a secret, a service, a file, a plugin, a variable."""

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from support.vaults import made_key
from tskeyvault import names
from tskeyvault.errors import NameInvalidError

LONGEST_MESSAGE = 300

NASTY = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("./\\:-\0\n\x1b\x7f \t\u00ad\u200b\u202e\u2066\u2028\u2029\ufeff\ud800\U000e0001"),
    ),
    max_size=300,
)

REFUSED_COMPONENTS = {
    "empty": "",
    "dot": ".",
    "parent": "..",
    "hidden": ".hidden",
    "dash": "-rf",
    "slash": "a/b",
    "backslash": "a\\b",
    "colon": "a:b",
    "nul": "a\0b",
    "newline": "a\nb",
    "newline at the end": "a\n",
    "carriage return": "a\rb",
    "tab": "a\tb",
    "escape": "a\x1b[31m",
    "delete": "a\x7f",
    "c1 control": "a\x9bb",
    "next line": "a\x85b",
    "bidi override": "a\u202eb",
    "bidi isolate": "a\u2066b",
    "right-to-left mark": "a\u200fb",
    "zero-width space": "a\u200bb",
    "zero-width joiner": "a\u200db",
    "soft hyphen": "a\u00adb",
    "byte order mark": "\ufeffa",
    "tag character": "a\U000e0061",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "not UTF-8": b"a\xff".decode("utf-8", "surrogateescape"),
    "lone surrogate": "a\udfff",
    "decomposed": unicodedata.normalize("NFD", "é"),
    "leading space": " a",
    "trailing space": "a ",
    "trailing no-break space": "a\u00a0",
    "too long": "a" * (names.MAX_COMPONENT + 1),
    "too long in bytes": "é" * (names.MAX_COMPONENT // 2 + 1),
}

KEPT_COMPONENTS = [
    "a",
    "A b",
    "a.b",
    "a..",
    "a-",
    "_",
    "~",
    "*",
    "'",
    '"',
    "$(x)",
    "é",
    "鍵",
    "🔑",
    "%s",
    "a" * 200,
]


def refusal(check: Callable[[str], object], text: str) -> str:
    with pytest.raises(NameInvalidError) as caught:
        check(text)
    error = caught.value
    assert error.exit_code == 2
    assert error.message.isprintable()
    assert len(error.message) <= LONGEST_MESSAGE
    return error.message


def of_file(text: str) -> str:
    return names.component(text, "file")


@pytest.mark.parametrize("text", REFUSED_COMPONENTS.values(), ids=REFUSED_COMPONENTS)
def test_a_component_that_could_deceive_or_escape_is_refused(text: str) -> None:
    assert refusal(of_file, text).startswith("file '")


@pytest.mark.parametrize("text", [text for text in REFUSED_COMPONENTS.values() if text != "a/b"])
@pytest.mark.parametrize("place", ["{}", "{}/z", "z/{}", "y/{}/z"])
def test_a_secret_with_such_a_component_anywhere_is_refused(place: str, text: str) -> None:
    refusal(names.secret, place.format(text))


@pytest.mark.parametrize("text", KEPT_COMPONENTS)
def test_ordinary_and_foreign_names_are_kept_as_they_are(text: str) -> None:
    assert of_file(text) == text
    assert names.secret(f"{text}/{text}") == f"{text}/{text}"


@pytest.mark.parametrize("text", ["/", "/a", "a/", "a//b", "../a", "a/..", "a/../b", "a/./b"])
def test_a_path_that_is_not_plain_is_no_secret(text: str) -> None:
    refusal(names.secret, text)


def test_a_secret_may_be_as_long_as_said_and_no_longer() -> None:
    longest = "/".join(["a" * 99] * 10)
    assert len(longest) == names.MAX_NAME - 1
    assert names.secret(longest) == longest
    assert "longer than" in refusal(names.secret, f"{longest}aa")


def test_the_message_names_the_component_and_the_reason() -> None:
    assert refusal(names.secret, "a/../b") == (
        "secret 'a/../b': component '..': must not begin with a dot or a dash"
    )
    assert refusal(names.secret, "..") == "secret '..': must not begin with a dot or a dash"
    assert "\\u202e" in refusal(names.secret, "a\u202eb")


def test_a_key_in_the_place_of_a_name_is_refused_and_not_shown() -> None:
    key = made_key().decode()
    identity = f"AGE-{'SECRET'}-KEY-1{'Q' * 58}"
    for text in (key, identity, f"age:{key}"):
        assert refusal(names.reference, text) == "the name looks like a key itself"
    assert names.secret("tskey-auth-old") == "tskey-auth-old"


@given(NASTY)
@example("\U000e0001" * 300)
@example("\ud800" * 300)
@example("a/" * 200 + "\U000e0001" * 60)
def test_any_text_is_a_safe_name_or_refused_in_one_printable_line(text: str) -> None:
    try:
        assert names.secret(text) == text
    except NameInvalidError:
        refusal(names.secret, text)
        return
    assert all(part not in {"", ".", ".."} and part[0] not in ".-" for part in text.split("/"))
    assert text.encode().decode() == text
    assert len(text.splitlines()) == 1
    assert not {unicodedata.category(character) for character in text} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert unicodedata.normalize("NFC", text) == text


@given(NASTY)
@example("\U000e0001" * 80)
def test_shown_is_one_short_printable_line(text: str) -> None:
    shown = names.shown(text)
    assert shown.isprintable()
    assert len(shown) <= 100


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80))
def test_plain_text_is_shown_as_it_is(text: str) -> None:
    assume(not names.holds_key(text))
    assert names.shown(text) == text


def test_a_reference_is_split_at_its_colon() -> None:
    assert names.reference("a/b") == names.Reference("", "a/b")
    assert names.reference("age:a/b") == names.Reference("age", "a/b")
    assert str(names.reference("age:a/b")) == "age:a/b"
    assert str(names.reference("a/b")) == "a/b"


@pytest.mark.parametrize(
    "text", ["", ":", "age:", ":a", "age:..", "Age:a", "a/b:c", "age:b:c", " age:a", "../age:a", "age\n:a"]
)
def test_a_reference_with_a_bad_plugin_or_name_is_refused(text: str) -> None:
    refusal(names.reference, text)


@given(NASTY)
def test_any_reference_reads_back_as_itself_or_is_refused(text: str) -> None:
    try:
        assert str(names.reference(text)) == text
    except NameInvalidError:
        refusal(names.reference, text)


@pytest.mark.parametrize("text", ["a", "age", "x-9", "a" * 32])
def test_a_plugin_name(text: str) -> None:
    assert names.plugin(text) == text
    assert names.is_plugin(text)


@pytest.mark.parametrize("text", ["", "-a", "9a", "Age", "a_b", "a.b", "a/b", "é", "age\n", "a" * 33, "ａ"])  # noqa: RUF001
def test_no_plugin_name(text: str) -> None:
    assert refusal(names.plugin, text).startswith("plugin '")
    assert not names.is_plugin(text)


@pytest.mark.parametrize(
    "text",
    [
        "A",
        "_",
        "TS_AUTHKEY",
        "a1",
        "A" * 200,
        "NPM_TOKEN",
        "CARGO_REGISTRY_TOKEN",
        "NODE_AUTH_TOKEN",
        "GIT_PASSWORD",
        "TSKEYVAULT_SECRET",
    ],
)
def test_a_variable_name(text: str) -> None:
    assert names.variable(text) == text


@pytest.mark.parametrize("text", ["", "1A", "A-B", "A=B", "A B", "A\n", "É", "A" * 201, "$A", "A;B"])
def test_no_variable_name(text: str) -> None:
    assert refusal(names.variable, text).startswith("variable '")


@pytest.mark.parametrize(
    "text", ["NODE_OPTIONS", "NPM_TOKEN_FILE", "npm_token", "CARGO_HOME", "GIT_ASKPASS", "PATH", "LD_PRELOAD"]
)
def test_no_variable_that_loads_code(text: str) -> None:
    assert "can make a program load code" in refusal(names.variable, text)


@pytest.mark.parametrize("blank", ["\u00a0", "\u2003", "\u2800", "\u3164", "\u034f", "\ufe0f"])
def test_what_cannot_be_told_apart_by_eye_is_refused(blank: str) -> None:
    for name in (f"a{blank}b", f"folder/a{blank}b"):
        with pytest.raises(NameInvalidError, match="cannot be seen"):
            names.secret(name)


@pytest.mark.parametrize("form", ["{}", "tailscale/{}", "{}/key"])
def test_a_key_in_place_of_a_name_is_refused_and_not_shown(form: str) -> None:
    key = made_key().decode()
    with pytest.raises(NameInvalidError) as caught:
        names.secret(form.format(key))
    assert (key in caught.value.message, caught.value.message) == (False, "the name looks like a key itself")
