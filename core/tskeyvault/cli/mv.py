"""``vault mv`` and ``vault cp``: a secret, or all of a folder, under another name."""

import os
from argparse import ArgumentParser, Namespace

from tskeyvault import change, limits, names
from tskeyvault.errors import UsageError
from tskeyvault.names import Reference
from tskeyvault.store import Entry
from tskeyvault.vault import Vault, opened

from . import place, terminal
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
    with opened(place(options), os.environ, terminal.USER) as vault:
        pairs = _pairs(vault, options.old, options.new)
        for _, new in pairs:
            approve(vault, lambda new=new: vault.readers(new))  # type: ignore[misc]
        change.transfer(vault, pairs, keep=copying, force=options.force)
        written = [entry.path for pair in pairs for entry in (pair[1:] if copying else pair)]
        what = "Copy" if copying else "Move"
        vault.commit(written, f"{what} {options.old} to {options.new}", wanted=not options.no_commit)
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
        pairs = [(single, Entry(target.plugin or single.plugin, name))]
    else:
        found = [entry for entry in vault.store.within(source.name) if source.plugin in {"", entry.plugin}]
        pairs = [(entry, _moved(entry, source, target)) for entry in found]
    if any(before == after for before, after in pairs):
        raise UsageError("old and new are the same")
    return pairs


def _moved(entry: Entry, source: Reference, target: Reference) -> Entry:
    return Entry(
        target.plugin or entry.plugin, names.secret(target.name + entry.name.removeprefix(source.name))
    )
