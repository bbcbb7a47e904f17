"""A whole age file: header, binding and payload together, binary or (when read) armored."""

import io
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from tskeyvault.errors import LockedError, UsageError
from tskeyvault.values import Stanza
from tskeyvault_age import binding as binding_stanza
from tskeyvault_age import header, stream
from tskeyvault_age.faults import damaged
from tskeyvault_age.header import MAX_HEADER, MAX_STANZAS, Header
from tskeyvault_age.keys import FILE_KEY_LENGTH
from tskeyvault_age.relay import Reader, Writer, fill, write_all
from tskeyvault_age.stream import Prefixed

_ARMOR = b"-----BEGIN"
_PEEKED = 1024 + len(_ARMOR)  # armor may be preceded by so much white space
_SHOWN = 20


class Recipient(Protocol):
    """Someone to whom a file can be encrypted. ``str()`` gives the text that stands for it."""

    @property
    def labels(self) -> frozenset[str]:
        """What all recipients of a file must have in common; known when :meth:`wrap` has returned."""

    def wrap(self, file_key: bytes) -> Sequence[Stanza]:
        """Return new stanzas from which only the identity recovers *file_key* (16 bytes)."""


class Identity(Protocol):
    """Someone who may be able to open a file."""

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the file key (16 bytes) from *stanzas*, None when none is for this identity.

        Raises IntegrityError when a stanza of its own type is malformed, LockedError when the user
        would have to unlock the identity and did not.
        """


class OwnIdentity(Identity, Protocol):
    """An identity that knows whom to encrypt to for it."""

    @property
    def recipient(self) -> Recipient:
        """The public half."""


def encrypt(plaintext: bytes, recipients: Iterable[Recipient], binding: bytes) -> bytes:
    """Return an age file of *plaintext*, as :func:`encrypt_stream` writes it."""
    target = io.BytesIO()
    encrypt_stream(io.BytesIO(plaintext), target, recipients, binding)
    return target.getvalue()


def encrypt_stream(reader: Reader, writer: Writer, recipients: Iterable[Recipient], binding: bytes) -> None:
    """Write an age file of what *reader* holds for *recipients*, in that order, that carries *binding*.

    An empty *binding* is not stored. Takes constant memory. Raises UsageError when the recipients
    cannot be mixed, or the header would be too large to be read again (1 MiB, 1024 stanzas).
    """
    file_key = os.urandom(FILE_KEY_LENGTH)
    stanzas = _wrapped(file_key, recipients)
    if binding:
        stanzas.append(binding_stanza.wrap(binding))
    head = header.serialise(stanzas, file_key)
    if len(stanzas) > MAX_STANZAS or len(head) > MAX_HEADER:
        raise UsageError("too many recipients for one file")
    nonce = os.urandom(stream.NONCE_LENGTH)
    write_all(writer, memoryview(head + nonce))
    stream.encrypt_stream(stream.payload_key(file_key, nonce), reader, writer)


def decrypt(ciphertext: bytes, identities: Iterable[Identity]) -> bytes:
    """Return the plaintext of *ciphertext*, an age file, whole and authenticated.

    Raises LockedError when none of *identities* opens it, IntegrityError when it is damaged.
    """
    return decrypt_by(ciphertext, lambda head: unwrap(head.stanzas, identities))


def decrypt_by(ciphertext: bytes, file_key: Callable[[Header], bytes]) -> bytes:
    """Return the plaintext of *ciphertext*, an age file, by what *file_key* returns for its header."""
    target = io.BytesIO()
    _decrypt(io.BytesIO(ciphertext), target, file_key)
    return target.getvalue()


def decrypt_stream(reader: Reader, writer: Writer, identities: Iterable[Identity]) -> None:
    """Write the plaintext of the age file that *reader* holds to *writer*, each chunk once it is verified.

    Only when this returns is the plaintext whole: the caller writes beside and renames, and throws
    away what was written when this raises. Takes constant memory. Raises LockedError when none of
    *identities* opens the file, IntegrityError when it is damaged.
    """
    _decrypt(reader, writer, lambda head: unwrap(head.stanzas, identities))


def read_header(ciphertext: bytes) -> Header:
    """Return the header of *ciphertext*, an age file, not verified; raise IntegrityError."""
    return _checked(_binary(io.BytesIO(ciphertext)))[0]


def read_binding(ciphertext: bytes) -> bytes:
    """Return the binding in *ciphertext*, ``b""`` when there is none; it is not verified.

    Raises IntegrityError when the header is malformed.
    """
    return binding_stanza.find(read_header(ciphertext).stanzas)


def unwrap(stanzas: Sequence[Stanza], identities: Iterable[Identity]) -> bytes:
    """Return the file key by the first of *identities* that opens it; raise LockedError when none does."""
    for identity in identities:
        if (file_key := identity.unwrap(stanzas)) is not None:
            return file_key
    raise locked()


def locked() -> LockedError:
    """Return the error that no identity opens a file."""
    return LockedError(
        "no identity opens it",
        "a reader of the vault must add your recipient: vault recipients add",
    )


def _decrypt(reader: Reader, writer: Writer, file_key: Callable[[Header], bytes]) -> None:
    source = _binary(reader)
    head, rest = _checked(source)
    key = file_key(head)
    header.verify(head, key)
    source = Prefixed(rest, source)
    nonce = bytearray(stream.NONCE_LENGTH)
    if fill(source, memoryview(nonce)) < len(nonce):
        raise damaged("payload", "cut short")
    stream.decrypt_stream(stream.payload_key(key, bytes(nonce)), source, writer)


def _binary(reader: Reader) -> Reader:
    """Return *reader* without its armor, if it has any."""
    start = bytearray(_PEEKED)
    del start[fill(reader, memoryview(start)) :]
    source = Prefixed(bytes(start), reader)
    if not start.lstrip().startswith(_ARMOR):
        return source
    from tskeyvault_age.armor import ArmorReader

    return ArmorReader(source)


def _checked(source: Reader) -> tuple[Header, bytes]:
    """Return the header of *source* and what was read beyond it.

    Raises IntegrityError, also for what the types of stanzas demand of the whole header.
    """
    head, rest = header.read(source)
    binding_stanza.find(head.stanzas)
    if len(head.stanzas) > 1 and any(stanza.args[0] == "scrypt" for stanza in head.stanzas):
        raise damaged("header", "a passphrase stanza is not alone")
    return head, rest


def _wrapped(file_key: bytes, recipients: Iterable[Recipient]) -> list[Stanza]:
    """Return the stanzas for *recipients*; raise UsageError when their labels differ."""
    stanzas: list[Stanza] = []
    first: Recipient | None = None
    for recipient in recipients:
        stanzas += recipient.wrap(file_key)
        first = first or recipient
        if recipient.labels != first.labels:
            raise UsageError(
                f"recipients cannot be mixed in one file: {_brief(first)} and {_brief(recipient)}",
                "post-quantum all (age1pq1, age1tagpq1) or none: to go over, write all of the new ones into the"
                " recipients file, then vault recipients ack and vault rekey",
            )
    return stanzas


def _brief(recipient: Recipient) -> str:
    text = str(recipient)
    short = f"{text[:_SHOWN]}..." if len(text) > _SHOWN else text
    kinds = {frozenset[str](): "classic", frozenset({"postquantum"}): "post-quantum"}
    return f"{short} ({kinds.get(recipient.labels, 'of a kind of its own')})"
