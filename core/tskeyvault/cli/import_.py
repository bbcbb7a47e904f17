"""``vault import``: copy or move secrets between a vault and another program's store, or out of plain files."""

import os
from argparse import ArgumentParser, Namespace

from tskeyvault import limits, names, transfer
from tskeyvault.errors import UsageError
from tskeyvault.journal import Note
from tskeyvault.names import Reference
from tskeyvault.plugins import is_housed
from tskeyvault.vault import Vault, opened

from . import import_file, place, terminal
from .insert import approve


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "source", metavar="SOURCE", help="pass:SECRET, pass:FOLDER/, file:PATH, env:PATH or age:/PATH"
    )
    parser.add_argument("target", metavar="TARGET", help="its new name, like age:tailscale/")
    parser.add_argument(
        "--move", action="store_true", help="remove each from SOURCE, after all were read back"
    )
    parser.add_argument("--variable", metavar="NAME", help="with env: only this one of the file")
    parser.add_argument(
        "--shred-source",
        action="store_true",
        help="overwrite and remove the plain file, after all were read back",
    )
    parser.add_argument("-f", "--force", action="store_true", help="replace what is there")
    parser.add_argument("--no-commit", action="store_true", help="do not commit to git")


def run(options: Namespace) -> int:
    """Write all, read all back, and only then with --move remove what they were made from."""
    if kind := import_file.kind(options.source):
        return import_file.run(options, kind)
    if options.variable is not None or options.shred_source:
        raise UsageError("--variable and --shred-source are for plain files", "--move removes from a store")
    source, target = names.folder(options.source), names.folder(options.target)
    if not (is_housed(source.plugin) or is_housed(target.plugin)) or source.plugin == target.plugin:
        raise UsageError(
            "one of both has to be another program's store",
            "vault mv and cp do the rest; for a plain file, file:PATH or env:PATH",
        )
    limits.protect_memory()
    with (
        opened(place(options), os.environ, terminal.USER, source.plugin) as here,
        opened(place(options), os.environ, terminal.USER, target.plugin) as there,
    ):
        here.changes.recover()
        pairs = transfer.pairs(
            here, source, target, folder=options.source.endswith("/"), into=options.target.endswith("/")
        )
        for _, new in pairs:
            _approve(there, new)
        said = f"Import {options.source} to {options.target}"
        copied = transfer.copy(
            here, there, pairs, force=options.force, note=Note(said, not options.no_commit)
        )
        if options.move:
            moved = Note(f"Move {options.source} to {options.target}", not options.no_commit)
            transfer.remove(here, copied, moved)
    for old, new in pairs:
        terminal.say(f"{'moved' if options.move else 'copied'} '{old.name}' to '{new}'")
    if options.move:
        terminal.say("what was moved still stands in the git history of where it was")
    return 0


def _approve(vault: Vault, reference: Reference) -> None:
    approve(vault, lambda: vault.readers(vault.entry_for(reference)))
