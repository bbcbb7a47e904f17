"""The SSH wire encoding of public keys: reading them strictly, and what age makes of Ed25519 points."""

import binascii
import hashlib
from typing import NamedTuple

from tskeyvault.errors import UsageError

ED25519 = "ssh-ed25519"
RSA = "ssh-rsa"
MIN_BITS, MAX_BITS = 2048, 16384
"""Size of an RSA modulus; below it is weak, above every use takes too long."""

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_POINT_LENGTH = 32
_LENGTH_BYTES = 4
_MAX_EXPONENT_BITS = 24  # what OpenSSH and Go take


class PublicKey(NamedTuple):
    """An SSH public key that age can encrypt to."""

    kind: str
    """``ssh-ed25519`` or ``ssh-rsa``."""
    wire: bytes
    """The whole key in the encoding of RFC 4253, section 6.6."""
    point: bytes
    """The Ed25519 public key (32 bytes), or empty."""
    exponent: int
    modulus: int
    """The RSA public key, or 0."""

    @property
    def tag(self) -> bytes:
        """4 bytes by which an identity finds its stanzas. Source: age, agessh."""
        return hashlib.sha256(self.wire).digest()[:_LENGTH_BYTES]

    def __str__(self) -> str:
        return f"{self.kind} {binascii.b2a_base64(self.wire, newline=False).decode('ascii')}"


def parse_line(text: str) -> PublicKey:
    """Return the key in *text*, a line of authorized_keys without options; the comment is dropped.

    Raises UsageError.
    """
    kind, _, rest = text.partition(" ")
    encoded = rest.strip(" \t").partition(" ")[0].partition("\t")[0]
    _check_kind(kind)
    try:
        wire = binascii.a2b_base64(encoded.encode("ascii"))
    except (binascii.Error, UnicodeEncodeError):
        wire = b""
    if not wire or binascii.b2a_base64(wire, newline=False).decode("ascii") != encoded:
        raise UsageError("the SSH key is not canonical base64")
    key = parse(wire)
    if key.kind != kind:
        raise UsageError("the SSH key is of another kind than the line says")
    return key


def parse(wire: bytes) -> PublicKey:
    """Return the key that *wire* (RFC 4253, section 6.6; RFC 8709) encodes; raise UsageError."""
    fields = _strings(wire)
    kind = fields[0].decode("ascii", "replace")
    _check_kind(kind)
    if kind == ED25519 and len(fields) == 2:  # noqa: PLR2004 - the kind and the point
        to_montgomery(fields[1])
        return PublicKey(kind, wire, fields[1], 0, 0)
    if kind == RSA and len(fields) == 3:  # noqa: PLR2004 - the kind and two numbers
        return PublicKey(kind, wire, b"", *_rsa(fields[1], fields[2]))
    raise UsageError("the SSH key is malformed")


def encode(*fields: bytes | int) -> bytes:
    """Return *fields*, strings and positive numbers, in the encoding of RFC 4251, section 5."""
    parts = []
    for field in fields:
        if isinstance(field, int):
            field = field.to_bytes(field.bit_length() // 8 + 1, "big")  # noqa: PLW2901 - the same in bytes
        parts.append(len(field).to_bytes(_LENGTH_BYTES, "big") + field)
    return b"".join(parts)


def take_string(data: bytes) -> tuple[bytes, bytes]:
    """Return the string at the start of *data* (RFC 4251, section 5) and the rest; raise UsageError."""
    end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")
    if len(data) < max(_LENGTH_BYTES, end):
        raise UsageError("the SSH key is cut short")
    return data[_LENGTH_BYTES:end], data[end:]


def to_montgomery(point: bytes) -> bytes:
    """Return the X25519 public key (32 bytes) of the Ed25519 public key *point* (32 bytes).

    Raises UsageError when *point* is not on the curve. Source: RFC 7748, section 4.1.
    """
    y = int.from_bytes(point, "little") & ((1 << 255) - 1)
    if len(point) != _POINT_LENGTH or y >= _P or y == 1 or not _is_on_curve(y):
        raise UsageError("the SSH key is not a point of Ed25519")
    return ((1 + y) * pow(1 - y, -1, _P) % _P).to_bytes(_POINT_LENGTH, "little")


def _is_on_curve(y: int) -> bool:
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    return square == 0 or pow(square, (_P - 1) // 2, _P) == 1


def _rsa(exponent: bytes, modulus: bytes) -> tuple[int, int]:
    e, n = int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")
    if encode(e, n) != encode(exponent, modulus):
        raise UsageError("the SSH key has a number that is not canonical")
    if not MIN_BITS <= n.bit_length() <= MAX_BITS:
        raise UsageError(f"the RSA key has not {MIN_BITS} to {MAX_BITS} bits")
    if not (e % 2 and n % 2 and e > 1 and e.bit_length() <= _MAX_EXPONENT_BITS):
        raise UsageError("the RSA key has numbers that are not allowed")
    return e, n


def _check_kind(kind: str) -> None:
    if kind in (ED25519, RSA):
        return
    if kind.startswith(("sk-", "ecdsa-", "ssh-dss")):
        raise UsageError("SSH keys in hardware (sk-), ECDSA and DSA keys cannot encrypt; use ssh-ed25519")
    raise UsageError("the SSH key is of an unknown kind")


def _strings(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    while data or not found:
        field, data = take_string(data)
        found.append(field)
    return found
