"""What of OpenPGP (RFC 4880) can be read without gpg: to whom a message is encrypted, and which key a file holds.

Nothing here verifies anything. It decides what gpg gets to see at all: one encrypted message and
nothing beside it, or one public key. gpg itself would take a message that nobody encrypted.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from tskeyvault.errors import IntegrityError

HIDDEN = "0" * 16
"""The key id of a recipient that does not want to be known."""

_SESSION_KEY, _ENCRYPTED, _AEAD = 1, 18, 20
_PUBLIC, _PUBLIC_SUBKEY, _USER, _IMAGE, _SIGNATURE = 6, 14, 13, 17, 2
_OLD_PGP, _NEW_FORMAT = 0x80, 0x40
_ONE_OCTET, _TWO_OCTETS, _FIVE_OCTETS = 192, 224, 255
_MAX_PACKETS = 10_000
_ARMOR = re.compile(
    rb"-----BEGIN PGP ([A-Z ,]+)-----[ \t]*\r?\n(?:[!-~]+: [^\r\n]*\r?\n)*\r?\n"
    rb"([A-Za-z0-9+/=\r\n]*?)(?:=[A-Za-z0-9+/]{4}\r?\n)?-----END PGP \1-----\s*",
)


class _Packet(NamedTuple):
    tag: int
    body: bytes


def key_ids(message: bytes) -> tuple[str, ...]:
    """Return the ids (16 hexadecimal digits) of the keys that *message* is encrypted to, in its order.

    They are those of subkeys; HIDDEN stands for one that is not told. Raises IntegrityError for
    anything but one message that is encrypted to public keys and protected against changes.
    """
    packets = list(_packets(_binary(message, b"MESSAGE")))
    *keys, last = packets or [_Packet(0, b"")]
    sound = all(packet.tag == _SESSION_KEY and packet.body[:1] == b"\x03" for packet in keys)
    if not keys or not sound or not _is_protected(last) or any(len(key.body) <= 10 for key in keys):  # noqa: PLR2004 - version, id, algorithm
        raise IntegrityError("not a message that is encrypted to public keys, or a damaged one")
    return tuple(key.body[1:9].hex().upper() for key in keys)


def one_key(data: bytes) -> tuple[str, bytes]:
    """Return the fingerprint (40 hexadecimal digits) of the one public key in *data*, and it in binary.

    Raises IntegrityError for several keys, a private one, or anything else.
    """
    binary = _binary(data, b"PUBLIC KEY BLOCK")
    packets = list(_packets(binary))
    tags = [packet.tag for packet in packets]
    if tags.count(_PUBLIC) > 1:
        raise IntegrityError("holds several keys")
    if not tags or tags[0] != _PUBLIC or set(tags) - {_PUBLIC, _PUBLIC_SUBKEY, _USER, _IMAGE, _SIGNATURE}:
        raise IntegrityError("is not a public key")
    body = packets[0].body
    if body[:1] != b"\x04" or len(body) >= 1 << 16:
        raise IntegrityError("is not a key of version 4")
    # RFC 4880 12.2
    digest = hashlib.sha1(b"\x99" + len(body).to_bytes(2) + body, usedforsecurity=False)
    return digest.hexdigest().upper(), binary


def _is_protected(packet: _Packet) -> bool:
    return packet.body[:1] == b"\x01" and packet.tag in {_ENCRYPTED, _AEAD}


def _binary(data: bytes, kind: bytes) -> bytes:
    """Return *data* without its armor, where it has one: of *kind*, with nothing around it."""
    if data[:1] != b"-":
        return data
    match = _ARMOR.fullmatch(data)
    if match and match[1] == b"PRIVATE KEY BLOCK":
        raise IntegrityError("holds a private key", "whoever else has seen it has the key: make a new one")
    if match and match[1] == kind:
        try:
            return base64.b64decode(match[2].translate(None, b"\r\n"), validate=True)
        except binascii.Error:
            pass
    raise IntegrityError("its armor is damaged, or there is something beside it")


def _packets(data: bytes) -> Iterator[_Packet]:
    at = 0
    for _ in range(_MAX_PACKETS):
        if at == len(data):
            return
        tag, body, at = _packet(data, at)
        yield _Packet(tag, body)
    raise IntegrityError("too many packets")


def _packet(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Return tag and body of the packet at *at*, and where the next one begins (RFC 4880 4.2)."""
    first = data[at]
    if not first & _OLD_PGP:
        raise IntegrityError("not in the form of OpenPGP")
    if first & _NEW_FORMAT:
        body, at = _new_body(data, at + 1)
        return first & 0x3F, body, at
    kind = first & 3
    if kind == 3:  # noqa: PLR2004 - of indeterminate length: to the end, which may have been cut
        raise IntegrityError("a packet of indeterminate length")
    size = 1 << kind
    body, at = _taken(data, at + 1 + size, int.from_bytes(_taken(data, at + 1, size)[0]))
    return first >> 2 & 0xF, body, at


def _new_body(data: bytes, at: int) -> tuple[bytes, int]:
    pieces = []
    while True:
        first = _taken(data, at, 1)[0][0]
        if first < _ONE_OCTET:
            length, at, more = first, at + 1, False
        elif first < _TWO_OCTETS:
            length = (first - _ONE_OCTET << 8) + _taken(data, at + 1, 1)[0][0] + _ONE_OCTET
            at, more = at + 2, False
        elif first == _FIVE_OCTETS:
            length, at, more = int.from_bytes(_taken(data, at + 1, 4)[0]), at + 5, False
        else:
            length, at, more = 1 << (first & 0x1F), at + 1, True
        body, at = _taken(data, at, length)
        pieces.append(body)
        if not more:
            return b"".join(pieces), at


def _taken(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(data):
        raise IntegrityError("it ends too early")
    return data[at : at + size], at + size
