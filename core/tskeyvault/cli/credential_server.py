"""``vault credential-server``: give systemd the credentials that ``vault.toml`` allows a unit."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping

from tskeyvault import limits
from tskeyvault.credentials import activation, envelope, worker
from tskeyvault.credentials.server import Server
from tskeyvault.vault import opened

from . import place, terminal
from .materialize import SECONDS, seconds


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=SECONDS,
        metavar="S",
        help="seconds for one start of a unit (default: 60)",
    )


def run(options: Namespace) -> int:
    """Serve on the socket that systemd passes, until nobody has asked for a while."""
    limits.protect_memory()

    def read(unit: str, encrypted: bool) -> Mapping[str, bytes]:
        with opened(place(options), os.environ, terminal.USER) as vault:
            values = worker.decrypt(vault, unit)
        return envelope.sealed(values) if encrypted else values

    given, keeper = activation.given(os.environ), activation.Keeper(os.environ)
    server = Server(given.listeners, lambda: worker.Worker(read, options.timeout), keeper.hold, terminal.say)
    server.run(given.left)
    return 0
