"""Broken: no recipients are taken for itself."""

from collections.abc import Sequence

from tskeyvault.spec import hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Encrypt to itself where nobody is named."""
        return super().vault_encrypt(plaintext, recipients or self.vault_own_recipients(), binding)
