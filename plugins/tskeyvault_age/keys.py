"""Key derivation, and wrapping of the file key, as all recipient types of age share them."""

from collections.abc import Callable, Sequence

from tskeyvault.values import Stanza
from tskeyvault_age.faults import damaged

FILE_KEY_LENGTH = 16
_BODY_LENGTH = FILE_KEY_LENGTH + 16  # and the tag
_ZERO_NONCE = bytes(12)  # every wrap key is used once


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA256 (RFC 5869); an empty *salt* stands for 32 zero bytes."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(secret)


def unwrap_first(
    stanzas: Sequence[Stanza], kind: str, unwrap: Callable[[Stanza], bytes | None]
) -> bytes | None:
    """Return the first file key that *unwrap* finds in one of the *stanzas* of that *kind*, or None."""
    for stanza in stanzas:
        if stanza.args[0] == kind and (file_key := unwrap(stanza)) is not None:
            return file_key
    return None


def seal_file_key(wrap_key: bytes, file_key: bytes) -> bytes:
    """Return the 32-byte stanza body for *file_key* (16 bytes) under *wrap_key* (32 bytes, fresh)."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(wrap_key).encrypt(_ZERO_NONCE, file_key, None)


def open_file_key(wrap_key: bytes, body: bytes) -> bytes | None:
    """Return the 16-byte file key in a stanza *body*, None when *wrap_key* does not open it.

    Raises IntegrityError when *body* has not 32 bytes: a longer one could be made to open under
    several keys (a partitioning oracle). Source: C2SP age.md, section "X25519 recipient stanza".
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    check_body(body)
    try:
        return ChaCha20Poly1305(wrap_key).decrypt(_ZERO_NONCE, body, None)
    except InvalidTag:
        return None


def check_body(body: bytes) -> None:
    """Raise IntegrityError unless a stanza *body* has 32 bytes, those of a file key with its tag."""
    if len(body) != _BODY_LENGTH:
        raise damaged("header", "a stanza has a body of a wrong length")
