"""Bech32 as a text form: what goes in comes out, and nothing else is accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tskeyvault.errors import UsageError
from tskeyvault_age import bech32

LOWER = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_categories=["Lu"]), min_size=1)


@given(LOWER, st.binary(max_size=1300))
def test_round_trip_in_both_cases(prefix: str, data: bytes) -> None:
    assert bech32.decode(bech32.encode(prefix, data)) == (prefix, data)
    upper = bech32.encode(f"A{prefix.upper()}", data)
    assert upper == upper.upper()
    assert bech32.decode(upper)[1] == data


@given(st.binary(min_size=32, max_size=32), st.data())
def test_every_changed_character_is_noticed(key: bytes, data: st.DataObject) -> None:
    text = bech32.encode("age", key)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(max_codepoint=0x7F).filter(lambda c: c != text[place]))
    with pytest.raises(UsageError):
        bech32.decode(text[:place] + other + text[place + 1 :])


@given(st.text())
def test_any_text_is_decoded_canonically_or_refused(text: str) -> None:
    try:
        prefix, data = bech32.decode(text)
    except UsageError:
        return
    assert bech32.encode(prefix, data) == text


# The lists of BIP173, but for its limit of 90 characters, which age does not have.
@pytest.mark.parametrize("text", ["A12UEL5L", "a12uel5l", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"])
def test_valid_examples_of_bip173(text: str) -> None:
    prefix, data = bech32.decode(text)
    assert bech32.encode(prefix, data) == text


@pytest.mark.parametrize(
    "text",
    [
        "\x201nwldj5",
        "\x7f1axkwrx",
        "\x801eym55h",
        "pzry9x0s0muk",
        "1pzry9x0s0muk",
        "x1b4n0q5v",
        "li1dgmt3",
        "de1lg7wt\xff",
        "A1G7SGD8",
        "10a06t8",
        "1qzzfhee",
        "A12uEL5L",
        "",
    ],
)
def test_invalid_examples_of_bip173(text: str) -> None:
    with pytest.raises(UsageError):
        bech32.decode(text)


def _with_values(values: list[int]) -> str:
    """Return values of 5 bits as Bech32 with a right checksum, whatever the padding."""
    checksum = bech32._polymod([*bech32._expand("age"), *values, *[0] * 6]) ^ 1
    values = values + [checksum >> 5 * place & 31 for place in range(5, -1, -1)]
    return "age1" + "".join(bech32._ALPHABET[value] for value in values)


@pytest.mark.parametrize("values", [[0, 1], [0, 0, 0], [5], [0] * 8 + [0]])
def test_wrong_padding_is_refused_though_the_checksum_is_right(values: list[int]) -> None:
    with pytest.raises(UsageError, match="padding"):
        bech32.decode(_with_values(values))


def test_endless_text_is_refused() -> None:
    with pytest.raises(UsageError, match="too long"):
        bech32.decode("age1" + "q" * 10_000_000)
