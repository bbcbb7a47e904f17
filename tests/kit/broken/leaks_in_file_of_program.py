"""Broken: a program that it runs leaves the value in a temporary file."""

import subprocess

from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Have a program write the value, which it gets as it should."""
        plaintext = super().vault_decrypt(secret, ciphertext)
        subprocess.run(["sh", "-c", 'cat > "$(mktemp)"'], input=plaintext, check=True)
        return plaintext
