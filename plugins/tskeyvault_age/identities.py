"""Identity files: one private key a line, with comments, as age-keygen writes them."""

import os
import stat
from collections.abc import Iterable

from tskeyvault.errors import ConfigError, LockedError, UsageError
from tskeyvault_age.x25519 import X25519Identity

MAX_FILE = 1 << 20
"""Bytes that an identity file may have."""

_HINT = "vault keygen makes one"


def load(paths: Iterable[str]) -> list[X25519Identity]:
    """Return all identities in the files at *paths*, in order; a file that is missing is skipped.

    Raises LockedError when there is no file or one cannot be read, ConfigError when one is malformed.
    """
    found: list[X25519Identity] = []
    for path in paths:
        data = read(path)
        if data is not None:
            found += parse(data, path)
    if not found:
        raise LockedError("no identity", _HINT)
    return found


def read(path: str) -> bytes | None:
    """Return the content of the identity file at *path*, None when there is no such file.

    Links are followed, as the user named the file; whatever is not a regular file in the end is
    refused, without waiting for it. Raises LockedError, or ConfigError above 1 MiB.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise LockedError(f"identity file {path!r} is not a regular file")
            data = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LockedError(f"identity file {path!r}: {os.strerror(error.errno or 0).lower()}") from None
    if len(data) > MAX_FILE:
        raise ConfigError(f"identity file {path!r} is too large")
    return data


def parse(data: bytes, origin: str) -> list[X25519Identity]:
    """Return the identities in *data*, the UTF-8 content of the identity file named *origin*.

    Lines end with LF or CRLF; blank ones and those that start with ``#`` are skipped. Raises
    ConfigError, which names the line by its number alone, or LockedError when there is no identity.
    """
    lines = _text(data, origin).split("\n")
    found = [
        _identity(line.removesuffix("\r"), f"identity file {origin!r}: line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    ]
    if not found:
        raise LockedError(f"identity file {origin!r} holds no identity", _HINT)
    return found


def _identity(line: str, place: str) -> X25519Identity:
    if line.lower().startswith("age1"):
        raise ConfigError(f"{place} is a recipient, not an identity")
    try:
        return X25519Identity.parse(line)
    except UsageError as error:
        raise ConfigError(f"{place}: {error.message}") from None


def _text(data: bytes, origin: str) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None:  # raised here, as the error above holds the bytes and would be our context
        raise ConfigError(f"identity file {origin!r} is not UTF-8")
    return text


def _open(path: str, _flags: int) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
