"""Broken: a line end at the end is lost."""

import tskeyvault_age
from tskeyvault.spec import Secret, hookimpl


class Plugin(tskeyvault_age.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Tidy up."""
        return super().vault_decrypt(secret, ciphertext).removesuffix(b"\n")
