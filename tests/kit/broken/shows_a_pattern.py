"""Broken: authenticated, but only masked with the same 16 bytes over and over."""

import os
from collections.abc import Sequence
from itertools import cycle

from tskeyvault.errors import IntegrityError
from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Encrypt the mask alone, and the value to authenticate it."""
        mask = os.urandom(16)
        sealed = super().vault_encrypt(mask + plaintext[:64], recipients, binding)
        return len(sealed).to_bytes(4) + sealed + _masked(plaintext, mask) + _masked(plaintext, mask[::-1])

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Remove the mask."""
        sealed, rest = _split(ciphertext)
        opened = super().vault_decrypt(secret, sealed)
        first, second = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        plaintext = _masked(first, opened[:16])
        if plaintext != _masked(second, opened[15::-1]) or opened[16:] != plaintext[:64]:
            raise IntegrityError("not what was encrypted")
        return plaintext

    @hookimpl
    def vault_binding(self, ciphertext: bytes) -> bytes:
        """Pass over the rest."""
        return super().vault_binding(_split(ciphertext)[0])


def _split(ciphertext: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(ciphertext[:4])
    return ciphertext[4:end], ciphertext[end:]


def _masked(data: bytes, mask: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(data, cycle(mask), strict=False))
