"""Whom the lines of a ``.gpg-id`` mean: fingerprints, long ids, addresses, user ids and the user's groups."""

import re
from collections.abc import Callable, Mapping, Sequence

from tskeyvault.names import shown
from tskeyvault.values import Reader
from tskeyvault_gpg import keys
from tskeyvault_gpg.keyring import SUFFIX
from tskeyvault_gpg.keys import Key

Groups = Callable[[], Mapping[str, Sequence[str]]]
"""Gives the groups of the user's gpg.conf, by name."""

_HEXADECIMAL = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{16}|[0-9A-Fa-f]{40})", re.ASCII)


def resolve(
    line: str, known: Mapping[str, Key], groups: Groups, where: str = "in the vault"
) -> tuple[Reader, ...]:
    """Return whom *line* means among the keys *known*, by fingerprint; one with a problem, where it means nobody."""
    text = line.partition("#")[0].strip()  # as pass reads it
    if not text:
        return (Reader(_printable(line), problem="names nobody"),)
    if _HEXADECIMAL.fullmatch(text.replace(" ", "")) or keys.address(text):
        return (_reader(text, known, where),)
    members = groups().get(text)
    if members is None:
        what = "is neither a full fingerprint, a long key id, an address nor a group of your gpg.conf"
        return (Reader(_printable(text), problem=what),)
    return tuple(_reader(member, known, where) for member in members) or (
        Reader(_printable(text), problem="is a group of nobody"),
    )


def matching(text: str, known: Mapping[str, Key]) -> list[Key]:
    """Return the keys that *text*, a fingerprint, long id, address or user id, is said of."""
    if match := _HEXADECIMAL.fullmatch(text.replace(" ", "")):
        wanted = match[1].upper()
        return [key for key in known.values() if wanted in _ids(key)]
    if "<" in text and not text.startswith("<"):
        return [key for key in known.values() if text in key.users]
    address = keys.address(text)
    return [key for key in known.values() if address and address in key.addresses]


def is_hexadecimal(text: str) -> bool:
    """Tell whether *text* is a fingerprint or a long key id."""
    return _HEXADECIMAL.fullmatch(text.replace(" ", "")) is not None


def reader_of(key: Key) -> Reader:
    """Return *key* as somebody who reads."""
    return Reader(key.fingerprint, key.name, keys.day(key.until), f"{key.fingerprint}{SUFFIX}", key.problem)


def _reader(text: str, known: Mapping[str, Key], where: str) -> Reader:
    found = matching(text, known)
    if len(found) == 1:
        return reader_of(found[0])
    plain = text.replace(" ", "").removeprefix("0x").upper()
    name = plain if keys.FINGERPRINT.fullmatch(plain) else _printable(text)
    if found:
        several = " and ".join(key.fingerprint for key in found[:3])
        return Reader(name, problem=f"is ambiguous: {several}")
    return Reader(name, problem=f"has no valid public key {where}")


def _ids(key: Key) -> set[str]:
    whole = {key.fingerprint, *(subkey.fingerprint for subkey in key.subkeys)}
    return {key.fingerprint, *(fingerprint[-16:] for fingerprint in whole)}


def _printable(text: str) -> str:
    return text if text.isprintable() else shown(text)
