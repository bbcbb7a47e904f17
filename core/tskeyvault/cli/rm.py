"""``vault rm``: remove secrets; git keeps what was committed."""

import os
from argparse import ArgumentParser, Namespace

from tskeyvault import change, names, plugins
from tskeyvault.errors import NotFoundError, UsageError
from tskeyvault.journal import Note
from tskeyvault.store import Entry
from tskeyvault.vault import Vault, opened

from . import notes, place, terminal


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="a secret, or with -r a folder")
    parser.add_argument("-r", "--recursive", action="store_true", help="remove all secrets of a folder")
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.add_argument("--no-commit", action="store_true", help="do not commit to git")


def run(options: Namespace) -> int:
    """Remove all that is named, after asking once, or nothing."""
    with opened(place(options), os.environ, terminal.USER, plugins.tree(options.names)) as vault:
        entries = [
            entry for name in options.names for entry in _named(vault, name, recursive=options.recursive)
        ]
        entries = list(dict.fromkeys(entries))
        shown = ", ".join(f"'{entry.name}'" for entry in entries)
        if not options.force and not terminal.confirm(f"remove {shown}?"):
            raise UsageError(f"{shown} not removed", "--force removes without asking")
        said = notes.of(vault, "Remove", ", ".join(names.folder(it).name for it in options.names))
        note = Note(said or f"Remove {_counted(entries)}", not options.no_commit)
        change.remove(vault, entries, note)
    terminal.say(
        f"removed {shown}: who could read it still has it in git's history, so revoke it where it is used"
    )
    return 0


def _named(vault: Vault, name: str, *, recursive: bool) -> list[Entry]:
    reference = names.reference(name.rstrip("/"))
    if not recursive:
        return [vault.store.get(reference)]
    within = f"{reference.name}/"
    found = [
        entry
        for entry in vault.store.entries(lambda _: None)
        if f"{entry.name}/".startswith(within) and reference.plugin in {"", entry.plugin}
    ]
    if not found:
        raise NotFoundError(f"'{reference}' holds no secrets", "vault ls shows what there is")
    return found


def _counted(entries: list[Entry]) -> str:
    return f"secret {entries[0].name}" if len(entries) == 1 else f"{len(entries)} secrets"
