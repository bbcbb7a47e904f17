"""Tailscale sidecars, ``[services.NAME.sidecar]``: a container that logs in, and those that use its network.

The table is committed, and so hostile. It cannot send the key elsewhere (``--login-server``), open a shell
(``--ssh``) or a port beyond this host: those are arguments of the command, given on the host.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from tskeyvault import names, toml
from tskeyvault.errors import ConfigError, UsageError
from tskeyvault.toml import Table

KEY = "tskey"
"""The file with the key that every sidecar has among its files."""

COMMITTED = (
    "accept-dns", "accept-routes", "advertise-connector", "advertise-exit-node", "advertise-routes",
    "exit-node-allow-lan-access", "netfilter-mode", "shields-up", "snat-subnet-routes", "stateful-filtering",
)  # fmt: skip
"""Options of ``tailscale up`` that vault.toml may give: none of them says where the key goes, or who may log in."""

_OWN = ("auth-key", "authkey", "client-id", "client-secret", "id-token", "hostname", "advertise-tags")
"""Options that the rest of the table gives, or that hold a key."""
_CONTAINER = re.compile(r"[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9_.])?", re.ASCII)
"""No dash at the end: drop-ins of ``a-`` are those of every ``a-b``, to quadlet as to systemd (systemd.unit(5))."""
_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_TAG = re.compile(r"tag:[a-z][a-z0-9-]{0,49}", re.ASCII)
_ARGUMENT = re.compile(r"--([a-z][a-z0-9-]{0,49})(=[A-Za-z0-9.,:/_@?&+-]{1,500})?", re.ASCII)
_PUBLISH = re.compile(r"(?:\[([0-9a-f:]+)\]|([0-9.]+)):([0-9]{1,5}):([0-9]{1,5})(?:/tcp|/udp)?", re.ASCII)
_LONGEST = 1500
"""Characters of a list, so that no line of a unit gets longer than is printed whole."""
_PORTS = range(1, 1 << 16)


class Sidecar(NamedTuple):
    """One sidecar."""

    name: str
    """Of the service and of the container."""
    hostname: str
    """In the tailnet."""
    tags: tuple[str, ...]
    arguments: tuple[str, ...]
    """Of ``tailscale up``, each ``--option`` or ``--option=value``."""
    publish: tuple[str, ...]
    """``ADDRESS:PORT-OF-THE-HOST:PORT``, with ``/tcp`` or ``/udp`` or nothing after it."""
    containers: tuple[str, ...]
    """Those that use its network."""
    once: bool
    """It logs in only when it has to: ``TS_AUTH_ONCE``."""
    ephemeral: bool
    """Nothing is kept of it: it logs in at each start, as a new node."""


def parse(name: str, value: object, files: Iterable[str], where: str) -> Sidecar:
    """Return the sidecar *name* that the table *value* describes; *files* are the names of the service's files.

    Raises ConfigError.
    """
    entries = toml.table(value, where)
    known = ("hostname", "tags", "arguments", "publish", "containers", "once", "ephemeral")
    toml.known(entries, known, where)
    if KEY not in files:
        raise ConfigError(
            f"{where}: the service has no file '{KEY}'", f"a sidecar reads its key from '{KEY}'"
        )
    for it in (name, *(containers := _list(entries, "containers", where))):
        if not _CONTAINER.fullmatch(it):
            hint = (
                "lower-case letters, digits, dots, dashes and underscores, 63 at most, and no dash at the end"
            )
            raise ConfigError(f"{where}: '{names.shown(it)}' cannot name a container", hint)
    if name in containers:
        raise ConfigError(f"{where}: it cannot be behind itself")
    ephemeral = _flag(entries, "ephemeral", where, default=False)
    once = _flag(entries, "once", where, default=not ephemeral)
    if once and ephemeral:
        hint = "an ephemeral one logs in at each start, so its key must be a reusable one"
        raise ConfigError(f"{where}: once and ephemeral exclude each other", hint)
    sidecar = Sidecar(
        name=name,
        hostname=toml.text(entries, "hostname", where) or name,
        tags=_list(entries, "tags", where),
        arguments=_list(entries, "arguments", where),
        publish=_list(entries, "publish", where),
        containers=containers,
        once=once,
        ephemeral=ephemeral,
    )
    _check(sidecar, where)
    return sidecar


def extended(sidecar: Sidecar, arguments: Iterable[str], publish: Iterable[str]) -> Sidecar:
    """Return *sidecar* with what the host adds to it, which may be more than what may be committed.

    Raises UsageError.
    """
    for argument in arguments:
        _option(argument, "--argument")
    for port in publish:
        _address(port, "--publish")
    return sidecar._replace(arguments=(*sidecar.arguments, *arguments), publish=(*sidecar.publish, *publish))


def _check(sidecar: Sidecar, where: str) -> None:
    if not _HOSTNAME.fullmatch(sidecar.hostname):
        hint = 'lower-case letters, digits and dashes, 63 at most: hostname = "ai-services"'
        raise ConfigError(f"{where}: '{names.shown(sidecar.hostname)}' cannot be a host name", hint)
    for tag in sidecar.tags:
        if not _TAG.fullmatch(tag):
            raise ConfigError(f"{where}: '{names.shown(tag)}' is not a tag", "like tag:containers")
    for argument in sidecar.arguments:
        option = toml.checked(lambda it: _option(it, "an argument"), argument, where)
        if option not in COMMITTED:
            hint = f"vault unit --argument gives it on the host; here: {', '.join(COMMITTED)}"
            raise ConfigError(f"{where}: '--{option}' may not be committed", hint)
    for port in sidecar.publish:
        if not toml.checked(lambda it: _address(it, "publish"), port, where):
            hint = "vault unit --publish opens it on the host; here: 127.0.0.1 and [::1]"
            raise ConfigError(f"{where}: '{names.shown(port)}' opens a port beyond this host", hint)


def _option(argument: str, what: str) -> str:
    """Return the name of the option that *argument* gives. Raises UsageError."""
    match = _ARGUMENT.fullmatch(argument)
    if not match:
        raise UsageError(
            f"{what} is not one long option", "like --accept-routes or --advertise-routes=10.0.0.0/8"
        )
    if match[1] in _OWN:
        raise UsageError(
            f"'--{match[1]}' is given by other means", "the key as a file, hostname and tags by name"
        )
    return match[1]


def _address(port: str, what: str) -> bool:
    """Tell whether the address in *port* is one of this host alone. Raises UsageError."""
    from ipaddress import ip_address

    match = _PUBLISH.fullmatch(port)
    hint = "like 127.0.0.1:8188:8188: address, port of the host, port of the container"
    if not match or not all(int(match[it]) in _PORTS for it in (3, 4)):
        raise UsageError(f"{what}: not an address and two ports", hint)
    try:
        return ip_address(match[1] or match[2]).is_loopback
    except ValueError:
        raise UsageError(f"{what}: not an address and two ports", hint) from None


def _list(entries: Table, key: str, where: str) -> tuple[str, ...]:
    value = entries.get(key, [])
    if not isinstance(value, list) or not all(isinstance(it, str) for it in value):
        raise ConfigError(f"{where}: {key} is not a list of texts", f'write {key} = ["…"]')
    if len(" ".join(value)) > _LONGEST or len(set(value)) < len(value):
        raise ConfigError(f"{where}: {key} has an entry twice, or more than {_LONGEST} characters")
    return tuple(value)


def _flag(entries: Table, key: str, where: str, *, default: bool) -> bool:
    value = entries.get(key, default)
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: {key} is neither true nor false")
    return value
