"""Bech32 (BIP173), the text form of recipients and identities."""

import functools
import operator
from collections.abc import Iterable

from tskeyvault.errors import UsageError

MAX_LENGTH = 8192
"""Characters that are looked at; the longest key of age has about 2000."""

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH = 6
_FEEDBACK = [
    functools.reduce(operator.xor, (_GENERATOR[place] for place in range(5) if top >> place & 1), 0)
    for top in range(32)
]
"""What the five bits that leave the checksum add to it."""


def encode(prefix: str, data: bytes) -> str:
    """Return *data* as Bech32 in the case of *prefix*, the human-readable part.

    *prefix* is printable ASCII in one case. Source: BIP173; C2SP age.md has no limit of length.
    """
    values, rest, bits = _regroup(data, 8, 5)
    if bits:
        values.append(rest << (5 - bits))
    lower = prefix.lower()
    checksum = _polymod([*_expand(lower), *values, *[0] * _CHECKSUM_LENGTH]) ^ 1
    values += [checksum >> 5 * place & 31 for place in reversed(range(_CHECKSUM_LENGTH))]
    text = f"{lower}1" + "".join(_ALPHABET[value] for value in values)
    return text if prefix == lower else text.upper()


def decode(text: str) -> tuple[str, bytes]:
    """Return the human-readable part of *text*, in the case it was written in, and the data.

    Raises UsageError, whose message holds nothing of *text*. Source: BIP173.
    """
    if len(text) > MAX_LENGTH:
        raise UsageError("the key is too long")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise UsageError("the key holds a character that is not allowed")
    if text not in (text.lower(), text.upper()):
        raise UsageError("the key mixes upper and lower case")
    prefix, _, data = text.rpartition("1")
    values = [_ALPHABET.find(character) for character in data.lower()]
    if not prefix or len(values) < _CHECKSUM_LENGTH or -1 in values:
        raise UsageError("the key is not Bech32")
    if _polymod([*_expand(prefix.lower()), *values]) != 1:
        raise UsageError("the checksum of the key is wrong: a typing error")
    octets, rest, bits = _regroup(values[:-_CHECKSUM_LENGTH], 5, 8)
    if rest or bits >= 5:  # noqa: PLR2004 - a whole superfluous character
        raise UsageError("the padding of the key is wrong")
    return prefix, bytes(octets)


def _regroup(values: Iterable[int], width: int, new_width: int) -> tuple[list[int], int, int]:
    """Cut *values* of *width* bits into *new_width* bits; return them, the rest, and its bits."""
    groups, rest, bits = [], 0, 0
    for value in values:
        rest, bits = rest << width | value, bits + width
        while bits >= new_width:
            bits -= new_width
            groups.append(rest >> bits)
            rest &= (1 << bits) - 1
    return groups, rest, bits


def _expand(prefix: str) -> list[int]:
    codes = prefix.encode("ascii")
    return [*(code >> 5 for code in codes), 0, *(code & 31 for code in codes)]


def _polymod(values: Iterable[int]) -> int:
    checksum = 1
    for value in values:
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value ^ _FEEDBACK[checksum >> 25]
    return checksum
