"""The YubiKeys that are connected: found by serial number, each opened once a command and held until its end."""

import contextlib
from collections.abc import Callable
from typing import NamedTuple

from tskeyvault import process
from tskeyvault.errors import VaultError
from tskeyvault.values import UI
from tskeyvault_yubikey import faults
from tskeyvault_yubikey.card import Card
from tskeyvault_yubikey.link import Link, LinkError, Readers, Trouble
from tskeyvault_yubikey.patience import Patience
from tskeyvault_yubikey.pin import PinSource
from tskeyvault_yubikey.session import Session

FREE_READER = "free-reader"

_ATTEMPTS = 3


class Held(NamedTuple):
    """A reader that did not give us its card."""

    name: str
    trouble: Trouble


class Keyring:
    """All YubiKeys of one command."""

    def __init__(self, readers: Callable[[], Readers], ui: UI, consents: frozenset[str], pins: PinSource):
        self._connect = readers
        self._ui = ui
        self._consents = consents
        self._pins = pins
        self._readers: Readers | None = None
        self._sessions: dict[str, Session] = {}
        self._failed: dict[int, VaultError] = {}
        self._without_piv: list[str] = []
        self._held: list[Held] = []

    def session(self, serial: int) -> Session:
        """Return the YubiKey *serial*.

        Raises LockedError when it is not connected, PluginError when it cannot be reached; again
        and again: what failed once in a command is not tried again, nor is its PIN asked for.
        """
        if serial in self._failed:
            raise self._failed[serial]
        try:
            return self._session(serial)
        except VaultError as error:
            self.give_up(serial, error)
            raise

    def give_up(self, serial: int, error: VaultError) -> None:
        """Let every further use of the YubiKey *serial* fail by *error*."""
        self._failed[serial] = error

    def all(self) -> list[Session]:
        """Return all YubiKeys that are connected. Raises PluginError when one is held by another program."""
        who = "the YubiKey"
        self._let_go()  # one may have taken the place of another
        self._look(who, lambda _session: False)
        if not self._sessions:
            self._raise_held(who)
        return list(self._sessions.values())

    def has_given_up(self, serial: int) -> bool:
        """Tell whether the YubiKey *serial* is not tried again."""
        return serial in self._failed

    def check(self) -> None:
        """Let go of those that were pulled out, and try again what failed."""
        self._failed = {}
        for name, session in list(self._sessions.items()):
            session.look_again()
            if not session.card.is_there():
                session.card.close()
                del self._sessions[name]

    def forget(self) -> None:
        """Forget all PINs, on the YubiKeys too, and let go of them."""
        for session in self._sessions.values():
            session.forget()
        self._let_go()

    def close(self) -> None:
        """Let go of all of them."""
        self._let_go()
        if self._readers:
            self._readers.close()
            self._readers = None

    def _let_go(self) -> None:
        for session in self._sessions.values():
            session.card.close()
        self._sessions = {}

    def _session(self, serial: int) -> Session:
        who = f"YubiKey {serial}"
        found = self._look(who, lambda session: session.card.serial == serial)
        if found:
            return found
        self._raise_held(who)
        if self._without_piv and not self._sessions:
            raise faults.without_piv(who, self._without_piv[0])
        raise faults.absent(who)

    def _raise_held(self, who: str) -> None:
        for name, trouble in self._held:
            raise faults.held(who, name) if trouble is Trouble.HELD else faults.of_link(trouble, who)

    def _look(self, who: str, is_it: Callable[[Session], bool]) -> Session | None:
        """Return the session that is the one; open what else is connected on the way to it."""
        for known in self._sessions.values():
            if is_it(known):
                return known
        self._without_piv, self._held = [], []
        with faults.explained(who):
            if self._readers is None:
                self._readers = self._connect()
            for name in self._readers.names():
                if (
                    name not in self._sessions
                    and (session := self._open(self._readers, name))
                    and is_it(session)
                ):
                    return session
        return None

    def _open(self, readers: Readers, name: str) -> Session | None:
        from yubikit.core import ApplicationNotAvailableError, CommandError, NotSupportedError

        patience = Patience(self._ui.message)
        try:
            link = patience.wait(lambda: readers.connect(name))
        except LinkError as error:
            if error.trouble is Trouble.HELD and self._free():
                return self._open(readers, name)
            if error.trouble is not Trouble.NO_CARD:
                self._held.append(Held(name, error.trouble))
            return None
        try:
            card = _steadily(link, patience)
        except (ApplicationNotAvailableError, NotSupportedError):
            self._without_piv.append(name)
        except LinkError as error:
            self._held.append(Held(name, error.trouble))
        except (CommandError, ValueError):
            self._held.append(Held(name, Trouble.OTHER))
        else:
            self._sessions[name] = Session(card, self._pins, self._ui, self._consents)
            return self._sessions[name]
        with contextlib.suppress(LinkError):
            patience.wait(link.close)
        return None

    def _free(self) -> bool:
        """Let GnuPG end its own scdaemon, if the user allowed it; once a command."""
        if FREE_READER not in self._consents or not (program := process.find("gpgconf")):
            return False
        self._consents -= {FREE_READER}
        return process.run([program, "--kill", "scdaemon"], directory="/", seconds=10).status == 0


def _steadily(link: Link, patience: Patience) -> Card:
    """Return the card that *link* leads to, also when another program resets it meanwhile."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return Card(link, patience)
        except LinkError as error:
            if error.trouble is not Trouble.RESET:
                raise
            patience.wait(link.reconnect)
    return Card(link, patience)
