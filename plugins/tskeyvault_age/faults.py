"""The one error by which every malformed part of a ciphertext is reported."""

from tskeyvault.errors import IntegrityError


def damaged(part: str, reason: str) -> IntegrityError:
    """Return the error that *part* (header, MAC, payload, binding) is wrong because of *reason*."""
    return IntegrityError(f"the ciphertext is damaged: {part}: {reason}")
