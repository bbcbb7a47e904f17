"""Broken: a ciphertext, and the value beside it in base64, both of which are checked."""

import base64
from collections.abc import Sequence

from tskeyvault.errors import IntegrityError
from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Add the value to the ciphertext."""
        return super().vault_encrypt(plaintext, recipients, binding) + b"#" + base64.b64encode(plaintext)

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Compare the two."""
        sealed, _, copy = ciphertext.rpartition(b"#")
        plaintext = super().vault_decrypt(secret, sealed)
        if copy != base64.b64encode(plaintext):
            raise IntegrityError("the copy is not the same")
        return plaintext

    @hookimpl
    def vault_binding(self, ciphertext: bytes) -> bytes:
        """Pass over the copy."""
        return super().vault_binding(ciphertext.rpartition(b"#")[0])
