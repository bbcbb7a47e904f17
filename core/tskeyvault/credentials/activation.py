"""What systemd hands to a service that a socket starts, and what that gives back for safekeeping.

sd_listen_fds(3), sd_notify(3): the sockets are the descriptors from 3 on; ``FDSTORE=1`` lets PID 1 hold
one until both ends are closed, and hand it to whoever is started after us.
"""

import os
import socket
from collections.abc import MutableMapping
from typing import NamedTuple

from tskeyvault.errors import DeliveryError, UsageError

from .table import ENCRYPTED

_FIRST = 3
_SECONDS = 5.0


class Listener(NamedTuple):
    """A socket that units ask at."""

    socket: socket.socket
    encrypted: bool
    """By ``LoadCredentialEncrypted=``: it is told by the name of the socket."""


class Given(NamedTuple):
    """What systemd has handed over."""

    listeners: list[Listener]
    left: list[socket.socket]
    """Connections that one before us had stored, when it was killed."""


def given(environ: MutableMapping[str, str]) -> Given:
    """Take what systemd hands over from *environ*; programs that we start do not get it.

    Raises UsageError when it was not systemd that started us, by a socket.
    """
    hint = "systemctl start tskeyvault-credentials.socket: it is started when a unit asks"
    number, process = (environ.pop(key, "") for key in ("LISTEN_FDS", "LISTEN_PID"))
    environ.pop("LISTEN_FDNAMES", "")
    if process != str(os.getpid()) or not number.isascii() or not number.isdigit():
        raise UsageError("systemd has passed no socket", hint)
    sockets = []
    for fd in range(_FIRST, _FIRST + int(number)):
        os.set_inheritable(fd, False)
        sockets.append(socket.socket(fileno=fd))
    listening = [it for it in sockets if it.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)]
    if not listening or any(it.family != socket.AF_UNIX for it in sockets):
        raise UsageError("systemd has passed something else than listening AF_UNIX sockets", hint)
    return Given([_listener(it) for it in listening], [it for it in sockets if it not in listening])


def _listener(listening: socket.socket) -> Listener:
    name = os.path.basename(os.fsdecode(listening.getsockname()))
    return Listener(listening, encrypted=name == os.path.basename(ENCRYPTED))


class Keeper:
    """PID 1, which holds descriptors for us."""

    def __init__(self, environ: MutableMapping[str, str]):
        """Find it by ``$NOTIFY_SOCKET``, which programs that we start do not get.

        Raises UsageError when there is none.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            raise UsageError("the unit has no place for connections", "FileDescriptorStoreMax=1024 makes it")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(_SECONDS)
        try:
            self._socket.connect(address.replace("@", "\0", 1))
        except OSError:
            raise DeliveryError("systemd does not listen on NOTIFY_SOCKET") from None

    def hold(self, fd: int) -> None:
        """Let it hold *fd* too. Raises DeliveryError."""
        try:
            socket.send_fds(self._socket, [b"FDSTORE=1\nFDNAME=connection"], [fd])
        except OSError:
            raise DeliveryError("systemd does not take a connection for safekeeping") from None
