"""Changes to a vault: writing, moving and removing secrets, and re-encryption; each all or nothing."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import binding, parallel, recipients
from .binding import Binding
from .errors import UsageError
from .journal import UNTOLD, Note
from .names import Reference
from .parallel import Progress
from .plugins import folder as folder_of
from .recipients import Recipients
from .state import Seen
from .store import FOLDER, PUBLIC_KEYS, Entry, refuse_large
from .vault import Vault, about

UNBOUND = "not bound to its name yet"
OTHERS = "encrypted to other recipients"


class Task(NamedTuple):
    """A secret that is to be encrypted anew."""

    entry: Entry
    to: Recipients
    why: str


def write(
    vault: Vault,
    reference: Reference,
    plaintext: bytes,
    *,
    force: bool,
    expires: str | None = None,
    note: Note = UNTOLD,
) -> Entry:
    """Encrypt *plaintext* as the next generation of the secret *reference*; return where.

    *expires* is a time in the form of a Binding. Raises UsageError when the secret exists and
    *force* is not set, RecipientsChangedError.
    """
    refuse_large(plaintext)
    with vault.changes.lock():
        entry = vault.entry_for(reference)
        if not force and vault.store.find(Reference(entry.plugin, entry.name)):
            raise UsageError(f"secret '{reference}' exists", "--force replaces it")
        to = vault.readers(entry)
        ciphertext, seen = vault.seal(entry, plaintext, to, created=binding.now(), expires=expires)
        vault.changes.place({entry.path: ciphertext}, seen={entry.path: seen}, note=note)
    return entry


def remove(vault: Vault, entries: Iterable[Entry], note: Note = UNTOLD) -> None:
    """Remove the ciphertexts of *entries*; git keeps what was committed."""
    with vault.changes.lock():
        vault.changes.place({}, [entry.path for entry in entries], seen={}, note=note)


def transfer(
    vault: Vault, pairs: Sequence[tuple[Entry, Entry]], *, keep: bool, force: bool, note: Note = UNTOLD
) -> None:
    """Write each first entry's secret as the second, bound to its name and readers; *keep* the first or not.

    Raises UsageError when a second one exists and *force* is not set.
    """
    with vault.changes.lock():
        contents: dict[str, bytes] = {}
        seen: dict[str, Seen] = {}
        for _, new in pairs:
            if not force and vault.store.find(Reference(new.plugin, new.name)):
                raise UsageError(f"secret '{new.name}' exists", "--force replaces it")
        opened = vault.open(old for old, _ in pairs)
        for old, new in pairs:
            bound = opened[old].binding
            created, expires = (bound.created, bound.expires) if bound else (binding.now(), None)
            sealed = vault.seal(
                new, opened[old].plaintext, vault.readers(new), created=created, expires=expires
            )
            contents[new.path], seen[new.path] = sealed
        vault.changes.place(contents, [] if keep else [old.path for old, _ in pairs], seen=seen, note=note)


def governed(vault: Vault, plugin: str, path: str) -> list[Entry]:
    """Return the secrets that a recipients file at *path* governs, whether it is there yet or not."""
    folder, _, file = path.removeprefix(f"{folder_of(plugin)}/").rpartition("/")
    below = [
        entry
        for entry in vault.store.entries(lambda _: None)
        if entry.plugin == plugin and entry.name.startswith(f"{folder}/" if folder else "")
    ]
    nearest = {entry: vault.store.nearest(file, entry.name.rpartition("/")[0]) for entry in below}
    return [entry for entry in below if nearest[entry].count("/") <= path.count("/")]


def plan(vault: Vault, entries: Iterable[Entry], to: Recipients | None = None) -> list[Task]:
    """Return which of *entries* are not encrypted to those who read them now, or to *to*.

    Needs no key: the binding says to whom a file was encrypted. Raises RecipientsChangedError, and
    IntegrityError for a file that is not what it should be.
    """
    tasks = []
    for entry in entries:
        # Also when *to* is given: a nearer file that was approved may be gone.
        approved = vault.readers(entry)
        readers = to or approved
        ciphertext = vault.store.read(entry.path)
        bound = vault.check_binding(entry, ciphertext)
        if why := owed(vault, entry, readers, ciphertext, bound):
            tasks.append(Task(entry, readers, why))
    return tasks


def owed(vault: Vault, entry: Entry, to: Recipients, ciphertext: bytes, bound: Binding | None) -> str:
    """Return why *ciphertext*, whose binding is *bound*, is to be encrypted anew to *to*: UNBOUND, OTHERS or ``""``.

    Raises IntegrityError for what cannot be parsed.
    """
    backend = vault.plugins.get(entry.plugin)
    if bound is not None:
        same = bound.recipients == binding.digest(to.texts)
    elif backend.implements("vault_encrypted_to"):
        with about(entry):
            same = backend.encrypted_to(ciphertext, to.texts, to.public_keys)
    else:
        return UNBOUND
    return "" if same else OTHERS


def rekey(
    vault: Vault,
    tasks: Sequence[Task],
    progress: Progress,
    changed: Recipients | None = None,
    note: Note = UNTOLD,
) -> None:
    """Encrypt the secrets of *tasks* anew, and write the recipients file *changed*.

    The caller holds the vault's lock. Raises what :meth:`Vault.read` raises: who cannot read a
    secret cannot let others read it.
    """
    contents: dict[str, bytes] = {changed.path: recipients.render(changed)} if changed else {}
    written, removed = _public_keys(vault, changed) if changed and changed.readers else ({}, [])
    seen: dict[str, Seen] = {}
    opened = vault.open((task.entry for task in tasks), progress)

    def sealed(task: Task) -> tuple[bytes, Seen]:
        plaintext, bound = opened.pop(task.entry)
        created, expires = (bound.created, bound.expires) if bound else (binding.now(), None)
        return vault.seal(task.entry, plaintext, task.to, created=created, expires=expires)

    workers = vault.workers(task.entry for task in tasks)
    for task, (ciphertext, known) in zip(tasks, parallel.each(workers, sealed, tasks), strict=True):
        contents[task.entry.path], seen[task.entry.path] = ciphertext, known
    approved = {changed.path: changed.approvable} if changed else None
    vault.changes.place(contents | written, removed, seen=seen, approved=approved, note=note)


def _public_keys(vault: Vault, changed: Recipients) -> tuple[dict[str, bytes], list[str]]:
    """Return the public key files to write, and the paths of those to remove, so that they are those of *changed*."""
    there = vault.store.public_keys()
    folder = f"{FOLDER}/{PUBLIC_KEYS}"
    written = {
        f"{folder}/{name}": data for name, data in changed.public_keys.items() if there.get(name) != data
    }
    return written, [f"{folder}/{name}" for name in there if name not in changed.public_keys]
