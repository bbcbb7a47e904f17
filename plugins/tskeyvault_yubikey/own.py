"""The recipients of a user's identities, by the comments above them: a YubiKey need not be plugged in to encrypt for it."""

from collections.abc import Iterable

from tskeyvault.errors import UsageError, VaultError
from tskeyvault_age import bech32, identities, tag
from tskeyvault_yubikey import stub
from tskeyvault_yubikey.recipient import PREFIX

_COMMENT = "Recipient:"
_POINT_LENGTH = 65


def recipients(paths: Iterable[str]) -> tuple[str, ...]:
    """Return those in the identity files at *paths* that belong to the identity below them, each once."""
    found: list[str] = []
    for path in paths:
        said = ""
        for line in _lines(path):
            if line.startswith("#"):
                _, colon, text = line.partition(_COMMENT)
                said = text.strip() if colon else said
                continue
            if said and _belongs(said, line):
                found.append(said)
            said = ""
    return tuple(dict.fromkeys(found))


def _lines(path: str) -> list[str]:
    try:
        data = identities.read(path) or b""
    except VaultError:
        return []  # it was reported when it was tried
    return [line.strip() for line in data.decode(errors="replace").split("\n") if line.strip()]


def _belongs(recipient: str, identity: str) -> bool:
    """Tell whether *recipient* is the key that *identity* is for: by its tag."""
    try:
        prefix, data = bech32.decode(recipient)
        wanted = stub.parse(identity)
    except UsageError:
        return False
    point = data[-_POINT_LENGTH:] if prefix == "age1tagpq" else data
    return prefix in {PREFIX, "age1tag", "age1tagpq"} and tag.key_tag(point) == wanted.tag
