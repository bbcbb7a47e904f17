"""Broken: the value stands in a file that is renamed, overwritten with zeros and removed."""

import os
import tempfile

from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Pass the value through a file, and cover the traces."""
        plaintext = super().vault_decrypt(secret, ciphertext)
        fd, path = tempfile.mkstemp()
        os.rename(path, f"{path}.new")
        os.write(fd, plaintext)
        os.pwrite(fd, bytes(len(plaintext)), 0)
        os.close(fd)
        os.unlink(f"{path}.new")
        return plaintext
