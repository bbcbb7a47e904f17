"""Broken: a thread writes the value to a file beside the vault's, and removes it."""

import os
import threading

from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin

PATH = "tskeyvault-kit-thread"


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Leave the writing to a thread."""
        plaintext = super().vault_decrypt(secret, ciphertext)
        thread = threading.Thread(target=_write, args=(os.path.expanduser(f"~/{PATH}"), plaintext))
        thread.start()
        thread.join()
        return plaintext


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
    os.remove(path)
