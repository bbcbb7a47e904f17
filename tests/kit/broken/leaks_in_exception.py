"""Broken: the message of a refusal shows what was to be encrypted."""

from collections.abc import Sequence

import tskeyvault_age
from tskeyvault.errors import UsageError
from tskeyvault.spec import hookimpl


class Plugin(tskeyvault_age.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Show the value that could not be encrypted."""
        try:
            return super().vault_encrypt(plaintext, recipients, binding)
        except UsageError as error:
            raise UsageError(f"{plaintext!r}: {error.message}") from None
