"""Broken: a program that it runs leaves the value in a temporary file."""

import subprocess

import tskeyvault_age
from tskeyvault.spec import Secret, hookimpl


class Plugin(tskeyvault_age.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Have a program write the value, which it gets as it should."""
        plaintext = super().vault_decrypt(secret, ciphertext)
        subprocess.run(["sh", "-c", 'cat > "$(mktemp)"'], input=plaintext, check=True)
        return plaintext
