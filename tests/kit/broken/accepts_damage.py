"""Broken: the first byte is its own and looked at by nobody."""

from collections.abc import Sequence

from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Put a version before the ciphertext."""
        return b"1" + super().vault_encrypt(plaintext, recipients, binding)

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Pass over the version."""
        return super().vault_decrypt(secret, ciphertext[1:])

    @hookimpl
    def vault_binding(self, ciphertext: bytes) -> bytes:
        """Pass over the version."""
        return super().vault_binding(ciphertext[1:])
