"""Broken: it encrypts to itself, whoever is to read."""

from collections.abc import Sequence

from tskeyvault.spec import hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Check the recipients, and then encrypt to its own."""
        super().vault_encrypt(b"", recipients, binding)
        return super().vault_encrypt(plaintext, self.vault_own_recipients(), binding)
