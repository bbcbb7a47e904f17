"""``vault find``: list the secrets whose name holds a text."""

import os
from argparse import ArgumentParser, Namespace

from tskeyvault.errors import NotFoundError
from tskeyvault.vault import opened

from . import place, terminal


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "texts", nargs="+", metavar="TEXT", help="in the name, in any case; one of several is enough"
    )
    parser.add_argument("--plugin", default="", metavar="PLUGIN", help="in its own store, like pass")
    parser.add_argument("--json", action="store_true", help="as JSON: name, plugin and path of each")


def run(options: Namespace) -> int:
    """Print the names that hold one of the texts."""
    wanted = [text.casefold() for text in options.texts]
    with opened(place(options), os.environ, terminal.USER, options.plugin) as vault:
        found = [it for it in vault.store.within("") if any(text in it.name.casefold() for text in wanted)]
    if not found:
        raise NotFoundError("no secret has that in its name", "vault ls shows what there is")
    terminal.entries(found, json=options.json)
    return 0
