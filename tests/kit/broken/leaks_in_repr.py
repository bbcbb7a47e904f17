"""Broken: it keeps the last value and shows it."""

from tskeyvault.spec import Options, Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    def __init__(self, options: Options):
        super().__init__(options)
        self.last = b""

    def __repr__(self) -> str:
        return f"Plugin(last={self.last!r})"

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Decrypt, and keep it."""
        self.last = super().vault_decrypt(secret, ciphertext)
        return self.last
