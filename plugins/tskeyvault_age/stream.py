"""STREAM, the encryption of the payload in chunks that cannot be cut, reordered or continued."""

from collections.abc import Iterator

from tskeyvault_age.faults import damaged
from tskeyvault_age.keys import hkdf

CHUNK = 64 * 1024
"""Bytes of plaintext in every chunk but the last."""
NONCE_LENGTH = 16
_TAG_LENGTH = 16


def payload_key(file_key: bytes, nonce: bytes) -> bytes:
    """Return the 32-byte key of a payload from the file key (16 bytes) and its nonce (16 bytes)."""
    return hkdf(file_key, nonce, b"payload")


def seal(key: bytes, plaintext: bytes) -> bytes:
    """Return *plaintext* encrypted under *key* (32 bytes, for this payload alone).

    Every chunk grows by 16 bytes. Source: C2SP age.md, section "Payload".
    """
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    aead = ChaCha20Poly1305(key)
    return b"".join(aead.encrypt(nonce, chunk, None) for nonce, chunk in _chunks(plaintext, CHUNK))


def open_(key: bytes, payload: bytes) -> bytes:
    """Return the plaintext of *payload*, whole; nothing is released before the end is verified.

    Raises IntegrityError. Source: C2SP age.md, section "Payload".
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    aead = ChaCha20Poly1305(key)
    opened: list[bytes] = []
    for nonce, chunk in _chunks(payload, CHUNK + _TAG_LENGTH):
        try:
            opened.append(aead.decrypt(nonce, chunk, None))
        except InvalidTag:
            raise damaged("payload", f"chunk {len(opened)} does not verify") from None
    if len(opened) > 1 and not opened[-1]:
        raise damaged("payload", "the last chunk is empty")
    return b"".join(opened)


def _chunks(data: bytes, size: int) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the nonce and content of each chunk; empty *data* is one empty chunk."""
    view = memoryview(data)
    for counter, start in enumerate(range(0, len(data) or 1, size)):
        last = start + size >= len(data)
        yield counter.to_bytes(11, "big") + bytes([last]), view[start : start + size]
