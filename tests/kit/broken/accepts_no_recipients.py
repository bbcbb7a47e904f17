"""Broken: no recipients are taken for itself."""

from collections.abc import Sequence

import tskeyvault_age
from tskeyvault.spec import hookimpl


class Plugin(tskeyvault_age.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Encrypt to itself where nobody is named."""
        return super().vault_encrypt(plaintext, recipients or self.vault_own_recipients(), binding)
