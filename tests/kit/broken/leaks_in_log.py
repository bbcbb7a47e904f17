"""Broken: the value is logged, by a logger that nobody listens to."""

import logging
from collections.abc import Sequence

from tskeyvault.spec import hookimpl
from tskeyvault_age import plugin

log = logging.getLogger("tskeyvault_leaky")
log.propagate = False
log.addHandler(logging.NullHandler())


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Log what is encrypted."""
        log.debug("to encrypt: %r", plaintext)
        return super().vault_encrypt(plaintext, recipients, binding)
