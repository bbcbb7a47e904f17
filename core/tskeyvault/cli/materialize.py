"""``vault materialize``: deliver a service's secrets as files, check that it could, or remove them."""

import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace

from tskeyvault import limits, names, services
from tskeyvault.errors import NotFoundError, UsageError
from tskeyvault.materialize import deliver, place, service
from tskeyvault.vault import opened

from . import place as vault_place
from . import terminal

SECONDS = 60.0
"""The default of --timeout: below systemd's own 90 s, so that we still say what took so long."""


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("service", nargs="?", metavar="SERVICE", help="a service of vault.toml")
    parser.add_argument(
        "--directory", metavar="DIR", help="where (default: $RUNTIME_DIRECTORY, else /run/SERVICE)"
    )
    parser.add_argument("--secret", metavar="NAME", help="deliver this one secret instead of a service's")
    parser.add_argument("--to", metavar="PATH", help="... as this file")
    parser.add_argument("--mode", default="0400", help="... with these permissions (default: 0400)")
    parser.add_argument(
        "--owner", default="", metavar="USER", help="... for this user (default: the directory's)"
    )
    parser.add_argument("--group", default="", metavar="GROUP", help="... and this group")
    parser.add_argument(
        "--format", default="raw", choices=["raw", "line"], help="... raw, or without a newline at the end"
    )
    parser.add_argument("--check", action="store_true", help="do everything but write")
    parser.add_argument(
        "--clean", action="store_true", help="remove what was delivered for SERVICE, and nothing else"
    )
    parser.add_argument(
        "--timeout", type=seconds, default=SECONDS, metavar="S", help="seconds for all of it (default: 60)"
    )
    parser.add_argument(
        "--allow-disk", action="store_true", help="also into a directory that is not on tmpfs"
    )


def run(options: Namespace) -> int:
    """Deliver all or nothing, and say on standard error what was written."""
    if bool(options.service) == bool(options.secret) or bool(options.secret) != bool(options.to):
        raise UsageError("either SERVICE, or --secret NAME with --to PATH", "vault materialize --help")
    with limits.deadline(options.timeout, "materialize"):
        if options.clean:
            return _clean(options)
        limits.protect_memory()
        plugin = names.reference(options.secret).plugin if options.secret else ""
        with opened(vault_place(options), os.environ, terminal.USER, plugin) as vault:
            if options.service:
                directory = service.directory_of(options.service, options.directory or "", os.environ)
                order = service.order_of(options.service, directory, vault)
            else:
                order = service.single(options.to, _single_file(options))
            if options.check:
                ready = service.check(vault, order, allow_disk=options.allow_disk)
                terminal.say(f"can be delivered to {order.directory}: {', '.join(ready)}")
                return 0
            written, kept = service.materialize(vault, order, allow_disk=options.allow_disk)
    for verb, done in (("wrote", written), ("already right", kept)):
        for name in done:
            terminal.say(f"{verb}: {names.shown(os.path.join(order.directory, name))}")
    return 0


def _clean(options: Namespace) -> int:
    if not options.service or options.check:
        raise UsageError("--clean goes with SERVICE alone")
    directory = service.directory_of(options.service, options.directory or "", os.environ)
    try:
        with place.opened(directory, allow_disk=True) as fd:
            removed, left = deliver.clean(fd, options.service)
    except NotFoundError:
        removed, left = [], []
    for name in removed:
        terminal.say(f"removed: {os.path.join(directory, name)}")
    for name in left:
        terminal.warn(f"left, since something else has replaced it: {os.path.join(directory, name)}")
    return 0


def _single_file(options: Namespace) -> services.File:
    entries = {key: getattr(options, key) for key in ("secret", "mode", "owner", "group", "format")}
    return services.file_of(os.path.basename(os.path.abspath(options.to)), entries, "--to")


def seconds(text: str) -> float:
    """Return what the argument *text* of --timeout says. Raises ArgumentTypeError."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 3600:  # noqa: PLR2004 - an hour
        raise ArgumentTypeError("a number of seconds, up to 3600")
    return number
