"""``vault show``: write a secret to standard output."""

import os
from argparse import ArgumentParser, Namespace

from tskeyvault import limits, names
from tskeyvault.vault import opened

from . import place, terminal


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="the secret")


def run(options: Namespace) -> int:
    """Write the exact bytes that were put in."""
    reference = names.reference(options.name)
    limits.protect_memory()
    with opened(place(options), os.environ, terminal.USER, reference.plugin) as vault:
        plaintext = vault.read([reference])[reference]
    terminal.write(plaintext)
    return 0
