"""Broken: what it has no key for is said not to be there."""

import tskeyvault_age
from tskeyvault.errors import LockedError, NotFoundError
from tskeyvault.spec import Secret, hookimpl


class Plugin(tskeyvault_age.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Say not found instead of locked."""
        try:
            return super().vault_decrypt(secret, ciphertext)
        except LockedError as error:
            raise NotFoundError(error.message) from None
