"""``vault run``: give a service's values to one process as its environment."""

import os
from argparse import REMAINDER, ArgumentParser, Namespace

from tskeyvault import limits, names
from tskeyvault.errors import NotFoundError, PluginError, UsageError
from tskeyvault.materialize import formats
from tskeyvault.vault import opened

from . import place, terminal


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("service", metavar="SERVICE", help="a service of vault.toml that has 'values'")
    parser.add_argument(
        "argv", nargs=REMAINDER, metavar="-- COMMAND", help="the program to run, and its arguments"
    )


def run(options: Namespace) -> int:
    """Replace this process by COMMAND, with the variables of all 'values' of SERVICE."""
    argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    if not argv:
        raise UsageError("which command?", "vault run SERVICE -- COMMAND")
    limits.protect_memory()
    with opened(place(options), os.environ, terminal.USER) as vault:
        values = [pair for file in vault.settings.service(options.service).files for pair in file.values]
        if not values:
            raise NotFoundError(
                f"service '{options.service}' has no values", "format env or json gives variables names"
            )
        plaintexts = vault.read(reference for _, reference in values)
        given = {name: formats.variable(reference, plaintexts[reference]) for name, reference in values}
    try:
        os.execvpe(argv[0], argv, {**os.environ, **given})  # noqa: S606 - no shell: that is the point
    except OSError:
        raise PluginError(f"'{names.shown(argv[0])}' cannot be run") from None
