"""What the hooks keep in git's own directory: the vault's values as fingerprints, patterns, and what was scanned."""

import posix  # os takes 2 ms to load

from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.finder import Finder
from tskeyvault_hooks.kinds import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from tskeyvault_hooks.own import Own

PATTERNS, SALT, SLOW = "patterns", "salt", "slow"
"""Files of the directory: patterns of plugins, the salt of the allow-list's fingerprints until there is a
list, and a file, perhaps with a suffix, that says that short words of a message matter too."""
SCANNED = "scanned"
"""Folder of the directory: the index that was scanned, by the number of the process of git that asked for it."""
_MOST = 64 << 20
_BEGAN = 19
"""When a process began, among what stands behind its name: see proc_pid_stat(5)."""


def finder(directory: str) -> Finder:
    """Return what looks for all that is known in *directory*, or without one for what everybody knows.

    Raises ScanError for a damaged file.
    """
    if not directory:
        return Finder()
    return Finder(parse(_read(directory, PATTERNS)), _own(directory))


def own_files() -> "tuple[str, str]":
    """Return what the files are called with the fingerprints of the values that this user can read, and their key.

    Where several share a repository, none can read the key of another, and each has their own.
    """
    name = f"own-{posix.geteuid()}"
    return name, f"{name}.key"


def _own(directory: str) -> "Own | None":
    data, key = (_read(directory, name) for name in own_files())
    if not data and not key:
        return None
    from tskeyvault_hooks.own import Own

    if not data:
        raise ScanError("the fingerprints of the vault's values are gone", "vault hooks refresh")
    return Own(data, key)


def parse(data: bytes) -> "list[Kind]":
    """Return the kinds that plugins contributed: lines of name, needle and expression, each in hexadecimal.

    Raises ScanError where they are not what :func:`render` made.
    """
    kinds = []
    head, _, body = data.partition(b"\n")
    try:
        if data and head != _checksum(body):
            raise ValueError  # noqa: TRY301 - the same answer as to all that is damaged
        for line in body.split(b"\n")[:-1]:
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
    body = "".join(rows).encode()
    return _checksum(body) + b"\n" + body


def _checksum(body: bytes) -> bytes:
    from _blake2 import blake2b  # hashlib would load OpenSSL first

    return blake2b(body, digest_size=16, person=b"vault patterns").hexdigest().encode()


def hold(directory: str) -> str:
    """Give the index that git commits from a second name in *directory*; return it, or ``""`` when it cannot be.

    Whoever changes an index puts another file in its place, so two names of one file are one content.
    """
    folder = f"{directory}/{SCANNED}"
    held = f"{folder}/{posix.getpid()}.new"
    try:
        for name in _listed(folder):
            posix.unlink(f"{folder}/{name}")
        posix.link(posix.environ.get(b"GIT_INDEX_FILE", b""), held)
    except OSError:
        return ""  # it is only scanned twice
    return held


def _listed(folder: str) -> "list[str]":
    try:
        return posix.listdir(folder)
    except FileNotFoundError:
        posix.mkdir(folder)
        return []


def mark(held: str, caller: str) -> None:
    """Remember that the index *held* has no key, for the git whose process is *caller*, and for no later one of that number."""
    try:
        with open(f"/proc/{caller}/stat", "rb") as file:
            began = file.read().rpartition(b") ")[2].split()[_BEGAN].decode()
        posix.rename(held, f"{held.rpartition('/')[0]}/{caller}-{began}")
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
            f"'{directory}/{name}': {posix.strerror(error.errno or 0).lower()}", "vault hooks refresh"
        ) from None
    if not 0 < len(data) <= _MOST:
        raise ScanError(f"'{directory}/{name}' is empty or too large", "vault hooks refresh")
    return data
