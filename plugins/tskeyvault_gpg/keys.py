"""Keys as gpg lists them: whose they are, whether they can be used, and which subkey is encrypted to."""

import re
import time
from collections.abc import Iterable
from typing import NamedTuple

FINGERPRINT = re.compile(r"[0-9A-F]{40}", re.ASCII)

_UNUSABLE = {"e": "has expired", "r": "is revoked", "d": "is disabled", "i": "is not valid"}
_RSA, _ELGAMAL, _DSA = {"1", "2", "3"}, {"16", "20"}, {"17"}
_WEAK_BITS = 2048
_ADDRESS = re.compile(r"(?:.*<)?([^<>\s@]+@[^<>\s@]+)>?", re.DOTALL)


class Subkey(NamedTuple):
    """A key that something can be encrypted to; it may be the primary key itself."""

    fingerprint: str
    created: int
    expires: int
    """Seconds since 1970, or 0."""
    validity: str
    """gpg's letter; e, r, d and i are no good."""

    @property
    def key_id(self) -> str:
        """The id that stands in a message."""
        return self.fingerprint[-16:]


class Key(NamedTuple):
    """A public key."""

    fingerprint: str
    """Of the primary key: 40 hexadecimal digits, upper case."""
    validity: str
    expires: int
    algorithm: str
    bits: int
    disabled: bool
    users: tuple[str, ...]
    """User ids that are not revoked, the primary one first; control characters replaced."""
    subkeys: tuple[Subkey, ...]
    """Those for encryption, the newest first."""

    @property
    def name(self) -> str:
        """Whose it is, by its first user id."""
        return self.users[0] if self.users else ""

    @property
    def usable(self) -> Subkey | None:
        """The subkey that is encrypted to: the newest that can be."""
        return (
            None
            if self._unusable
            else next((it for it in self.subkeys if it.validity not in _UNUSABLE), None)
        )

    @property
    def until(self) -> int:
        """The time until which something can be encrypted to it, in seconds since 1970; 0: without end."""
        subkey = self.usable or next(iter(self.subkeys), None)
        return min((it for it in (self.expires, subkey.expires if subkey else 0) if it), default=0)

    @property
    def problem(self) -> str:
        """Why nothing can be encrypted to it, or ``""``."""
        if self._unusable:
            return self._unusable + (
                f" on {day(self.expires)}" if self.validity == "e" and self.expires else ""
            )
        if self.usable:
            return ""
        if not self.subkeys:
            return "cannot be encrypted to"
        newest = self.subkeys[0]
        what = _UNUSABLE[newest.validity] + (f" on {day(newest.expires)}" if newest.validity == "e" else "")
        return f"cannot be encrypted to: its subkey {what}"

    @property
    def is_weak(self) -> bool:
        """Whether it, as a key of its kind, is shorter than what is safe today."""
        return self.algorithm in _RSA | _ELGAMAL | _DSA and self.bits < _WEAK_BITS

    @property
    def addresses(self) -> frozenset[str]:
        """Mail addresses in its user ids, in lower case."""
        return frozenset(filter(None, map(address, self.users)))

    @property
    def _unusable(self) -> str:
        return _UNUSABLE["d"] if self.disabled else _UNUSABLE.get(self.validity, "")


def address(text: str) -> str:
    """Return the mail address that *text*, ``a@b``, ``<a@b>`` or ``Name <a@b>``, is about, in lower case, or ``""``."""
    match = _ADDRESS.fullmatch(text)
    return match[1].lower() if match else ""


def day(seconds: int) -> str:
    """Return the day (UTC) of *seconds* since 1970; 0 is none."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds)) if seconds else ""


def parse(records: Iterable[list[str]]) -> tuple[Key, ...]:
    """Return the keys in *records*, a listing with colons of gpg (doc/DETAILS)."""
    blocks: list[list[list[str]]] = []
    for record in records:
        if record[0] in {"pub", "sec"}:
            blocks.append([record])
        elif blocks and record[0] in {"sub", "ssb", "fpr", "uid"}:
            blocks[-1].append(record)
    return tuple(map(_key, blocks))


def _key(block: list[list[str]]) -> Key:
    parts: list[tuple[list[str], str]] = []
    users = []
    for record in block:
        if record[0] == "fpr":
            parts[-1] = (parts[-1][0], parts[-1][1] or record[9])
        elif record[0] == "uid":
            # Those of a key that has expired or is revoked have the same letter as the key.
            users += [_unescaped(record[9])] if record[1] not in "ri" or record[1] == block[0][1] else []
        else:
            parts.append((record, ""))
    (first, fingerprint), *_ = parts
    subkeys = [
        Subkey(known, _number(record[5]), _number(record[6]), record[1])
        for record, known in parts
        if "e" in record[11]
    ]
    return Key(
        fingerprint,
        first[1],
        _number(first[6]),
        first[3],
        _number(first[2]),
        "D" in first[11],
        tuple(users),
        tuple(sorted(subkeys, key=lambda it: (-it.created, it.fingerprint == fingerprint))),
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _unescaped(text: str) -> str:
    """Return a user id as it is; what cannot be printed is replaced."""
    plain = re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), text)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in plain)
