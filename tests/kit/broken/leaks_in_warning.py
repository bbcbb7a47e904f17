"""Broken: a warning shows the value."""

import warnings

import tskeyvault_age
from tskeyvault.spec import Secret, hookimpl


class Plugin(tskeyvault_age.Plugin):
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
