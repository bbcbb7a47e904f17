"""The recipient ``age1yubikey1...``: a P-256 key in a YubiKey, for which a stanza ``piv-p256`` is written."""

from typing import TYPE_CHECKING

from tskeyvault.errors import UsageError
from tskeyvault.values import Stanza
from tskeyvault_age import bech32, tag
from tskeyvault_age.header import b64encode
from tskeyvault_age.keys import hkdf, seal_file_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

PIV_P256 = "piv-p256"
PREFIX = "age1yubikey"

_LENGTH = 33


class YubikeyRecipient:
    """A P-256 key in a YubiKey. ``str()`` gives its text."""

    def __init__(self, key: "EllipticCurvePublicKey"):
        self._key = key

    @classmethod
    def parse(cls, text: str) -> "YubikeyRecipient":
        """Return the recipient that *text*, Bech32 of a compressed point (33 bytes), stands for.

        Raises UsageError. Source: age-plugin-yubikey, src/p256.rs.
        """
        from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

        prefix, data = bech32.decode(text)
        if prefix != PREFIX or len(data) != _LENGTH:
            raise UsageError("the key is none of a YubiKey")
        try:
            return cls(EllipticCurvePublicKey.from_encoded_point(SECP256R1(), data))
        except ValueError:
            pass
        raise UsageError("the key is not a point of P-256")

    def __str__(self) -> str:
        return bech32.encode(PREFIX, tag.compressed(self._key))

    def wrap(self, file_key: bytes) -> Stanza:
        """Return the new stanza from which only the YubiKey recovers *file_key* (16 bytes).

        Source: age-plugin-yubikey, src/format.rs, RecipientLine::wrap_file_key.
        """
        from cryptography.hazmat.primitives.asymmetric.ec import ECDH, SECP256R1, generate_private_key

        ephemeral = generate_private_key(SECP256R1())
        share, point = tag.compressed(ephemeral.public_key()), tag.compressed(self._key)
        wrap_key = derive(ephemeral.exchange(ECDH(), self._key), share, point)
        arguments = (b64encode(data).decode("ascii") for data in (tag.key_tag(point), share))
        return Stanza((PIV_P256, *arguments), seal_file_key(wrap_key, file_key))


def derive(secret: bytes, share: bytes, point: bytes) -> bytes:
    """Return the wrap key (32 bytes) of *secret*, the x coordinate of ECDH (32 bytes).

    *share* and *point*, the recipient's, are compressed (33 bytes each).
    """
    return hkdf(secret, share + point, PIV_P256.encode("ascii"))
