"""Broken: the value stands in a temporary file for a moment."""

import os
import tempfile

from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Pass the value through a file that is removed at once."""
        plaintext = super().vault_decrypt(secret, ciphertext)
        fd, path = tempfile.mkstemp()
        with open(fd, "wb") as file:
            file.write(plaintext)
        os.unlink(path)
        return plaintext
