"""Identities: which YubiKey, which of its slots, and which key is to be in there. Nothing in them is secret."""

from typing import NamedTuple

from tskeyvault.errors import UsageError
from tskeyvault_age import bech32

SLOTS = range(0x82, 0x96)
"""The retired slots 1 to 20 (NIST SP 800-73-4, part 1, table 3), the only ones that age's keys are in."""

_PREFIX = "AGE-PLUGIN-YUBIKEY-"
_LENGTH = 9


class Stub(NamedTuple):
    """What an identity says. ``str()`` gives its text, ``AGE-PLUGIN-YUBIKEY-1...``."""

    serial: int
    """Of the YubiKey, as it stands on it."""
    slot: int
    """One of SLOTS."""
    tag: bytes
    """4 bytes of the SHA-256 of the public key: compressed, or uncompressed for a post-quantum one."""

    def __str__(self) -> str:
        data = self.serial.to_bytes(4, "little") + bytes([self.slot]) + self.tag
        return bech32.encode(_PREFIX, data)


def parse(text: str) -> Stub:
    """Return the identity that *text* stands for; raise UsageError, whose message holds nothing of it.

    Bytes behind the ninth are ignored, as by age-plugin-yubikey (src/key.rs, Stub::from_bytes).
    """
    prefix, data = bech32.decode(text)
    if prefix.upper() != _PREFIX or len(data) < _LENGTH or data[4] not in SLOTS:
        raise UsageError("the identity is none of a YubiKey")
    return Stub(int.from_bytes(data[:4], "little"), data[4], data[5:_LENGTH])


def number(slot: int) -> int:
    """Return the number, from 1, by which users know *slot*."""
    return slot - SLOTS.start + 1
