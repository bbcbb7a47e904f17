"""Writing the files of a service: stage all, check all, rename all, remove those it has no more; and removing all."""

import contextlib
import os
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from tskeyvault import files, limits
from tskeyvault.errors import NotFoundError, PluginError, VaultError
from tskeyvault.values import Target

from . import record


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

    The caller holds no lock; this takes the directory's. *service* names the record of what is
    ours; ``""`` keeps none. A file of ours with the same content, owner and mode is left alone, one
    that is none of the *parcels* is removed. Until the first rename any failure leaves the old files
    as they were.

    Raises DeliveryError, PluginError.
    """
    with limits.locked(directory, "the directory"):
        files.sweep(directory)
        try:
            for parcel in parcels:
                files.refuse_directory(directory, parcel.target.name)
            staged = stage(parcels)
            known = record.read(directory, service)
            names = {it.target.name for it in staged}
            ours = {it for it in names if not service or record.knows(directory, known, it)}
            changed = [it for it in staged if it.target.name not in ours or not _same(directory, it)]
            gone = set(record.there(directory, known)) - names
            with limits.uninterrupted():
                _commit(directory, service, changed, gone)
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


def differing(directory: int, service: str, contents: Mapping[str, tuple[Target, bytes]]) -> list[str]:
    """Return the names of those *contents* that *directory* does not have just so, delivered for *service*."""
    known = record.read(directory, service)
    ours = {name for name in contents if not service or record.knows(directory, known, name)}
    return [
        name
        for name, (target, data) in contents.items()
        if name not in ours or not holds(directory, target, data)
    ]


def holds(directory: int, target: Target, content: bytes) -> bool:
    """Tell whether the directory has the file of *target* just so, with this *content*."""
    try:
        return (
            _fits(directory, target, len(content))
            and files.read(directory, target.name, len(content)) == content
        )
    except VaultError:
        return False


def clean(directory: int, service: str) -> tuple[list[str], list[str]]:
    """Remove from *directory* what was delivered for *service*; return the names removed and left.

    A file that something else has put in the place of ours is left.
    """
    with limits.locked(directory, "the directory"):
        files.sweep(directory)
        removed: list[str] = []
        left: list[str] = []
        for name, written in record.read(directory, service).items():
            there = record.identity(directory, name)
            if there in written:
                files.discard(directory, name)
            if there is not None:
                (left if files.exists(directory, name) else removed).append(name)
        files.discard(directory, record.name_of(service))
    return removed, left


def _commit(directory: int, service: str, changed: Sequence[Staged], gone: Collection[str]) -> None:
    if service and changed:
        new = {it.target.name: record.identity(directory, it.temporary) for it in changed}
        record.write(directory, service, record.read(directory, service), new)
    for item in changed:
        files.replace(directory, item.temporary, item.target.name)
    for name in gone:
        with contextlib.suppress(NotFoundError):
            files.remove(directory, name)
    if changed or gone:
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
