"""``vault materialize`` from end to end: validate, decrypt everything, then deliver everything."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from tskeyvault import names
from tskeyvault.errors import DeliveryError, NotFoundError, UsageError
from tskeyvault.plugins import is_housed
from tskeyvault.services import File
from tskeyvault.values import Target
from tskeyvault.vault import Vault

from . import default, deliver, formats, owners, place
from .deliver import Parcel


class Order(NamedTuple):
    """What is to be delivered where."""

    service: str
    """Its name, or ``""`` for a single file."""
    directory: str
    """Absolute path."""
    files: tuple[File, ...]


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
    files = vault.settings.service(service).files
    if not files:
        raise NotFoundError(f"service '{service}' has no files", "its credentials come by LoadCredential=")
    return Order(service, directory, files)


def single(path: str, file: File) -> Order:
    """Return the order for one *file* at *path*."""
    return Order("", os.path.dirname(os.path.abspath(path)), (file,))


def check(vault: Vault, order: Order, *, allow_disk: bool) -> list[str]:
    """Do everything but write; return the names that could be delivered.

    A directory that is not there yet is in order: the unit makes it when it starts.
    """
    contents = _contents(vault, order)
    try:
        with place.opened(order.directory, allow_disk=allow_disk) as directory:
            _parcels(vault, order, contents, directory)
    except NotFoundError:
        for file in order.files:
            owners.owner((0, 0), file.owner, file.group)
    return list(contents)


def materialize(vault: Vault, order: Order, *, allow_disk: bool) -> tuple[list[str], list[str]]:
    """Deliver all files of *order*, or none; return the names written and those that were right already.

    Raises whatever prevents it; see :func:`tskeyvault.materialize.deliver.deliver`.
    """
    contents = _contents(vault, order)
    with ExitStack() as opened:
        try:
            directory = opened.enter_context(place.opened(order.directory, allow_disk=allow_disk))
        except NotFoundError as error:
            hint = (
                f"RuntimeDirectory={order.service} in the unit makes it" if order.service else "make it first"
            )
            raise DeliveryError(f"directory {names.shown(order.directory)}: {error.message}", hint) from None
        written = deliver.deliver(directory, order.service, _parcels(vault, order, contents, directory))
    return written, [name for name in contents if name not in written]


def _contents(vault: Vault, order: Order) -> dict[str, bytes]:
    """Return the content of every file by name: all is decrypted before anything is written."""
    plaintexts = vault.read(reference for file in order.files for reference in file.references)
    return {file.name: formats.render(file, plaintexts) for file in order.files}


def _parcels(vault: Vault, order: Order, contents: Mapping[str, bytes], directory: int) -> list[Parcel]:
    info = os.fstat(directory)
    parcels = []
    for file in order.files:
        uid, gid = owners.owner((info.st_uid, info.st_gid), file.owner, file.group)
        target = Target(directory, file.name, file.mode, uid, gid)
        parcels.append(Parcel(target, partial(_write, vault, file, contents[file.name])))
    return parcels


def _write(vault: Vault, file: File, content: bytes, target: Target) -> str:
    """Let the secret's own plugin write; a file of several secrets is the core's."""
    if file.secret is None or is_housed(file.secret.plugin):
        return default.vault_materialize(content, target)
    entry = vault.store.get(file.secret)
    return vault.plugins.get(entry.plugin).materialize(entry.secret, content, target)
