"""Stanzas that a YubiKey may open: which are for an identity, and what the key agreement makes of one."""

import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tskeyvault.errors import IntegrityError
from tskeyvault.values import Stanza
from tskeyvault_age import hpke, tag
from tskeyvault_age.faults import damaged
from tskeyvault_age.header import b64decode
from tskeyvault_age.keys import check_body, open_file_key
from tskeyvault_age.tag import MLKEM768P256TAG, P256TAG
from tskeyvault_yubikey.recipient import PIV_P256, derive

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

_TAG_LENGTH = 4
_POINT_LENGTH = 65
_LATTICE_LENGTH = 1088
_ENC_LENGTH = {PIV_P256: 33, P256TAG: _POINT_LENGTH, MLKEM768P256TAG: _LATTICE_LENGTH + _POINT_LENGTH}
"""Bytes of the second argument of each type: what was sent to make the shared secret."""


class Wrapped(NamedTuple):
    """A file key, wrapped for a key in a YubiKey."""

    stanza: Stanza
    enc: bytes
    """What was sent to make the shared secret."""
    peer: "EllipticCurvePublicKey"
    """Whose key the YubiKey is to agree with."""

    def open(self, secret: bytes, key: "EllipticCurvePublicKey", seed: bytes) -> bytes | None:
        """Return the file key (16 bytes), or None when it was wrapped for another key than *key*.

        *secret* is the x coordinate (32 bytes) that the YubiKey made of its private key and the peer;
        *seed* is the one for ML-KEM (64 bytes), or empty: then no post-quantum stanza opens.
        """
        kind, body = self.stanza.args[0], self.stanza.body
        if kind == PIV_P256:
            return open_file_key(derive(secret, self.enc, tag.compressed(key)), body)
        point = tag.uncompressed(key)
        if kind == P256TAG:
            shared = hpke.dhkem_shared_secret(secret, self.enc, point)
        elif seed:
            shared = _hybrid(self.enc, secret, point, seed)
        else:
            return None
        return hpke.open_base(shared, tag.KEM[kind], tag.info(kind), body)


def meant_for(key_tag: bytes, stanzas: Sequence[Stanza]) -> list[Wrapped]:
    """Return those of *stanzas*, of one file, that carry the tag of the key that *key_tag* (4 bytes) is of.

    Raises IntegrityError when any of them is of a known type and malformed.
    """
    return [
        wrapped
        for stanza in stanzas
        if stanza.args[0] in _ENC_LENGTH and (wrapped := _parse(key_tag, stanza)) is not None
    ]


def does_not_open(wrapped: Wrapped) -> IntegrityError:
    """Return the error that *wrapped* carries the key's tag, and was not wrapped for it."""
    return _malformed(wrapped.stanza.args[0], "does not open by the key that it names")


def _parse(key_tag: bytes, stanza: Stanza) -> Wrapped | None:
    kind = stanza.args[0]
    if len(stanza.args) != 3:  # noqa: PLR2004 - the type, the tag and the share
        raise _malformed(kind, "has a wrong number of arguments")
    found, enc = (b64decode(text.encode("ascii")) for text in stanza.args[1:])
    if len(found) != _TAG_LENGTH or len(enc) != _ENC_LENGTH[kind]:
        raise _malformed(kind, "has an argument of a wrong length")
    check_body(stanza.body)
    peer = _point(kind, enc[-_POINT_LENGTH:])
    expected = key_tag if kind == PIV_P256 else tag.stanza_tag(kind, enc, key_tag)
    return Wrapped(stanza, enc, peer) if hmac.compare_digest(found, expected) else None


def _point(kind: str, data: bytes) -> "EllipticCurvePublicKey":
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

    try:
        if data[0] in (b"\x02\x03" if kind == PIV_P256 else b"\x04"):
            return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), data)
    except ValueError:
        pass
    raise _malformed(kind, "has a share that is no point")


def _hybrid(enc: bytes, secret: bytes, point: bytes, seed: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

    pq = MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(enc[:_LATTICE_LENGTH])
    return hpke.hybrid_shared_secret(pq, secret, enc[_LATTICE_LENGTH:], point)


def _malformed(kind: str, how: str) -> IntegrityError:
    return damaged("header", f"a {kind} stanza {how}")
