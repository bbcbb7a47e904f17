"""The journal of a change to several files: what is left of it after a kill is done before the next change."""

import hashlib
import json
import os
from collections.abc import Sequence
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
    digest: str
    """SHA-256 (hex) of what the staged file holds."""


def _digest(text: str) -> str:
    if text and len(bytes.fromhex(text)) != hashlib.sha256().digest_size:
        raise ValueError
    return text


class Journal:
    """The journal of one clone of a vault, in this host's state directory and never in the vault.

    It is written when everything is staged, and removed when everything is in place: in between
    the steps can be done again from the start, as often as it takes.
    """

    def __init__(self, state_directory: str, vault: str, directory: str):
        self._directory = state_directory
        clone = hashlib.sha256(os.path.realpath(directory).encode(errors="surrogateescape")).hexdigest()[:16]
        self._file = f"{vault}-{clone}.journal"

    def begin(self, steps: Sequence[Step]) -> None:
        """Write down *steps*.

        Raises DeliveryError; then none of them may be done.
        """
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
        except OSError:
            raise DeliveryError(f"'{self._directory}' cannot be made") from None
        with files.directory(self._directory) as fd, limits.locked(fd, "the state of this host"):
            files.sweep(fd)
            files.write(fd, self._file, json.dumps(steps).encode(), mode=0o600)

    def pending(self) -> list[Step]:
        """Return the steps of a change that was cut off, or nothing.

        Raises IntegrityError when the journal is damaged.
        """
        if not os.path.isdir(self._directory):
            return []
        with files.directory(self._directory) as fd:
            try:
                found = json.loads(files.read(fd, self._file, MAX_SIZE))
                return [
                    Step(str(folder), str(staged), str(name), _digest(sha))
                    for folder, staged, name, sha in found
                ]
            except NotFoundError:
                return []
            except (ValueError, TypeError, RecursionError):
                where = os.path.join(self._directory, self._file)
                raise IntegrityError(
                    f"the journal '{where}' is damaged", "see git status, then remove it"
                ) from None

    def end(self) -> None:
        """Forget the steps: all are done, or none is."""
        with suppress(VaultError), files.directory(self._directory) as fd:
            files.discard(fd, self._file)
            files.sync(fd)
