"""SSH keys as recipients and identities, ssh-ed25519 and ssh-rsa. Source: age, package agessh."""

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tskeyvault.errors import UsageError
from tskeyvault.values import Stanza
from tskeyvault_age import sshwire
from tskeyvault_age.asking import Once
from tskeyvault_age.faults import damaged
from tskeyvault_age.header import b64decode, b64encode
from tskeyvault_age.keys import FILE_KEY_LENGTH, check_body, hkdf, open_file_key, seal_file_key
from tskeyvault_age.sshwire import ED25519, PublicKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.padding import OAEP
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    PrivateKey = Ed25519PrivateKey | RSAPrivateKey

_ED25519_LABEL = b"age-encryption.org/v1/ssh-ed25519"
_RSA_LABEL = b"age-encryption.org/v1/ssh-rsa"
_POINT_LENGTH = 32


class SSHRecipient:
    """An SSH public key. ``str()`` gives ``ssh-... AAAA...``, without a comment."""

    __slots__ = ("_key",)
    labels: frozenset[str] = frozenset()

    def __init__(self, key: PublicKey):
        self._key = key

    @classmethod
    def parse(cls, text: str) -> "SSHRecipient":
        """Return the recipient that *text*, a line of authorized_keys without options, stands for.

        Raises UsageError.
        """
        recipient = cls(sshwire.parse_line(text))
        recipient.wrap(bytes(FILE_KEY_LENGTH))  # now, while the caller knows which line it is
        return recipient

    def __str__(self) -> str:
        return str(self._key)

    def wrap(self, file_key: bytes) -> Sequence[Stanza]:
        """Return the one new stanza from which only the identity recovers *file_key* (16 bytes).

        Raises UsageError when the key cannot be used.
        """
        tag = b64encode(self._key.tag).decode("ascii")
        if self._key.kind != ED25519:
            return (Stanza((self._key.kind, tag), self._wrap_rsa(file_key)),)
        share, body = self._wrap_ed25519(file_key)
        return (Stanza((ED25519, tag, b64encode(share).decode("ascii")), body),)

    def _wrap_ed25519(self, file_key: bytes) -> tuple[bytes, bytes]:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        ephemeral = X25519PrivateKey.generate()
        point = sshwire.to_montgomery(self._key.point)
        secret = _tweaked(self._key, _exchange(ephemeral.private_bytes_raw(), point))
        if secret is None:
            raise UsageError("the key is a low-order point")
        share = ephemeral.public_key().public_bytes_raw()
        return share, seal_file_key(hkdf(secret, share + point, _ED25519_LABEL), file_key)

    def _wrap_rsa(self, file_key: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

        try:
            key = RSAPublicNumbers(self._key.exponent, self._key.modulus).public_key()
            return key.encrypt(file_key, _oaep())
        except ValueError:
            pass
        raise UsageError("the RSA key cannot be used")


class SSHIdentity:
    """An SSH private key, at hand or behind a passphrase; it is never shown by itself."""

    __slots__ = ("_private", "_public", "asks")

    def __init__(self, public: PublicKey, unlock: "Callable[[], PrivateKey]", *, asks: bool):
        """Take the public half and a function that gives the private one, called once, when it is needed.

        *unlock* raises LockedError when there is no passphrase or a wrong one; *asks* tells whether
        it asks the user.
        """
        self.asks = asks
        self._public = public
        self._private = Once(unlock)

    @property
    def recipient(self) -> SSHRecipient:
        """The public half."""
        return SSHRecipient(self._public)

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the 16-byte file key from the first stanza that is for this identity, or None.

        Raises IntegrityError when a stanza of its type is malformed, or has its tag and does not open.
        """
        arguments = 3 if self._public.kind == ED25519 else 2
        for stanza in stanzas:
            if stanza.args[0] != self._public.kind:
                continue
            if len(stanza.args) != arguments:
                raise damaged("header", "an SSH stanza has a wrong number of arguments")
            if b64decode(stanza.args[1].encode("ascii")) != self._public.tag:
                continue
            opened = self._open_ed25519(stanza) if self._public.kind == ED25519 else self._open_rsa(stanza)
            if opened is None or len(opened) != FILE_KEY_LENGTH:
                raise damaged("header", "an SSH stanza does not open though it has the tag of the key")
            return opened
        return None

    def _open_ed25519(self, stanza: Stanza) -> bytes | None:
        share = b64decode(stanza.args[2].encode("ascii"))
        if len(share) != _POINT_LENGTH:
            raise damaged("header", "an SSH stanza has a share of a wrong length")
        check_body(stanza.body)
        scalar = hashlib.sha512(self._private().private_bytes_raw()).digest()[:_POINT_LENGTH]  # type: ignore[union-attr]
        secret = _tweaked(self._public, _exchange(scalar, share))
        if secret is None:
            raise damaged("header", "an SSH stanza has a low-order share")
        salt = share + sshwire.to_montgomery(self._public.point)
        return open_file_key(hkdf(secret, salt, _ED25519_LABEL), stanza.body)

    def _open_rsa(self, stanza: Stanza) -> bytes | None:
        if len(stanza.body) != (self._public.modulus.bit_length() + 7) // 8:
            raise damaged("header", "an SSH stanza has a body of a wrong length")
        try:
            return self._private().decrypt(stanza.body, _oaep())  # type: ignore[union-attr]
        except ValueError:
            return None


def _exchange(scalar: bytes, point: bytes) -> bytes | None:
    """Return the X25519 output (32 bytes), None when it would be zero."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    try:
        return X25519PrivateKey.from_private_bytes(scalar).exchange(X25519PublicKey.from_public_bytes(point))
    except ValueError:
        return None


def _tweaked(key: PublicKey, secret: bytes | None) -> bytes | None:
    """Return *secret* bound to the very SSH key; the wire key is the salt, not the secret, of the HKDF."""
    return secret and _exchange(hkdf(b"", key.wire, _ED25519_LABEL), secret)


def _oaep() -> "OAEP":
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
    from cryptography.hazmat.primitives.hashes import SHA256

    return OAEP(mgf=MGF1(SHA256()), algorithm=SHA256(), label=_RSA_LABEL)
