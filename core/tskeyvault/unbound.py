"""Ciphertexts of formats without a place for a binding: this host's memory tells a copy and a rollback.

No two such files are ever the same, since each is encrypted with a key of its own: one that is, is a copy.
"""

import hashlib
import os
import shlex

from . import names
from .errors import IntegrityError, VaultError
from .state import Seen, State
from .store import Entry, Store

REWRITE = "when this is intended, decrypt the file by hand and write the value with vault insert --force"
_BY_HAND = {"gpg": ("git log", "gpg --decrypt {path}"), "pass": ("pass git log", "pass show -- {name}")}
"""By plugin: what shows the history of a file, and what decrypts it without asking what this host remembers of it."""


class Unbound:
    """What is known of such ciphertexts: by what this host has seen, and by what lies in the store now."""

    def __init__(self, store: Store, state: State):
        self._store = store
        self._state = state
        self._lying: dict[str, list[str]] | None = None

    def check(self, entry: Entry, ciphertext: bytes) -> None:
        """Refuse another secret's file, and an earlier one of *entry*, where this host has seen another one of it.

        Raises IntegrityError.
        """
        before, now = self._state.seen(entry.path) or Seen(0, ""), seen(ciphertext)
        if not before.digest or now == before:
            return
        what = f"secret '{entry.name}'"
        if other := self.other(entry, ciphertext):
            raise IntegrityError(
                f"{what}: its file is that of secret '{other}', copied over it", _rewrite(entry)
            )
        if self._state.whose(now.digest):
            raise IntegrityError(
                f"{what}: rolled back to an earlier file, after this host has seen a newer one",
                _rewrite(entry),
            )

    def other(self, entry: Entry, ciphertext: bytes) -> str:
        """Return the name of another secret that *ciphertext* is or was the file of, to be shown, or ``""``."""
        digest = seen(ciphertext).digest
        paths = [self._state.whose(digest), *self._paths().get(digest, ())]
        path = next((path for path in paths if path not in {"", entry.path}), "")
        return names.shown(path.partition("/")[2].rpartition(".")[0])

    def _paths(self) -> dict[str, list[str]]:
        """Return where each ciphertext lies now, by its digest."""
        if self._lying is None:
            self._lying = {}
            for entry in self._store.entries(lambda _: None):
                try:
                    digest = seen(self._store.read(entry.path)).digest
                except VaultError:
                    continue  # whoever reads it is told
                self._lying.setdefault(digest, []).append(entry.path)
        return self._lying


def _rewrite(entry: Entry) -> str:
    """Return how the user says that the file of *entry* is to be believed."""
    if entry.plugin not in _BY_HAND:
        return REWRITE
    history, opening = _BY_HAND[entry.plugin]
    path = shlex.quote(os.path.normpath(entry.path))
    opened = opening.format(path=path, name=shlex.quote(entry.name))
    name = shlex.quote(f"{entry.plugin}:{entry.name}")
    return f"{history} -- {path} says who did it; when it is meant: {opened} | vault insert --force {name}"


def seen(ciphertext: bytes) -> Seen:
    """Return what is remembered of *ciphertext*."""
    return Seen(0, hashlib.sha256(ciphertext).hexdigest())
