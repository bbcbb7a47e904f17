"""Broken: it asks for the binding and does not keep it."""

from collections.abc import Sequence

from tskeyvault.spec import hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Store another binding."""
        return super().vault_encrypt(plaintext, recipients, binding and b"{...}")
