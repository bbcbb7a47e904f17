"""A drop-in for a unit that exists: it fetches the service's files before the unit starts, and its credentials."""

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from tskeyvault.credentials import table
from tskeyvault.errors import NotFoundError, UsageError
from tskeyvault.names import shown
from tskeyvault.services import Service

from . import environment, manager, text
from .order import Delivery
from .text import Piece

DIRECTORY = "/etc/systemd/system"
DROP_IN = "50-tskeyvault.conf"
"""The name of every drop-in of ours."""

_PLAIN = re.compile(r"[A-Za-z0-9_.@-]+", re.ASCII)


class Unit(NamedTuple):
    """A unit that exists, without what a drop-in of ours adds to it."""

    name: str
    runtime: tuple[str, ...]
    """Its runtime directories, as they stand in its files."""
    preserved: bool
    """They outlast a stop."""
    dynamic: bool
    """Its user is a dynamic one."""
    timeout: float
    """Seconds that a start may take; 0 where it does not say."""
    prepares: bool
    """It has commands of its own before its start."""
    settings: environment.Settings
    """All that it sets."""


def existing(name: str, given: str = "") -> Unit:
    """Return the unit *name* as systemd knows it, or as the file *given* says.

    Raises NotFoundError when systemd does not know it.
    """
    paths: Sequence[str] = (given,)
    if not given:
        known = manager.ask(name)
        if not known.is_there or not known.files:
            raise NotFoundError(f"systemd knows no unit '{name}'", "--from FILE gives the text of one")
        paths = [path for path in known.files if os.path.basename(path) != DROP_IN]
    found = text.settings([manager.read(path) for path in paths], "Service")
    times = [*found.get("TimeoutSec", ()), *found.get("TimeoutStartSec", ())]
    kind = found.get("Type", [""])[-1]
    timeout = text.seconds(times[-1]) if times else float("inf") if kind == "oneshot" else 0.0
    return Unit(
        name=name,
        runtime=tuple(" ".join(found.get("RuntimeDirectory", ())).split()),
        preserved=environment.is_on(found, "RuntimeDirectoryPreserve"),
        dynamic=environment.is_on(found, "DynamicUser"),
        timeout=timeout,
        prepares="ExecStartPre" in found,
        settings=found,
    )


def drop_in(unit: Unit, service: Service, delivery: Delivery, directory: str) -> Piece:
    """Return the drop-in that delivers files to *directory*, or else to the unit's runtime directory, which it may add.

    Credentials come from the socket of ``vault credential-server``. Raises UsageError where a
    directory has to be named.
    """
    lines = [mark(delivery.service), "[Service]"]
    lines += _files(unit, delivery, directory) if service.files else []
    lines += [f"LoadCredentialEncrypted={key}:{table.ENCRYPTED}" for key, _ in service.credentials]
    if unit.timeout < delivery.longest:
        lines.append(f"TimeoutStartSec={delivery.longest}")
    lines.append("LimitCORE=0")
    return Piece(f"{DIRECTORY}/{unit.name}.d/{DROP_IN}", "\n".join([*lines, ""]))


def _files(unit: Unit, delivery: Delivery, directory: str) -> list[str]:
    """Return the lines that deliver files. Raises UsageError where a directory has to be named."""
    lines = []
    if not directory and len(unit.runtime) > 1:
        raise UsageError(
            f"unit '{unit.name}' has several runtime directories", "name one: --directory /run/DIR"
        )
    if not directory and unit.preserved and unit.dynamic:
        hint = "its directory is a link: --directory /run/private/DIR names its place"
        raise UsageError(f"unit '{unit.name}' preserves the directory of a dynamic user", hint)
    if not directory and not unit.runtime:
        runtime = _runtime_directory(unit.name)
        refuse_foreign(unit.name, runtime)
        lines += [f"RuntimeDirectory={runtime}", "RuntimeDirectoryMode=0700"]
    lines.append(f"ExecStartPre=+{text.command(delivery.materialize(directory))}")
    _refuse_variables_of_user(unit, outlasts=bool(directory) or unit.preserved)
    if directory or unit.preserved:
        lines.append(f"ExecStopPost=+{text.command(delivery.clean(directory))}")
    return lines


def _refuse_variables_of_user(unit: Unit, *, outlasts: bool) -> None:
    """Refuse to have root run a command with variables that the unit's user can set. Raises UsageError."""
    if found := environment.files_of_user(unit.name, unit.settings, outlasts=outlasts):
        raise UsageError(
            f"unit '{unit.name}' reads '{shown(found[0])}', where its user could have root's line load a library of theirs",
            "EnvironmentFile= of a place that only root can write, or of a RuntimeDirectory= that no stop leaves",
        )


def _runtime_directory(unit: str) -> str:
    """Return the name of a runtime directory for *unit* alone: that of the unit, of a template that of each instance.

    Raises UsageError for a name with escapes, with which systemd 257 starts no unit.
    """
    own = unit.removesuffix(".service")
    if not _PLAIN.fullmatch(own):
        raise UsageError(
            f"unit '{unit}' has a name that no runtime directory can have", "name one: --directory /run/DIR"
        )
    return "%N" if "@" in own else own


def mark(service: str) -> str:
    """Return the first line of every file that is made for *service*'s units."""
    return f"# vault unit {service} --for systemd"


def refuse_foreign(unit: str, runtime: str) -> None:
    """Refuse the runtime directory *runtime* for *unit* when it is somebody else's: it would go when the unit stops.

    Raises UsageError.
    """
    if "%" in runtime or runtime in manager.ask(unit).runtime:
        return
    if os.path.lexists(path := f"/run/{runtime}"):
        raise UsageError(
            f"'{shown(path)}' is there, and not as the runtime directory of '{unit}'",
            "it would be removed when the unit stops; remove it, or choose another name or --directory",
        )
