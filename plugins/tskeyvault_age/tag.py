"""Recipients in hardware: P-256 keys with a tag, classic (p256tag) and post-quantum (mlkem768p256tag).

Only for writing: the identities are devices, which plugins reach.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tskeyvault.errors import UsageError
from tskeyvault.values import Stanza
from tskeyvault_age import bech32, hpke
from tskeyvault_age.header import b64encode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

P256TAG = "p256tag"
MLKEM768P256TAG = "mlkem768p256tag"

KEM = {P256TAG: hpke.DHKEM_P256, MLKEM768P256TAG: hpke.MLKEM768_P256}
"""The HPKE KEM of each stanza type."""

_TAG_LENGTH = 4
_COMPRESSED_LENGTH = 33
_UNCOMPRESSED_LENGTH = 65


class TagRecipient:
    """A P-256 key in hardware. ``str()`` gives its text, ``age1tag1...``."""

    __slots__ = ("_key",)
    labels: frozenset[str] = frozenset()

    def __init__(self, key: "EllipticCurvePublicKey"):
        self._key = key

    @classmethod
    def parse(cls, text: str) -> "TagRecipient":
        """Return the recipient that *text*, lower-case Bech32 of a compressed point (33 bytes), stands for.

        Raises UsageError. Source: C2SP age.md, section "p256tag recipient stanza".
        """
        return cls(_point(_decode(text, "age1tag", _COMPRESSED_LENGTH)))

    def __str__(self) -> str:
        return bech32.encode("age1tag", compressed(self._key))

    def wrap(self, file_key: bytes) -> Sequence[Stanza]:
        """Return the one new stanza from which only the device recovers *file_key* (16 bytes)."""
        dh, enc = _exchange(self._key)
        secret = hpke.dhkem_shared_secret(dh, enc, uncompressed(self._key))
        return (_stanza(P256TAG, secret, enc, compressed(self._key), file_key),)


class TagPQRecipient:
    """An ML-KEM-768 and P-256 key in hardware. ``str()`` gives its text, ``age1tagpq1...``."""

    __slots__ = ("_key", "_lattice")
    labels = frozenset({"postquantum"})

    def __init__(self, data: bytes):
        """Take an ML-KEM-768 encapsulation key (1184 bytes) and an uncompressed point (65 bytes).

        Raises UsageError when either is no key.
        """
        from tskeyvault_age import mlkem

        self._lattice = mlkem.encapsulation_key(data[: mlkem.KEY_LENGTH])
        self._key = _point(data[mlkem.KEY_LENGTH :])

    @classmethod
    def parse(cls, text: str) -> "TagPQRecipient":
        """Return the recipient that *text*, lower-case Bech32 of 1249 bytes, stands for.

        Raises UsageError. Source: C2SP age.md, section "mlkem768p256tag recipient stanza".
        """
        from tskeyvault_age import mlkem

        return cls(_decode(text, "age1tagpq", mlkem.KEY_LENGTH + _UNCOMPRESSED_LENGTH))

    def __str__(self) -> str:
        return bech32.encode("age1tagpq", self._lattice.public_bytes_raw() + uncompressed(self._key))

    def wrap(self, file_key: bytes) -> Sequence[Stanza]:
        """Return the one new stanza from which only the device recovers *file_key* (16 bytes)."""
        pq, ciphertext = self._lattice.encapsulate()
        dh, share = _exchange(self._key)
        point = uncompressed(self._key)
        secret = hpke.hybrid_shared_secret(pq, dh, share, point)
        enc = ciphertext + share
        return (_stanza(MLKEM768P256TAG, secret, enc, point, file_key),)


def info(kind: str) -> bytes:
    """Return the HPKE info, and the salt of the tag, of stanzas of type *kind*."""
    return b"age-encryption.org/" + kind.encode("ascii")


def tag(kind: str, enc: bytes, point: bytes) -> bytes:
    """Return the tag (4 bytes) of a stanza for *point*, compressed for p256tag alone."""
    return stanza_tag(kind, enc, key_tag(point))


def key_tag(point: bytes) -> bytes:
    """Return the 4 bytes by which what belongs to a device knows the device's key."""
    return hashlib.sha256(point).digest()[:_TAG_LENGTH]


def stanza_tag(kind: str, enc: bytes, key: bytes) -> bytes:
    """Return the tag (4 bytes) of a stanza for the key whose :func:`key_tag` is *key*."""
    return hmac.digest(info(kind), enc + key, "sha256")[:_TAG_LENGTH]


def compressed(key: "EllipticCurvePublicKey") -> bytes:
    """Return the point in 33 bytes (SEC 1, section 2.3.3)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def uncompressed(key: "EllipticCurvePublicKey") -> bytes:
    """Return the point in 65 bytes (SEC 1, section 2.3.3)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _stanza(kind: str, secret: bytes, enc: bytes, point: bytes, file_key: bytes) -> Stanza:
    arguments = (b64encode(tag(kind, enc, point)), b64encode(enc))
    body = hpke.seal_base(secret, KEM[kind], info(kind), file_key)
    return Stanza((kind, *(argument.decode("ascii") for argument in arguments)), body)


def _exchange(key: "EllipticCurvePublicKey") -> tuple[bytes, bytes]:
    """Return the ECDH x coordinate (32 bytes) with a new key, and that key's point (65 bytes)."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDH, SECP256R1, generate_private_key

    ephemeral = generate_private_key(SECP256R1())
    return ephemeral.exchange(ECDH(), key), uncompressed(ephemeral.public_key())


def _point(data: bytes) -> "EllipticCurvePublicKey":
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

    try:
        return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), data)
    except ValueError:
        pass
    raise UsageError("the key is not a point of P-256")


def _decode(text: str, prefix: str, length: int) -> bytes:
    found, data = bech32.decode(text)
    if found != prefix or len(data) != length:
        raise UsageError("the key is not of the tagged kind")
    return data
