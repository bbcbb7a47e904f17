"""Broken: what it has no key for is said not to be there."""

from tskeyvault.errors import LockedError, NotFoundError
from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Say not found instead of locked."""
        try:
            return super().vault_decrypt(secret, ciphertext)
        except LockedError as error:
            raise NotFoundError(error.message) from None
