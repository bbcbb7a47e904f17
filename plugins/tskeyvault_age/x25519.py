"""The X25519 recipient and identity, age's native kind of key."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tskeyvault.errors import UsageError
from tskeyvault.values import Stanza
from tskeyvault_age import bech32
from tskeyvault_age.faults import damaged
from tskeyvault_age.header import b64decode, b64encode
from tskeyvault_age.keys import FILE_KEY_LENGTH, hkdf, open_file_key, seal_file_key, unwrap_first

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

_TYPE = "X25519"
_INFO = b"age-encryption.org/v1/X25519"
_RECIPIENT_PREFIX = "age"
_IDENTITY_PREFIX = "AGE-SECRET-KEY-"
_KEY_LENGTH = 32


class X25519Recipient:
    """A public key, to which files are encrypted. ``str()`` gives its text, ``age1...``."""

    __slots__ = ("_point",)
    labels: frozenset[str] = frozenset()

    def __init__(self, point: bytes):
        self._point = point

    @classmethod
    def parse(cls, text: str) -> "X25519Recipient":
        """Return the recipient that *text*, lower-case Bech32 of 32 bytes, stands for.

        Raises UsageError, also for a low-order point, which is nobody's key.
        Source: C2SP age.md, section "X25519 recipient stanza".
        """
        recipient = cls(_decode(text, _RECIPIENT_PREFIX))
        recipient.wrap(bytes(FILE_KEY_LENGTH))  # now, while the caller knows which line it is
        return recipient

    def __str__(self) -> str:
        return bech32.encode(_RECIPIENT_PREFIX, self._point)

    def wrap(self, file_key: bytes) -> Sequence[Stanza]:
        """Return the one new stanza from which only the identity recovers *file_key* (16 bytes).

        Raises UsageError when the recipient is a low-order point.
        """
        ephemeral = _new_key()
        share = ephemeral.public_key().public_bytes_raw()
        secret = _exchange(ephemeral, self._point)
        if secret is None:
            raise UsageError("the key is a low-order point")
        body = seal_file_key(hkdf(secret, share + self._point, _INFO), file_key)
        return (Stanza((_TYPE, b64encode(share).decode("ascii")), body),)


class X25519Identity:
    """A private key, which opens what was encrypted to its recipient; it is never shown by itself."""

    __slots__ = ("_key", "_point")

    def __init__(self, key: "X25519PrivateKey"):
        self._key = key
        self._point = key.public_key().public_bytes_raw()

    @classmethod
    def parse(cls, text: str) -> "X25519Identity":
        """Return the identity that *text*, upper-case Bech32 of 32 bytes, stands for.

        Raises UsageError, whose message holds nothing of *text*.
        """
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        return cls(X25519PrivateKey.from_private_bytes(_decode(text, _IDENTITY_PREFIX)))

    @classmethod
    def generate(cls) -> "X25519Identity":
        """Return a new identity from the system's random numbers."""
        return cls(_new_key())

    @property
    def recipient(self) -> X25519Recipient:
        """The public half."""
        return X25519Recipient(self._point)

    def export(self) -> str:
        """Return the private key as text, ``AGE-SECRET-KEY-1...``; nothing else reveals it."""
        return bech32.encode(_IDENTITY_PREFIX, self._key.private_bytes_raw())

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the 16-byte file key from the first stanza that is for this identity, or None.

        Stanzas of other types are ignored. Raises IntegrityError when an X25519 stanza is
        malformed. Source: C2SP age.md, section "X25519 recipient stanza".
        """
        return unwrap_first(stanzas, _TYPE, self._open)

    def _open(self, stanza: Stanza) -> bytes | None:
        if len(stanza.args) != 2:  # noqa: PLR2004 - the type and the share
            raise damaged("header", "an X25519 stanza has a wrong number of arguments")
        share = b64decode(stanza.args[1].encode("ascii"))
        if len(share) != _KEY_LENGTH:
            raise damaged("header", "an X25519 stanza has a share of a wrong length")
        secret = _exchange(self._key, share)
        if secret is None:
            raise damaged("header", "an X25519 stanza has a low-order share")
        return open_file_key(hkdf(secret, share + self._point, _INFO), stanza.body)


def _decode(text: str, prefix: str) -> bytes:
    found, data = bech32.decode(text)
    if found != prefix or len(data) != _KEY_LENGTH:
        raise UsageError("the key is not of the X25519 kind")
    return data


def _new_key() -> "X25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.generate()


def _exchange(key: "X25519PrivateKey", point: bytes) -> bytes | None:
    """Return the 32-byte shared secret, None when it would be zero: *point* has low order."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    try:
        return key.exchange(X25519PublicKey.from_public_bytes(point))
    except ValueError:
        return None
