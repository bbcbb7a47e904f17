"""The units that use what is delivered to a service: what systemd says of them, and their restart.

Which they are is said by a commit, so that nothing is restarted of which systemd itself does not
say that it gets this service's files.
"""

import re
from typing import NamedTuple

from tskeyvault import names, process, systemd
from tskeyvault.errors import DeliveryError, PluginError

RESTART_SECONDS = 180.0
"""Above systemd's own 90 s for a stop and 90 s for a start, at which it gives up by itself."""

_MANY = 1000
_PROPERTIES = (
    "ExecStartPre", "ExecStart", "RuntimeDirectory", "EnvironmentFiles", "Environment", "LoadCredential", "LoadCredentialEncrypted",
    "BindPaths", "BindReadOnlyPaths", "ReadWritePaths", "ReadOnlyPaths",
)  # fmt: skip
_BOOTING = {"initializing", "starting"}


class Delivery(NamedTuple):
    """A service, and the directories that hold its files."""

    service: str
    directories: tuple[str, ...]


def using(delivery: Delivery, listed: tuple[str, ...]) -> list[str]:
    """Return which of the units *listed* run on this host: their names, and for a template those of its instances.

    Raises DeliveryError when none is there, or when one does not get the files of the *delivery*.
    """
    found: dict[str, str] = {}
    for name in listed:
        found |= _shown(name)
    if not found:
        raise DeliveryError(
            "none of its units is on this host",
            f"'units' of service '{delivery.service}' names them, in vault.toml or the manifest",
        )
    for name, properties in found.items():
        if not _gets(properties, delivery):
            raise DeliveryError(
                f"unit '{name}' does not get its files, and so is not restarted",
                f"ExecStartPre= with 'materialize {delivery.service}', or a path below {delivery.directories[0]}, shows that it does",
            )
    return [
        name
        for name, properties in found.items()
        if not re.search(r"^ActiveState=(inactive|failed)$", properties, re.MULTILINE)
    ]


def restart(units: list[str], *, reload: bool) -> list[str]:
    """Restart those *units* that run, or reload them, one after the other; return those that failed.

    One that was restarted with another of them, which it depends on, is not restarted again. While
    the system starts it is only asked for: a unit that the start waits for would wait for itself.
    """
    state = _systemctl("is-system-running").output.strip()
    options = ["--no-block"] if state in _BOOTING else []
    verb = "try-reload-or-restart" if reload else "try-restart"
    before = {unit: _start(unit) for unit in units}
    failed = []
    for unit in units:
        try:
            # The second one waits for the start that goes on.
            fresh = bool(options) or _start(unit) == before[unit]
            words = (verb, *options) if fresh else ("start", "--job-mode=fail")
            done = not _systemctl(*words, "--", unit, seconds=RESTART_SECONDS).status
        except PluginError:  # it has not ended in time; the next ones are to be restarted all the same
            done = False
        if not done:
            failed.append(unit)
    return failed


def _start(unit: str) -> str:
    """Return what is another with every start of *unit*, also with one that is to come."""
    return _systemctl("show", "--property=InvocationID,Job", "--", unit).output


def _shown(name: str) -> dict[str, str]:
    """Return the properties of the unit *name*, or of the instances of a template, that are on this host."""
    base, at, _ = name.partition("@.service")
    # An instance that is not loaded does not run. The name is a pattern here, where a backslash escapes.
    pattern = f"{base}@*.service".replace("\\", "\\\\") if at else name
    done = _systemctl(
        "show",
        f"--property={','.join(('Id', 'LoadState', 'ActiveState', *_PROPERTIES))}",
        "--",
        pattern,
    )
    if done.status:
        raise DeliveryError(
            "systemctl does not say which units there are", "systemctl status shows whether systemd runs"
        )
    found = {}
    for block in done.output.split("\n\n"):
        identity = re.search(r"^Id=(.+)$", block, re.MULTILINE)
        if identity and re.search(r"^LoadState=loaded$", block, re.MULTILINE) and names.is_unit(identity[1]):
            found[identity[1]] = block
    if len(found) > _MANY:
        raise DeliveryError(f"'{name}' has more than {_MANY} instances")
    return found


def _gets(properties: str, delivery: Delivery) -> bool:
    """Tell whether the *properties* of a unit name the service, or a path in one of its directories."""
    own = rf"^ExecStartPre=.* materialize {re.escape(delivery.service)}(?= |$)"
    if re.search(own, properties, re.MULTILINE):
        return True
    runtime = [
        f"/run/{name}"
        for line in re.findall(r"^RuntimeDirectory=(.*)$", properties, re.MULTILINE)
        for name in line.split()
    ]
    return any(
        directory in runtime
        or re.search(rf"(?<![\w./-]){re.escape(directory)}(?=[/\s:;,\"']|$)", properties, re.MULTILINE)
        for directory in delivery.directories
    )


def _systemctl(*arguments: str, seconds: float = systemd.SECONDS) -> process.Result:
    done = systemd.systemctl(*arguments, seconds=seconds)
    if done is None:
        raise DeliveryError("there is no systemctl on this host", "leave out --restart")
    return done
