"""Broken: the same value for the same recipients always gives the same bytes."""

from collections.abc import Sequence

from tskeyvault.spec import Options, hookimpl
from tskeyvault_age import plugin


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    def __init__(self, options: Options):
        super().__init__(options)
        self._done: dict[tuple[object, ...], bytes] = {}

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Return what was returned before."""
        call = (plaintext, *recipients, binding)
        if call not in self._done:
            self._done[call] = super().vault_encrypt(plaintext, recipients, binding)
        return self._done[call]
