"""The post-quantum recipient and identity: ML-KEM-768 and X25519 together (X-Wing) under HPKE."""

import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tskeyvault.errors import UsageError
from tskeyvault.values import Stanza
from tskeyvault_age import bech32, mlkem
from tskeyvault_age.faults import damaged
from tskeyvault_age.header import b64decode, b64encode
from tskeyvault_age.keys import check_body, unwrap_first

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PublicKey, Suite

_TYPE = "mlkem768x25519"
_INFO = b"age-encryption.org/mlkem768x25519"
_RECIPIENT_PREFIX = "age1pq"
_IDENTITY_PREFIX = "AGE-SECRET-KEY-PQ-"
_SEED_LENGTH = 32
_MLKEM_SEED_LENGTH = 64
_POINT_LENGTH = 32
_ENC_LENGTH = 1088 + _POINT_LENGTH


class HybridRecipient:
    """A public key, which a quantum computer does not help against. ``str()`` gives ``age1pq1...``."""

    __slots__ = ("_data", "_key")
    labels = frozenset({"postquantum"})

    def __init__(self, data: bytes):
        """Take an ML-KEM-768 encapsulation key (1184 bytes) and an X25519 public key (32 bytes).

        Raises UsageError when either is no key.
        """
        self._key = _public_key(data)
        self._data = data

    @classmethod
    def parse(cls, text: str) -> "HybridRecipient":
        """Return the recipient that *text*, lower-case Bech32 of 1216 bytes, stands for.

        Raises UsageError. Source: C2SP age.md, section "mlkem768x25519 recipient stanza".
        """
        return cls(_decode(text, _RECIPIENT_PREFIX, mlkem.KEY_LENGTH + _POINT_LENGTH))

    def __str__(self) -> str:
        return bech32.encode(_RECIPIENT_PREFIX, self._data)

    def wrap(self, file_key: bytes) -> Sequence[Stanza]:
        """Return the one new stanza from which only the identity recovers *file_key* (16 bytes)."""
        sealed = _suite().encrypt(file_key, self._key, info=_INFO)
        enc, body = sealed[:_ENC_LENGTH], sealed[_ENC_LENGTH:]
        return (Stanza((_TYPE, b64encode(enc).decode("ascii")), body),)


class HybridIdentity:
    """A private key, the 32-byte seed of both halves; it is never shown by itself."""

    __slots__ = ("_mlkem", "_point", "_seed")

    def __init__(self, seed: bytes):
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_LENGTH + _POINT_LENGTH)
        self._seed = seed
        self._mlkem: MLKEM768PrivateKey = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_LENGTH])
        self._point: X25519PrivateKey = X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_LENGTH:])

    @classmethod
    def parse(cls, text: str) -> "HybridIdentity":
        """Return the identity that *text*, upper-case Bech32 of 32 bytes, stands for.

        Raises UsageError, whose message holds nothing of *text*.
        """
        return cls(_decode(text, _IDENTITY_PREFIX, _SEED_LENGTH))

    @classmethod
    def generate(cls) -> "HybridIdentity":
        """Return a new identity from the system's random numbers."""
        return cls(os.urandom(_SEED_LENGTH))

    @property
    def recipient(self) -> HybridRecipient:
        """The public half."""
        lattice = self._mlkem.public_key().public_bytes_raw()
        return HybridRecipient(lattice + self._point.public_key().public_bytes_raw())

    def export(self) -> str:
        """Return the private key as text, ``AGE-SECRET-KEY-PQ-1...``; nothing else reveals it."""
        return bech32.encode(_IDENTITY_PREFIX, self._seed)

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the 16-byte file key from the first stanza that is for this identity, or None.

        Stanzas of other types are ignored. Raises IntegrityError when one of this type is malformed.
        """
        return unwrap_first(stanzas, _TYPE, self._open)

    def _open(self, stanza: Stanza) -> bytes | None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

        if len(stanza.args) != 2:  # noqa: PLR2004 - the type and the share
            raise damaged("header", "a post-quantum stanza has a wrong number of arguments")
        enc = b64decode(stanza.args[1].encode("ascii"))
        if len(enc) != _ENC_LENGTH:
            raise damaged("header", "a post-quantum stanza has a share of a wrong length")
        check_body(stanza.body)
        if _is_low_order(enc[-_POINT_LENGTH:]):  # HPKE would only say that it is not for us
            raise damaged("header", "a post-quantum stanza has a low-order share")
        key = MLKEM768X25519PrivateKey(self._mlkem, self._point)
        try:
            return _suite().decrypt(enc + stanza.body, key, info=_INFO)
        except InvalidTag:
            return None


def _suite() -> "Suite":
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def _public_key(data: bytes) -> "MLKEM768X25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PublicKey

    point = data[mlkem.KEY_LENGTH :]
    if _is_low_order(point):
        raise UsageError("the key is a low-order point")
    lattice = mlkem.encapsulation_key(data[: mlkem.KEY_LENGTH])
    return MLKEM768X25519PublicKey(lattice, X25519PublicKey.from_public_bytes(point))


def _is_low_order(point: bytes) -> bool:
    """Whether every exchange with *point* (32 bytes) gives zero."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    try:
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(point))
    except ValueError:
        return True
    return False


def _decode(text: str, prefix: str, length: int) -> bytes:
    found, data = bech32.decode(text)
    if found != prefix or len(data) != length:
        raise UsageError("the key is not of the post-quantum kind")
    return data
