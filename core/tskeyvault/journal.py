"""The journal of a change: what is left of it after a kill, git's commit included, is done before the next one."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from . import files, limits
from .errors import DeliveryError, IntegrityError, NotFoundError, VaultError

MAX_SIZE = 64 << 20
"""Bytes of a journal."""


class Step(NamedTuple):
    """One file of a change: a rename in a folder, or a removal."""

    folder: str
    """Relative to the vault."""
    temporary: str
    """The staged file, complete and synced, or ``""`` to remove *name*."""
    name: str
    before: str
    """What was called *name* when the change began: SHA-256 (hex), or ``""`` for nothing."""
    after: str
    """What it is to be: SHA-256 (hex) of the staged file, or ``""`` for nothing."""

    @property
    def path(self) -> str:
        """The file that is changed, relative to the vault."""
        return f"{self.folder}/{self.name}"


class Note(NamedTuple):
    """What git is told of a change."""

    message: str
    """Of the commit."""
    commit: bool
    """Whether the user wants one."""


UNTOLD = Note("Change secrets", commit=False)
"""Git is told nothing."""


class Record(NamedTuple):
    """A change that is staged, and what is to be done when its steps are."""

    steps: tuple[Step, ...]
    note: Note
    approved: Mapping[str, tuple[str, ...]]
    """Recipients to approve with it, by recipients file."""
    left: tuple[str, ...] = ()
    """Paths of earlier changes that git has not taken yet, to be committed with it."""


class Journal:
    """The journal of one clone of a vault, in this host's state directory and never in the vault.

    It is written when everything is staged, and removed when everything is in place and committed:
    in between the steps can be done again from the start, as often as it takes.
    """

    def __init__(self, state_directory: str, vault: str, directory: str):
        self._directory = state_directory
        clone = hashlib.sha256(os.path.realpath(directory).encode(errors="surrogateescape")).hexdigest()[:16]
        self._file = f"{vault}-{clone}.journal"

    def begin(self, record: Record) -> None:
        """Write down *record*.

        Raises DeliveryError; then none of its steps may be done.
        """
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
        except OSError:
            raise DeliveryError(f"'{self._directory}' cannot be made") from None
        with files.directory(self._directory) as fd, limits.locked(fd, "the state of this host"):
            files.sweep(fd)
            files.write(fd, self._file, json.dumps(record._asdict()).encode(), mode=0o600)

    def pending(self) -> Record | None:
        """Return the change that was cut off, or None.

        Raises IntegrityError when the journal is damaged.
        """
        if not os.path.isdir(self._directory):
            return None
        with files.directory(self._directory) as fd:
            try:
                return _record(json.loads(files.read(fd, self._file, MAX_SIZE)))
            except NotFoundError:
                return None
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                where = os.path.join(self._directory, self._file)
                raise IntegrityError(
                    f"the journal '{where}' is damaged", "see git status, then remove it"
                ) from None

    def end(self) -> None:
        """Forget the change: all of it is done, or nothing."""
        with suppress(VaultError), files.directory(self._directory) as fd:
            files.discard(fd, self._file)
            files.sync(fd)


def _record(data: dict[str, list[list[str]]]) -> Record:
    message, commit = data["note"]
    approved = {str(path): tuple(map(str, lines)) for path, lines in dict(data["approved"]).items()}
    return Record(
        tuple(Step(*map(_text, fields)) for fields in data["steps"]),
        Note(_text(message), bool(commit)),
        approved,
        tuple(map(_text, data["left"])),
    )


def _text(field: object) -> str:
    if not isinstance(field, str):
        raise TypeError
    return field
