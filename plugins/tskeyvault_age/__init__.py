"""The age plugin: secrets as age v1 files, readable by every age program."""

import time
from collections.abc import Sequence
from typing import cast

from tskeyvault.errors import IntegrityError, LockedError, UsageError
from tskeyvault.spec import Options, Secret, hookimpl
from tskeyvault_age import file, identities
from tskeyvault_age.x25519 import X25519Identity, X25519Recipient

_SHOWN = 20


class Plugin:
    """The hooks for age. Identities are read at the first need and kept until :meth:`close`."""

    def __init__(self, options: Options):
        self._paths = cast("tuple[str, ...]", options.get("identities", ()))
        self._identities: list[X25519Identity] = []

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Return *plaintext* as an age file; a recipient that is named twice gets one stanza."""
        if not recipients:
            raise UsageError("no recipients: nobody could read the secret")
        parsed = {text: _recipient(text, position) for position, text in enumerate(recipients, 1)}
        return file.encrypt(plaintext, parsed.values(), binding)

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Return the plaintext of *ciphertext* by the first identity that opens it."""
        own = self._own()
        try:
            return file.decrypt(ciphertext, own)
        except (IntegrityError, LockedError) as error:
            raise type(error)(f"secret {secret.name!r}: {error.message}", error.hint) from None

    @hookimpl
    def vault_binding(self, ciphertext: bytes) -> bytes:
        """Return the unverified binding in *ciphertext*."""
        return file.read_binding(ciphertext)

    @hookimpl
    def vault_keygen(self) -> bytes:
        """Return a new identity file in the form of age-keygen."""
        identity = X25519Identity.generate()
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = f"# created: {created}\n# public key: {identity.recipient}\n{identity.export()}\n"
        return text.encode("ascii")

    @hookimpl
    def vault_own_recipients(self) -> Sequence[str]:
        """Return the recipients of all identities at hand, each once."""
        return tuple(dict.fromkeys(str(identity.recipient) for identity in self._own()))

    def close(self) -> None:
        """Forget the identities."""
        self._identities = []

    def _own(self) -> list[X25519Identity]:
        if not self._identities:
            self._identities = identities.load(self._paths)
        return self._identities


def _recipient(text: str, position: int) -> X25519Recipient:
    """Return the recipient *text*; raise UsageError, which never shows what may be a secret."""
    if text.strip().upper().startswith("AGE-"):
        raise UsageError(f"recipient {position} is an identity (a private key), not a recipient")
    try:
        return X25519Recipient.parse(text)
    except UsageError as error:
        raise UsageError(f"recipient {position}{_excerpt(text)}: {error.message}") from None


def _excerpt(text: str) -> str:
    # Whatever does not even start like a recipient may be anything, so a secret too.
    if not text.startswith(("age1", "ssh-")):
        return ""
    shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:_SHOWN])
    return f" ({shown}...)" if len(text) > _SHOWN else f" ({shown})"
