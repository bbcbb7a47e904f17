"""``vault insert``: put a secret into the vault."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from tskeyvault import binding, change, limits, names
from tskeyvault.errors import UsageError
from tskeyvault.journal import Note
from tskeyvault.names import Reference
from tskeyvault.recipients import RecipientsChangedError
from tskeyvault.vault import Vault, opened

from . import notes, place, terminal


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="the secret, like tailscale/container-key")
    parser.add_argument("-m", "--multiline", action="store_true", help="read several lines, to end of file")
    parser.add_argument("-f", "--force", action="store_true", help="replace what is there without asking")
    parser.add_argument("--expires", metavar="WHEN", help="when to replace it: 90d, 12w, 2y or 2027-01-31")
    parser.add_argument("--no-commit", action="store_true", help="do not commit to git")


def run(options: Namespace) -> int:
    """Encrypt standard input, its exact bytes, or what is typed, to the approved recipients."""
    reference = names.reference(options.name)
    expires = binding.expiry(options.expires) if options.expires else None
    limits.protect_memory()
    put(
        options, reference, expires, lambda: terminal.read_secret(str(reference), multiline=options.multiline)
    )
    return 0


def put(options: Namespace, reference: Reference, expires: str | None, value: Callable[[], bytes]) -> None:
    """Write the secret *reference*, after asking what has to be asked; only then is *value* called for."""
    with opened(place(options), os.environ, terminal.USER, reference.plugin) as vault:
        entry = vault.entry_for(reference)
        exists = vault.store.find(reference) is not None
        if exists and not options.force and not terminal.confirm(f"secret '{reference}' exists. replace it?"):
            raise UsageError(f"secret '{reference}' exists", "--force replaces it")
        approve(vault, lambda: vault.readers(entry))
        verb = "Replace" if exists else "Add"
        said = notes.of(vault, verb if options.command == "insert" else "Generate", reference.name)
        note = Note(said or f"{verb} secret {reference}", not options.no_commit)
        change.write(vault, reference, value(), force=exists, expires=expires, note=note)
    terminal.say(f"{'replaced' if exists else 'wrote'} secret '{reference}'")


def approve(vault: Vault, attempt: Callable[[], object]) -> None:
    """Make *attempt*; where it fails on changed recipients, ask whether they are right, and approve them.

    Raises RecipientsChangedError when there is nobody to ask, or the answer is no.
    """
    vault.changes.recover()  # the change that is not approved may be our own
    try:
        attempt()
    except RecipientsChangedError as error:
        if not terminal.is_interactive():
            raise
        terminal.say(error.message)
        if not terminal.confirm("is this how it should be?"):
            raise
        vault.state.approve({error.change.path: None if error.change.gone else error.change.now})
        approve(vault, attempt)
