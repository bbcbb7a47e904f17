"""Broken: a ciphertext that is too short ends in an exception that explains nothing."""

from tskeyvault.errors import IntegrityError
from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Look at a byte that may not be there."""
        if ciphertext[0] == 0:
            raise IntegrityError("no ciphertext begins with NUL")
        return super().vault_decrypt(secret, ciphertext)
