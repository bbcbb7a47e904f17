"""STREAM, the encryption of the payload in chunks that cannot be cut, reordered or continued."""

import io
from collections.abc import Callable

from tskeyvault_age.faults import damaged
from tskeyvault_age.keys import hkdf
from tskeyvault_age.relay import Reader, Relay, Writer

CHUNK = 64 * 1024
"""Bytes of plaintext in every chunk but the last."""
NONCE_LENGTH = 16
_TAG_LENGTH = 16
_COUNTER_LENGTH = 11

_Into = Callable[[bytes, memoryview, None, memoryview], int]


class Prefixed:
    """What was already read of a file, and then the rest of it."""

    def __init__(self, start: bytes, reader: Reader):
        self._start = memoryview(start)
        self._reader = reader

    def readinto(self, buffer: memoryview) -> int | None:
        """Fill the start of *buffer*; return how many bytes, 0 at the end alone."""
        if not self._start:
            return self._reader.readinto(buffer)
        count = min(len(buffer), len(self._start))
        buffer[:count], self._start = self._start[:count], self._start[count:]
        return count


def payload_key(file_key: bytes, nonce: bytes) -> bytes:
    """Return the 32-byte key of a payload from the file key (16 bytes) and its nonce (16 bytes)."""
    return hkdf(file_key, nonce, b"payload")


def seal(key: bytes, plaintext: bytes) -> bytes:
    """Return *plaintext* encrypted under *key*, as :func:`encrypt_stream` does."""
    target = io.BytesIO()
    encrypt_stream(key, io.BytesIO(plaintext), target)
    return target.getvalue()


def open_(key: bytes, payload: bytes) -> bytes:
    """Return the plaintext of *payload*, whole; nothing is released before the end is verified.

    Raises IntegrityError.
    """
    target = io.BytesIO()
    decrypt_stream(key, io.BytesIO(payload), target)
    return target.getvalue()


def encrypt_stream(key: bytes, reader: Reader, writer: Writer) -> None:
    """Write what *reader* holds to *writer*, encrypted under *key* (32 bytes, for this payload alone).

    Every chunk grows by 16 bytes. Takes constant memory. Source: C2SP age.md, section "Payload".
    """
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    _each_chunk(ChaCha20Poly1305(key).encrypt_into, CHUNK, _TAG_LENGTH, reader, writer)


def decrypt_stream(key: bytes, reader: Reader, writer: Writer) -> None:
    """Write the plaintext of the payload that *reader* holds to *writer*, each chunk once it is verified.

    So when IntegrityError is raised, *writer* may have got a part: the caller throws it away.
    Takes constant memory. Source: C2SP age.md, section "Payload".
    """
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    _each_chunk(ChaCha20Poly1305(key).decrypt_into, CHUNK + _TAG_LENGTH, -_TAG_LENGTH, reader, writer)


def _each_chunk(into: _Into, size: int, growth: int, reader: Reader, writer: Writer) -> None:
    """Pass chunks of *size* bytes through *into*, by which each grows by *growth* bytes."""
    from cryptography.exceptions import InvalidTag

    def compute(
        block: memoryview, counter: int, last: bool, target: memoryview
    ) -> tuple[int, Exception | None]:
        done = 0
        for start in range(0, len(block) or 1, size):
            chunk = block[start : start + size]
            ends = last and start + size >= len(block)
            grown = max(0, len(chunk) + growth)
            try:
                into(
                    counter.to_bytes(_COUNTER_LENGTH, "big") + bytes([ends]),
                    chunk,
                    None,
                    target[done : done + grown],
                )
            except InvalidTag:
                return done, damaged("payload", f"chunk {counter} does not verify")
            if counter and not grown:
                return done, damaged("payload", "the last chunk is empty")
            done, counter = done + grown, counter + 1
        return done, None

    Relay(reader, writer, compute, size, size + growth).run()
