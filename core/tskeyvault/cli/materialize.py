"""``vault materialize``: deliver a service's secrets as files, check that it could, or remove them."""

import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Collection

from tskeyvault import limits, names, services
from tskeyvault.errors import NotFoundError, UsageError, VaultError
from tskeyvault.materialize import manifest, place, service
from tskeyvault.materialize.delivered import Deliveries, Place
from tskeyvault.materialize.service import Order
from tskeyvault.vault import Vault, opened

from . import place as vault_place
from . import terminal

SECONDS = 60.0
"""The default of --timeout: below systemd's own 90 s, so that we still say what took so long."""

_OF_A_FILE = ("mode", "owner", "group", "format")
"""Options that vault.toml or a manifest has for each file of a service."""


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("service", nargs="?", metavar="SERVICE", help="a service of vault.toml")
    parser.add_argument(
        "--directory", metavar="DIR", help="where (default: $RUNTIME_DIRECTORY, else /run/SERVICE)"
    )
    parser.add_argument(
        "--manifest",
        metavar="FILE",
        help="deliver what this JSON file of the host says, instead of a service of vault.toml",
    )
    parser.add_argument("--secret", metavar="NAME", help="deliver this one secret instead of a service's")
    parser.add_argument("--to", metavar="PATH", help="... as this file")
    parser.add_argument("--mode", default="", help="... with these permissions (default: 0400)")
    parser.add_argument(
        "--owner", default="", metavar="USER", help="... for this user (default: the directory's)"
    )
    parser.add_argument("--group", default="", metavar="GROUP", help="... and this group")
    parser.add_argument(
        "--format", default="", choices=["raw", "line"], help="... raw, or without a newline at the end"
    )
    parser.add_argument("--check", action="store_true", help="do everything but write")
    parser.add_argument(
        "--changed",
        action="store_true",
        help="only say which files would change, of SERVICE or all; 1 if any",
    )
    parser.add_argument("--json", action="store_true", help="... as JSON")
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
    if options.changed:
        return _changed(options)
    _check_usage(options)
    with limits.deadline(options.timeout, "materialize"):
        if options.clean:
            return _clean(options)
        limits.protect_memory()
        plugin = names.reference(options.secret).plugin if options.secret else ""
        with opened(vault_place(options), os.environ, terminal.USER, plugin) as vault:
            return _deliver(vault, options)


def _deliver(vault: Vault, options: Namespace) -> int:
    order = _order(options, vault)
    if options.check:
        ready = service.check(vault, order, allow_disk=options.allow_disk)
        terminal.say(f"can be delivered to {order.directory}: {', '.join(ready)}")
        return 0
    if order.service:
        manifest_path = os.path.abspath(options.manifest) if options.manifest else ""
        _remember(vault, order, manifest_path, allow_disk=options.allow_disk)
    done = service.materialize(vault, order, allow_disk=options.allow_disk)
    written, kept = (map(order.path, some) for some in (done.written, done.kept))
    for verb, paths in (("wrote", written), ("already right", kept), ("removed", done.removed)):
        for path in paths:
            terminal.say(f"{verb}: {names.shown(path)}")
    return 0


def _remember(vault: Vault, order: Order, path: str, *, allow_disk: bool) -> None:
    """Let ``vault apply`` know, before anything is written; a service starts without that too."""
    try:
        memory = Deliveries(vault, os.environ)
        waiting = memory.is_waiting(order.service, order.directory)
        if waiting:
            waiting = not _starts(order.units)
        memory.remember(order.service, order.directory, allow_disk=allow_disk, waiting=waiting, manifest=path)
    except VaultError as error:
        terminal.warn(f"{error.message}: vault apply will leave service '{order.service}' alone")


def _starts(units: Collection[str]) -> bool:
    """Tell whether this is the start of the only one of *units*: any other goes on with what was there before."""
    from tskeyvault.credentials import peer, table

    unit = peer.own_unit()
    return len(units) == 1 and not {unit, table.template(unit)}.isdisjoint(units)


def _changed(options: Namespace) -> int:
    """Say which files would change: where the service was delivered, or would be."""
    others = (options.secret, options.to, options.manifest, options.check, options.clean)
    if any(others) or (options.directory and not options.service):
        raise UsageError("--changed goes with SERVICE, or alone for all that are delivered here")
    from tskeyvault.materialize import apply

    from . import apply as whole

    limits.protect_memory()
    with (
        limits.deadline(options.timeout, "materialize"),
        opened(vault_place(options), os.environ, terminal.USER) as vault,
    ):
        memory = Deliveries(vault, os.environ)
        if options.service:
            known = (
                []
                if options.directory
                else apply.places_of(options.service, memory.services.get(options.service, []))
            )
            directory = service.directory_of(options.service, options.directory or "", os.environ)
            if not known:
                service.order_of(options.service, directory, vault)
            places = {options.service: known or [Place(directory, -1, options.allow_disk, waiting=False)]}
            reports = apply.look(vault, places, restart=False)
        else:
            found, unsafe = whole.delivered(vault, memory, ())
            reports = [*unsafe, *apply.look(vault, found, restart=False)]
    return whole.tell(reports, json=options.json, would=True)


def _check_usage(options: Namespace) -> None:
    if [bool(options.service), bool(options.secret), bool(options.manifest)].count(True) != 1 or (
        bool(options.secret) != bool(options.to)
    ):
        raise UsageError(
            "either SERVICE, or --manifest FILE, or --secret NAME with --to PATH", "vault materialize --help"
        )
    if options.json:
        raise UsageError("--json goes with --changed")
    if options.directory == "":
        raise UsageError("--directory names nothing", "leave it out for the default")
    if options.directory and not options.service:
        raise UsageError("--manifest and --to name the directory themselves")
    if not options.secret and any(getattr(options, key) for key in _OF_A_FILE):
        raise UsageError(
            "--mode, --owner, --group and --format go with --secret", "vault.toml or the manifest says them"
        )


def _order(options: Namespace, vault: Vault) -> Order:
    """Return what is to be delivered where."""
    if options.manifest:
        manifest.refuse_committed(options.manifest, vault.directory)
        return manifest.read(options.manifest)
    if options.service:
        directory = service.directory_of(options.service, options.directory or "", os.environ)
        return service.order_of(options.service, directory, vault)
    return service.single(options.to, _single_file(options))


def _clean(options: Namespace) -> int:
    if options.secret or options.check:
        raise UsageError("--clean goes with SERVICE alone, or with --manifest FILE alone")
    if options.manifest:
        # Not looked for in the vault's repository: that may be gone, and nothing was delivered from there.
        order = manifest.read(options.manifest)
        name, directory = order.service, order.directory
    else:
        name = options.service
        directory = service.directory_of(name, options.directory or "", os.environ)
    try:
        with place.opened(directory, allow_disk=True) as fd:
            removed, left = service.clean(fd, name)
    except NotFoundError:
        removed, left = [], []
    for name in removed:
        terminal.say(f"removed: {os.path.join(directory, name)}")
    for name in left:
        terminal.warn(f"left, since something else has replaced it: {os.path.join(directory, name)}")
    return 0


def _single_file(options: Namespace) -> services.File:
    entries = {key: value for key in ("secret", *_OF_A_FILE) if (value := getattr(options, key))}
    return services.file_of(os.path.basename(os.path.abspath(options.to)), entries, "--to")


def seconds(text: str) -> float:
    """Return the number of seconds that *text* says. Raises ArgumentTypeError above an hour."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 3600:  # noqa: PLR2004 - an hour
        raise ArgumentTypeError("a number of seconds, up to 3600")
    return number
