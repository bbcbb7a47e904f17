"""A backend for tskeyvault whose key is a passphrase in a file.

The local configuration names the file::

    [plugins.demo]
    key_file = "/etc/tskeyvault/passphrase"

Whoever has the passphrase can read. A recipient is its key id, ``demo:1a2b3c4d``; since one
passphrase is all there is, a secret has exactly one recipient.

A file is ``MAGIC``, key id, salt, nonce, the length of the binding and the binding; then the
ciphertext (ChaCha20-Poly1305), which authenticates all that stands before it.
"""

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from tskeyvault.errors import ConfigError, IntegrityError, LockedError, UsageError
from tskeyvault.spec import Options, Pattern, Secret, hookimpl

MAGIC = b"tskeyvault-demo 1\n"
MAX_PASSPHRASE = 1024

_ID, _SALT, _NONCE, _LENGTH = 4, 16, 12, 4
_HEAD = len(MAGIC) + _ID + _SALT + _NONCE + _LENGTH
_ID_SALT = b"tskeyvault-demo key id"


class Plugin:
    """The hooks. The passphrase is read at the first need and kept until :meth:`close`."""

    def __init__(self, options: Options):
        self._file = options.get("key_file")
        self._passphrase = b""

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Return *plaintext* for the one recipient that we are."""
        own = self._key_id()
        if set(recipients) != {f"demo:{own.hex()}"}:
            raise UsageError("plugin 'demo' encrypts to its own key id and to nothing else")
        salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
        head = MAGIC + own + salt + nonce + len(binding).to_bytes(_LENGTH) + binding
        return head + ChaCha20Poly1305(self._key(salt)).encrypt(nonce, plaintext, head)

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Return the plaintext, once everything in the file is authenticated."""
        end = _HEAD + len(_binding(ciphertext))
        at = len(MAGIC)
        if ciphertext[at : at + _ID] != self._key_id():
            raise LockedError(f"secret {secret.name!r}: encrypted with another passphrase")
        salt = ciphertext[at + _ID : at + _ID + _SALT]
        nonce = ciphertext[at + _ID + _SALT : _HEAD - _LENGTH]
        try:
            return ChaCha20Poly1305(self._key(salt)).decrypt(nonce, ciphertext[end:], ciphertext[:end])
        except InvalidTag:
            raise IntegrityError(f"secret {secret.name!r}: damaged") from None

    @hookimpl
    def vault_binding(self, ciphertext: bytes) -> bytes:
        """Return the binding, which needs no key and is not verified."""
        return _binding(ciphertext)

    @hookimpl
    def vault_own_recipients(self) -> tuple[str, ...]:
        """Return our key id."""
        return (f"demo:{self._key_id().hex()}",)

    @hookimpl
    def vault_patterns(self) -> tuple[Pattern, ...]:
        """Return what a token of this service looks like."""
        return (Pattern("Demo token", b"demo_token_", rb"(?<![0-9A-Za-z])demo_token_([0-9a-z]{24,64})"),)

    def close(self) -> None:
        """Forget the passphrase."""
        self._passphrase = b""

    def _key_id(self) -> bytes:
        return self._derived(_ID_SALT, _ID)

    def _key(self, salt: bytes) -> bytes:
        return self._derived(salt, 32)

    def _derived(self, salt: bytes, length: int) -> bytes:
        self._passphrase = self._passphrase or _read(self._file)
        return Scrypt(salt=salt, length=length, n=2**14, r=8, p=1).derive(self._passphrase)


def _read(path: object) -> bytes:
    if not isinstance(path, str):
        raise LockedError("plugin 'demo' has no passphrase", "set key_file in [plugins.demo]")
    try:
        with open(path, "rb") as file:
            passphrase = file.read(MAX_PASSPHRASE + 1).strip()
    except OSError:
        raise LockedError(
            "the file of plugin 'demo' cannot be read", "see key_file in [plugins.demo]"
        ) from None
    if not 0 < len(passphrase) <= MAX_PASSPHRASE:
        raise ConfigError("the file of plugin 'demo' holds no passphrase")
    return passphrase


def _binding(ciphertext: bytes) -> bytes:
    size = int.from_bytes(ciphertext[_HEAD - _LENGTH : _HEAD])
    if not ciphertext.startswith(MAGIC) or len(ciphertext) < _HEAD + size:
        raise IntegrityError("not a file of plugin 'demo'")
    return ciphertext[_HEAD : _HEAD + size]
