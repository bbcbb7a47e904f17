"""``vault materialize`` from end to end: validate, decrypt everything, then deliver everything."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from tskeyvault import names
from tskeyvault.errors import DeliveryError, FullError, NotFoundError, UsageError
from tskeyvault.names import Reference
from tskeyvault.plugins import is_housed
from tskeyvault.services import File
from tskeyvault.values import Target
from tskeyvault.vault import Vault

from . import default, deliver, formats, generations, owners, place, record
from .deliver import Parcel

MAX_SIZE = 64 << 20
"""Bytes of all files of a service together: a commit can name one secret thousands of times."""


class Order(NamedTuple):
    """What is to be delivered where."""

    service: str
    """Its name, or ``""`` for a single file."""
    directory: str
    """Absolute path."""
    files: tuple[File, ...]
    layout: str = "files"
    units: tuple[str, ...] = ()
    """Who uses the files; they are restarted when one has changed, or with *reload* reloaded."""
    reload: bool = False

    def path(self, name: str) -> str:
        """Return where readers find the file *name*."""
        return os.path.join(
            self.directory, *([generations.CURRENT] if self.layout == "generations" else []), name
        )


class Done(NamedTuple):
    """What was done with one order."""

    written: list[str]
    """Names of files."""
    kept: list[str]
    """Names of files that were right already."""
    removed: list[str]
    """Paths."""


def directory_of(service: str, given: str, environ: Mapping[str, str]) -> str:
    """Return where *service* gets its files: *given*, ``$RUNTIME_DIRECTORY``, or ``/run/SERVICE``.

    Raises UsageError when the unit has several runtime directories.
    """
    names.component(service, "service")
    if given:
        return os.path.abspath(given)
    runtime = environ.get("RUNTIME_DIRECTORY", "")
    if ":" in runtime:
        raise UsageError("the unit has several runtime directories", "name one: --directory DIR")
    return runtime or f"/run/{service}"


def order_of(service: str, directory: str, vault: Vault) -> Order:
    """Return the order for *service* as ``vault.toml`` describes it.

    Raises NotFoundError, also when the service gets credentials alone.
    """
    described = vault.settings.service(service)
    if not described.files:
        raise NotFoundError(
            f"service '{service}' has no files", "its credentials come by LoadCredentialEncrypted="
        )
    return Order(service, directory, described.files, described.layout, described.units, described.reload)


def single(path: str, file: File) -> Order:
    """Return the order for one *file* at *path*."""
    return Order("", os.path.dirname(os.path.abspath(path)), (file,))


def check(vault: Vault, order: Order, *, allow_disk: bool) -> list[str]:
    """Do everything but write; return the names that could be delivered.

    A directory that is not there yet is in order: the unit makes it when it starts.
    """
    contents = contents_of(order, vault.read(references(order)))
    changed(order, contents, allow_disk=allow_disk)
    return list(contents)


def references(order: Order) -> list[Reference]:
    """Return the secrets that *order* takes."""
    return [reference for file in order.files for reference in file.references]


def contents_of(order: Order, plaintexts: Mapping[Reference, bytes]) -> dict[str, bytes]:
    """Return the content of every file of *order* by name, from the *plaintexts* of its secrets.

    Raises DeliveryError, also when they are larger than MAX_SIZE together.
    """
    contents: dict[str, bytes] = {}
    left = MAX_SIZE
    for file in order.files:
        taken = sum(len(plaintexts[reference]) for reference in file.references)
        if taken <= left:
            contents[file.name] = formats.render(file, plaintexts)
            taken = len(contents[file.name])
        left -= taken
        if left < 0:
            raise DeliveryError(f"the files of a service have more than {MAX_SIZE >> 20} MiB together")
    return contents


def materialize(vault: Vault, order: Order, *, allow_disk: bool) -> Done:
    """Deliver all files of *order*, or none, and remove what was delivered before and is not in it.

    All is decrypted before anything is written. Raises whatever prevents it; see :func:`write`.
    """
    contents = contents_of(order, vault.read(references(order)))
    return write(vault, order, contents, allow_disk=allow_disk)


def write(vault: Vault, order: Order, contents: Mapping[str, bytes], *, allow_disk: bool) -> Done:
    """Deliver *contents*, or nothing; what was delivered before and is not in them, or in the other layout, is removed.

    Raises what :func:`tskeyvault.materialize.deliver.deliver` and that of the generations raise.
    """
    with ExitStack() as opened:
        try:
            directory = opened.enter_context(place.opened(order.directory, allow_disk=allow_disk))
        except NotFoundError as error:
            below = order.directory.removeprefix("/run/") if order.directory.startswith("/run/") else ""
            runtime = order.service and (below or order.service)
            hint = f"RuntimeDirectory={runtime} in the unit makes it" if runtime else "make it first"
            raise DeliveryError(f"directory {names.shown(order.directory)}: {error.message}", hint) from None
        try:
            removed = _left_over(order, directory)
            written = _write(vault, order, contents, directory)
            return Done(written, [name for name in contents if name not in written], removed)
        except FullError:
            where = names.shown(order.directory)
            hint = f"make room: df -h {where} shows what is left of it, and df -i {where} how many files"
            raise FullError(f"directory {where}: no space left on device", hint) from None


def _write(vault: Vault, order: Order, contents: Mapping[str, bytes], directory: int) -> list[str]:
    info = os.fstat(directory)

    def parcels(where: int) -> list[Parcel]:
        targets = _targets(order, where, info)
        return [
            Parcel(target, partial(_stage, vault, file, contents[file.name]))
            for file, target in zip(order.files, targets, strict=True)
        ]

    if order.layout == "generations":
        written = generations.deliver(directory, order.service, parcels)
        if record.is_written(directory, order.service):
            deliver.clean(directory, order.service)
        return written
    written = deliver.deliver(directory, order.service, parcels(directory))
    if order.service and generations.is_delivered(directory, order.service):
        if not written:  # the service is gone from vault.toml, and is known here should it come back
            record.write(directory, order.service, {}, {})
        generations.clean(directory, order.service)
    return written


def changed(order: Order, contents: Mapping[str, bytes], *, allow_disk: bool) -> list[str]:
    """Return the names of those *contents* that :func:`write` would have to write; nothing is written.

    Raises what :func:`write` raises before its first step; a directory that is missing lacks every file.
    """
    try:
        with place.opened(order.directory, allow_disk=allow_disk) as directory:
            targets = _targets(order, directory, os.fstat(directory))
            wanted = {target.name: (target, contents[target.name]) for target in targets}
            layout = generations.differing if order.layout == "generations" else deliver.differing
            return layout(directory, order.service, wanted)
    except NotFoundError:
        for file in order.files:
            owners.owner((0, 0), file.owner, file.group)
        return list(contents)


def left_over(order: Order, *, allow_disk: bool) -> list[str]:
    """Return the paths of what was delivered for the service of *order* before, in any layout, and is not in it."""
    try:
        with place.opened(order.directory, allow_disk=allow_disk) as directory:
            return _left_over(order, directory)
    except NotFoundError:
        return []


def _left_over(order: Order, directory: int) -> list[str]:
    if not order.service:
        return []
    here = record.there(directory, record.read(directory, order.service))
    whole = generations.names_in(directory, order.service)
    delivered = [
        *(order._replace(layout="files").path(name) for name in here),
        *(order._replace(layout="generations").path(name) for name in whole),
    ]
    wanted = {order.path(file.name) for file in order.files}
    return [path for path in delivered if path not in wanted]


def clean(directory: int, service: str) -> tuple[list[str], list[str]]:
    """Remove from *directory* what was delivered for *service* in any layout; return the names removed and left."""
    files, whole = (layout.clean(directory, service) for layout in (deliver, generations))
    return files[0] + whole[0], files[1] + whole[1]


def is_delivered(directory: int, service: str) -> bool:
    """Tell whether *directory* shows that something was delivered for *service*."""
    return record.is_written(directory, service) or generations.is_delivered(directory, service)


def _targets(order: Order, directory: int, around: os.stat_result) -> list[Target]:
    """Return where and whose the files are; *around* is the service's directory, which says whose by default."""
    targets = []
    for file in order.files:
        uid, gid = owners.owner((around.st_uid, around.st_gid), file.owner, file.group)
        targets.append(Target(directory, file.name, file.mode, uid, gid))
    return targets


def _stage(vault: Vault, file: File, content: bytes, target: Target) -> str:
    """Let the secret's own plugin write; a file of several secrets is the core's."""
    if file.secret is None or is_housed(file.secret.plugin):
        return default.vault_materialize(content, target)
    entry = vault.store.get(file.secret)
    return vault.plugins.get(entry.plugin).materialize(entry.secret, content, target)
