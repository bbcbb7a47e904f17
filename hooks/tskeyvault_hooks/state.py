"""What the hooks keep in git's own directory: the vault's values as fingerprints, patterns, and what was scanned."""

import os

from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.finder import Finder
from tskeyvault_hooks.kinds import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

OWN, KEY, PATTERNS, SALT, SLOW = "own", "own.key", "patterns", "salt", "slow"
"""Files of the directory: fingerprints and their key, patterns of plugins, the salt of the allow-list's
fingerprints until there is a list, and a file that says that short words of a message matter too."""
_MARK = "vault-scanned"
"""Beside the index: the last bytes of the index that was scanned, which are git's checksum of it, and the
number of the git process that this was for: to another, with another HEAD, the same index may bring a key."""
MARK_LENGTH = 20
_MOST = 64 << 20


def finder(directory: str) -> Finder:
    """Return what looks for all that is known in *directory*, or without one for what everybody knows.

    Raises ScanError for a damaged file.
    """
    if not directory:
        return Finder()
    own = None
    if data := _read(directory, OWN):
        from tskeyvault_hooks.own import KEY_LENGTH, Own

        key = _read(directory, KEY)
        if len(key) != KEY_LENGTH:
            raise ScanError("the key of the vault's fingerprints is missing", "vault hooks refresh")
        own = Own(data, key)
    return Finder(parse(_read(directory, PATTERNS)), own)


def parse(data: bytes) -> "list[Kind]":
    """Return the kinds that plugins contributed: lines of name, needle and expression, each in hexadecimal.

    Raises ScanError.
    """
    kinds = []
    try:
        for line in data.split(b"\n")[:-1]:
            name, needle, expression = (bytes.fromhex(part) for part in line.decode().split(" "))
            kinds.append(Kind(name.decode(), (needle,), expression))
    except ValueError:
        raise ScanError("the patterns of plugins are damaged", "vault hooks refresh") from None
    return kinds


def render(kinds: "Iterable[tuple[str, bytes, bytes]]") -> bytes:
    """Return name, needle and expression of *kinds* in the form that :func:`parse` reads."""
    rows = sorted(
        f"{name.encode().hex()} {needle.hex()} {expression.hex()}\n" for name, needle, expression in kinds
    )
    return "".join(rows).encode()


def checksum() -> bytes:
    """Return the end of the index that git commits from, or nothing where it says nothing of its content."""
    try:
        with open(os.environ.get("GIT_INDEX_FILE", ""), "rb") as file:
            file.seek(-MARK_LENGTH, os.SEEK_END)
            end = file.read()
    except OSError:
        return b""
    return end if end.strip(b"\0") else b""  # index.skipHash leaves it out


def mark(scanned: bytes) -> None:
    """Remember for the next hook of this git that the index whose checksum is *scanned* brings no key."""
    directory = os.path.dirname(os.environ.get("GIT_INDEX_FILE", ""))
    process = os.environ.get("VAULT_GIT", "").encode()
    if scanned and directory and process:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(f"{directory}/{_MARK}", flags, 0o600), "wb") as file:
                file.write(scanned + process)
        except OSError:
            return  # it is only scanned twice


def _read(directory: str, name: str) -> bytes:
    try:
        with open(f"{directory}/{name}", "rb") as file:
            data = file.read(_MOST + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ScanError(
            f"'{directory}/{name}': {os.strerror(error.errno or 0).lower()}", "vault hooks refresh"
        ) from None
    if len(data) > _MOST:
        raise ScanError(f"'{directory}/{name}' is too large", "vault hooks refresh")
    return data
