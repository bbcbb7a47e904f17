"""``vault edit``: change a secret in an editor, which sees it as a file in memory."""

import os
import shlex
from argparse import ArgumentParser, Namespace

from tskeyvault import change, files, limits, names, process, scratch, store
from tskeyvault.errors import NotFoundError, PluginError, UsageError, VaultError
from tskeyvault.names import Reference
from tskeyvault.scratch import Scratch
from tskeyvault.vault import Vault, opened

from . import place, terminal
from .insert import approve


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="the secret; a new one is made")
    parser.add_argument("--no-commit", action="store_true", help="do not commit to git")


def run(options: Namespace) -> int:
    """Open the secret in $VISUAL or $EDITOR, and write it when it was changed."""
    reference = names.reference(options.name)
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    if not editor:
        raise UsageError("VISUAL and EDITOR name no program")
    limits.protect_memory()
    with opened(place(options), os.environ, terminal.USER) as vault:
        entry = vault.entry_for(reference)
        approve(vault, lambda: vault.readers(entry))
        try:
            before = vault.read([reference])[reference]
        except NotFoundError:
            before = b""
        with limits.stoppable("edit"), scratch.opened(os.environ) as room:
            after = _edited(room, editor, entry.name.rpartition("/")[2], before)
            if after == before:
                terminal.say(f"secret '{reference}' is unchanged")
                return 0
            _write(vault, reference, room, after)
        verb = "Edit" if before else "Add"
        vault.commit([entry.path], f"{verb} secret {reference}", wanted=not options.no_commit)
    terminal.say(f"wrote secret '{reference}'")
    return 0


def _edited(room: Scratch, editor: list[str], name: str, before: bytes) -> bytes:
    with files.directory(room.path) as fd:
        if before:
            files.write(fd, name, before, mode=0o600)
        status = process.interactive([*editor, name], directory=room.path)
        if status != 0:
            raise PluginError(f"the editor ended with status {status}: nothing was changed")
        try:
            return files.read(fd, name, store.MAX_SECRET)
        except NotFoundError:
            return before


def _write(vault: Vault, reference: Reference, room: Scratch, after: bytes) -> None:
    try:
        change.write(vault, reference, after, force=True)
    except VaultError:
        if after:
            room.keep()
            terminal.warn(f"what you wrote is kept in '{room.path}', in memory: remove it when you have it")
        raise
