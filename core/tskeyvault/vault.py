"""A vault that is open: reading, writing and re-encrypting its secrets, with every check that binds them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from . import binding, files, limits, local, names, parallel
from .backend import PublicKeys
from .binding import Binding
from .changes import Changes
from .config import Settings
from .errors import IntegrityError, NotFoundError, UsageError, VaultError
from .journal import Journal
from .locate import Place, find, housing, settings
from .names import Reference
from .parallel import Progress
from .plugins import Plugins, is_housed, is_installed
from .state import Seen, State
from .store import Entry, Store
from .unbound import REWRITE, Unbound
from .values import UI, Housing
from .writer import Writer

if TYPE_CHECKING:
    from .recipients import Recipients  # what only writing needs is imported there: reading starts services


class Opened(NamedTuple):
    """A secret that was decrypted, and its binding, now verified."""

    plaintext: bytes
    binding: Binding | None


class Vault:
    """One vault for the length of one command; use :func:`opened`."""

    def __init__(  # noqa: PLR0917 - opened() is the one caller
        self,
        directory: str,
        root: int,
        place: Place,
        environ: Mapping[str, str],
        ui: UI,
        plugin: str = "",
        umask: int = 0o022,
    ):
        self.directory = directory
        self.plugin = plugin
        self._place, self._environ = place, environ
        self.local = local.load(environ)
        self.settings: Settings = settings(root, directory, plugin)
        memory = local.state_directory(environ)
        self.store = Store(root, plugin, umask)
        self.state = State(memory, self.settings.id, directory)
        identities, credentials = local.identities(place.identity, environ), local.credentials(environ)
        self.plugins = Plugins(self.local.plugins, identities, ui, credentials, place.consents)
        self._unbound = Unbound(self.store, self.state)
        self._ui = ui
        self.changes = Changes(
            Writer(self.store, Journal(memory, self.settings.id, directory)),
            self.state,
            directory,
            ui,
            commit=self.local.commit,
            own_git=bool(plugin),  # as pass: what lies above the store is not its git
        )

    def read(self, references: Iterable[Reference]) -> dict[Reference, bytes]:
        """Return the plaintexts of *references*, each authenticated and bound to its name.

        Raises NotFoundError, LockedError, PluginError; IntegrityError for a ciphertext that is
        damaged, or that belongs to another name, another vault or an earlier time.
        """
        wanted = list(dict.fromkeys(references))
        elsewhere = [it for it in wanted if is_housed(it.plugin) and it.plugin != self.plugin]
        entries = {it: self.store.get(it) for it in wanted if it not in elsewhere}
        there = self.open(entries.values())
        found = {reference: there[entry].plaintext for reference, entry in entries.items()}
        for plugin in dict.fromkeys(reference.plugin for reference in elsewhere):
            with opened(self._place, self._environ, self._ui, plugin) as other:
                found |= other.read(it for it in elsewhere if it.plugin == plugin)
        return found

    def open(
        self, entries: Iterable[Entry], progress: Progress = lambda _done, _all: None
    ) -> dict[Entry, Opened]:
        """Return what *entries* hold; all ciphertexts are read before the first is decrypted.

        Raises what :meth:`read` raises.
        """
        ciphertexts = {entry: self.store.read(entry.path) for entry in dict.fromkeys(entries)}
        bound = {entry: self.check_binding(entry, ciphertext) for entry, ciphertext in ciphertexts.items()}
        for plugin in {entry.plugin for entry in ciphertexts}:
            self.plugins.get(plugin).prepare(
                [text for entry, text in ciphertexts.items() if entry.plugin == plugin]
            )
        plaintexts = parallel.each(
            self.workers(ciphertexts),
            lambda pair: self.plugins.get(pair[0].plugin).decrypt(pair[0].secret, pair[1]),
            ciphertexts.items(),
            progress,
        )
        opened = {}
        for (entry, ciphertext), plaintext in zip(ciphertexts.items(), plaintexts, strict=True):
            opened[entry] = Opened(plaintext, bound[entry])
            if bound[entry] is None:
                self._warn(entry, ciphertext)
        self.state.record({entry.path: _seen(bound[entry], text) for entry, text in ciphertexts.items()})
        return opened

    def workers(self, entries: Iterable[Entry]) -> int:
        """Return how many of *entries* may be encrypted or decrypted at once."""
        found = [self.plugins.get(plugin).workers() for plugin in {entry.plugin for entry in entries}]
        return min(found, default=1)

    def _warn(self, entry: Entry, ciphertext: bytes) -> None:
        """Tell the user of a *ciphertext* without a binding that this host sees for the first time."""
        if self.state.seen(entry.path) == _seen(None, ciphertext):
            return
        backend = self.plugins.get(entry.plugin)
        other = "" if backend.implements("vault_binding") else self._unbound.other(entry, ciphertext)
        if other:
            self._ui.message(f"warning: secret '{entry.name}' is the very file of secret '{other}'")
        elif not backend.implements("vault_encrypted_to"):
            self._ui.message(
                f"warning: secret '{entry.name}' is not bound to its name yet; the next write binds it"
            )

    def open_each(
        self, entries: Iterable[Entry], progress: Progress = lambda _done, _all: None
    ) -> tuple[dict[Entry, Opened], dict[Entry, VaultError]]:
        """Return what those of *entries* hold that can be opened, and why the others cannot."""
        entries = list(entries)
        with suppress(VaultError):
            return self.open(entries, progress), {}
        opened: dict[Entry, Opened] = {}
        failed: dict[Entry, VaultError] = {}
        for entry in entries:
            try:
                opened |= self.open([entry])
            except VaultError as error:
                failed[entry] = error
        return opened, failed

    def binding(self, entry: Entry, ciphertext: bytes) -> Binding | None:
        """Return the binding of *ciphertext*, which needs no key and is not verified.

        Raises IntegrityError.
        """
        try:
            encoded = self.plugins.get(entry.plugin).binding(ciphertext)
            return binding.decode(encoded) if encoded else None
        except IntegrityError as error:
            raise IntegrityError(f"secret '{entry.name}': {error.message}", error.hint) from None

    def check_binding(self, entry: Entry, ciphertext: bytes) -> Binding | None:
        """Return the binding of *ciphertext*, checked against what is asked for and what this host has seen.

        Decryption of the very same bytes is what authenticates it. Raises IntegrityError.
        """
        what = f"secret '{entry.name}'"
        before = self.state.seen(entry.path) or Seen(0, "")
        found = self.binding(entry, ciphertext)
        if found is None:
            if before.generation:
                raise IntegrityError(f"{what}: this host has seen it bound, and this file is not", REWRITE)
            if not self.plugins.get(entry.plugin).implements("vault_binding"):
                self._unbound.check(entry, ciphertext)
            return None
        if found.vault != self.settings.id:
            raise IntegrityError(f"{what}: its file was written for another vault", REWRITE)
        if found.name != entry.name:
            other = names.shown(found.name)
            raise IntegrityError(f"{what}: its file is that of secret '{other}', copied over it", REWRITE)
        if found.generation > before.generation + _PLAUSIBLE:
            raise IntegrityError(f"{what}: generation {found.generation} is not plausible", REWRITE)
        if found.generation < before.generation:
            rolled = f"rolled back to generation {found.generation}; this host has seen {before.generation}"
            raise IntegrityError(f"{what}: {rolled}", REWRITE)
        if found.generation == before.generation and _seen(found, ciphertext) != before:
            raise IntegrityError(f"{what}: two different files claim generation {found.generation}", REWRITE)
        return found

    def seal(
        self, entry: Entry, plaintext: bytes, to: "Recipients", *, created: str, expires: str | None
    ) -> tuple[bytes, Seen]:
        """Return *plaintext* encrypted as the next generation of *entry*, and what is to be remembered of it.

        *created* and *expires* are times in the form of a Binding.
        """
        backend = self.plugins.get(entry.plugin)
        number = self._generation(entry) + 1
        bound = Binding(self.settings.id, entry.name, number, created, expires, binding.digest(to.texts))
        encoded = binding.encode(bound)
        with about(entry):
            ciphertext = backend.encrypt(entry.secret, plaintext, to.texts, encoded, to.public_keys)
            kept = backend.binding(ciphertext)
        if expires and not kept:
            raise UsageError(
                f"secret '{entry.name}': plugin '{backend.name}' has no place for an expiry date"
            )
        if kept not in {b"", encoded}:
            raise IntegrityError(f"secret '{entry.name}': plugin '{backend.name}' wrote another binding")
        return ciphertext, _seen(bound if kept else None, ciphertext)

    def entry_for(self, reference: Reference) -> Entry:
        """Return the entry of *reference*, or where it will be when it is new."""
        return self.store.find(reference) or Entry(reference.plugin or self.settings.backend, reference.name)

    def readers(self, entry: Entry) -> "Recipients":
        """Return the approved recipients of *entry*.

        Raises RecipientsChangedError, NotFoundError.
        """
        from . import recipients

        folder = entry.name.rpartition("/")[0]
        return recipients.approved(
            self.store,
            self.state,
            self.directory,
            entry.plugin,
            folder,
            resolve=self.resolve,
            vouched=lambda plugin, *given: self.plugins.get(plugin).recipients(*given),
        )

    def resolve(
        self, plugin: str, found: "Recipients", public_keys: PublicKeys | None = None
    ) -> "Recipients":
        """Return *found* with whom its entries stand for, by *public_keys* or those in the vault.

        Raises what ``vault_resolve`` raises.
        """
        if not is_installed(plugin) or not self.plugins.get(plugin).implements("vault_resolve"):
            return found
        public_keys = self.store.public_keys() if public_keys is None else public_keys
        texts = [entry.text for entry in found.entries]
        readers = tuple(self.plugins.get(plugin).resolve(texts, public_keys))
        return found._replace(readers=readers, public_keys=public_keys)

    def _generation(self, entry: Entry) -> int:
        """Return the highest generation of *entry* that this host has seen or that lies there.

        Where nothing lies, the commits that touched it count: somebody may have removed a newer one.
        """
        from . import git

        before = self.state.seen(entry.path)
        seen = before.generation if before else 0
        there = 0
        try:
            bound = self.binding(entry, self.store.read(entry.path))
            there = bound.generation if bound else 0
        except NotFoundError:
            there = git.changes(self.directory, entry.path)
        except IntegrityError:
            there = 0
        return max(seen, there if there <= seen + _PLAUSIBLE else 0)


@contextmanager
def about(entry: Entry) -> Iterator[None]:
    """Let every failure of the body name the secret that it is about."""
    what = f"secret '{entry.name}'"
    try:
        yield
    except VaultError as error:
        if what not in error.message:
            error.message = f"{what}: {error.message}"
        raise


def _seen(bound: Binding | None, ciphertext: bytes) -> Seen:
    return Seen(bound.generation if bound else 0, hashlib.sha256(ciphertext).hexdigest())


_PLAUSIBLE = 1_000_000
"""So many generations at most come unseen; more would be somebody's attempt to use up all numbers."""


@contextmanager
def opened(place: Place, environ: Mapping[str, str], ui: UI, plugin: str = "") -> Iterator[Vault]:
    """Find and open the vault, and close its plugins at the end.

    Where *plugin* keeps its secrets in a directory of its own, that is opened instead, like a
    vault without services. Raises NotFoundError when there is none, ConfigError when its
    configuration is wrong.
    """
    housed = plugin if is_housed(plugin) else ""
    where = housing(housed, environ, ui) if housed else Housing(find(place, environ), 0o022)
    with files.directory(where.directory) as root:
        vault = Vault(where.directory, root, place, environ, ui, housed, where.umask)
        with limits.stoppable("the command", unless_handled=True):  # or what a plugin has started would go on
            try:
                yield vault
            finally:
                vault.plugins.close()
