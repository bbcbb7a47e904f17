"""Broken: the value stands in a file on the disk that never has a name."""

import os
import tempfile

from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Pass the value through O_TMPFILE."""
        plaintext = super().vault_decrypt(secret, ciphertext)
        fd = os.open(tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR, 0o600)
        os.write(fd, plaintext)
        os.close(fd)
        return plaintext
