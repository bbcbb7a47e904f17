"""Between a command and the agent: where the socket is, who is on its other side, and messages of JSON."""

import json
import os
import socket
import struct
from collections.abc import Mapping

from tskeyvault.errors import PluginError

MAX_MESSAGE = 64 << 20
"""Bytes of one message: the stanzas of all files of a command."""

Message = Mapping[str, object]

_SIZE = struct.Struct(">I")
_CREDENTIALS = struct.Struct("3i")
_FOLDER, _SOCKET = "tskeyvault", "yubikey"


def path(environ: Mapping[str, str]) -> str:
    """Return where the agent's socket is, in ``$XDG_RUNTIME_DIR``, or ``""`` when there is no such place."""
    base = environ.get("XDG_RUNTIME_DIR", "")
    return os.path.join(base, _FOLDER, _SOCKET) if os.path.isabs(base) else ""


def is_own(peer: socket.socket) -> bool:
    """Tell whether a process of this very user is on the other side of *peer* (SO_PEERCRED, unix(7))."""
    data = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(data)[1] == os.geteuid())


def send(peer: socket.socket, message: Message) -> None:
    """Send *message*. Raises PluginError when the other side is gone."""
    data = json.dumps(message).encode()
    try:
        peer.sendall(_SIZE.pack(len(data)) + data)
    except OSError:
        raise PluginError("the agent for YubiKeys does not listen") from None


def receive(peer: socket.socket) -> dict[str, object]:
    """Return the next message. Raises PluginError when there is none in time, or one that is none."""
    try:
        (size,) = _SIZE.unpack(_exactly(peer, _SIZE.size))
        if size <= MAX_MESSAGE:
            message = json.loads(_exactly(peer, size))
            if isinstance(message, dict):
                return message
    except (OSError, ValueError, struct.error, RecursionError):
        pass
    raise PluginError("the agent for YubiKeys does not answer", "vault yubikey agent starts a new one")


def _exactly(peer: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        more = peer.recv(min(count - len(data), 1 << 16))
        if not more:
            raise ConnectionError
        data += more
    return bytes(data)
