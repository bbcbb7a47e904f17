"""``vault git``: run git in the vault."""

import os
from argparse import REMAINDER, ArgumentParser, Namespace

from tskeyvault import locate, process

from . import place


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("arguments", nargs=REMAINDER, metavar="ARGUMENT", help="git's own, all of them")


def run(options: Namespace) -> int:
    """Run git with the arguments, in the vault's directory, on this terminal; its exit code is ours."""
    given = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
    directory = locate.find(place(options), os.environ)
    return process.interactive(["git", *given], directory=directory)
