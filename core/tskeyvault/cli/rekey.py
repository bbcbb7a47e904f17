"""``vault rekey``: encrypt anew what is not encrypted to those who read it now."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from tskeyvault import change, limits, names
from tskeyvault.change import Task
from tskeyvault.journal import Note
from tskeyvault.vault import opened

from . import place, terminal
from .insert import approve


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", nargs="?", default="", metavar="FOLDER", help="only the secrets in it")
    parser.add_argument("--plan", action="store_true", help="only say what would be re-encrypted")
    parser.add_argument("--no-commit", action="store_true", help="do not commit to git")


def run(options: Namespace) -> int:
    """Re-encrypt what needs it, all or nothing, in one commit."""
    plugin, folder = names.folder(options.folder)
    limits.protect_memory()
    with opened(place(options), os.environ, terminal.USER, plugin) as vault:
        entries = vault.store.within(folder)
        for entry in entries:
            approve(vault, lambda entry=entry: vault.readers(entry))  # type: ignore[misc]
        with vault.changes.lock():
            tasks = change.plan(vault, entries)
            show_plan(tasks)
            if options.plan or not tasks:
                return 0
            note = Note(f"Re-encrypt {len(tasks)} secrets", not options.no_commit)
            change.rekey(vault, tasks, terminal.progress, note=note)
    terminal.say(f"re-encrypted {len(tasks)} of {len(entries)} secrets")
    return 0


def show_plan(tasks: Sequence[Task]) -> None:
    """Say what is to be re-encrypted, and why."""
    for why in dict.fromkeys(task.why for task in tasks):
        named = [names.shown(task.entry.name) for task in tasks if task.why == why]
        rest = f" and {len(named) - 5} more" if len(named) > 5 else ""  # noqa: PLR2004 - as many as fit a line
        terminal.say(f"to re-encrypt, {why}: {', '.join(named[:5])}{rest}")
    if not tasks:
        terminal.say("nothing to re-encrypt")
