"""HPKE in base mode (RFC 9180) from the shared secret on, so that the key exchange can be in hardware.

Always HKDF-SHA256 and ChaCha20-Poly1305, one message, no associated data.
"""

import hashlib
import hmac

from tskeyvault_age.keys import check_body

DHKEM_P256 = 0x0010
MLKEM768_P256 = 0x0050

_VERSION = b"HPKE-v1"
_KDF_AEAD = b"\x00\x01\x00\x03"
_EMPTY_SALT = bytes(32)
_BASE_MODE = b"\x00"


def dhkem_shared_secret(dh: bytes, enc: bytes, recipient: bytes) -> bytes:
    """Return the 32-byte shared secret of DHKEM(P-256, HKDF-SHA256).

    *dh* is the x coordinate (32 bytes) that ECDH gave; *enc* and *recipient* are uncompressed
    points (65 bytes each). Source: RFC 9180, section 4.1.
    """
    suite = b"KEM" + _two(DHKEM_P256)
    secret = _extract(suite, b"", b"eae_prk", dh)
    return _expand(suite, secret, b"shared_secret", enc + recipient, 32)


def hybrid_shared_secret(pq: bytes, dh: bytes, enc: bytes, recipient: bytes) -> bytes:
    """Return the 32-byte shared secret of MLKEM768-P256.

    *pq* is what ML-KEM gave (32 bytes), the rest as for DHKEM. Source: filippo.io/hpke-pq.
    """
    return hashlib.sha3_256(pq + dh + enc + recipient + b"MLKEM768-P256").digest()


def seal_base(shared_secret: bytes, kem_id: int, info: bytes, plaintext: bytes) -> bytes:
    """Return *plaintext* as the only message under *shared_secret* (32 bytes), 16 bytes longer."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    key, nonce = _schedule(shared_secret, kem_id, info)
    return ChaCha20Poly1305(key).encrypt(nonce, plaintext, None)


def open_base(shared_secret: bytes, kem_id: int, info: bytes, ciphertext: bytes) -> bytes | None:
    """Return the 16-byte file key in *ciphertext*, None when *shared_secret* (32 bytes) does not open it.

    Raises IntegrityError when *ciphertext* has not 32 bytes.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    check_body(ciphertext)
    key, nonce = _schedule(shared_secret, kem_id, info)
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, ciphertext, None)
    except InvalidTag:
        return None


def _schedule(shared_secret: bytes, kem_id: int, info: bytes) -> tuple[bytes, bytes]:
    """Return the AEAD key and the nonce of the first message. Source: RFC 9180, section 5.1."""
    suite = b"HPKE" + _two(kem_id) + _KDF_AEAD
    context = (
        _BASE_MODE + _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    )
    secret = _extract(suite, shared_secret, b"secret", b"")
    return _expand(suite, secret, b"key", context, 32), _expand(suite, secret, b"base_nonce", context, 12)


def _extract(suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt or _EMPTY_SALT, _VERSION + suite + label + secret, "sha256")


def _expand(suite: bytes, secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """Return up to 32 bytes: one round of HKDF-Expand."""
    labelled = _two(length) + _VERSION + suite + label + info
    return hmac.digest(secret, labelled + b"\x01", "sha256")[:length]


def _two(number: int) -> bytes:
    return number.to_bytes(2, "big")
