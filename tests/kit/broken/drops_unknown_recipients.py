"""Broken: a recipient that it does not understand is left out."""

from collections.abc import Sequence

from tskeyvault.errors import UsageError
from tskeyvault.spec import hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Encrypt to those that are understood, where there are any."""
        known = [text for text in recipients if self._is_known(text)]
        return super().vault_encrypt(plaintext, known or recipients, binding)

    def _is_known(self, recipient: str) -> bool:
        try:
            super().vault_encrypt(b"", [recipient], b"")
        except UsageError:
            return False
        return True
