"""Broken: pieces of 64 KiB, each authenticated, but not how many there are."""

from collections.abc import Iterator, Sequence

from tskeyvault.errors import IntegrityError
from tskeyvault.spec import Secret, hookimpl
from tskeyvault_age import plugin

PIECE = 1 << 16


class Plugin(plugin.Plugin):
    """The hooks of age, of which some are broken."""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Encrypt each piece for itself."""
        pieces = [plaintext[at : at + PIECE] for at in range(0, len(plaintext), PIECE)] or [b""]
        done = [super(Plugin, self).vault_encrypt(piece, recipients, binding) for piece in pieces]
        return b"".join(len(piece).to_bytes(4) + piece for piece in done)

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Decrypt as many pieces as there are."""
        return b"".join(super(Plugin, self).vault_decrypt(secret, piece) for piece in _pieces(ciphertext))

    @hookimpl
    def vault_binding(self, ciphertext: bytes) -> bytes:
        """Return what the first piece says, when they all say the same."""
        bindings = {super(Plugin, self).vault_binding(piece) for piece in _pieces(ciphertext)}
        if len(bindings) != 1:
            raise IntegrityError("pieces of several files")
        return bindings.pop()


def _pieces(ciphertext: bytes) -> Iterator[bytes]:
    if not ciphertext:
        raise IntegrityError("no pieces")
    while ciphertext:
        size = int.from_bytes(ciphertext[:4])
        piece, ciphertext = ciphertext[4 : 4 + size], ciphertext[4 + size :]
        if len(piece) != size:
            raise IntegrityError("half a piece")
        yield piece
