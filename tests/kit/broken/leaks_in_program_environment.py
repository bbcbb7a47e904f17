"""Broken: a program gets the value as a variable, which no other has."""

import os
import subprocess
from collections.abc import Sequence

from tskeyvault.spec import hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Run a program with a variable for the value."""
        ciphertext = super().vault_encrypt(plaintext, recipients, binding)
        subprocess.run(["true"], check=True, env={**os.environ, "KIT_VALUE": plaintext.hex()[:1000]})
        return ciphertext
