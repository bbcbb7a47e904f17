"""Broken: whatever does not open is said to be locked."""

from tskeyvault.errors import IntegrityError, LockedError
from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Say locked for everything."""
        try:
            return super().vault_decrypt(secret, ciphertext)
        except IntegrityError as error:
            raise LockedError(error.message) from None
