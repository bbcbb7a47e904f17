"""Broken: it writes the value to standard output, past Python's own."""

import os

from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Decrypt, and show it."""
        plaintext = super().vault_decrypt(secret, ciphertext)
        os.write(1, plaintext[:100])
        return plaintext
