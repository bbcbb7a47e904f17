"""Broken: it tells the user the value."""

from typing import cast

from tskeyvault.spec import UI, Options, Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    def __init__(self, options: Options):
        super().__init__(options)
        self._user = cast("UI", options["ui"])

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Decrypt, and tell."""
        plaintext = super().vault_decrypt(secret, ciphertext)
        self._user.message(f"{secret.name} is {plaintext!r}")
        return plaintext
