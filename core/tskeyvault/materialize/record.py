"""The record of what was delivered for a service: a file beside it that tells our files from those of others."""

import json
import os
from collections.abc import Mapping, Sequence

from tskeyvault import files, limits, names
from tskeyvault.errors import DeliveryError, VaultError

MAX_SIZE = 1 << 20
"""Bytes of a record; what it cannot say could not be cleaned, and is not delivered."""

Identity = tuple[int, int]
Record = Mapping[str, Sequence[Identity]]
"""Every file that may be ours by name, and what it is then: one of these."""


def name_of(service: str) -> str:
    """Return the name of the record of *service*."""
    return f".vault.{service}"


def read(directory: int, service: str) -> Record:
    """Return the record of *service*, of ``""`` an empty one. The service may have written it, so nothing is believed."""
    with limits.uninterrupted():  # around it all: a stop would pass for a record that cannot be read
        try:
            data = json.loads(files.read(directory, name_of(service), MAX_SIZE)) if service else {}
            return {
                names.component(name, "file"): [(int(inode), int(time)) for inode, time in written]
                for name, written in data.items()
            }
        except (VaultError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            return {}


def write(directory: int, service: str, record: Record, new: Mapping[str, Identity | None]) -> None:
    """Write *record*, with the files as they are now and as the *new* ones will be: true when we are killed in between.

    Raises DeliveryError.
    """
    whole = {name: [it for it in record[name] if it == identity(directory, name)] for name in record}
    for name, fresh in new.items():
        whole[name] = [*whole.get(name, ()), *([fresh] if fresh else ())]
    data = json.dumps({name: written for name, written in whole.items() if written}).encode()
    if len(data) > MAX_SIZE:
        raise DeliveryError(f"service '{service}' has too many files", "--clean removes what it had before")
    files.write(directory, name_of(service), data, mode=0o600)


def is_written(directory: int, service: str) -> bool:
    """Tell whether there is a record of *service*."""
    return files.exists(directory, name_of(service))


def there(directory: int, record: Record) -> list[str]:
    """Return the names of the files that *record* lists and that are still those; no directory is one of ours."""
    found = [name for name, written in record.items() if identity(directory, name) in written]
    return [name for name in found if not files.is_directory(directory, name)]


def knows(directory: int, record: Record, name: str) -> bool:
    """Tell whether the file *name* is one that *record* lists, also when somebody has touched it."""
    there = identity(directory, name)
    return there is not None and there[0] in {inode for inode, _time in record.get(name, ())}


def identity(directory: int, name: str) -> Identity | None:
    """Return what tells the file *name* from another one of that name, or None where there is none.

    Raises DeliveryError.
    """
    try:
        info = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DeliveryError(f"'{name}': {os.strerror(error.errno or 0).lower()}") from None
    return info.st_ino, info.st_mtime_ns
