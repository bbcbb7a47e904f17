"""``vault apply``: bring what is delivered on this host up to date, and restart the units that use it."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence

from tskeyvault import limits, names
from tskeyvault.errors import VaultError
from tskeyvault.materialize import apply
from tskeyvault.materialize.apply import Report
from tskeyvault.materialize.delivered import Deliveries, Place
from tskeyvault.services import Service
from tskeyvault.vault import Vault, opened

from . import place, terminal
from .materialize import SECONDS, seconds


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "services",
        nargs="*",
        metavar="SERVICE",
        help="a service of vault.toml or of a manifest (default: all delivered here)",
    )
    parser.add_argument(
        "--restart", action="store_true", help="restart or reload the units of services that changed"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done; 1 if anything")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=SECONDS,
        metavar="S",
        help="seconds until all is written (default: 60)",
    )


def run(options: Namespace) -> int:
    """Write what has changed, whole services at a time; the exit code is that of the first that failed."""
    limits.protect_memory()
    with opened(place(options), os.environ, terminal.USER) as vault:
        with limits.deadline(options.timeout, "apply"):
            memory = Deliveries(vault, os.environ)
            places, unsafe = delivered(vault, memory, options.services)
            reports = [*unsafe, *apply.look(vault, places, restart=options.restart)]
            if not options.dry_run:
                reports = apply.write(vault, memory, reports)
        if not options.dry_run:
            reports = apply.restart(memory, reports)
    return tell(reports, json=options.json, would=options.dry_run)


def delivered(
    vault: Vault, memory: Deliveries, wanted: Sequence[str]
) -> tuple[Mapping[str, Sequence[Place]], list[Report]]:
    """Return where the services *wanted*, or all, are delivered now, and which are not safe there any more.

    Raises NotFoundError for one that is neither in ``vault.toml`` nor delivered.
    """
    for name in wanted:
        if not memory.services.get(names.component(name, "service")):
            vault.settings.service(name)
    found: dict[str, Sequence[Place]] = {}
    unsafe = []
    for name in dict.fromkeys(wanted or memory.services):
        try:
            places = apply.places_of(name, memory.services.get(name, []))
        except VaultError as error:
            unsafe.append(Report(name, error=error))
            continue
        if name not in vault.settings.services and not all(it.manifest for it in places):
            terminal.warn(f"service '{name}' is not in vault.toml any more: its unit will not start again")
        if places:
            found[name] = places
        elif wanted:
            _say_why_not(name, vault.settings.services.get(name))
    return found, unsafe


def _say_why_not(name: str, described: Service | None) -> None:
    """Say why there is nothing to do for the service *name*."""
    if described is None or described.files:
        terminal.say(f"service '{name}' is not delivered on this host")
    else:
        terminal.say(f"service '{name}' gets credentials alone, which its units ask for at their start")
        terminal.hint(f"systemctl try-restart {' '.join(described.units)}")


def tell(reports: Sequence[Report], *, json: bool, would: bool) -> int:
    """Say what was done, or *would* be, and what failed; return the exit code."""
    if json:
        terminal.as_json([_entry(it) for it in reports])
    for report in reports:
        if report.error:
            terminal.say(f"service '{report.service}': {report.error.message}")
            if report.error.hint:
                terminal.hint(report.error.hint)
        elif not json:
            _say(report, would=would)
    failed = [it.error.exit_code for it in reports if it.error]
    due = any(it.changed or it.removed or it.units for it in reports)
    return failed[0] if failed else int(would and due)


def _say(report: Report, *, would: bool) -> None:
    doing = "reload" if report.reload else "restart"
    if would:
        terminal.lines(f"would write: {path}" for path in report.changed)
        terminal.lines(f"would remove: {path}" for path in report.removed)
        terminal.lines(f"would {doing}: {unit}" for unit in report.units)
        return
    for verb, paths in (("wrote", report.changed), ("removed", report.removed)):
        for path in paths:
            terminal.say(f"{verb}: {names.shown(path)}")
    for unit in report.units:
        terminal.say(f"{doing}ed: {unit}")


def _entry(report: Report) -> dict[str, object]:
    return {
        "service": report.service,
        "directories": [it.order.directory for it in report.deliveries],
        "files": report.changed,
        "removed": report.removed,
        "units": list(report.units),
        "action": ("reload" if report.reload else "restart") if report.units else None,
        "error": report.error.message if report.error else None,
    }
