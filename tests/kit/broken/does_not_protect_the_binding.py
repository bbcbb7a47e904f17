"""Broken: the binding lies before the ciphertext, and nothing holds the two together."""

from collections.abc import Sequence

from tskeyvault.errors import IntegrityError
from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Put the binding on a line before the ciphertext."""
        return binding + b"\n" + super().vault_encrypt(plaintext, recipients, b"")

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Pass over the binding."""
        self.vault_binding(ciphertext)
        return super().vault_decrypt(secret, ciphertext.partition(b"\n")[2])

    @hookimpl
    def vault_binding(self, ciphertext: bytes) -> bytes:
        """Return the first line, when it looks right."""
        binding, end, _ = ciphertext.partition(b"\n")
        if not end or binding[:1] != b"{" or binding[-1:] != b"}":
            raise IntegrityError("no binding")
        return binding
