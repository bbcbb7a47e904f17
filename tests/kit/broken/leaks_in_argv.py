"""Broken: a program gets the value as an argument."""

import subprocess
from collections.abc import Sequence

from tskeyvault.spec import hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Run a program on the value."""
        ciphertext = super().vault_encrypt(plaintext, recipients, binding)
        if b"\0" not in plaintext and len(plaintext) < 1000:
            subprocess.run(["true", "--value", plaintext], check=True)
        return ciphertext
