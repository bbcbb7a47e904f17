"""Changes to the store: every file of one or none, and finished by the next command where one was killed."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from typing import NamedTuple

from . import files, limits
from .errors import NotFoundError, VaultError
from .journal import UNTOLD, Journal, Note, Record, Step
from .store import MAX_CIPHERTEXT, Store


class Finished(NamedTuple):
    """What became of a change that was cut off, when the next one took the lock."""

    record: Record
    passed_over: tuple[str, ...]
    """Paths that somebody else has changed since, and that were left so."""
    done: bool
    """False when it was given up: nothing of it was done, and not all of it could be."""


class _Found(Enum):
    DONE = "done"
    READY = "ready"
    OTHER = "other"


class Writer:
    """What writes into one store, and remembers in its journal what it is at."""

    def __init__(self, store: Store, journal: Journal):
        self._store = store
        self._journal = journal

    @contextmanager
    def lock(self) -> Iterator[Finished | None]:
        """Hold the store against other writers on this host, and finish what a killed one began: yield that.

        Where git is to be told of it, it is to be ended by :meth:`settle`. Raises DeliveryError when another one holds it too long.
        """
        with self._store.folder([], create=True) as fd, limits.locked(fd, "the vault"):
            pending = self._journal.pending()
            finished = self._resume(pending) if pending else None
            self._sweep()
            yield finished

    def is_unfinished(self) -> bool:
        """Tell whether a change was cut off, so that the next lock finishes it."""
        return self._journal.pending() is not None

    def _sweep(self) -> None:
        """Remove what killed runs have staged anywhere in the store."""
        for folder in {path.rpartition("/")[0] for path in self._store.walk(lambda _: None, hidden=True)}:
            with self._store.folder(folder.split("/") if folder else []) as fd:
                files.sweep(fd)

    def change(
        self,
        contents: Mapping[str, bytes],
        removed: Iterable[str] = (),
        *,
        note: Note = UNTOLD,
        approved: Mapping[str, tuple[str, ...]] | None = None,
        left: tuple[str, ...] = (),
        placed: Callable[[], None] = lambda: None,
    ) -> None:
        """Write *contents*, by path, and remove the files at *removed*: all of it or nothing.

        Nothing is renamed before everything is on the disk. A change that is killed while it
        renames is finished by the next one to take the lock, which the caller holds, and which
        then knows *note*, *approved* and *left*. *placed* is called when all is in place, before
        signals are let through again. Where git is to be told, :meth:`settle` ends the change.
        """
        paths = [*contents, *removed]
        if not paths:
            return
        for folder in {path.rpartition("/")[0] for path in paths}:
            with self._store.folder(folder.split("/")[1:], create=True) as fd:
                files.sweep(fd)
        steps: list[Step] = []
        try:
            for path in paths:
                step = self._stage(path, contents.get(path), synced=len(paths) == 1)
                steps.append(step)
            if len(steps) > 1:
                files.sync_all(self._store.root)
            self._journal.begin(Record(tuple(steps), note, approved or {}, left))
        except BaseException:
            self._undo(steps)
            raise
        with limits.uninterrupted():
            try:
                self._do(steps[0])
            except VaultError:
                self._undo(steps)
                raise
            self._finish(steps)
            placed()
            if not note.commit and not left:
                self._journal.end()

    def settle(self) -> None:
        """Forget the last change: git was told of it. The lock is held."""
        self._journal.end()

    def _stage(self, path: str, content: bytes | None, *, synced: bool) -> Step:
        folder, _, name = path.rpartition("/")
        with self._store.folder(folder.split("/")[1:]) as fd:
            files.refuse_directory(fd, name)
            before = _digest_of(fd, name)
            if content is None:
                return Step(folder, "", name, before, "")
            staged = files.stage(fd, content, mode=0o666 & ~self._store.umask, synced=synced)
            return Step(folder, staged, name, before, hashlib.sha256(content).hexdigest())

    def _do(self, step: Step) -> None:
        with self._store.folder(step.folder.split("/")[1:], create=True) as fd:
            if not step.temporary:
                with suppress(NotFoundError):
                    files.remove(fd, step.name)
            elif files.exists(fd, step.temporary):
                files.replace(fd, step.temporary, step.name)

    def _finish(self, steps: Sequence[Step]) -> None:
        """Do *steps*, some of which may be done already."""
        with limits.uninterrupted():
            for step in steps:
                self._do(step)
            folders = [folder.split("/")[1:] for folder in dict.fromkeys(step.folder for step in steps)]
            for parts in folders:
                with self._store.folder(parts) as fd:
                    files.sync(fd)
            for parts in folders:  # not before all are synced: one may go with another
                self._prune(parts)

    def _undo(self, steps: Sequence[Step]) -> None:
        """Forget *steps*, of which none was done."""
        with limits.uninterrupted():
            self._journal.end()
            for step in steps:
                with suppress(VaultError), self._store.folder(step.folder.split("/")[1:]) as fd:
                    files.discard(fd, step.temporary)
                self._prune(step.folder.split("/")[1:])

    def _resume(self, record: Record) -> Finished:
        """Finish a change that was cut off, but over no file that was changed since.

        When nothing was written yet and not all can be, nothing is: the tree may even be another
        one in the place of that one.
        """
        found = [(step, self._look(step)) for step in record.steps]
        others = tuple(step.path for step, how in found if how is _Found.OTHER)
        if others and not any(step.temporary for step, how in found if how is _Found.DONE):
            self._undo(record.steps)
            return Finished(record, others, done=False)
        self._finish([step for step, how in found if how is not _Found.OTHER])
        if not record.note.commit and not record.left:
            self._journal.end()
        return Finished(record, others, done=True)

    def _look(self, step: Step) -> _Found:
        """Tell whether *step* is done, can be done, or is about a file that somebody has changed since."""
        try:
            with self._store.folder(step.folder.split("/")[1:]) as fd:
                there = _digest_of(fd, step.name)
                staged = _digest_of(fd, step.temporary) if step.temporary else ""
        except NotFoundError:
            there = staged = ""
        if there == step.after:
            return _Found.DONE
        return _Found.READY if (there, staged) == (step.before, step.after) else _Found.OTHER

    def _prune(self, parts: list[str]) -> None:
        """Remove the folder *parts* and those above it, as far as they are empty."""
        for depth in range(len(parts), 0, -1):
            try:
                with self._store.folder(parts[: depth - 1]) as fd:
                    os.rmdir(parts[depth - 1], dir_fd=fd)
            except (OSError, VaultError):
                return


def _digest_of(fd: int, name: str) -> str:
    """Return SHA-256 (hex) of the file *name* in the folder *fd*: ``""`` for nothing, ``"?"`` for what is no secret."""
    try:
        return hashlib.sha256(files.read(fd, name, MAX_CIPHERTEXT)).hexdigest()
    except NotFoundError:
        return ""
    except VaultError:
        return "?"
