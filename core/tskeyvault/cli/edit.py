"""``vault edit``: change a secret in an editor, which sees it as a file in memory."""

import os
import shlex
from argparse import ArgumentParser, Namespace

from tskeyvault import change, files, limits, names, process, scratch, store
from tskeyvault.errors import IntegrityError, NotFoundError, PluginError, UsageError, VaultError
from tskeyvault.journal import Note
from tskeyvault.scratch import Scratch
from tskeyvault.store import Entry
from tskeyvault.vault import Opened, Vault, opened

from . import notes, place, terminal
from .insert import approve


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="the secret; a new one is made")
    parser.add_argument("--no-commit", action="store_true", help="do not commit to git")


def run(options: Namespace) -> int:
    """Open the secret in $VISUAL or $EDITOR, and write it when it was changed."""
    reference = names.reference(options.name)
    editor = _editor()
    limits.protect_memory()
    with opened(place(options), os.environ, terminal.USER, reference.plugin) as vault:
        entry = vault.entry_for(reference)
        approve(vault, lambda: vault.readers(entry))
        stored = _stored(vault, entry)
        before = Opened(b"", None) if stored is None else vault.open([entry])[entry]
        with limits.stoppable("edit"), scratch.opened(os.environ) as room:
            _edit(room, editor, entry, before.plaintext)
            try:
                after = _written(room, entry)
                if after in {None, before.plaintext}:
                    terminal.say(f"secret '{reference}' is unchanged")
                    return 0
                if _stored(vault, entry) != stored:
                    raise IntegrityError(
                        f"secret '{reference}' was changed meanwhile", "vault edit opens what is there now"
                    )
                expires = before.binding.expires if before.binding else None
                verb = "Add" if stored is None else "Edit"
                said = notes.of(vault, f"{verb} by", reference.name, " ".join(editor))
                note = Note(said or f"{verb} secret {reference}", not options.no_commit)
                change.write(
                    vault, reference, after or b"", force=stored is not None, expires=expires, note=note
                )
            except VaultError as error:
                if not isinstance(error, PluginError) or _stored(vault, entry) == stored:
                    _keep(room, entry)  # and not when only git refuses what is written
                raise
    terminal.say(f"wrote secret '{reference}'")
    return 0


def _editor() -> list[str]:
    try:
        editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    except ValueError:
        raise UsageError("VISUAL or EDITOR has a quote without an end") from None
    if not editor:
        raise UsageError("VISUAL and EDITOR name no program")
    return editor


def _stored(vault: Vault, entry: Entry) -> bytes | None:
    try:
        return vault.store.read(entry.path)
    except NotFoundError:
        return None


def _edit(room: Scratch, editor: list[str], entry: Entry, before: bytes) -> None:
    with files.directory(room.path) as fd:
        if before:
            files.write(fd, _file(entry), before, mode=0o600)
    # With "./" no name is an option: to vi, "+text" is a command.
    status = process.interactive([*editor, f"./{_file(entry)}"], directory=room.path)
    if status != 0:
        raise PluginError(f"the editor ended with status {status}: nothing was changed")


def _written(room: Scratch, entry: Entry) -> bytes | None:
    with files.directory(room.path) as fd:
        try:
            return files.read(fd, _file(entry), store.MAX_SECRET)
        except NotFoundError:
            return None


def _keep(room: Scratch, entry: Entry) -> None:
    """Leave what was written where it is, unless that is nothing."""
    path = os.path.join(room.path, _file(entry))
    if os.path.lexists(path) and os.lstat(path).st_size:
        room.keep()
        terminal.warn(f"what you wrote is kept in '{room.path}', in memory: remove it when you have it")


def _file(entry: Entry) -> str:
    return entry.name.rpartition("/")[2]
