"""Credentials: whether the vault's server can be asked for them, and what it would refuse the units that ask."""

import json
import os
import shlex
import stat
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tskeyvault import names
from tskeyvault.credentials import envelope, table
from tskeyvault.errors import ConfigError, NotFoundError
from tskeyvault.names import Reference
from tskeyvault.unitfiles import Line, Unit
from tskeyvault.unitlines import service_of, toml_key

from .finding import Finding, NotCheckedError, shown
from .host import Host

_BY = {"LoadCredential": table.SOCKET, "LoadCredentialEncrypted": table.ENCRYPTED}
_SERVED = "docs/systemd.md, 'Credentials from the vault', has the units that serve it"


class Asked(NamedTuple):
    """A credential that a unit asks the vault's server for."""

    key: str
    """Its ID."""
    line: Line
    place: str
    """The socket."""


def asked(unit: Unit) -> list[Asked]:
    """Return what *unit* asks the vault's server for; of two lines for one ID the later counts."""
    found: dict[str, Asked] = {}
    for line in (it for it in unit.lines if it.section == "Service" and it.key in _BY):
        key, _, place = line.value.partition(":")
        if line.value:
            found[key] = Asked(key, line, place)
        else:
            found.clear()
    return [it for it in found.values() if it.place == _BY[it.line.key]]


def of_server(host: Host) -> Iterator[Finding]:
    """Yield why units that ask the server would not get to it, and who else would."""
    asking: dict[str, str] = {}
    for unit in host.units:
        for it in asked(unit):
            asking.setdefault(it.place, f"{shown(unit.name)} asks there")
            # Before 'credential-units' sends it there.
            asking.setdefault(table.ENCRYPTED, f"{shown(unit.name)} should ask there")
    if not asking:
        return
    if not os.path.lexists(key := host.path(envelope.SECRET)):
        message = "is not there, so that no credential can be encrypted for this host"
        yield Finding("credential-server", key, message, "systemd-creds setup")
    listening = {
        line.value: unit for unit in host.sockets for line in unit.settings("ListenStream", "Socket")
    }
    for place, who in asking.items():
        if place not in listening:
            yield _missing(place, who, listening)
    for unit in {unit.name: unit for place, unit in listening.items() if place in asking}.values():
        yield from _of_state(host, unit)
    for place in asking:
        yield from _of_place(host, place, listening.get(place))


def of_units(host: Host) -> Iterator[Finding]:
    """Yield the credentials that units ask for in a way that can be cut off, and those that they would be refused."""
    asking = [(unit, it) for unit in host.units for it in asked(unit)]
    yield from (_in_plain(unit, it) for unit, it in asking if it.place == table.SOCKET)
    for unit, it in asking:
        if "%" not in it.key and (problem := _refused(host, unit, it.key)):
            yield Finding("credential-units", shown(unit.name), *problem)


def _in_plain(unit: Unit, it: Asked) -> Finding:
    where = shown(f"{it.line.path}:{it.line.number}")
    message = f"{shown(unit.name)} takes a part of credential '{shown(it.key)}' for the whole when the server is killed"
    repair = f"LoadCredentialEncrypted={it.key}:{table.ENCRYPTED}"
    if names.is_credential(it.key):
        repair = f"sed -i {shlex.quote(f'{it.line.number}s|.*|{repair}|')} {shlex.quote(it.line.path)} && systemctl daemon-reload"
    return Finding("credential-units", where, message, repair)


def _missing(place: str, who: str, listening: Mapping[str, Unit]) -> Finding:
    message = f"{who}, and no socket unit listens there"
    other = next((listening[it] for it in _BY.values() if it in listening), None)
    repair = _drop_in(other, f"ListenStream={place}") if other else _SERVED
    return Finding("credential-server", place, message, repair)


def _drop_in(unit: Unit, *lines: str) -> str:
    """Return the command that adds *lines* to the socket *unit*, and lets it listen anew."""
    folder = shlex.quote(f"/etc/systemd/system/{unit.name}.d")
    text = shlex.join(["[Socket]", *lines])
    write = f"mkdir -p {folder} && printf '%s\\n' {text} >>{folder}/vault.conf && systemctl daemon-reload"
    return f"{write} && {_stopped(unit)} && systemctl restart {shlex.quote(unit.name)}"


def _stopped(unit: Unit) -> str:
    """Return the command that ends the service of the socket *unit*: as long as it runs, that cannot begin to listen."""
    return f"systemctl stop {shlex.quote(unit.name.removesuffix('.socket') + '.service')}"


def _of_place(host: Host, place: str, unit: Unit | None) -> Iterator[Finding]:
    """Yield what is wrong with the socket *place*, which *unit* has made, as far as it is there."""
    path = host.path(place)
    folder = os.path.dirname(path)
    try:
        info, above = os.lstat(path), os.lstat(folder)
    except FileNotFoundError:
        return
    except PermissionError:
        raise NotCheckedError(f"only root can look into {folder}") from None
    if info.st_uid or info.st_mode & 0o077:
        message = (
            f"user {info.st_uid} and mode {stat.S_IMODE(info.st_mode):04o} let others than root ask there"
        )
        lines = ("SocketUser=root", "SocketGroup=root", "SocketMode=0600")
        repair = _drop_in(unit, *lines) if unit else f"chown root:root {path} && chmod 0600 {path}"
        yield Finding("credential-server", path, message, repair)
    if above.st_uid or above.st_mode & 0o022:
        repair = f"chown root:root {folder} && chmod 0700 {folder}"
        yield Finding("credential-server", folder, "others than root can put another socket there", repair)


def _of_state(host: Host, unit: Unit) -> Iterator[Finding]:
    """Yield that the socket *unit* does not listen now, or would not after the next boot."""
    said = host.ask(["systemctl", "show", "--property=ActiveState,UnitFileState", "--", unit.name])
    state = dict(line.partition("=")[::2] for line in said.splitlines())
    name = shlex.quote(unit.name)
    if state.get("ActiveState") != "active":
        message = "does not listen, so the units that ask there do not start"
        repair = f"{_stopped(unit)} && systemctl enable --now {name}"
        yield Finding("credential-server", shown(unit.name), message, repair)
    elif state.get("UnitFileState") == "disabled":
        message = "will not listen after the next boot"
        yield Finding("credential-server", shown(unit.name), message, f"systemctl enable {name}")


def _refused(host: Host, unit: Unit, key: str) -> tuple[str, str] | None:
    """Return why ``vault.toml`` does not give *unit* the credential *key*, and what to write there."""
    try:
        if key in _given(host, unit):
            return None
    except ConfigError as error:
        return error.message, error.hint or "give them two IDs"
    message = f"asks for credential '{shown(key)}', which vault.toml does not give it"
    services, entry = host.vault.settings.services, f'{toml_key(key)} = "SECRET"'
    if own := next((name for name, it in services.items() if unit.name in it.units), ""):
        return message, shown(f"add to credentials of [services.{toml_key(own)}] in vault.toml: {entry}")
    table_of_it = f"[services.{toml_key(service_of(unit))}] units = [{json.dumps(unit.name)}]"
    return message, shown(f"write into vault.toml: {table_of_it} credentials = {{ {entry} }}")


def _given(host: Host, unit: Unit) -> Mapping[str, Reference]:
    """Return what ``vault.toml`` gives *unit*; a template, what it gives to any of its instances."""
    settings = host.vault.settings
    listed = {name for service in settings.services.values() for name in service.units}
    found: dict[str, Reference] = {}
    for name in (unit.name, *(it for it in listed if unit.is_template and table.template(it) == unit.name)):
        try:
            found |= table.of_unit(name, settings)
        except NotFoundError:
            continue
    return found
