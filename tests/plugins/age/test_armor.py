"""Armor: canonical text in any portions, and nothing else."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tskeyvault.errors import IntegrityError
from tskeyvault_age import armor, file
from tskeyvault_age.armor import BEGIN, END, MAX_SPACE, ArmorReader, ArmorWriter
from tskeyvault_age.x25519 import X25519Identity


@given(st.binary(max_size=300))
def test_round_trip_with_either_line_end_and_space_around(data: bytes) -> None:
    text = armor.encode(data)
    assert text.startswith(BEGIN + b"\n")
    assert text.endswith(b"\n" + END + b"\n")
    assert all(len(line) <= 64 for line in text.splitlines())
    for variant in (text, text[:-1], text.replace(b"\n", b"\r\n"), b" \t\r\n\n" + text + b" \n\t\n"):
        assert armor.decode(variant) == data


@pytest.mark.parametrize("size", [0, 1, 47, 48, 49, 65535, 65536, 300_000])
def test_streams_in_odd_portions_give_the_same(size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    target = io.BytesIO()
    writer = ArmorWriter(target)
    for at in range(0, size, 1000):
        writer.write(memoryview(data[at : at + 1000]))
    writer.close()
    assert target.getvalue() == armor.encode(data)
    with pytest.raises(IntegrityError):
        armor.decode(target.getvalue() + b"x")
    reader = ArmorReader(_Trickle(target.getvalue()))
    back, buffer = bytearray(), bytearray(777)
    while count := reader.readinto(memoryview(buffer)):
        back += buffer[:count]
    assert back == data


class _Trickle(io.BytesIO):
    """Gives 13 bytes at a time."""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return super().readinto(buffer[:13])


@given(st.binary() | st.binary().map(lambda data: BEGIN + b"\n" + data + b"\n" + END))
def test_any_bytes_are_decoded_canonically_or_refused(text: bytes) -> None:
    try:
        data = armor.decode(text)
    except IntegrityError:
        return
    assert armor.encode(data).strip() == text.replace(b"\r\n", b"\n").strip()


@given(st.binary(min_size=1, max_size=200), st.data())
def test_every_damage_to_armor_is_noticed_or_changes_only_space(data: bytes, draw: st.DataObject) -> None:
    good = armor.encode(data)
    place = draw.draw(st.integers(0, len(good) - 2))
    other = draw.draw(st.binary(max_size=2).filter(lambda new: new != good[place : place + 1]))
    bad = good[:place] + other + good[place + 1 :]
    try:
        assert armor.decode(bad) != data or bad.split() == good.split()
    except IntegrityError as error:
        assert "armor:" in error.message  # noqa: PT017 - another content is as good: the MAC is within


def test_space_around_has_a_limit() -> None:
    text = armor.encode(b"x")
    assert armor.decode(b"\n" * MAX_SPACE + text + b"\n" * MAX_SPACE) == b"x"
    for bad in (b"\n" * (MAX_SPACE + 1) + text, text + b"\n" * (MAX_SPACE + 1)):
        with pytest.raises(IntegrityError, match="armor"):
            armor.decode(bad)


def test_a_line_without_end_takes_no_memory() -> None:
    with pytest.raises(IntegrityError, match="too long"):
        armor.decode(BEGIN + b"\n" + b"A" * 10_000_000)


def test_armored_files_are_opened_and_their_binding_read() -> None:
    identity = X25519Identity.generate()
    text = armor.encode(file.encrypt(b"plain", [identity.recipient], b"binding"))
    assert file.decrypt(text, [identity]) == b"plain"
    assert file.read_binding(text) == b"binding"


@pytest.mark.parametrize("size", [0, 1, 48, 65536, 70_000])
def test_nothing_may_follow_wherever_the_reader_stops(size: int) -> None:
    text = armor.encode(bytes(size))
    for more in (b"x", b"\nx", b"\n\nx\n", b" " * 70_000, b"\n" * 70_000, text):
        with pytest.raises(IntegrityError, match="armor"):
            armor.decode(text + more)


def test_the_last_line_begins_a_line() -> None:
    text = b"\n".join([armor.BEGIN, b"A" * 64, b"AA=", b"=" + armor.END, b""])
    with pytest.raises(IntegrityError, match="armor"):
        armor.ArmorReader(io.BytesIO(text)).readinto(memoryview(bytearray(1000)))
