"""What this host remembers of its deliveries: which service lies where, and whose units have yet to hear of a change."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from tskeyvault import files, limits, local
from tskeyvault.errors import DeliveryError, IntegrityError, NotFoundError, VaultError
from tskeyvault.vault import Vault

from . import place

MAX_SIZE = 8 << 20
"""Bytes of the file."""
_OLD = 4
"""Fields of a place before there were manifests among them."""


class Place(NamedTuple):
    """A directory that a service was delivered to."""

    directory: str
    """Absolute path."""
    owner: int
    """The user whose it was; another one's is another directory."""
    allow_disk: bool
    waiting: bool
    """Whether files were changed there that the service's units were not restarted for."""
    manifest: str = ""
    """The file that says what the service gets, or ``""`` for ``vault.toml``."""


class Deliveries:
    """The memory of one clone of a vault, in a JSON file that only its user can read or change.

    Losing it is safe: a service is remembered again when it starts.
    """

    def __init__(self, vault: Vault, environ: Mapping[str, str]):
        """Take the vault that is delivered from. Raises ConfigError where there is no place for state."""
        self._memory = local.state_directory(environ)
        self._file = f"{vault.settings.id}.delivered.json"
        self._clone = os.path.realpath(vault.directory)
        self._known: dict[str, dict[str, list[Place]]] = {}
        if os.path.isdir(self._memory):
            with files.directory(self._memory) as fd:
                self._load(fd)

    @property
    def services(self) -> Mapping[str, list[Place]]:
        """The places of every service that was delivered."""
        return self._known.get(self._clone, {})

    def is_waiting(self, service: str, directory: str) -> bool:
        """Tell whether units of *service* have yet to hear of a change in *directory*."""
        return any(it.waiting for it in self.services.get(service, []) if it.directory == directory)

    def remember(
        self, service: str, directory: str, *, allow_disk: bool, waiting: bool, manifest: str = ""
    ) -> None:
        """Remember that *service* is delivered to *directory*, and forget its places that are no directories any more.

        Raises DeliveryError.
        """
        try:
            with place.opened(directory, allow_disk=allow_disk) as opened:
                owner = place.owner(opened)
        except VaultError:
            return  # so it cannot be delivered to, as is told in a moment
        new = Place(directory, owner, allow_disk, waiting, manifest)
        known = self.services.get(service, [])
        if new in known and all(map(_is_there, known)):
            return
        with self._change():
            others = [it for it in self.services.get(service, []) if it.directory != directory]
            self._known.setdefault(self._clone, {})[service] = [*filter(_is_there, others), new]

    @contextmanager
    def _change(self) -> Iterator[None]:
        try:
            os.makedirs(self._memory, mode=0o700, exist_ok=True)
        except OSError:
            raise self._unwritable() from None
        with files.directory(self._memory) as fd, limits.locked(fd, "the state of this host"):
            files.sweep(fd)
            self._load(fd)
            yield
            try:
                files.write(fd, self._file, json.dumps(self._known, indent=0).encode(), mode=0o600)
            except DeliveryError:
                raise self._unwritable() from None

    def _load(self, fd: int) -> None:
        try:
            data = json.loads(files.read(fd, self._file, MAX_SIZE))
        except NotFoundError:
            return
        except (ValueError, RecursionError):
            raise self._damaged() from None
        try:
            self._known = {
                clone: {service: [_place(it) for it in places] for service, places in services.items()}
                for clone, services in data.items()
            }
        except (ValueError, TypeError, AttributeError):
            raise self._damaged() from None

    def _unwritable(self) -> DeliveryError:
        return DeliveryError(f"cannot remember in '{self._memory}' what was delivered")

    def _damaged(self) -> IntegrityError:
        where = os.path.join(self._memory, self._file)
        return IntegrityError(f"the state file '{where}' is damaged", "remove it, and restart the services")


def _place(entry: list[object]) -> Place:
    directory, owner, allow_disk, waiting, manifest = entry if len(entry) > _OLD else (*entry, "")
    if not isinstance(directory, str) or not isinstance(owner, int) or not isinstance(manifest, str):
        raise TypeError
    return Place(directory, owner, allow_disk is True, waiting is True, manifest)


def _is_there(it: Place) -> bool:
    """Tell whether its directory is one: DynamicUser= with RuntimeDirectoryPreserve= makes it a link."""
    return os.path.isdir(it.directory) and not os.path.islink(it.directory)
