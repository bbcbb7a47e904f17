"""The agent: holds YubiKeys, so that a PIN is asked for once a login, and hands out file keys, never a PIN."""

import contextlib
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, cast

from tskeyvault.errors import DeliveryError, LockedError, PluginError, UsageError, VaultError
from tskeyvault.values import Options, Stanza
from tskeyvault_yubikey import pin, wire

_TICK = 1.0
"""Seconds between looks at whether the YubiKeys are still there."""
_SECONDS = 120.0
"""How long a command may take to say what it wants, and its user to type a PIN."""


class Opening(Protocol):
    """What the agent does its work with: the plugin itself."""

    def unwrap_here(self, identity: str, given: Sequence[Stanza]) -> list[bytes | None]:
        """Return the file key in each of the stanzas *given*, None where one does not open."""

    def has_given_up(self, identity: str) -> bool:
        """Tell whether the YubiKey of *identity* is not tried again for this command."""

    def check(self) -> None:
        """Let go of YubiKeys that were pulled out, and forget what failed."""

    def forget(self) -> None:
        """Forget all PINs, on the YubiKeys too, and let go of them."""


class Caller:
    """The user of the command that is on the line: a :class:`tskeyvault.values.UI`, and where PINs come from."""

    def __init__(self) -> None:
        self.peer: socket.socket | None = None

    def message(self, text: str) -> None:
        """Tell them *text*."""
        self._send({"message": text})

    def progress(self, done: int, total: int) -> None:
        """Show them how far it is."""
        self._send({"progress": [done, total]})

    def confirm(self, question: str, yes: str, no: str) -> bool | None:
        """Ask them nothing."""

    def public(self, prompt: str) -> str | None:
        """Ask them nothing."""

    def secret(self, prompt: str) -> bytes | None:
        """Ask them nothing but PINs."""

    def ask(self, serial: int, left: int | None) -> bytes:
        """Return the PIN of the YubiKey *serial*, as :meth:`tskeyvault_yubikey.pin.Pins.ask` does."""
        self._send({"pin": [serial, left]})
        answer = wire.receive(self.peer) if self.peer else {}
        if isinstance(given := answer.get("pin"), str):
            return pin.check(given.encode(), serial)
        why = answer.get("error")
        raise LockedError(*map(str, why[:2] if isinstance(why, list) else ["no PIN was given"]))

    def _send(self, message: wire.Message) -> None:
        if self.peer:
            wire.send(self.peer, message)


def serve(
    environ: Mapping[str, str],
    make: Callable[[Options], Opening],
    seconds: float,
    ready: Callable[[str], None],
) -> None:
    """Answer the commands of this user until told to stop; *ready* is told where.

    *make* makes the plugin from its options. PINs are forgotten after *seconds* without use.
    Raises UsageError when an agent runs already, or there is no place for its socket.
    """
    caller = Caller()
    opening = make({"ui": caller, "pins": caller, "consents": frozenset(), "agent": False})
    try:
        with _listening(environ) as server:
            ready(wire.path(environ))
            _answer_all(server, caller, opening, seconds)
    finally:
        opening.forget()


def _answer_all(server: socket.socket, caller: Caller, opening: Opening, seconds: float) -> None:
    server.settimeout(_TICK)
    used = time.monotonic()
    while True:
        try:
            peer, _ = server.accept()
        except TimeoutError:
            opening.check()
            if time.monotonic() - used > seconds:
                opening.forget()
            continue
        with peer:
            if wire.is_own(peer):
                peer.settimeout(_SECONDS)
                _answer(peer, caller, opening)
        used = time.monotonic()


def _answer(peer: socket.socket, caller: Caller, opening: Opening) -> None:
    """Answer one command; whatever is wrong with it, the agent goes on."""
    caller.peer = peer
    request: Mapping[str, object] = {}
    try:
        request = wire.receive(peer)
        wire.send(peer, _done(request, opening))
    except DeliveryError:
        raise  # told to stop
    except VaultError as error:
        final = False
        with contextlib.suppress(VaultError):
            final = opening.has_given_up(str(request.get("identity", "")))
        with contextlib.suppress(VaultError):
            wire.send(peer, {"error": [error.exit_code, error.message, error.hint], "final": final})
    finally:
        caller.peer = None


def _done(request: Mapping[str, object], opening: Opening) -> wire.Message:
    if request.get("lock"):
        opening.forget()
        return {"locked": True}
    try:
        rows = cast("list[list[str]]", request["stanzas"])
        stanzas = [Stanza(tuple(map(str, row[:-1])), bytes.fromhex(row[-1])) for row in rows]
        identity = str(request["identity"])
    except (KeyError, TypeError, ValueError, IndexError):
        raise PluginError("the agent for YubiKeys was asked for what makes no sense") from None
    opening.check()
    keys = opening.unwrap_here(identity, stanzas)
    return {"keys": [None if key is None else key.hex() for key in keys]}


@contextlib.contextmanager
def _listening(environ: Mapping[str, str]) -> Iterator[socket.socket]:
    """Listen at the socket, which only this user can open, and remove it in the end."""
    where = wire.path(environ)
    if not where:
        raise UsageError("XDG_RUNTIME_DIR is not set, and the agent's socket belongs there")
    folder = os.path.dirname(where)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    info = os.lstat(folder)
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
        raise UsageError(f"'{folder}' is open to others", f"chmod 700 {folder}")
    with socket.socket(socket.AF_UNIX) as server:
        _bind(server, where)
        try:
            server.listen()
            yield server
        finally:
            with contextlib.suppress(OSError):
                os.unlink(where)


def _bind(server: socket.socket, where: str) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        try:
            other.connect(where)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(where)  # what a killed one left
        else:
            raise UsageError(
                "an agent for YubiKeys runs already", "vault yubikey lock makes it forget the PINs"
            )
    before = os.umask(0o177)
    try:
        server.bind(where)
    except OSError:
        raise UsageError(f"'{where}' cannot be made") from None
    finally:
        os.umask(before)
