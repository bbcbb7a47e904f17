"""Tailscale: what it said in the journal when it did not accept a key, and what that means."""

import contextlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tskeyvault.credentials import table
from tskeyvault.errors import ConfigError, NotFoundError
from tskeyvault.names import Reference
from tskeyvault.unitfiles import Unit
from tskeyvault.unitlines import service_of

from . import credentials, units
from .finding import Finding, shown
from .host import Host

_LINES = 5000


class _Meaning(NamedTuple):
    said: re.Pattern[str]
    means: str
    first: str
    """What to do before the command."""
    needs_key: bool


_KEYS = "https://login.tailscale.com/admin/settings/keys"
_MEANINGS = (
    _Meaning(
        re.compile(r"authentication key invalid|invalid (auth )?key|auth ?key (has )?expired", re.IGNORECASE),
        "Tailscale says that the authentication key is invalid: it has expired, or was for one use and is used up",
        f"make a new one at {_KEYS}, then: ",
        needs_key=True,
    ),
    _Meaning(
        re.compile(r"\bunauthorized\b", re.IGNORECASE),
        "Tailscale says that it is unauthorized: the key may not do this, as to add a device or give it these tags",
        f"make one with these tags at {_KEYS}, then: ",
        needs_key=True,
    ),
    _Meaning(
        re.compile(r"device already exists", re.IGNORECASE),
        "Tailscale says that the device already exists: another one has this host name",
        "remove that one at https://login.tailscale.com/admin/machines, or choose another host name, then: ",
        needs_key=False,
    ),
)


def failures(host: Host) -> Iterator[Finding]:
    """Yield what went wrong since each service with a Tailscale key, or named so, was started the last time."""
    concerned = {unit.name: unit for unit in host.units if _is_concerned(unit)}
    began = {found["Id"]: _began(found) for found in host.services if found.get("Id") in concerned}
    if not began:
        return
    told = set()
    for name, when, message in _messages(host, list(began)):
        for meaning in _MEANINGS:
            new = name in began and when >= began[name] and (name, meaning) not in told
            if new and meaning.said.search(message):
                told.add((name, meaning))
                repair = _repair(host, concerned[name], meaning)
                yield Finding("tailscale", shown(name), meaning.means, repair)


def _began(found: Mapping[str, str]) -> int:
    """Return when the service began to start, in microseconds.

    systemd notes that it has left "inactive" only after it has begun the first process, which may have said all
    by then; it looks at the conditions of the unit before that, and again at a start that came to nothing.
    """
    keys = ("InactiveExitTimestampMonotonic", "ConditionTimestampMonotonic")
    return min((int(found[key]) for key in keys if found.get(key, "0") != "0"), default=0)


def _is_concerned(unit: Unit) -> bool:
    if "tailscale" in unit.name.lower() or units.deliveries(unit) or credentials.asked(unit):
        return True
    return any("tailscale" in line.value.lower() or "TS_AUTHKEY" in line.value for line in unit.lines)


def _messages(host: Host, names: list[str]) -> Iterator[tuple[str, int, str]]:
    """Yield unit, time (monotonic, in microseconds) and text of the last lines since the boot, none above 4 KiB.

    The id of the run is not asked for: the journal does not learn it of a process that ends at once.
    """
    argv = [
        "journalctl",
        "--quiet",
        "--no-pager",
        "--boot",
        "--output=json",  # which leaves out fields above 4 KiB
        "--output-fields=MESSAGE,_SYSTEMD_UNIT",
        f"--lines={_LINES}",
        *(f"_SYSTEMD_UNIT={name}" for name in names),
    ]
    for line in host.ask(argv).splitlines():
        try:
            entry = json.loads(line)
            said = entry["MESSAGE"]
            text = said if isinstance(said, str) else bytes(said).decode(errors="replace")
            yield entry["_SYSTEMD_UNIT"], int(entry["__MONOTONIC_TIMESTAMP"]), text
        except (ValueError, TypeError, KeyError, RecursionError):
            continue  # no text, or none of a service


def _repair(host: Host, unit: Unit, meaning: _Meaning) -> str:
    """Return what to do; the secret is named where ``vault.toml`` says which it is."""
    restart = f"systemctl restart {shlex.quote(unit.name)}"
    if not meaning.needs_key:
        return meaning.first + restart
    named = next((str(it) for it in _secrets(host, unit)), "")
    command = host.vault_command if host.found else host.program
    return f"{meaning.first}{command} insert --force {shlex.quote(named) if named else 'NAME'} && {restart}"


def _secrets(host: Host, unit: Unit) -> Iterator[Reference]:
    """Yield the secrets that ``vault.toml`` gives *unit*, as credentials or as files."""
    if not host.found:
        return
    settings = host.found.settings
    if asked := credentials.asked(unit):
        with contextlib.suppress(NotFoundError, ConfigError):
            given = table.of_unit(unit.name, settings)
            yield from (given[it.key] for it in asked if it.key in given)
    delivered = [it.service for it in units.deliveries(unit)] or [service_of(unit)]
    for name in delivered:
        if name in settings.services:
            yield from settings.services[name].references
