"""The gpg-agent of the user's home: whether there is one, and stopping the one that a command has started.

One that stays behind in a unit would keep the key there. Several commands of ours may use the same
agent: each holds a shared lock of gpg's home, and who started it waits for the others.
"""

import contextlib
import fcntl
import os
import socket
import time
from urllib.parse import unquote_to_bytes

from tskeyvault import process

_SECONDS = 10.0
_AGAIN = 0.02


class Agent:
    """The agent for the home *home* (``""``: gpg's default), from now on to :meth:`close`."""

    def __init__(self, home: str):
        where = ("--homedir", home) if home else ()
        self._gpgconf = [process.find("gpgconf") or "gpgconf", *where]
        self._home = self._directory("homedir")
        self._lock = -1
        self._ours = False
        with contextlib.suppress(OSError):
            self._lock = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if self._locked(fcntl.LOCK_EX, 0.0):
            self._ours = not self.is_there()
        self._locked(fcntl.LOCK_SH, _SECONDS)

    def is_there(self) -> bool:
        """Tell whether an agent answers."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            try:
                connection.connect(self._directory("agent-socket"))
            except OSError:
                return False
        return True

    def can_be_had(self) -> bool:
        """Tell whether an agent answers, once one was started where none was: gpg does so only for a key that it knows."""
        if self.is_there():
            return True
        process.run([*self._gpgconf, "--launch", "gpg-agent"], directory="/", seconds=_SECONDS)
        return self.is_there()

    def close(self) -> None:
        """Stop the agent when it was not there before, and nobody's terminal is there to profit from it."""
        if self._ours and not os.isatty(0) and self._locked(fcntl.LOCK_EX, _SECONDS):
            process.run([*self._gpgconf, "--kill", "gpg-agent"], directory="/", seconds=_SECONDS)
        self._ours = False
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _directory(self, which: str) -> bytes:
        found = process.run([*self._gpgconf, "--list-dirs", which], directory="/", seconds=_SECONDS)
        return unquote_to_bytes(found.output.removesuffix("\n"))

    def _locked(self, how: int, seconds: float) -> bool:
        """Tell whether the lock was had within *seconds*."""
        end = time.monotonic() + seconds
        while self._lock >= 0:
            try:
                fcntl.flock(self._lock, how | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= end:
                    return False
                time.sleep(_AGAIN)
            else:
                return True
        return False
