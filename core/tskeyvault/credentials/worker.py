"""The decryption, in child processes that open the vault anew for each start, and answer through a socket.

A child outlives what it is asked for by a few seconds at most, since loading it takes longer than its work:
no plugin, no session of a device and no secret does, and what hangs is killed.
"""

import contextlib
import gc
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, NoReturn

from tskeyvault import limits
from tskeyvault.errors import DeliveryError, VaultError
from tskeyvault.vault import Vault

from . import table

MAX_CREDENTIALS = 1 << 20
"""Bytes of all credentials of a unit: systemd takes no more (systemd.exec(5))."""

_MAX_HEAD = 1 << 16
_GRACE = 5.0
"""Seconds after its own time limit in which a child should have answered by itself."""
_PIECE = 1 << 16
_MAX_FD = 1 << 20

Read = Callable[[str, bool], Mapping[str, bytes]]
"""Returns ID and value of all credentials of a unit, encrypted when that is true, or raises VaultError."""


class Answer(NamedTuple):
    """What came of it."""

    values: Mapping[str, bytes]
    reason: str
    """Why there are none, or ``""``."""


KILLED = Answer({}, "the process that decrypts was killed")
LATE = Answer({}, "the process that decrypts does not answer")


class Worker:
    """A child process that decrypts for one unit after the other."""

    def __init__(self, read: Read, seconds: float):
        """Start it; for each unit it may take *seconds*."""
        self._seconds = seconds
        self._heard = bytearray()
        self._socket, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            _child(theirs, read, seconds)
        theirs.close()
        self.free_since = self._end = time.monotonic()

    def fileno(self) -> int:
        """Return the descriptor that can be read when there is something to :meth:`hear`."""
        return self._socket.fileno()

    def begin(self, unit: str, *, encrypted: bool) -> None:
        """Let it decrypt for *unit*, and encrypt it for systemd."""
        self._heard.clear()
        self._end = time.monotonic() + self._seconds + _GRACE
        with contextlib.suppress(OSError):  # it was killed, and is heard to be
            self._socket.sendall(f"{encrypted:d} {unit}\n".encode())

    def hear(self) -> Answer | None:
        """Return its answer when that is complete; KILLED when there will be none."""
        try:
            data = self._socket.recv(_PIECE)
        except ConnectionError:
            data = b""
        self._heard += data
        if not data:
            return KILLED
        answer = _parsed(bytes(self._heard))
        if answer:
            self._heard.clear()
            self.free_since = time.monotonic()
        return answer

    def is_late(self, now: float) -> bool:
        """Tell whether it has not answered in time."""
        return now > self._end

    def stop(self) -> None:
        """End it, whatever it does."""
        self._socket.close()
        os.kill(
            self._pid, signal.SIGKILL
        )  # also one that has ended has its number still: it is not reaped yet
        os.waitpid(self._pid, 0)


def decrypt(vault: Vault, unit: str) -> Mapping[str, bytes]:
    """Return all credentials that *vault* has for *unit*: together, so that a device is asked once.

    Raises what :meth:`Vault.read` raises; NotFoundError when there are none; DeliveryError for what
    systemd would not take.
    """
    wanted = table.of_unit(unit, vault.settings)
    plaintexts = vault.read(wanted.values())
    values = {key: plaintexts[reference] for key, reference in wanted.items()}
    for key, value in values.items():
        if not value:
            raise DeliveryError(f"secret '{wanted[key]}' is empty")
    if sum(map(len, values.values())) > MAX_CREDENTIALS:
        raise DeliveryError(f"the credentials of {unit} have more than 1 MiB together, which systemd refuses")
    return values


def _child(parent: socket.socket, read: Read, seconds: float) -> NoReturn:
    """Answer *parent* until it is gone: each time a line of JSON, and the values one after the other."""
    gc.freeze()  # what our parent had must not be closed here by its descriptor's number, which becomes another's
    os.closerange(3, parent.fileno())
    os.closerange(parent.fileno() + 1, _MAX_FD)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    try:
        with parent.makefile("rb") as asked:
            for line in asked:
                encrypted, _, unit = line.decode().strip().partition(" ")
                parent.sendall(_answered(unit, encrypted == "1", read, seconds))
    finally:
        os._exit(0)


def _answered(unit: str, encrypted: bool, read: Read, seconds: float) -> bytes:
    values: Mapping[str, bytes] = {}
    try:
        with limits.deadline(seconds, f"decrypting for {unit}"):
            values = read(unit, encrypted)
        head: dict[str, object] = {"sizes": {key: len(value) for key, value in values.items()}}
    except VaultError as error:
        head = {"reason": f"{error.message} (hint: {error.hint})" if error.hint else error.message}
    except Exception as error:  # noqa: BLE001 - a traceback could show a secret
        head = {"reason": f"unexpected {type(error).__name__}: this is a defect"}
    return b"".join([json.dumps(head).encode(), b"\n", *values.values()])


def _parsed(said: bytes) -> Answer | None:
    """Return the answer that a child *said*, when that is all of it."""
    head, newline, rest = said.partition(b"\n")
    if not newline:
        return KILLED if len(head) > _MAX_HEAD else None
    found = json.loads(head)
    if "reason" in found:
        return Answer({}, found["reason"])
    sizes: dict[str, int] = found["sizes"]
    if len(rest) < sum(sizes.values()):
        return None
    values, at = {}, 0
    for key, size in sizes.items():
        values[key] = rest[at : at + size]
        at += size
    return Answer(values, "")
