"""Secrets from one tree into another: all copies are written and read back before anything is removed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from . import binding
from .errors import IntegrityError, UsageError, VaultError
from .journal import Note
from .names import Reference
from .names import secret as checked
from .state import Seen
from .store import Entry, refuse_large
from .vault import Vault

Pair = tuple[Entry, Reference]


def pairs(here: Vault, source: Reference, target: Reference, *, folder: bool, into: bool) -> list[Pair]:
    """Return each entry that *source* means in *here*, and what it is to be called by *target*.

    *folder* and *into*: the user has written a slash behind source or target. Raises NotFoundError.
    """
    single = here.store.find(source) if source.name and not folder else None
    if single:
        last = single.name.rpartition("/")[2]
        name = "/".join(filter(None, [target.name, last])) if into or not target.name else target.name
        return [(single, Reference(target.plugin, checked(name)))]
    found = [it for it in here.store.within(source.name) if source.plugin in {"", it.plugin}]
    return [(it, Reference(target.plugin, _renamed(it.name, source.name, target.name))) for it in found]


class Value(NamedTuple):
    """What is to become a secret."""

    plaintext: bytes
    created: str
    expires: str | None
    """Times in the form of a Binding."""


def copy(here: Vault, there: Vault, wanted: Sequence[Pair], *, force: bool, note: Note) -> dict[Entry, bytes]:
    """Write what *wanted* names into *there*, all or nothing, and read it back; return the ciphertexts copied.

    What is there with the same value already, as after a run that was cut off, is left as it is. Raises
    UsageError when one exists with another and *force* is not set, IntegrityError when one reads differently.
    """
    ciphertexts = {old: here.store.read(old.path) for old, _ in wanted}
    opened = here.open(ciphertexts)
    values: dict[Reference, Value] = {}
    for old, new in wanted:
        if new in values:
            raise UsageError(
                f"secret '{new}': two secrets would get this name", "import one of them by its plugin"
            )
        plaintext, bound = opened[old]
        created, expires = (bound.created, bound.expires) if bound else (binding.now(), None)
        values[new] = Value(plaintext, created, expires)
    write(there, values, force=force, note=note)
    return ciphertexts


def write(there: Vault, values: Mapping[Reference, Value], *, force: bool, note: Note) -> None:
    """Write *values* into *there*, all or nothing, and read them back.

    What is there with the same value already is left as it is. Raises UsageError when one exists
    with another and *force* is not set, IntegrityError when one reads differently.
    """
    contents: dict[str, bytes] = {}
    seen: dict[str, Seen] = {}
    with there.changes.lock():
        for new, (plaintext, created, expires) in values.items():
            entry = there.entry_for(new)
            if not force and there.store.find(new):
                if _is_there(there, entry, plaintext):
                    continue
                raise UsageError(f"secret '{new}' exists", "--force replaces it")
            readers = there.readers(entry)
            sealed = there.seal(entry, refuse_large(plaintext), readers, created=created, expires=expires)
            contents[entry.path], seen[entry.path] = sealed
        if contents:
            there.changes.place(contents, seen=seen, note=note)
    written = there.read(values)
    for new, value in values.items():
        if written[new] != value.plaintext:
            raise IntegrityError(f"secret '{new}' does not read as it was written", "nothing was removed")


def remove(here: Vault, copied: Mapping[Entry, bytes], note: Note) -> None:
    """Remove from *here* what was *copied*, unless one of them was changed meanwhile.

    Raises IntegrityError.
    """
    with here.changes.lock():
        for entry, ciphertext in copied.items():
            if here.store.read(entry.path) != ciphertext:
                hint = "nothing was removed; see what it holds now, then import it again with --force"
                raise IntegrityError(f"secret '{entry.name}' was changed meanwhile", hint)
        here.changes.place({}, [entry.path for entry in copied], seen={}, note=note)


def _is_there(vault: Vault, entry: Entry, plaintext: bytes) -> bool:
    """Tell whether *entry* can be read, and is *plaintext*."""
    try:
        return vault.open([entry])[entry].plaintext == plaintext
    except VaultError:
        return False


def _renamed(name: str, old: str, new: str) -> str:
    rest = name.removeprefix(old).lstrip("/") if old else name
    return checked("/".join(filter(None, [new, rest])))
