"""ML-KEM-768 keys as they come from recipients."""

from typing import TYPE_CHECKING

from tskeyvault.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey

KEY_LENGTH = 1184
"""Bytes of an encapsulation key."""


def encapsulation_key(data: bytes) -> "MLKEM768PublicKey":
    """Return the encapsulation key *data* (1184 bytes, FIPS 203); raise UsageError when it is none."""
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey

    try:
        return MLKEM768PublicKey.from_public_bytes(data)
    except ValueError:
        pass
    raise UsageError("the post-quantum half of the key is not a key")


def public_key(seed: bytes) -> bytes:
    """Return the encapsulation key (1184 bytes) that belongs to *seed* (64 bytes, FIPS 203)."""
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

    return MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()
