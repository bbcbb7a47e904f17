"""Broken: it never comes back from what it cannot parse, and swallows what would stop it, once."""

import contextlib
import time

from tskeyvault.errors import IntegrityError, VaultError
from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Wait for better times."""
        try:
            return super().vault_decrypt(secret, ciphertext)
        except IntegrityError:
            if ciphertext:
                raise
            with contextlib.suppress(VaultError):
                time.sleep(3600)
            raise
