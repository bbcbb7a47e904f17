"""Broken: it encrypts to itself, whoever is to read."""

from collections.abc import Sequence

import tskeyvault_age
from tskeyvault.spec import hookimpl


class Plugin(tskeyvault_age.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Check the recipients, and then encrypt to its own."""
        super().vault_encrypt(b"", recipients, binding)
        return super().vault_encrypt(plaintext, self.vault_own_recipients(), binding)
