"""Broken: the message of a refusal shows what was to be encrypted."""

from collections.abc import Sequence

from tskeyvault.errors import UsageError
from tskeyvault.spec import hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Show the value that could not be encrypted."""
        try:
            return super().vault_encrypt(plaintext, recipients, binding)
        except UsageError as error:
            raise UsageError(f"{plaintext!r}: {error.message}") from None
