"""Broken: a line end at the end is lost."""

from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Tidy up."""
        return super().vault_decrypt(secret, ciphertext).removesuffix(b"\n")
