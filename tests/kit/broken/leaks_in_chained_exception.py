"""Broken: a harmless message, but the exception that stands behind it has the value as an argument."""

from collections.abc import Sequence

from tskeyvault.errors import UsageError
from tskeyvault.spec import hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Raise the refusal while a telling exception is handled, which nobody would print."""
        try:
            return dict[bytes, bytes]()[plaintext]
        except KeyError:
            try:
                return super().vault_encrypt(plaintext, recipients, binding)
            except UsageError as error:
                raise UsageError(error.message) from None
