"""``vault mv`` and ``vault cp``: a secret, or all of a folder, under another name."""

import os
from argparse import ArgumentParser, Namespace

from tskeyvault import change, limits, names, plugins
from tskeyvault.errors import UsageError
from tskeyvault.journal import Note
from tskeyvault.names import Reference
from tskeyvault.store import Entry
from tskeyvault.vault import Vault, opened

from . import notes, place, terminal
from .insert import approve


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("old", metavar="OLD", help="a secret, or a folder")
    parser.add_argument("new", metavar="NEW", help="its new name; ending in / puts it into that folder")
    parser.add_argument("-f", "--force", action="store_true", help="replace what is there")
    parser.add_argument("--no-commit", action="store_true", help="do not commit to git")


def run(options: Namespace) -> int:
    """Encrypt under the new name, which is bound, for those who read there; all or nothing, in one commit."""
    copying = options.command == "cp"
    limits.protect_memory()
    with opened(place(options), os.environ, terminal.USER, plugins.tree([options.old, options.new])) as vault:
        pairs = _pairs(vault, options.old, options.new)
        for _, new in pairs:
            approve(vault, lambda new=new: vault.readers(new))  # type: ignore[misc]
        what = "Copy" if copying else "Move"
        said = notes.of(vault, what, *(names.folder(it).name for it in (options.old, options.new)))
        note = Note(said or f"{what} {options.old} to {options.new}", not options.no_commit)
        change.transfer(vault, pairs, keep=copying, force=options.force, note=note)
    for old, new in pairs:
        terminal.say(f"{'copied' if copying else 'moved'} '{old.name}' to '{new.name}'")
    return 0


def _pairs(vault: Vault, old: str, new: str) -> list[tuple[Entry, Entry]]:
    source = names.reference(old.rstrip("/"))
    into = new.endswith("/")
    target = names.reference(new.rstrip("/"))
    single = None if old.endswith("/") else vault.store.find(source)
    if single:
        name = f"{target.name}/{single.name.rpartition('/')[2]}" if into else target.name
        pairs = [(single, _named(vault, single, target.plugin, name))]
    else:
        found = [entry for entry in vault.store.within(source.name) if source.plugin in {"", entry.plugin}]
        folder = f"{target.name}/{source.name.rpartition('/')[2]}" if into else target.name
        pairs = [
            (entry, _named(vault, entry, target.plugin, folder + entry.name.removeprefix(source.name)))
            for entry in found
        ]
    _refuse_overlap(pairs)
    return pairs


def _named(vault: Vault, old: Entry, plugin: str, name: str) -> Entry:
    """Return the entry of that name, or where *old* will be under it."""
    reference = Reference(plugin, names.secret(name))
    return vault.store.find(reference) or Entry(plugin or old.plugin, name)


def _refuse_overlap(pairs: list[tuple[Entry, Entry]]) -> None:
    olds, news = (set(entries) for entries in zip(*pairs, strict=True))
    if any(before == after for before, after in pairs):
        raise UsageError("old and new are the same")
    if both := olds & news:
        raise UsageError(f"'{min(both).name}' is in the old and in the new place")
    if len(news) < len(pairs):
        raise UsageError("two secrets would get the same name")
