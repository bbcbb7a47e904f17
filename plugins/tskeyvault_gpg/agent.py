"""The gpg-agent of the user's home: whether there is one, why there is none, and stopping one that a command has started.

One that stays behind in a unit would keep the key there. Several commands of ours may use the same
agent: each holds a shared lock of gpg's home, and who started it waits for the others.
"""

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from tskeyvault import process
from tskeyvault.errors import PluginError
from tskeyvault.exchange import Stop
from tskeyvault.names import shown

_SECONDS = 10.0
_AGAIN = 0.02
_MOMENT = 2.0
_CREDENTIALS = struct.Struct("iII")
_PATIENCE = 10.0
"""Seconds that somebody else gets to start an agent."""
_KEYS = b"private-keys-v1.d"
_SENTINEL = b"gnupg_spawn_agent_sentinel.lock"
"""Held while an agent is started (common/asshelp.c of GnuPG): the process and its host. gpg waits for it without limit."""


class Missing(NamedTuple):
    """Why there is no agent, and what to do."""

    reason: str
    hint: str


class Agent:
    """The agent for the home *home* (``""``: gpg's default), from now on to :meth:`close`.

    Raises PluginError where another program starts one and does not get done with that.
    """

    def __init__(self, home: str):
        self._gpgconf = _gpgconf(home)
        self._home = _directory(home, "homedir")
        self._socket = _directory(home, "agent-socket")
        self._lock = -1
        self._ours = False
        self._hold()
        is_there = self.is_there()
        if self._lock < 0 or _locked(self._lock, fcntl.LOCK_EX, 0.0):
            self._ours = not is_there
        _locked(self._lock, fcntl.LOCK_SH, _SECONDS)
        if not is_there:
            self._wait()

    def is_there(self) -> bool:
        """Tell whether an agent answers."""
        return _listener(self._socket) > 0

    def has_keys(self) -> bool:
        """Tell whether the home has secret keys."""
        with contextlib.suppress(OSError):
            return any(name.endswith(b".key") for name in os.listdir(os.path.join(self._home, _KEYS)))
        return False

    def missing(self) -> Missing | None:
        """Return why no agent can be had, once one was started where none was: gpg does so only for a key that it knows."""
        if self.is_there():
            return None
        process.run([*self._gpgconf, "--launch", "gpg-agent"], directory="/", seconds=_SECONDS)
        if self.is_there():
            return None
        other = Missing("its home is in order, but it fails", "gpgconf --launch gpg-agent says more")
        if os.path.exists(lock := os.path.join(self._home, _SENTINEL)):
            where = shown(os.fsdecode(lock))
            other = Missing(f"its lock '{where}' is damaged", f"where nothing starts gpg-agent: rm '{where}'")
        return self.trouble() or other

    @contextlib.contextmanager
    def alone(self, seconds: float, stop: Stop) -> Iterator[None]:
        """Let no other command of ours do this for the same home meanwhile.

        Raises PluginError where one does for more than *seconds*, and on *stop*.
        """
        try:
            fd = os.open(os.path.join(self._home, _KEYS), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:  # without secret keys there is nothing to do alone
            yield
            return
        end = time.monotonic() + seconds
        try:
            while not _locked(fd, fcntl.LOCK_EX, _AGAIN):
                stop.check()
                if time.monotonic() >= end:
                    raise PluginError(
                        "another command is using the card, and does not end", "end it, or wait for it"
                    )
            yield
        finally:
            os.close(fd)

    def close(self) -> None:
        """Stop the agent when it was not there before, and nobody's terminal is there to profit from it."""
        self._hold()
        if self._ours and not os.isatty(0) and _locked(self._lock, fcntl.LOCK_EX, _SECONDS):
            self._stop()
        self._ours = False
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _hold(self) -> None:
        """Open gpg's home, which gpg may make only later, for locks."""
        with contextlib.suppress(OSError):
            if self._lock < 0:
                self._lock = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _stop(self) -> None:
        """Stop the agent and its scdaemon, which may not end with it: it would keep the reader, and the PIN verified."""
        folder = os.path.dirname(self._socket)
        with contextlib.ExitStack() as stack:
            running = []
            for path in (self._socket, os.path.join(folder, b"S.scdaemon")):
                with contextlib.suppress(OSError):
                    if pid := _listener(path):
                        running.append(os.pidfd_open(pid))
                        stack.callback(os.close, running[-1])
            process.run([*self._gpgconf, "--kill", "gpg-agent"], directory="/", seconds=_SECONDS)
            for pidfd in running:
                _end(pidfd)

    def trouble(self) -> Missing | None:
        """Return what keeps gpg and an agent from working in its home, or None."""
        return _trouble(self._home)

    def _wait(self) -> None:
        """Wait until nobody starts an agent, or the one who did has ended; gpg sees to what they left behind."""
        path = os.path.join(self._home, _SENTINEL)
        end = time.monotonic() + _PATIENCE
        while holder := _holder(path):
            if time.monotonic() >= end:
                where = shown(os.fsdecode(path))
                raise PluginError(
                    f"{holder} holds '{where}', and gpg waits for it",
                    f"where nothing starts gpg-agent: rm '{where}'",
                )
            time.sleep(_AGAIN)


def trouble(home: str) -> Missing | None:
    """Return what keeps gpg from working in *home* (``""``: its default), or None."""
    return _trouble(_directory(home, "homedir"))


def _trouble(at: bytes) -> Missing | None:
    home = f"its home '{shown(os.fsdecode(at))}'"
    yours = "it has to exist and be yours; ProtectHome= hides it from a unit"
    try:
        room = os.statvfs(at)
    except FileNotFoundError:
        return Missing(f"{home} is not there", yours)
    except OSError:
        return Missing(f"{home} cannot be entered by user {os.geteuid()}", yours)
    if room.f_flag & os.ST_RDONLY:
        hint = "ReadWritePaths= in a unit, or let an agent run before: gpgconf --launch gpg-agent"
        return Missing(f"{home} is read-only", hint)
    if not room.f_bfree or (room.f_files and not room.f_ffree):
        return Missing(f"{home} is on a disk that is full", "make room there")
    if not os.access(at, os.W_OK | os.X_OK):
        return Missing(f"{home} cannot be written by user {os.geteuid()}", yours)
    return None


def _gpgconf(home: str) -> list[str]:
    return [process.find("gpgconf") or "gpgconf", *(("--homedir", home) if home else ())]


def _directory(home: str, which: str) -> bytes:
    found = process.run([*_gpgconf(home), "--list-dirs", which], directory="/", seconds=_SECONDS)
    return unquote_to_bytes(found.output.removesuffix("\n"))


def _locked(fd: int, how: int, seconds: float) -> bool:
    """Tell whether the lock of *fd* was had within *seconds*."""
    end = time.monotonic() + seconds
    while fd >= 0:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= end:
                return False
            time.sleep(_AGAIN)
        else:
            return True
    return False


def _end(pidfd: int) -> None:
    """Wait until the process has ended, and end it where that takes long."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if not poll.poll(_MOMENT * 1000):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        poll.poll(_MOMENT * 1000)


def _listener(path: bytes) -> int:
    """Return the process that listens at the socket *path*, or 0."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SECONDS)
        try:
            connection.connect(path)
            found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:
            return 0
    return int(_CREDENTIALS.unpack(found)[0])


def _holder(path: bytes) -> str:
    """Return who holds gpg's lock *path*, or ``""`` where it is not held (common/dotlock.c of GnuPG)."""
    try:
        with open(path, "rb") as file:
            pid, host, *_ = file.read(512).decode(errors="replace").split("\n")
        number = int(pid)
    except (OSError, ValueError):
        return ""
    if host != os.uname().nodename:
        return f"a process of the host '{shown(host)}'"
    return f"process {number}" if os.path.exists(f"/proc/{number}") else ""
