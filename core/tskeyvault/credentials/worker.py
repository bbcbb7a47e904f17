"""The decryption for one start, in a child process: it opens the vault, answers through a pipe, and is gone.

So nothing that it needs outlives it: no plugin, no session of a device, no wait without an end; and each
start gets what the vault holds then.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, NoReturn

from tskeyvault import limits
from tskeyvault.errors import DeliveryError, VaultError
from tskeyvault.vault import Vault

from . import table

MAX_CREDENTIALS = 1 << 20
"""Bytes of all credentials of a unit: systemd takes no more (systemd.exec(5))."""

_MAX_ANSWER = MAX_CREDENTIALS + (1 << 16)
_GRACE = 5.0
"""Seconds after its own time limit in which a child should have ended by itself."""
_PIECE = 1 << 16

Read = Callable[[str], Mapping[str, bytes]]
"""Returns ID and value of all credentials of a unit, or raises VaultError."""


class Answer(NamedTuple):
    """What came of it."""

    values: Mapping[str, bytes]
    reason: str
    """Why there are none, or ``""``."""


class Worker:
    """A child process that decrypts for one unit."""

    def __init__(self, unit: str, read: Read, seconds: float):
        """Start it; it may take *seconds*."""
        self._read, writer = os.pipe()
        self._end = time.monotonic() + seconds + _GRACE
        self._heard = bytearray()
        self._pid = os.fork()
        if self._pid == 0:
            _child(writer, unit, read, seconds)
        os.close(writer)
        os.set_blocking(self._read, False)

    def fileno(self) -> int:
        """Return the descriptor that can be read when there is something to :meth:`hear`."""
        return self._read

    def hear(self) -> Answer | None:
        """Return its answer when that is complete."""
        try:
            data = os.read(self._read, _PIECE)
        except BlockingIOError:
            return None
        self._heard += data
        if data and len(self._heard) <= _MAX_ANSWER:
            return None
        return _parsed(bytes(self._heard))

    def late(self, now: float) -> Answer | None:
        """Return, when it has given no answer in time, the answer that says so."""
        return Answer({}, "the process that decrypts does not end") if now > self._end else None

    def stop(self) -> None:
        """End it, whatever it does."""
        os.close(self._read)
        os.kill(self._pid, signal.SIGKILL)  # which does nothing to one that has ended: it is not reaped yet
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


def _child(writer: int, unit: str, read: Read, seconds: float) -> NoReturn:
    """Answer through *writer*: a line of JSON, and the values one after the other."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    head: dict[str, object] = {}
    values: Mapping[str, bytes] = {}
    try:
        with limits.deadline(seconds, f"decrypting for {unit}"):
            values = read(unit)
        head = {"sizes": {key: len(value) for key, value in values.items()}}
    except VaultError as error:
        head = {"reason": f"{error.message} (hint: {error.hint})" if error.hint else error.message}
    except BaseException as error:  # noqa: BLE001 - it must not run on in what was forked; a traceback could show a secret
        head = {"reason": f"unexpected {type(error).__name__}: a defect"}
    with open(writer, "wb") as pipe, contextlib.suppress(OSError):
        pipe.write(b"".join([json.dumps(head).encode(), b"\n", *values.values()]))
    os._exit(0)


def _parsed(said: bytes) -> Answer:
    """Return the answer that a child *said*; one that was cut off is none."""
    head, newline, rest = said.partition(b"\n")
    if not newline:
        return Answer({}, "the process that decrypts was killed")
    found = json.loads(head)
    if "reason" in found:
        return Answer({}, found["reason"])
    values, at = {}, 0
    for key, size in found["sizes"].items():
        values[key] = rest[at : at + size]
        at += size
    if at != len(rest):
        return Answer({}, "the process that decrypts was killed")
    return Answer(values, "")
