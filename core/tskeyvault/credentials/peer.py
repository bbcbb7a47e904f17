"""Who asks: what the kernel says of the process at the other end of a connection, and of its unit.

systemd connects as root, in the control group of the unit that starts, from an abstract address that
names unit and credential (systemd.exec(5), ``LoadCredential=``). Anybody can take such an address,
so what it says is believed only as far as the kernel's own account agrees.
"""

import contextlib
import os
import re
import select
import socket
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tskeyvault import names
from tskeyvault.errors import DeliveryError, NameInvalidError

_ADDRESS = re.compile(rb"\0[0-9a-f]{1,16}/unit/([^/]+)/([^/]+)")
_PEERPIDFD = 77
"""SO_PEERPIDFD of Linux 6.5, which Python does not name."""
_CONTROL_GROUPS = "/sys/fs/cgroup"
_INVOCATION = "user.invocation_id"
"""Extended attribute that systemd gives the control group of a unit: 32 hexadecimal digits, new at each start."""


class Peer(NamedTuple):
    """What is asked for, and for which start."""

    unit: str
    credential: str
    start: str
    """Tells this start of the unit from every other."""


def identify(connection: socket.socket) -> Peer:
    """Return who is at the other end of *connection*.

    Raises DeliveryError for whoever is not systemd starting the unit that it names.
    """
    unit, credential = _asked(connection.getpeername())
    pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    who = f"process {pid}, which asks for credential '{credential}' of {unit},"
    if uid != 0:
        raise DeliveryError(f"{who} is not root's")
    with _held(connection, pid) as ended:
        if _read(pid, "uid_map") != _read(os.getpid(), "uid_map"):
            raise DeliveryError(f"{who} is in another user namespace")
        actual, group = unit_of(_read(pid, "cgroup"))
        if actual != unit:
            raise DeliveryError(f"{who} is not in that unit but in {names.shown(actual) or 'none'}")
        if ended():
            raise DeliveryError(f"{who} has ended")
    return Peer(unit, credential, _invocation(group) or f"process {pid}")


def own_unit() -> str:
    """Return the unit that this process runs in, or ``""``."""
    return unit_of(_read(os.getpid(), "cgroup"))[0]


def unit_of(groups: str) -> tuple[str, str]:
    """Return the unit whose control group *groups* (proc(5), ``/proc/PID/cgroup``) names, and the path of that group.

    It is the first component below the slices; systemd puts a ``_`` before some. Both are ``""`` when there is none.
    """
    path = next((line[3:] for line in groups.splitlines() if line.startswith("0::/")), "/")
    above = ""
    for part in path.strip("/").split("/"):
        above = f"{above}/{part}"
        if part and not part.endswith(".slice"):
            return part.removeprefix("_"), above
    return "", ""


def _asked(address: object) -> tuple[str, str]:
    """Return unit and credential that the peer's *address* names."""
    matched = _ADDRESS.fullmatch(address) if isinstance(address, bytes) else None
    if not matched:
        raise DeliveryError(
            "a connection does not come from systemd: its address names no unit and credential"
        )
    try:
        unit, credential = (text.decode("ascii") for text in matched.groups())
        return names.unit(unit), names.credential(credential)
    except (UnicodeDecodeError, NameInvalidError):
        raise DeliveryError(
            "a connection asks for a unit or credential that vault.toml cannot name"
        ) from None


@contextlib.contextmanager
def _held(connection: socket.socket, pid: int) -> Iterator[Callable[[], bool]]:
    """Hold the process *pid* while it is looked at: so long its number cannot become another's unseen."""
    try:
        fd = struct.unpack("i", connection.getsockopt(socket.SOL_SOCKET, _PEERPIDFD, 4))[0]
    except OSError:
        fd = _pidfd(pid)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    try:
        yield lambda: bool(poll.poll(0))
    finally:
        os.close(fd)


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:
        raise DeliveryError(f"process {pid}, which asks, has ended") from None


def _read(pid: int, file: str) -> str:
    try:
        with open(f"/proc/{pid}/{file}", encoding="utf-8", errors="replace") as stream:
            return stream.read(1 << 16)
    except OSError:
        raise DeliveryError(f"/proc/{pid}/{file} cannot be read") from None


def _invocation(group: str) -> str:
    """Return the invocation of the unit in *group*, or ``""`` where systemd has not left it there."""
    try:
        return os.getxattr(f"{_CONTROL_GROUPS}{group}", _INVOCATION).decode("ascii", errors="replace")
    except OSError:
        return ""
