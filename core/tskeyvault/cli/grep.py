"""``vault grep``: search within the secrets."""

import os
import re
from argparse import ArgumentParser, Namespace

from tskeyvault import limits, names
from tskeyvault.errors import NotFoundError, UsageError
from tskeyvault.vault import opened

from . import place, terminal


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pattern", metavar="TEXT", help="what to look for")
    parser.add_argument("folder", nargs="?", default="", metavar="FOLDER", help="only in its secrets")
    parser.add_argument("-E", "--regex", action="store_true", help="TEXT is a regular expression (Python's)")
    parser.add_argument("--ignore-case", action="store_true", help="in any case")
    parser.add_argument("-v", "--values", action="store_true", help="print the lines too, not only the names")


def run(options: Namespace) -> int:
    """Print the names of the secrets that hold TEXT; the values stay unseen unless asked for.

    What cannot be opened is told, and the exit code is the failure's.
    """
    text = options.pattern if options.regex else re.escape(options.pattern)
    try:
        pattern = re.compile(
            text.encode(errors="surrogateescape"), re.IGNORECASE if options.ignore_case else 0
        )
    except (re.error, OverflowError, RecursionError):
        raise UsageError("that is no regular expression") from None
    plugin, folder = names.folder(options.folder)
    limits.protect_memory()
    with opened(place(options), os.environ, terminal.USER, plugin) as vault:
        found, failed = vault.open_each(vault.store.within(folder), terminal.progress)
    hits = [
        (it.name, line)
        for it, held in found.items()
        for line in held.plaintext.split(b"\n")
        if pattern.search(line)
    ]
    if options.values:
        terminal.lines(f"{name}: {line.decode(errors='replace')}" for name, line in hits)
    else:
        terminal.lines(dict.fromkeys(name for name, _ in hits))
    for error in failed.values():
        terminal.warn(f"not searched: {error.message}")
    if failed:
        return max(error.exit_code for error in failed.values())
    if not hits:
        raise NotFoundError("no secret holds that")
    return 0
