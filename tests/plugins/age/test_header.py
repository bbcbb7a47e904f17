"""The header parser takes canonical headers, in linear time, and nothing else."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tskeyvault.errors import IntegrityError
from tskeyvault.spec import Stanza
from tskeyvault_age import header
from tskeyvault_age.header import MAX_HEADER, MAX_STANZAS

FILE_KEY = bytes(range(16))
ARGUMENT = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=80)
STANZA = st.builds(Stanza, st.lists(ARGUMENT, min_size=1, max_size=4).map(tuple), st.binary(max_size=200))
STANZAS = st.lists(STANZA, min_size=1, max_size=5)
VERSION = b"age-encryption.org/v1\n"


@given(STANZAS, st.binary(max_size=50))
def test_round_trip(stanzas: list[Stanza], payload: bytes) -> None:
    data = header.serialise(stanzas, FILE_KEY)
    parsed = header.parse(data + payload)
    assert parsed.stanzas == tuple(stanzas)
    assert parsed.payload_start == len(data)
    assert parsed.authenticated == data[: data.rindex(b"---") + 3]
    header.verify(parsed, FILE_KEY)


@pytest.mark.parametrize("size", [0, 1, 47, 48, 49, 96, 97])
def test_body_sizes_around_a_full_line(size: int) -> None:
    stanza = Stanza(("x",), bytes(size))
    assert header.parse(header.serialise([stanza], FILE_KEY)).stanzas == (stanza,)


@given(STANZAS, st.data())
def test_every_damage_is_noticed(stanzas: list[Stanza], data: st.DataObject) -> None:
    good = header.serialise(stanzas, FILE_KEY)
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.binary(max_size=3).filter(lambda new: new != good[place : place + 1]))
    bad = good[:place] + other + good[place + 1 :]
    with pytest.raises(IntegrityError):
        header.verify(header.parse(bad), FILE_KEY)


@given(st.binary() | st.binary().map(lambda rest: VERSION + b"-> a\n" + rest))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        header.parse(data)


@given(STANZAS)
def test_another_file_key_does_not_verify(stanzas: list[Stanza]) -> None:
    parsed = header.parse(header.serialise(stanzas, FILE_KEY))
    with pytest.raises(IntegrityError, match="MAC"):
        header.verify(parsed, bytes(16))


@pytest.mark.parametrize(
    "text",
    ["QQ==", "QR", "Q", "Q Q", "QQ\r", "QUI\n", "QUJD====", "-_", "\xff"],
)
def test_base64_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError):
        header.b64decode(text.encode("latin-1"))


@pytest.mark.parametrize(
    "body",
    [
        b"-> \n\n",
        b"-> a  b\n\n",
        b"-> a \n\n",
        b"-> a\tb\n\n",
        b"-> a\r\n\n",
        b"->a\n\n",
        b"-> \xc3\xa9\n\n",
        b"-> a\n" + b"A" * 65 + b"\n\n",
        b"-> a\n" + b"A" * 64 + b"\n",
        b"",
    ],
)
def test_malformed_stanza_is_refused(body: bytes) -> None:
    with pytest.raises(IntegrityError):
        header.parse(VERSION + body + b"--- " + b"A" * 43 + b"\n")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\n" * 20_000_000, "not an age v1 file"),
        (b"a" * 20_000_000, "too long"),
        (VERSION + b"-> a\n" + b"A" * 20_000_000, "too long"),
        (VERSION + b"-> " + b"a " * 10_000_000, "too long"),
        (VERSION + b"-> a\n" + (b"A" * 64 + b"\n") * 300_000, "too long"),
        (VERSION + b"-> a\n\n" * 3_000_000, "more than 1024 stanzas"),
        (VERSION + b"-> a\n", "cut short"),
        (b"", "cut short"),
    ],
    ids=["lines", "version", "body line", "arguments", "body", "stanzas", "no end", "empty"],
)
def test_hostile_header_is_refused_quickly(data: bytes, reason: str) -> None:
    start = time.process_time()
    with pytest.raises(IntegrityError, match=reason):
        header.parse(data)
    assert time.process_time() - start < 0.5


def test_limits_are_exact() -> None:
    most = [Stanza(("a",), b"")] * MAX_STANZAS
    assert len(header.parse(header.serialise(most, FILE_KEY)).stanzas) == MAX_STANZAS
    rest = MAX_HEADER - len(header.serialise([Stanza(("a",), b"")], FILE_KEY))
    largest = header.serialise([Stanza(("a" * (rest + 1),), b"")], FILE_KEY)
    assert len(largest) == MAX_HEADER
    assert header.parse(largest).payload_start == MAX_HEADER
    with pytest.raises(IntegrityError, match="too long"):
        header.parse(header.serialise([Stanza(("a" * (rest + 2),), b"")], FILE_KEY))
