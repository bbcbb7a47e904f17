"""Changes to one vault: written all or nothing, remembered by this host, and told to git."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from . import limits, names
from .errors import VaultError
from .journal import Note
from .state import Seen, State
from .values import UI
from .writer import Finished, Writer


class Changes:
    """What changes a vault, for the length of one command."""

    def __init__(self, writer: Writer, state: State, directory: str, ui: UI, *, commit: bool, own_git: bool):
        """Change what *writer* writes to; *commit* to git, and with *own_git* only to one that begins there."""
        self.writer = writer
        self._state = state
        self._directory = directory
        self._ui = ui
        self._commit = commit
        self._own_git = own_git
        self._left: tuple[str, ...] = ()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for a change; first finish and commit what a killed command had begun.

        SIGTERM and SIGHUP let the body clean up. Raises DeliveryError when another process holds it too long.
        """
        with limits.stoppable("the change"), self.writer.lock() as finished:
            if finished:
                self._settle(finished)
            yield

    def recover(self) -> None:
        """Finish what a killed command had begun, if there is any."""
        if self.writer.is_unfinished():
            with self.lock():
                pass

    def place(
        self,
        contents: Mapping[str, bytes],
        removed: Iterable[str] = (),
        *,
        seen: Mapping[str, Seen],
        approved: Mapping[str, tuple[str, ...]] | None = None,
        note: Note,
    ) -> None:
        """Write *contents* and remove *removed*, all or nothing, remember what is new, and commit.

        The caller holds the lock. Raises DeliveryError; PluginError when git refuses: what was
        written then stays, and is committed with the next change.
        """
        removed = tuple(removed)
        committing = note.commit and self._is_committed()

        def remember() -> None:
            self._state.record(seen)
            if approved:
                self._state.approve(approved)

        note = note._replace(commit=committing)
        self.writer.change(contents, removed, note=note, approved=approved, left=self._left, placed=remember)
        if committing:
            self.commit([*contents, *removed], note)

    def commit(self, paths: Iterable[str], note: Note) -> None:
        """Commit exactly *paths*, and what is left of earlier changes, by *note*.

        Raises PluginError.
        """
        from . import git

        touched = dict.fromkeys(map(os.path.normpath, (*paths, *self._left)))
        if not git.commit(self._directory, list(touched), note.message):
            self._ui.message("warning: git has nothing to commit of what was written: see git status")
        self.writer.settle()
        self._left = ()

    def _is_committed(self) -> bool:
        """Tell whether changes are to be committed: by the local configuration, and in a work tree.

        Raises PluginError when git does not answer, before anything was written.
        """
        from . import git

        if not self._commit:
            return False
        top = git.work_tree(self._directory)
        if self._own_git:  # as pass: what lies above the store is not its git
            return bool(top) and os.path.realpath(top) == os.path.realpath(self._directory)
        if top:
            return True
        self._ui.message(f"warning: '{self._directory}' is not in a git work tree: nothing was committed")
        return False

    def _settle(self, finished: Finished) -> None:
        """Approve, commit and tell what was *finished* in the place of a command that was killed."""
        from . import git

        record, others, done = finished
        how = "finished" if done else "gave up"
        self._ui.message(f"{how} what was cut off: {names.shown(record.note.message)}")
        for path in others:
            self._ui.message(f"warning: '{names.shown(path)}' was changed since, and stays as it is")
        if done and record.approved:
            self._state.approve(record.approved)
        own = (
            [step.path for step in record.steps if step.path not in others]
            if done and record.note.commit
            else []
        )
        if paths := tuple(dict.fromkeys((*own, *record.left))):
            try:
                git.commit(self._directory, list(map(os.path.normpath, paths)), record.note.message)
                self.writer.settle()
            except VaultError as error:
                self._left = paths
                self._ui.message(f"warning: {error.message}; it is committed with the next change")
