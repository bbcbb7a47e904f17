"""Broken: the value is in the environment for a moment."""

import os

from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Set a variable to the value, and remove it."""
        plaintext = super().vault_decrypt(secret, ciphertext)
        os.environ["KIT_VALUE"] = plaintext.hex()[:1000]
        del os.environ["KIT_VALUE"]
        return plaintext
