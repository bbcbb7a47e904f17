"""A vault that is open: reading, writing and re-encrypting its secrets, with every check that binds them."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from . import binding, config, files, local, names
from .binding import Binding
from .config import Settings
from .errors import IntegrityError, NotFoundError, UsageError
from .names import Reference
from .plugins import Backend, Plugins
from .state import Seen, State
from .store import FOLDER, Entry, Store, refuse_large

if TYPE_CHECKING:
    from .recipients import Recipients  # what only writing needs is imported there: reading starts services

Warn = Callable[[str], None]


class Place(NamedTuple):
    """What the user said about where things are."""

    vault: str = ""
    """``--vault``"""
    identity: str = ""
    """``--identity``"""


class Vault:
    """One vault for the length of one command; use :func:`opened`."""

    def __init__(self, directory: str, root: int, place: Place, environ: Mapping[str, str], warn: Warn):
        self.directory = directory
        self.local = local.load(environ)
        self.settings: Settings = config.parse(files.read(root, config.FILE, config.MAX_SIZE))
        self.store = Store(root)
        self.state = State(local.state_directory(environ), self.settings.id, directory)
        self.plugins = Plugins(self.local.plugins, local.identities(place.identity, environ))
        self._warn = warn

    def read(self, references: Iterable[Reference]) -> dict[Reference, bytes]:
        """Return the plaintexts of *references*, each authenticated and bound to its name.

        Raises NotFoundError, LockedError, PluginError; IntegrityError for a ciphertext that is
        damaged, or that belongs to another name, another vault or an earlier time.
        """
        found: dict[Reference, bytes] = {}
        seen: dict[str, Seen] = {}
        for reference in references:
            if reference not in found:
                entry = self.store.get(reference)
                found[reference], _, seen[entry.path] = self._open(entry)
        self.state.record(seen)
        return found

    def write(self, reference: Reference, plaintext: bytes, *, force: bool) -> Entry:
        """Encrypt *plaintext* as the next generation of the secret *reference*; return where.

        Raises UsageError when it exists and *force* is not set, RecipientsChangedError.
        """
        refuse_large(plaintext)
        with self.store.lock():
            entry = self.entry_for(reference)
            if not force and self.store.find(Reference(entry.plugin, entry.name)):
                raise UsageError(f"secret '{reference}' exists", "--force replaces it")
            ciphertext, seen = self._seal(
                entry, plaintext, self.readers(entry), created=binding.now(), expires=None
            )
            self.store.write({entry.path: ciphertext})
            self.state.record({entry.path: seen})
        return entry

    def remove(self, entries: Iterable[Entry]) -> None:
        """Remove the ciphertexts of *entries*; git keeps what was committed."""
        with self.store.lock():
            for entry in entries:
                self.store.remove(entry.path)

    def change_recipients(self, plugin: str, changed: "Recipients") -> list[Entry]:
        """Write *changed* and re-encrypt what it governs, all or nothing; return what was re-encrypted.

        Raises what :meth:`read` raises: who cannot read a secret cannot let others read it.
        """
        from . import recipients

        contents = {changed.path: recipients.render(changed)}
        seen: dict[str, Seen] = {}
        with self.store.lock():
            governed = self._governed(plugin, changed.path)
            for entry in governed:
                self.readers(entry)  # also where a nearer file that was approved is gone
            for entry in governed:
                plaintext, bound, _ = self._open(entry)
                created, expires = (bound.created, bound.expires) if bound else (binding.now(), None)
                contents[entry.path], seen[entry.path] = self._seal(
                    entry, plaintext, changed, created=created, expires=expires
                )
            self.store.write(contents)
            self.state.record(seen)
            self.state.approve({changed.path: changed.texts})
        return governed

    def entry_for(self, reference: Reference) -> Entry:
        """Return the entry of *reference*, or where it will be when it is new."""
        return self.store.find(reference) or Entry(reference.plugin or self.settings.backend, reference.name)

    def readers(self, entry: Entry) -> "Recipients":
        """Return the approved recipients of *entry*.

        Raises RecipientsChangedError, NotFoundError.
        """
        from . import recipients

        folder = entry.name.rpartition("/")[0]
        return recipients.approved(self.store, self.state, self.directory, entry.plugin, folder)

    def commit(self, paths: Iterable[str], message: str, *, wanted: bool) -> None:
        """Commit exactly *paths* when that is *wanted*, here and by the local configuration.

        Raises PluginError when git refuses; what was written stays.
        """
        from . import git

        if not (wanted and self.local.commit):
            return
        if git.work_tree(self.directory):
            if not git.commit(self.directory, list(paths), message):
                self._warn("git has nothing to commit of what was written: see git status")
        else:
            self._warn(f"'{self.directory}' is not in a git work tree: nothing was committed")

    def _governed(self, plugin: str, path: str) -> list[Entry]:
        """Return the secrets that a recipients file at *path* governs, whether it is there yet or not."""
        folder, _, file = path.removeprefix(f"{FOLDER}/").rpartition("/")
        below = [
            entry
            for entry in self.store.entries(lambda _: None)
            if entry.plugin == plugin and entry.name.startswith(f"{folder}/" if folder else "")
        ]
        nearest = {entry: self.store.nearest(file, entry.name.rpartition("/")[0]) for entry in below}
        return [entry for entry in below if nearest[entry].count("/") <= path.count("/")]

    def _open(self, entry: Entry) -> tuple[bytes, Binding | None, Seen]:
        backend = self.plugins.get(entry.plugin)
        ciphertext = self.store.read(entry.path)
        bound, seen = self._bound(entry, backend, ciphertext)
        plaintext = backend.decrypt(entry.secret, ciphertext)
        if bound is None and self.state.seen(entry.path) != seen:
            self._warn(f"secret '{entry.name}' is not bound to its name yet; the next write binds it")
        return plaintext, bound, seen

    def _bound(self, entry: Entry, backend: Backend, ciphertext: bytes) -> tuple[Binding | None, Seen]:
        """Check the binding in *ciphertext*, which decryption of the same bytes will authenticate."""
        what = f"secret '{entry.name}'"
        before = self.state.seen(entry.path) or Seen(0, "")
        digest = hashlib.sha256(ciphertext).hexdigest()
        try:
            encoded = backend.binding(ciphertext)
        except IntegrityError as error:
            raise IntegrityError(f"{what}: {error.message}", error.hint) from None
        if not encoded:
            if before.generation:
                raise IntegrityError(f"{what}: this host has seen it bound, and this file is not", _REWRITE)
            return None, Seen(0, digest)
        found = binding.decode(encoded)
        if found.vault != self.settings.id:
            raise IntegrityError(f"{what}: its file was written for another vault")
        if found.name != entry.name:
            other = names.shown(found.name)
            raise IntegrityError(f"{what}: its file is that of secret '{other}', copied over it")
        if found.generation > before.generation + _PLAUSIBLE:
            raise IntegrityError(f"{what}: generation {found.generation} is not plausible", _REWRITE)
        if found.generation < before.generation:
            raise IntegrityError(
                f"{what}: rolled back to generation {found.generation}; this host has seen {before.generation}",
                _REWRITE,
            )
        if found.generation == before.generation and digest != before.digest:
            raise IntegrityError(f"{what}: two different files claim generation {found.generation}", _REWRITE)
        return found, Seen(found.generation, digest)

    def _seal(
        self, entry: Entry, plaintext: bytes, to: "Recipients", *, created: str, expires: str | None
    ) -> tuple[bytes, Seen]:
        backend = self.plugins.get(entry.plugin)
        generation = self._generation(entry, backend) + 1
        encoded = binding.encode(
            Binding(self.settings.id, entry.name, generation, created, expires, binding.digest(to.texts))
        )
        ciphertext = backend.encrypt(entry.secret, plaintext, to.texts, encoded)
        kept = backend.binding(ciphertext)
        if kept not in {b"", encoded}:
            raise IntegrityError(f"secret '{entry.name}': plugin '{backend.name}' wrote another binding")
        return ciphertext, Seen(generation if kept else 0, hashlib.sha256(ciphertext).hexdigest())

    def _generation(self, entry: Entry, backend: Backend) -> int:
        """Return the highest generation of *entry* that this host has seen or that lies there.

        Where nothing lies, the commits that touched it count: somebody may have removed a newer one.
        """
        from . import git

        before = self.state.seen(entry.path)
        seen = before.generation if before else 0
        there = 0
        try:
            encoded = backend.binding(self.store.read(entry.path))
            there = binding.decode(encoded).generation if encoded else 0
        except NotFoundError:
            there = git.changes(self.directory, entry.path)
        except IntegrityError:
            there = 0
        return max(seen, there if there <= seen + _PLAUSIBLE else 0)


_PLAUSIBLE = 1_000_000
"""So many generations at most come unseen; more would be somebody's attempt to use up all numbers."""
_REWRITE = "when this is intended, decrypt the file by hand and write the value with vault insert --force"


@contextmanager
def opened(place: Place, environ: Mapping[str, str], warn: Warn) -> Iterator[Vault]:
    """Find and open the vault, and close its plugins at the end.

    Raises NotFoundError when there is none, ConfigError when its configuration is wrong.
    """
    directory = find(place, environ)
    with files.directory(directory) as root:
        vault = Vault(directory, root, place, environ, warn)
        try:
            yield vault
        finally:
            vault.plugins.close()


def find(place: Place, environ: Mapping[str, str]) -> str:
    """Return the vault's directory: ``--vault``, ``$TSKEYVAULT_DIR``, upwards, or the local configuration's.

    Raises NotFoundError.
    """
    for named in (place.vault, environ.get("TSKEYVAULT_DIR", "")):
        if named:
            return _vault_at(named)
    here = os.getcwd()
    while not os.path.lexists(os.path.join(here, config.FILE)):
        if here == (here := os.path.dirname(here)):
            if fallback := local.load(environ).vault:
                return _vault_at(fallback)
            raise NotFoundError("no vault here or above", "vault init makes one, --vault DIR names one")
    return here


def _vault_at(path: str) -> str:
    directory = os.path.abspath(path)
    if not os.path.lexists(os.path.join(directory, config.FILE)):
        raise NotFoundError(f"'{names.shown(directory)}' holds no {config.FILE}", "vault init makes one")
    return directory
