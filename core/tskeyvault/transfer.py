"""Secrets from one tree into another: all copies are written and read back before anything is removed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from . import binding
from .change import remove as remove_entries
from .errors import IntegrityError, UsageError
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

    Raises UsageError when one exists and *force* is not set, IntegrityError when one reads differently.
    """
    ciphertexts = {old: here.store.read(old.path) for old, _ in wanted}
    opened = here.open(ciphertexts)
    values = {}
    for old, new in wanted:
        plaintext, bound = opened[old]
        created, expires = (bound.created, bound.expires) if bound else (binding.now(), None)
        values[new] = Value(plaintext, created, expires)
    write(there, values, force=force, note=note)
    return ciphertexts


def write(there: Vault, values: Mapping[Reference, Value], *, force: bool, note: Note) -> None:
    """Write *values* into *there*, all or nothing, and read them back.

    Raises UsageError when one exists and *force* is not set, IntegrityError when one reads differently.
    """
    contents: dict[str, bytes] = {}
    seen: dict[str, Seen] = {}
    with there.lock():
        for new, (plaintext, created, expires) in values.items():
            if not force and there.store.find(new):
                raise UsageError(f"secret '{new}' exists", "--force replaces it")
            entry = there.entry_for(new)
            readers = there.readers(entry)
            sealed = there.seal(entry, refuse_large(plaintext), readers, created=created, expires=expires)
            contents[entry.path], seen[entry.path] = sealed
        there.place(contents, seen=seen, note=note)
    written = there.read(values)
    for new, value in values.items():
        if written[new] != value.plaintext:
            raise IntegrityError(f"secret '{new}' does not read as it was written", "nothing was removed")


def remove(here: Vault, copied: Mapping[Entry, bytes], note: Note) -> None:
    """Remove from *here* what was *copied*, unless one of them was changed meanwhile.

    Raises IntegrityError.
    """
    for entry, ciphertext in copied.items():
        if here.store.read(entry.path) != ciphertext:
            raise IntegrityError(f"secret '{entry.name}' was changed meanwhile", "nothing was removed")
    remove_entries(here, copied, note)


def _renamed(name: str, old: str, new: str) -> str:
    rest = name.removeprefix(old).lstrip("/") if old else name
    return checked("/".join(filter(None, [new, rest])))
