"""``vault ls``: list the secrets."""

import os
from argparse import ArgumentParser, Namespace

from tskeyvault import names
from tskeyvault.errors import NotFoundError
from tskeyvault.vault import opened

from . import place, terminal


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", nargs="?", default="", metavar="FOLDER", help="only those in it")
    parser.add_argument("--json", action="store_true", help="as JSON: name, plugin and path of each")


def run(options: Namespace) -> int:
    """Print the names, sorted, one a line."""
    plugin, folder = names.folder(options.folder)
    with opened(place(options), os.environ, terminal.USER, plugin) as vault:
        entries = vault.store.entries(
            lambda path: terminal.warn(f"passed over, not a secret: {names.shown(path)}")
        )
    found = [entry for entry in entries if not folder or f"{entry.name}/".startswith(f"{folder}/")]
    if folder and not found:
        raise NotFoundError(f"'{folder}' holds no secrets", "vault ls shows all")
    terminal.entries(found, json=options.json)
    return 0
