"""``.tskeyvault-allow``: what was found and may stay, each by a keyed fingerprint, with a reason and an end.

One line each, sorted, without line numbers, so that edits and merges leave it true. It is read as
git will store it, never from the work tree.
"""

import os
import time
from _blake2 import blake2b  # hashlib would load OpenSSL first

from tskeyvault_hooks import git, scan
from tskeyvault_hooks.faults import ScanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = scan.ALLOWED
MAX_SIZE = 1 << 20
_HEAD = "# What vault scan found and what may stay; vault scan --allow adds a line."
_SALT = "# salt "
_MARKS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")
_DIGITS = 32
_SALT_LENGTH = 16
_MOST_SALT = 64


class Allowed:
    """The list: what its fingerprints are made with, and until when each holds (``""``: for ever) and why."""

    __slots__ = ("entries", "salt")

    def __init__(self, salt: bytes, entries: "Mapping[str, tuple[str, str]]"):
        self.salt = salt
        self.entries = entries

    def fingerprint(self, kind: str, secret: bytes) -> str:
        """Return the fingerprint, 32 hexadecimal digits, of what was found."""
        data = kind.encode() + b"\0" + secret
        return blake2b(data, digest_size=_DIGITS // 2, key=self.salt, person=b"vault leak").hexdigest()

    def holds(self, fingerprint: str) -> bool:
        """Tell whether it is on the list and its time is not over: until the end of its day, UTC."""
        if fingerprint not in self.entries:
            return False
        until, _ = self.entries[fingerprint]
        return not until or until >= time.strftime("%Y-%m-%d", time.gmtime())


def parse(data: bytes) -> Allowed:
    """Return the list in *data*, UTF-8: lines of fingerprint, ``-`` or YYYY-MM-DD, and a reason.

    Raises ScanError for anything else: a line that is not understood could be a mistake.
    """
    entries: dict[str, tuple[str, str]] = {}
    salts, number, line = [], 1, ""
    try:
        for number, line in enumerate(data.decode().split("\n"), 1):  # noqa: B007 - the error names it
            if line.startswith(_SALT):
                salts.append(bytes.fromhex(line.removeprefix(_SALT).strip()))
            elif line.strip() and not line.startswith("#"):
                fingerprint, until, reason = line.strip().split(maxsplit=2)
                entries[checked(fingerprint)] = ("" if until == "-" else day(until), reason)
    except (ValueError, ScanError):
        if line.startswith(_MARKS):
            raise ScanError(
                f"{FILE}: line {number} is a mark of a conflict",
                "keep the lines of both sides, one line with a salt, and allow again what had the other salt",
            ) from None
        raise ScanError(
            f"{FILE}: line {number} is not understood", "vault scan --allow writes such lines"
        ) from None
    if len(set(salts)) > 1:
        raise ScanError(
            f"{FILE} has two lines with a salt, of two branches",
            "keep one of them, and allow again what had the other",
        )
    salt = salts[0] if salts else b""
    if len(salt) > _MOST_SALT or (entries and not salt):
        raise ScanError(f"{FILE}: its line with the salt is missing or damaged", f"git log -p {FILE} has it")
    return Allowed(salt, entries)


def render(allowed: Allowed) -> bytes:
    """Return *allowed* in the form that :func:`parse` reads."""
    lines = [
        f"{fingerprint} {until or '-'} {reason}"
        for fingerprint, (until, reason) in sorted(allowed.entries.items())
    ]
    return "".join(f"{line}\n" for line in (_HEAD, f"{_SALT}{allowed.salt.hex()}", *lines)).encode()


def day(text: str) -> str:
    """Return *text* when it is a day, YYYY-MM-DD; raise ScanError for another."""
    try:
        return time.strftime("%Y-%m-%d", time.strptime(text, "%Y-%m-%d"))
    except ValueError:
        raise ScanError("a day is written as 2027-01-31") from None


def checked(fingerprint: str) -> str:
    """Return *fingerprint* when it is one; raise ScanError for another."""
    try:
        if len(bytes.fromhex(fingerprint)) * 2 == _DIGITS == len(fingerprint):
            return fingerprint
    except ValueError:
        pass
    raise ScanError("that is no fingerprint", "a report of vault scan has it: 32 digits")


def stored(state: str) -> Allowed:
    """Return the list in the index, or in HEAD of a bare repository; without one, an empty one.

    Its salt is then that of the directory *state*, where it is kept from then on. Raises ScanError.
    """
    bare = git.ask("rev-parse", "--is-bare-repository") == b"true\n"
    listed = of("HEAD" if bare else "")
    return listed if listed.salt else Allowed(_salt_of(state), {})


def of(commit: str) -> Allowed:
    """Return the list in *commit*, or with ``""`` in the index; without one, an empty one, that has no salt.

    Raises ScanError.
    """
    asked = git.Process(["cat-file", "--batch"], git.stored(f"{commit}:{FILE}\n".encode()))
    head, _, rest = git.read_some(asked.output, MAX_SIZE + 100).partition(b"\n")
    if head.endswith((b" missing", b" ambiguous")) or not head:
        asked.end()
        return Allowed(b"", {})
    found = git.Object(head)
    if found.kind != "blob" or found.size > MAX_SIZE:
        raise ScanError(f"{FILE} is not a file of at most {MAX_SIZE} bytes")
    asked.end()
    return parse(rest[: found.size])


def _salt_of(state: str) -> bytes:
    """Return the salt that *state* keeps; where there is none, one is made, so that a fingerprint stays the same."""
    if not state:
        return b""
    path = f"{state}/salt"
    try:
        if not os.path.lexists(path):
            os.makedirs(state, exist_ok=True)  # for all who share the repository
            with open(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "wb"
            ) as file:
                file.write(os.urandom(_SALT_LENGTH).hex().encode())
        with open(path, "rb") as file:
            salt = bytes.fromhex(file.read(_MOST_SALT).decode())
    except (OSError, ValueError):
        salt = b""
    if not salt:
        raise ScanError(f"'{path}' cannot be read, or not be made", "vault hooks install makes it anew")
    return salt
