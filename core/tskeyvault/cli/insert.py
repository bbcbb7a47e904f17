"""``vault insert``: put a secret into the vault."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from tskeyvault import limits, names
from tskeyvault.errors import UsageError
from tskeyvault.recipients import RecipientsChangedError
from tskeyvault.vault import Vault, opened

from . import place, terminal


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="the secret, like tailscale/container-key")
    parser.add_argument("-m", "--multiline", action="store_true", help="read several lines, to end of file")
    parser.add_argument("-f", "--force", action="store_true", help="replace what is there without asking")
    parser.add_argument("--no-commit", action="store_true", help="do not commit to git")


def run(options: Namespace) -> int:
    """Encrypt standard input, its exact bytes, or what is typed, to the approved recipients."""
    reference = names.reference(options.name)
    limits.protect_memory()
    with opened(place(options), os.environ, terminal.warn) as vault:
        entry = vault.entry_for(reference)
        exists = vault.store.find(reference) is not None
        if exists and not options.force and not terminal.confirm(f"secret '{reference}' exists. replace it?"):
            raise UsageError(f"secret '{reference}' exists", "--force replaces it")
        approve(vault, lambda: vault.readers(entry))
        plaintext = terminal.read_secret(str(reference), multiline=options.multiline)
        vault.write(reference, plaintext, force=exists)
        verb = "Replace" if exists else "Add"
        vault.commit([entry.path], f"{verb} secret {reference}", wanted=not options.no_commit)
    terminal.say(f"{'replaced' if exists else 'wrote'} secret '{reference}'")
    return 0


def approve(vault: Vault, attempt: Callable[[], object]) -> None:
    """Make *attempt*; where it fails on changed recipients, ask whether they are right, and approve them.

    Raises RecipientsChangedError when there is nobody to ask, or the answer is no.
    """
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
