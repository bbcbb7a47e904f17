"""``vault unit``: print, or install, what a service manager has to be told so that a service gets its secrets."""

import os
import shlex
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence

from tskeyvault import names
from tskeyvault.credentials import table
from tskeyvault.errors import UsageError
from tskeyvault.services import Service
from tskeyvault.units import compose, install, manager, nixos, order, quadlet, sidecar, systemd, text
from tskeyvault.units.order import Delivery
from tskeyvault.units.text import Piece
from tskeyvault.vault import opened

from . import place as vault_place
from . import program, terminal


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("service", metavar="SERVICE", help="a service of vault.toml")
    parser.add_argument(
        "--for",
        dest="kind",
        required=True,
        choices=list(_KINDS),
        help="a drop-in for an existing unit, or a sidecar",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=order.SECONDS,
        metavar="S",
        help="seconds that materialize may take (default: 60)",
    )
    unit = parser.add_argument_group("for systemd, and --unit for nixos")
    unit.add_argument(
        "--unit",
        action="append",
        metavar="UNIT",
        help="this unit (default: those of vault.toml that are called like SERVICE); may be repeated",
    )
    unit.add_argument(
        "--from", dest="text", metavar="FILE", help="the text of the unit, where systemd does not know it"
    )
    unit.add_argument(
        "--directory", metavar="DIR", help="deliver to this directory, which is there, and clean up"
    )
    container = parser.add_argument_group("for quadlet and compose")
    container.add_argument(
        "--image", default=quadlet.IMAGE, metavar="IMAGE", help=f"of the sidecar (default: {quadlet.IMAGE})"
    )
    container.add_argument(
        "--state",
        default="",
        metavar="DIR",
        help="where its state is kept (default: /var/lib/tailscale-SERVICE)",
    )
    container.add_argument(
        "--userspace",
        action="store_true",
        help="without /dev/net/tun and the right to administer its network",
    )
    container.add_argument(
        "--argument",
        action="append",
        default=[],
        metavar="ARG",
        help="another one for 'tailscale up', like --argument=--ssh; may be repeated",
    )
    container.add_argument(
        "--publish",
        action="append",
        default=[],
        metavar="PORT",
        help="another port of the sidecar, like 192.0.2.1:80:80; may be repeated",
    )
    installing = parser.add_argument_group("installing, for systemd and quadlet")
    how = installing.add_mutually_exclusive_group()
    how.add_argument("--install", action="store_true", help="write it under /etc, after showing what changes")
    how.add_argument("--uninstall", action="store_true", help="take away what was installed for SERVICE")
    installing.add_argument("--root", default="/", metavar="DIR", help="the tree to install to (default: /)")
    installing.add_argument("-y", "--yes", action="store_true", help="do not ask")  # fmt: skip


def run(options: Namespace) -> int:
    """Print it, or install it after asking."""
    names.component(options.service, "service")
    _refuse_misplaced(options)
    if options.uninstall:
        return _install([], options)
    if options.kind == "nixos":
        return _nixos(options)
    with opened(vault_place(options), os.environ, terminal.USER) as vault:
        service = vault.settings.service(options.service)
        directory = os.path.abspath(vault.directory)
    delivery = Delivery(
        program.words(), directory, os.path.abspath(identity) if (identity := getattr(options, "identity", "")) else "",
        options.service, options.timeout,
    )  # fmt: skip
    if options.kind == "compose":
        terminal.lines(compose.fragment(_sidecar(service, options), delivery, _choices(options)).splitlines())
        return 0
    pieces = _KINDS[options.kind](service, delivery, options)
    if options.install:
        return _install(pieces, options)
    for number, piece in enumerate(pieces):
        terminal.lines([*([""] if number else []), f"# {piece.path}", *piece.text.splitlines()])
    return 0


def _nixos(options: Namespace) -> int:
    with opened(vault_place(options), os.environ, terminal.USER) as vault:
        service = vault.settings.service(options.service)
    _refuse_unsayable(service, options)
    if service.sidecar and options.unit:
        raise UsageError(f"service '{options.service}' is a sidecar, whose unit NixOS names")
    units = [] if service.sidecar else order.units_of(options.service, service, options.unit or ())
    terminal.lines(nixos.nixos(options.service, service, units).splitlines())
    if service.credentials:
        terminal.hint(table.SERVED)
    terminal.hint(
        f"docs/nixos.md says how to import the modules that know these options; here: {nixos.MODULES}"
    )
    return 0


def _systemd(service: Service, delivery: Delivery, options: Namespace) -> list[Piece]:
    units = order.units_of(options.service, service, options.unit or ())
    if options.text and len(units) > 1:
        raise UsageError("--from is the text of one unit", "--unit names it")
    if options.directory and not service.files:
        raise UsageError(f"service '{options.service}' has no files, which --directory is for")
    directory = os.path.abspath(options.directory) if options.directory else ""
    found = []
    for name in units:
        unit = systemd.existing(names.unit(name), options.text or "")
        if unit.prepares and service.files:
            terminal.warn(
                f"unit '{name}' has ExecStartPre= of its own: they run before this one, without the secrets"
            )
        found.append(systemd.drop_in(unit, service, delivery, directory))
    if service.credentials:
        terminal.hint(table.SERVED)
    return found


def _quadlet(service: Service, delivery: Delivery, options: Namespace) -> list[Piece]:
    found = _sidecar(service, options)
    for container in quadlet.refuse_conflicts(found):
        terminal.warn(
            f"container '{container}' has no quadlet yet: {quadlet.DIRECTORY}/{container}.container"
        )
    return quadlet.pieces(found, delivery, _choices(options))


_KINDS: dict[str, Callable[[Service, Delivery, Namespace], list[Piece]]] = {
    "systemd": _systemd,
    "quadlet": _quadlet,
    "compose": lambda *_: [],
    "nixos": lambda *_: [],
}


def _refuse_unsayable(service: Service, options: Namespace) -> None:
    """Refuse what a container cannot have, and what the modules of NixOS have no option for. Raises UsageError."""
    name, kind = options.service, options.kind
    if service.layout == "generations":
        raise UsageError(
            f"--for {kind} knows no layout 'generations', which service '{name}' has",
            'a service of its own with layout = "files", or --for systemd',
        )
    if service.credentials and (service.sidecar or kind != "nixos"):
        raise UsageError(
            f"--for {kind} cannot give service '{name}' its credentials: containers get files",
            "files in vault.toml, or --for systemd for a unit that is no container",
        )


def _sidecar(service: Service, options: Namespace) -> sidecar.Sidecar:
    _refuse_unsayable(service, options)
    if service.sidecar is None:
        hint = f"[services.{options.service}.sidecar] in vault.toml makes it one"
        raise UsageError(f"service '{options.service}' is no sidecar", hint)
    return sidecar.extended(service.sidecar, options.argument, options.publish)


def _choices(options: Namespace) -> quadlet.Choices:
    return quadlet.choices(options.image, options.state, userspace=options.userspace)


def _install(pieces: list[Piece], options: Namespace) -> int:
    module = systemd if options.kind == "systemd" else quadlet
    root = os.path.abspath(options.root)
    todo = install.changes(root, pieces, module.mark(options.service), module.DIRECTORY)
    if not todo:
        terminal.say("nothing to do: it is installed so" if pieces else "nothing to do: nothing is installed")
        if root == "/" and os.geteuid() == 0:
            manager.reload()  # which a run that was cut off may not have come to
        return 0
    for change in todo:
        terminal.lines(change.diff)
    if not options.yes and not terminal.confirm("is this how it should be?"):
        raise UsageError("nothing was written", "--yes installs without asking")
    install.apply(root, todo)
    for change in todo:
        terminal.say(f"{'removed' if change.after is None else 'wrote'}: {change.path}")
    if root == "/" and manager.reload():
        terminal.say("systemd has read its units again; a service gets this at its next start")
        for path in _kept(todo):
            terminal.warn(f"nothing removes '{path}' any more, and it holds what was delivered")
            terminal.hint(f"stop what uses it, and then: rm -r {shlex.quote(path)}")
    return 0


def _kept(todo: Sequence[install.Change]) -> list[str]:
    """Return the runtime directories that are there, and that no unit has after *todo*: systemd leaves them at a stop."""
    gone = dict.fromkeys(
        name for it in todo for name in _runtime(it.before) if name not in _runtime(it.after)
    )
    return [path for name in gone if os.path.lexists(path := f"/run/{name}")]


def _runtime(unit: str | None) -> Sequence[str]:
    return text.settings([unit or ""], "Service").get("RuntimeDirectory", [])


def _refuse_misplaced(options: Namespace) -> None:
    if options.kind in {"compose", "nixos"} and (options.install or options.uninstall):
        raise UsageError(f"nothing is installed for {options.kind}: the configuration is yours")
    given = {
        "unit": [options.unit],
        "systemd": [options.text, options.directory],
        "quadlet": [
            options.image != quadlet.IMAGE,
            options.state,
            options.userspace,
            options.argument,
            options.publish,
        ],
    }
    own = {"systemd": {"unit", "systemd"}, "nixos": {"unit"}}.get(options.kind, {"quadlet"})
    if any(it for kind, several in given.items() if kind not in own for it in several):
        raise UsageError(f"an option that does not go with --for {options.kind}", "vault unit --help")
    if (options.root != "/" or options.yes) and not (options.install or options.uninstall):
        raise UsageError("--root and --yes go with --install or --uninstall", "vault unit --help")
    if options.timeout != order.SECONDS and (options.uninstall or options.kind == "nixos"):
        hint = "services.vault-materialize.timeout says it on NixOS"
        raise UsageError("--timeout is for what materialize is called in, which is not written here", hint)


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 3600:  # noqa: PLR2004 - an hour
        raise ArgumentTypeError("a whole number of seconds, up to 3600")
    return int(text)
