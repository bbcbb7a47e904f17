"""A command's side of the agent: what a YubiKey recovers comes from there, and the PIN is asked for here."""

import os
import socket
from collections.abc import Mapping, Sequence
from typing import cast

from tskeyvault.errors import IntegrityError, LockedError, NotFoundError, PluginError, UsageError
from tskeyvault.values import UI, Stanza
from tskeyvault_yubikey import wire
from tskeyvault_yubikey.pin import Pins

_SECONDS = 60.0
"""How long the agent may be silent: it may wait for a touch."""
_KINDS = {2: UsageError, 4: LockedError, 5: IntegrityError, 6: PluginError}


class Agent:
    """The agent of this user, for the length of a command."""

    def __init__(self, peer: socket.socket, ui: UI, environ: Mapping[str, str]):
        self._peer = peer
        self._ui = ui
        self._pins = Pins(ui, environ)
        self.final = False
        """What was refused would be refused again."""

    def unwrap(self, identity: str, stanzas: Sequence[Stanza]) -> list[bytes | None]:
        """Return the file key (16 bytes) in each of *stanzas*, None where one does not open.

        Raises what went wrong there.
        """
        rows = [[*stanza.args, stanza.body.hex()] for stanza in stanzas]
        answer = self._answer({"identity": identity, "stanzas": rows})
        try:
            texts = cast("list[str | None]", answer["keys"])
            return [None if text is None else bytes.fromhex(text) for text in texts]
        except (KeyError, TypeError, ValueError):
            raise PluginError("the agent for YubiKeys answers with what makes no sense") from None

    def lock(self) -> None:
        """Let it forget the PINs, on the YubiKeys too."""
        self._answer({"lock": True})

    def close(self) -> None:
        """Hang up."""
        self._peer.close()

    def _answer(self, request: wire.Message) -> Mapping[str, object]:
        """Return the agent's answer, after it has asked and told this user what it wants."""
        wire.send(self._peer, request)
        while True:
            heard = wire.receive(self._peer)
            try:
                if not self._is_request(heard):
                    return heard
            except (TypeError, ValueError):
                raise PluginError("the agent for YubiKeys answers with what makes no sense") from None

    def _is_request(self, heard: Mapping[str, object]) -> bool:
        """Do what the agent wants of this user; return False for its answer. Raises the error that it tells of."""
        if "error" in heard:
            self.final = bool(heard.get("final"))
            code, message, hint = cast("tuple[int, str, str]", heard["error"])
            raise _KINDS.get(int(code), PluginError)(str(message), str(hint))
        if "message" in heard:
            self._ui.message(str(heard["message"]))
        elif "progress" in heard:
            done, total = cast("tuple[int, int]", heard["progress"])
            self._ui.progress(int(done), int(total))
        elif "pin" in heard:
            self._give_pin(*cast("tuple[int, int | None]", heard["pin"]))
        else:
            return False
        return True

    def _give_pin(self, serial: int, left: int | None) -> None:
        try:
            pin = self._pins.ask(serial, left)
        except LockedError as error:
            wire.send(self._peer, {"error": [error.message, error.hint]})
        else:
            wire.send(self._peer, {"pin": pin.decode("ascii")})


def find(ui: UI, environ: Mapping[str, str]) -> Agent | None:
    """Return the agent that runs for this user; None without one, or when it is another user's."""
    where = wire.path(environ)
    if not where or not os.path.exists(where):
        return None
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(_SECONDS)
    try:
        peer.connect(where)
        if wire.is_own(peer):
            return Agent(peer, ui, environ)
    except OSError:
        pass
    peer.close()
    return None


def lock(ui: UI, environ: Mapping[str, str]) -> None:
    """Let the agent forget all PINs. Raises NotFoundError when none runs."""
    agent = find(ui, environ)
    if agent is None:
        raise NotFoundError("no agent for YubiKeys runs", "vault yubikey agent starts one")
    try:
        agent.lock()
    finally:
        agent.close()
