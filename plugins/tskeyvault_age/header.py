"""The text header of an age file: stanzas, their strict encoding, and the MAC over them."""

import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tskeyvault.values import Stanza
from tskeyvault_age.faults import damaged
from tskeyvault_age.keys import hkdf
from tskeyvault_age.relay import Reader

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hmac import HMAC

MAX_HEADER = 1 << 20
"""Bytes of a header that are looked at."""
MAX_STANZAS = 1024
"""Stanzas in one header: each may cost every identity one key exchange."""

_VERSION = b"age-encryption.org/v1"
_COLUMNS = 64
_MAC_LENGTH = 32
_BLOCK = 64 * 1024
_VCHAR = bytes(range(0x21, 0x7F))


class Header(NamedTuple):
    """A parsed header."""

    stanzas: tuple[Stanza, ...]
    authenticated: bytes
    """The received bytes that the MAC covers: all up to and including ``---``."""
    mac: bytes
    """32 bytes, not yet verified."""
    payload_start: int
    """Offset of the first byte after the header."""


def parse(data: bytes) -> Header:
    """Return the header at the start of *data*, an age file.

    Takes linear time. Only canonical headers pass: serialising the stanzas again gives the same
    bytes. Raises IntegrityError. Source: C2SP age.md, section "Header".
    """
    line, start = _line(data, 0)
    if line != _VERSION:
        raise damaged("header", "this is not an age v1 file")
    stanzas: list[Stanza] = []
    line, after = _line(data, start)
    while line.startswith(b"-> "):
        if len(stanzas) == MAX_STANZAS:
            raise damaged("header", f"more than {MAX_STANZAS} stanzas")
        body, start = _body(data, after)
        stanzas.append(Stanza(_arguments(line), body))
        line, after = _line(data, start)
    if not stanzas or not line.startswith(b"--- "):
        raise damaged("header", "a line is neither a stanza nor the end")
    mac = b64decode(line[4:])
    if len(mac) != _MAC_LENGTH:
        raise damaged("header", "the MAC has a wrong length")
    return Header(tuple(stanzas), data[: start + len(b"---")], mac, after)


def serialise(stanzas: Sequence[Stanza], file_key: bytes) -> bytes:
    """Return the whole header with its MAC, ready to be followed by the payload."""
    lines = [_VERSION]
    for stanza in stanzas:
        text = b64encode(stanza.body)
        lines.append(b"-> " + " ".join(stanza.args).encode("ascii"))
        # A text of whole lines is followed by an empty one: a short line ends the body.
        lines += [text[at : at + _COLUMNS] for at in range(0, len(text) + 1, _COLUMNS)]
    authenticated = b"\n".join(lines) + b"\n---"
    return authenticated + b" " + b64encode(_mac(file_key, authenticated).finalize()) + b"\n"


def verify(header: Header, file_key: bytes) -> None:
    """Raise IntegrityError unless *header* was made by someone who knew *file_key* (16 bytes)."""
    from cryptography.exceptions import InvalidSignature

    try:
        _mac(file_key, header.authenticated).verify(header.mac)
    except InvalidSignature:
        raise damaged("MAC", "the header was changed") from None


def read(reader: Reader) -> tuple[Header, bytes]:
    """Return the header at the start of *reader* and the bytes after it that were read with it.

    At most 1 MiB and one block is read. Raises IntegrityError.
    """
    block = memoryview(bytearray(_BLOCK))
    data, searched = bytearray(), 0
    while len(data) <= MAX_HEADER and (count := reader.readinto(block)):
        data += block[:count]
        # No line but the last begins so; it counts once its own end is there.
        last = data.find(b"\n---", searched)
        if last >= 0 and data.find(b"\n", last + 1) >= 0:
            break
        searched = last if last >= 0 else max(0, len(data) - len(b"\n--"))
    head = parse(bytes(data))
    return head, bytes(data[head.payload_start :])


def b64encode(data: bytes) -> bytes:
    """Return *data* in base64 without padding (RFC 4648, section 4)."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=")


def b64decode(text: bytes) -> bytes:
    """Return what *text*, canonical base64 without padding, encodes; raise IntegrityError."""
    try:
        data = binascii.a2b_base64(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        data = b""
    # The decoder skips foreign characters and ignores unused bits: only the same text again will do.
    if b64encode(data) != text:
        raise damaged("header", "not canonical base64")
    return data


def _mac(file_key: bytes, authenticated: bytes) -> "HMAC":
    # The module hmac would load OpenSSL a second time, which takes 4 ms.
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.hmac import HMAC

    mac = HMAC(hkdf(file_key, b"", b"header"), SHA256())
    mac.update(authenticated)
    return mac


def _line(data: bytes, start: int) -> tuple[bytes, int]:
    """Return the line that begins at *start*, without its end, and where the next one begins."""
    end = data.find(b"\n", start, MAX_HEADER)
    if end < 0:
        raise damaged("header", "too long" if len(data) >= MAX_HEADER else "cut short")
    return data[start:end], end + 1


def _arguments(line: bytes) -> tuple[str, ...]:
    arguments = line[len(b"-> ") :].split(b" ")
    if not all(arguments) or b"".join(arguments).translate(None, _VCHAR):
        raise damaged("header", "a stanza has a malformed argument")
    return tuple(argument.decode("ascii") for argument in arguments)


def _body(data: bytes, start: int) -> tuple[bytes, int]:
    lines = []
    while True:
        line, start = _line(data, start)
        lines.append(line)
        if len(line) < _COLUMNS:
            return b64decode(b"".join(lines)), start
        if len(line) > _COLUMNS:
            raise damaged("header", "a line is too long")
