"""A whole age file: header, binding and payload together."""

import os
from collections.abc import Iterable, Sequence
from typing import Protocol

from tskeyvault.errors import LockedError, UsageError
from tskeyvault_age import binding as binding_stanza
from tskeyvault_age import header, stream
from tskeyvault_age.faults import damaged
from tskeyvault_age.header import MAX_HEADER, MAX_STANZAS, Stanza
from tskeyvault_age.keys import FILE_KEY_LENGTH


class Recipient(Protocol):
    """Someone to whom a file can be encrypted."""

    def wrap(self, file_key: bytes) -> Stanza:
        """Return a new stanza from which only the identity recovers *file_key* (16 bytes)."""


class Identity(Protocol):
    """Someone who may be able to open a file."""

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the file key (16 bytes) from *stanzas*, None when none is for this identity.

        Raises IntegrityError when a stanza of its own type is malformed.
        """


def encrypt(plaintext: bytes, recipients: Iterable[Recipient], binding: bytes) -> bytes:
    """Return an age file of *plaintext* for *recipients*, in that order, that carries *binding*.

    An empty *binding* is not stored. Raises UsageError when the header would be too large to be
    read again (1 MiB, 1024 stanzas).
    """
    file_key = os.urandom(FILE_KEY_LENGTH)
    stanzas = [recipient.wrap(file_key) for recipient in recipients]
    if binding:
        stanzas.append(binding_stanza.wrap(binding))
    head = header.serialise(stanzas, file_key)
    if len(stanzas) > MAX_STANZAS or len(head) > MAX_HEADER:
        raise UsageError("too many recipients for one file")
    nonce = os.urandom(stream.NONCE_LENGTH)
    return head + nonce + stream.seal(stream.payload_key(file_key, nonce), plaintext)


def decrypt(ciphertext: bytes, identities: Iterable[Identity]) -> bytes:
    """Return the plaintext of *ciphertext*, an age file, whole and authenticated.

    Raises LockedError when none of *identities* opens it, IntegrityError when it is damaged.
    """
    head = header.parse(ciphertext)
    binding_stanza.find(head.stanzas)
    file_key = _unwrap(head.stanzas, identities)
    header.verify(head, file_key)
    payload_start = head.payload_start + stream.NONCE_LENGTH
    nonce = ciphertext[head.payload_start : payload_start]
    if len(nonce) < stream.NONCE_LENGTH:
        raise damaged("payload", "cut short")
    return stream.open_(stream.payload_key(file_key, nonce), ciphertext[payload_start:])


def read_binding(ciphertext: bytes) -> bytes:
    """Return the binding in *ciphertext*, ``b""`` when there is none; it is not verified.

    Raises IntegrityError when the header is malformed.
    """
    return binding_stanza.find(header.parse(ciphertext).stanzas)


def _unwrap(stanzas: Sequence[Stanza], identities: Iterable[Identity]) -> bytes:
    for identity in identities:
        if (file_key := identity.unwrap(stanzas)) is not None:
            return file_key
    raise LockedError(
        "no identity opens it",
        "a reader of the vault must add your recipient: vault recipients add",
    )
