"""``vault keygen``: make an identity for this user or host, and say which recipient it is."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping

from tskeyvault import files, limits, local
from tskeyvault.errors import DeliveryError, UsageError
from tskeyvault.plugins import Plugins

from . import terminal

PLUGIN = "age"
"""The identity file is age's own."""


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to write it (default: this user's own identities)"
    )

    parser.add_argument(
        "--pq", action="store_true", help="a post-quantum key: every reader needs age 1.3 or newer"
    )


def run(options: Namespace) -> int:
    """Write a new identity file, never over an existing one; print its recipient."""
    path = os.path.abspath(options.output) if options.output else own_file(os.environ)
    terminal.lines(make(path, post_quantum=options.pq))
    return 0


def own_file(environ: Mapping[str, str]) -> str:
    """Return where this user's identities lie."""
    return os.path.join(local.config_directory(environ), local.IDENTITIES)


def make(path: str, *, post_quantum: bool = False) -> list[str]:
    """Write a new identity file at *path*, mode 0600; return its recipients.

    Raises UsageError when something is there already.
    """
    limits.protect_memory()
    folder, name = os.path.split(path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError:
        raise DeliveryError(f"'{folder}' cannot be made") from None
    plugins = Plugins({PLUGIN: {"post_quantum": post_quantum}}, (path,), terminal.USER)
    try:
        backend = plugins.get(PLUGIN)
        with files.directory(folder) as fd:
            if not files.create(fd, name, backend.keygen(), mode=0o600):
                raise UsageError(f"'{path}' exists and is kept", "--output names another file")
        terminal.say(f"wrote '{path}': back it up, and show it to nobody")
        return backend.own_recipients()
    finally:
        plugins.close()
