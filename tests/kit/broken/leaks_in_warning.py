"""Broken: a warning shows the value."""

import warnings

from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Warn of what nobody asked about."""
        plaintext = super().vault_decrypt(secret, ciphertext)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            if len(plaintext) in range(40, 60):
                warnings.warn(f"a short value: {plaintext!r}", stacklevel=1)
        return plaintext
