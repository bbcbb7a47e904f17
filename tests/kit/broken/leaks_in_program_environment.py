"""Broken: a program gets the value as a variable, which no other has."""

import os
import subprocess
from collections.abc import Sequence

import tskeyvault_age
from tskeyvault.spec import hookimpl


class Plugin(tskeyvault_age.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Run a program with a variable for the value."""
        ciphertext = super().vault_encrypt(plaintext, recipients, binding)
        subprocess.run(["true"], check=True, env={**os.environ, "KIT_VALUE": plaintext.hex()[:1000]})
        return ciphertext
