"""The payload: any size goes through, any change is noticed."""

import io
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tskeyvault.errors import IntegrityError
from tskeyvault_age import stream
from tskeyvault_age.stream import CHUNK

KEY = bytes(range(32))
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5, 300 * CHUNK]


@pytest.mark.parametrize("size", SIZES)
def test_round_trip_with_one_tag_a_chunk(size: int) -> None:
    sealed = stream.seal(KEY, b"x" * size)
    assert len(sealed) == size + 16 * max(1, -(-size // CHUNK))
    assert stream.open_(KEY, sealed) == b"x" * size


@given(st.binary(max_size=100), st.data())
def test_every_change_is_noticed(plaintext: bytes, data: st.DataObject) -> None:
    sealed = stream.seal(KEY, plaintext)
    place = data.draw(st.integers(0, len(sealed) - 1))
    other = data.draw(st.binary(max_size=3).filter(lambda new: new != sealed[place : place + 1]))
    with pytest.raises(IntegrityError, match="payload"):
        stream.open_(KEY, sealed[:place] + other + sealed[place + 1 :])


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(IntegrityError, match="payload"):
        stream.open_(KEY, payload)


def test_chunks_cannot_be_cut_exchanged_repeated_or_continued() -> None:
    sealed = stream.seal(KEY, bytes(2 * CHUNK + 3))
    size = CHUNK + 16
    first, second, last = sealed[:size], sealed[size : 2 * size], sealed[2 * size :]
    for payload in (
        first,
        first + second,
        first + last,
        last,
        second + first + last,
        first + first + second + last,
        first + second + last + last,
        first + second + last + b"x",
    ):
        with pytest.raises(IntegrityError):
            stream.open_(KEY, payload)


def test_empty_last_chunk_is_refused_though_it_verifies() -> None:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    aead = ChaCha20Poly1305(KEY)
    full = aead.encrypt(bytes(12), bytes(CHUNK), None)
    empty = aead.encrypt((1).to_bytes(11, "big") + b"\x01", b"", None)
    with pytest.raises(IntegrityError, match="the last chunk is empty"):
        stream.open_(KEY, full + empty)


def test_nonce_and_file_key_both_make_the_key() -> None:
    keys = {stream.payload_key(bytes([a]) * 16, bytes([b]) * 16) for a in range(3) for b in range(3)}
    assert len(keys) == 9


class _Awkward(io.RawIOBase):
    """A file that takes and gives only some bytes at a time, as pipes do."""

    def __init__(self, content: bytes = b""):
        self._file = io.BytesIO(content)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._file.readinto(buffer[:1013])

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        return self._file.write(data[:1009])

    def all(self) -> bytes:
        return self._file.getvalue()


@pytest.mark.parametrize("size", SIZES[:-1])
def test_awkward_files_lose_nothing(size: int) -> None:
    plaintext = bytes(range(251)) * (size // 251 + 1)
    plaintext = plaintext[:size]
    sealed, opened = _Awkward(), _Awkward()
    stream.encrypt_stream(KEY, _Awkward(plaintext), sealed)
    assert sealed.all() == stream.seal(KEY, plaintext)
    stream.decrypt_stream(KEY, _Awkward(sealed.all()), opened)
    assert opened.all() == plaintext


def test_only_verified_chunks_are_written() -> None:
    sealed = bytearray(stream.seal(KEY, b"a" * CHUNK + b"b" * CHUNK + b"c"))
    sealed[CHUNK + 16] ^= 1
    target = io.BytesIO()
    with pytest.raises(IntegrityError, match="chunk 1"):
        stream.decrypt_stream(KEY, io.BytesIO(sealed), target)
    assert target.getvalue() == b"a" * CHUNK


@pytest.mark.parametrize("bad", [0, 1, 5, 16, 17, 18, 70, 99])
def test_all_before_the_first_damage_is_written_and_nothing_else(bad: int) -> None:
    plaintext = b"".join(number.to_bytes(4, "big") * (CHUNK // 4) for number in range(100))
    sealed = bytearray(stream.seal(KEY, plaintext))
    for chunk in range(bad, 100, 7):
        sealed[chunk * (CHUNK + 16)] ^= 1
    target = io.BytesIO()
    with pytest.raises(IntegrityError, match=rf"chunk {bad} does"):
        stream.decrypt_stream(KEY, io.BytesIO(sealed), target)
    assert target.getvalue() == plaintext[: bad * CHUNK]


class _Full(io.RawIOBase):
    """A disk that is full after some writes."""

    def __init__(self, writes: int):
        self._left = writes

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        self._left -= 1
        if self._left < 0:
            raise OSError(28, "no space left")
        return len(data)


class _Broken(io.BytesIO):
    """A file that cannot be read to its end."""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self.tell() > 20 * CHUNK:
            raise OSError(5, "input error")
        return super().readinto(buffer)


def test_failure_to_read_is_raised_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(OSError, match="input error"):
        stream.encrypt_stream(KEY, _Broken(bytes(100 * CHUNK)), io.BytesIO())
    assert threading.active_count() == before


@pytest.mark.parametrize("writes", [0, 1, 2, 5])
def test_failure_to_write_is_raised_and_leaves_no_thread(writes: int) -> None:
    before = threading.active_count()
    with pytest.raises(OSError, match="no space left"):
        stream.encrypt_stream(KEY, io.BytesIO(bytes(100 * CHUNK)), _Full(writes))
    sealed = bytearray(stream.seal(KEY, bytes(100 * CHUNK)))
    sealed[-1] ^= 1
    with pytest.raises(IntegrityError):
        stream.decrypt_stream(KEY, io.BytesIO(sealed), io.BytesIO())
    assert threading.active_count() == before
