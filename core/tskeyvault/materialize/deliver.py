"""Writing the files of a service: stage all, check all, rename all; and removing them again."""

import json
import os
import stat
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tskeyvault import files, limits, names
from tskeyvault.errors import DeliveryError, PluginError, VaultError
from tskeyvault.values import Target

MAX_RECORD = 1 << 20
"""Bytes of the record of what was delivered; what it cannot say could not be cleaned, and is not delivered."""

_Identity = tuple[int, int]


class Parcel(NamedTuple):
    """A file that is ready to be delivered."""

    target: Target
    write: Callable[[Target], str]
    """Stages the content for the target and returns the temporary name (``vault_materialize``)."""


class Staged(NamedTuple):
    """A file that lies under a temporary name, as ordered."""

    target: Target
    temporary: str


def deliver(directory: int, service: str, parcels: Sequence[Parcel]) -> list[str]:
    """Write all *parcels* into *directory*, or none; return the names of those that changed.

    The caller holds no lock; this takes the directory's. *service* names the record from which
    :func:`clean` knows what is ours; ``""`` keeps none. A file with the same content, owner and
    mode is left alone. Until the first rename any failure leaves the old files as they were.

    Raises DeliveryError, PluginError.
    """
    with limits.locked(directory, "the directory"):
        files.sweep(directory)
        try:
            for parcel in parcels:
                files.refuse_directory(directory, parcel.target.name)
            staged = stage(parcels)
            changed = [item for item in staged if not _same(directory, item)]
            with limits.uninterrupted():
                _commit(directory, service, changed)
        finally:
            # Not only what is in the list: a signal may have come before a name got there.
            with limits.uninterrupted():
                files.sweep(directory)
    return [item.target.name for item in changed]


def stage(parcels: Sequence[Parcel]) -> list[Staged]:
    """Let all *parcels* be written under temporary names, and check each.

    Raises DeliveryError, PluginError.
    """
    staged: list[Staged] = []
    for parcel in parcels:
        temporary = parcel.write(parcel.target)
        if temporary in {item.temporary for item in staged}:
            raise PluginError("a plugin staged one file for two targets")
        staged.append(Staged(parcel.target, temporary))
        _verify(parcel.target, temporary)
    return staged


def holds(directory: int, target: Target, content: bytes) -> bool:
    """Tell whether the directory has the file of *target* just so, with this *content*."""
    try:
        return (
            _fits(directory, target, len(content))
            and files.read(directory, target.name, len(content)) == content
        )
    except VaultError:
        return False


def is_delivered(directory: int, service: str) -> bool:
    """Tell whether there is a record of what was delivered for *service*."""
    return files.exists(directory, record_name(service))


def clean(directory: int, service: str) -> tuple[list[str], list[str]]:
    """Remove from *directory* what was delivered for *service*; return the names removed and left.

    A file that something else has put in the place of ours is left.
    """
    with limits.locked(directory, "the directory"):
        files.sweep(directory)
        removed: list[str] = []
        left: list[str] = []
        for name, written in _recorded(directory, service).items():
            there = _identity(directory, name)
            if there in written:
                files.discard(directory, name)
            if there is not None:
                (left if files.exists(directory, name) else removed).append(name)
        files.discard(directory, record_name(service))
    return removed, left


def _commit(directory: int, service: str, changed: Sequence[Staged]) -> None:
    if not changed:
        return
    if service:
        # Before the renames, with the old files and the new: true at whatever point we are killed.
        record = _recorded(directory, service)
        for item in changed:
            name = item.target.name
            old, new = _identity(directory, name), _identity(directory, item.temporary)
            record[name] = [one for one in record.get(name, []) if one == old] + ([new] if new else [])
        data = json.dumps(record).encode()
        if len(data) > MAX_RECORD:
            raise DeliveryError(
                f"service '{service}' has too many files", "--clean removes what it had before"
            )
        files.write(directory, record_name(service), data, mode=0o600)
    for item in changed:
        files.replace(directory, item.temporary, item.target.name)
    files.sync(directory)


def _verify(target: Target, temporary: str) -> None:
    """Refuse what a plugin staged when it is not exactly what was asked for."""
    if not files.is_temporary(temporary):
        raise PluginError("a plugin staged a file under a name of its own")
    try:
        info = os.stat(temporary, dir_fd=target.directory, follow_symlinks=False)
    except OSError:
        raise PluginError("a plugin staged a file that is not there") from None
    if "system.posix_acl_access" in _attributes(target.directory, temporary):
        raise PluginError("a plugin staged a file with an access control list")
    wanted = (stat.S_IFREG | target.mode, target.uid, target.gid, 1)
    if (info.st_mode, info.st_uid, info.st_gid, info.st_nlink) != wanted:
        raise PluginError("a plugin staged a file with another mode or owner")


def _attributes(directory: int, name: str) -> list[str]:
    try:
        return os.listxattr(f"/proc/self/fd/{directory}/{name}", follow_symlinks=False)
    except OSError:
        return []  # no such thing here


def _same(directory: int, item: Staged) -> bool:
    try:
        size = os.stat(item.temporary, dir_fd=directory, follow_symlinks=False).st_size
        return _fits(directory, item.target, size) and holds(
            directory, item.target, files.read(directory, item.temporary, size)
        )
    except (OSError, VaultError):
        return False


def _fits(directory: int, target: Target, size: int) -> bool:
    """Tell whether the file of *target* is there with its mode and owner and of this *size*."""
    try:
        info = os.stat(target.name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    wanted = (stat.S_IFREG | target.mode, target.uid, target.gid, 1, size)
    return (info.st_mode, info.st_uid, info.st_gid, info.st_nlink, info.st_size) == wanted


def _identity(directory: int, name: str) -> _Identity | None:
    try:
        info = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DeliveryError(f"'{name}': {os.strerror(error.errno or 0).lower()}") from None
    return info.st_ino, info.st_mtime_ns


def record_name(service: str) -> str:
    """Return the name of the file, beside them, that says which files were delivered for *service*."""
    return f".vault.{service}"


def _recorded(directory: int, service: str) -> dict[str, list[_Identity]]:
    """Return what was delivered: name and identities. The service may have written it, so nothing is believed."""
    try:
        data = json.loads(files.read(directory, record_name(service), MAX_RECORD))
        return {
            names.component(name, "file"): [(int(inode), int(time)) for inode, time in written]
            for name, written in data.items()
        }
    except (VaultError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}
