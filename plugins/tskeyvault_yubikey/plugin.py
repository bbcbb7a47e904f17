"""The hooks: wrapping for a YubiKey, which needs none, and unwrapping by one that is connected."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from tskeyvault.errors import LockedError, UsageError, VaultError
from tskeyvault.spec import hookimpl
from tskeyvault.values import UI, Options, Stanza
from tskeyvault_yubikey import stanzas, stub

if TYPE_CHECKING:
    from tskeyvault_yubikey.keyring import Keyring
    from tskeyvault_yubikey.link import Readers
    from tskeyvault_yubikey.pin import PinSource
    from tskeyvault_yubikey.remote import Agent
    from tskeyvault_yubikey.report import Row
    from tskeyvault_yubikey.session import Session
    from tskeyvault_yubikey.stanzas import Wrapped
    from tskeyvault_yubikey.stub import Stub


class Plugin:
    """The YubiKeys of one command, opened at the first need and held until :meth:`close`.

    ``options["readers"]`` returns the readers to use instead of those of PC/SC, ``options["pins"]`` is
    where PINs come from, and with ``options["agent"]`` false no agent is asked: as in the agent itself.
    """

    def __init__(self, options: Options):
        self._ui = cast("UI", options["ui"])
        self._identities = cast("tuple[str, ...]", options.get("identities", ()))
        self._consents = cast("frozenset[str]", options.get("consents", frozenset()))
        self._pins = cast("PinSource | None", options.get("pins"))
        self._asks_agent = bool(options.get("agent", True)) and not self._consents
        self._refused: dict[int, VaultError] = {}
        self._readers = cast("Callable[[], Readers]", options.get("readers", _pcsc))
        self._keyring: Keyring | None = None
        self._known: dict[tuple[Stub, Stanza], bytes | None] = {}  # None: it does not open

    @hookimpl
    def vault_wrap(self, recipient: str, file_key: bytes) -> Stanza:
        """Return the stanza for ``age1yubikey1...`` or ``age1tag1...``."""
        if recipient.startswith("age1tag1"):
            from tskeyvault_age.tag import TagRecipient

            return TagRecipient.parse(recipient).wrap(file_key)[0]
        from tskeyvault_yubikey.recipient import YubikeyRecipient

        return YubikeyRecipient.parse(recipient).wrap(file_key)

    @hookimpl
    def vault_unwrap(self, identity: str, files: Sequence[Sequence[Stanza]]) -> Mapping[int, bytes]:
        """Return the file keys that the YubiKey of *identity* recovers, by one PIN and in one session.

        Without a stanza for it no YubiKey is looked for.
        """
        try:
            wanted = stub.parse(identity)
        except UsageError as error:
            raise LockedError(error.message, "vault yubikey list shows the right ones") from None
        found = {at: stanzas.meant_for(wanted.tag, file) for at, file in enumerate(files)}
        meant = {at: them[0] for at, them in found.items() if them}
        if new := [it.stanza for it in meant.values() if (wanted, it.stanza) not in self._known]:
            self._open(wanted, new)
        return {at: self._file_key(wanted, it) for at, it in meant.items()}

    @hookimpl
    def vault_own_recipients(self) -> tuple[str, ...]:
        """Return the recipients that stand above the identities in the user's files, without a YubiKey."""
        from tskeyvault_yubikey import own

        return own.recipients(self._identities)

    def keyring(self) -> "Keyring":
        """Return the YubiKeys that are connected. Raises PluginError when the extra is not installed."""
        if self._keyring is None:
            try:
                from tskeyvault_yubikey.keyring import Keyring
                from tskeyvault_yubikey.pin import Pins
            except ModuleNotFoundError as error:
                raise _missing(error) from None
            pins = self._pins or Pins(self._ui, os.environ)
            self._keyring = Keyring(self._readers, self._ui, self._consents, pins)
        return self._keyring

    def keys(self) -> "list[Row]":
        """Return the keys on all YubiKeys that are connected. Raises VaultError."""
        found = self._sessions()
        from tskeyvault_yubikey import report

        return report.keys(found)

    def states(self) -> "list[Row]":
        """Return the state of all YubiKeys that are connected. Raises VaultError."""
        found = self._sessions()
        from tskeyvault_yubikey import report

        return report.states(found)

    def set_up(self, serial: int, passed_over: int, wish: Mapping[str, object]) -> "Row":
        """Make the key that *wish* describes, by the fields of ``setup.Wish``, and return it.

        In the YubiKey *serial*, or for 0 in the only one that is connected besides *passed_over*.
        Raises VaultError.
        """
        found = self._sessions()
        from tskeyvault_yubikey import report, setup

        session = report.choose(found, serial, passed_over)
        return report.row(setup.set_up(session, setup.wish(wish), self._ui))

    def _sessions(self) -> "list[Session]":
        found = self.keyring().all()
        if not found:
            from tskeyvault_yubikey import faults

            raise faults.absent("a YubiKey")
        return found

    def close(self) -> None:
        """Forget the file keys and let go of the YubiKeys, with power."""
        self._known = {}
        if self._keyring:
            self._keyring.close()
            self._keyring = None

    def unwrap_here(self, identity: str, given: Sequence[Stanza]) -> list[bytes | None]:
        """Return the file key in each of the stanzas *given*, None where one does not open, by YubiKeys at hand.

        All of them carry the tag of *identity*. Raises VaultError.
        """
        wanted = stub.parse(identity)
        wrapped = [it for stanza in given for it in stanzas.meant_for(wanted.tag, [stanza])]
        keyring = self.keyring()
        session = keyring.session(wanted.serial)
        key = session.key(wanted)
        try:
            secrets = session.agree(wanted.slot, key, [it.peer for it in wrapped])
        except VaultError as error:
            keyring.give_up(wanted.serial, error)
            raise
        return [it.open(secret, key.public, key.seed) for it, secret in zip(wrapped, secrets, strict=True)]

    def has_given_up(self, identity: str) -> bool:
        """Tell whether the YubiKey of *identity* is not tried again in this command."""
        return self.keyring().has_given_up(stub.parse(identity).serial)

    def run_agent(self, seconds: float, ready: Callable[[str], None]) -> None:
        """Be the agent, until told to stop; it forgets PINs after *seconds* without use. Raises VaultError."""
        self.keyring()  # or why it cannot be
        from tskeyvault_yubikey import agent

        readers = self._readers
        agent.serve(os.environ, lambda options: Plugin({**options, "readers": readers}), seconds, ready)

    def lock_agent(self) -> None:
        """Let the agent forget all PINs. Raises NotFoundError."""
        from tskeyvault_yubikey import remote

        remote.lock(self._ui, os.environ)

    def check(self) -> None:
        """Let go of YubiKeys that were pulled out, and try again what failed."""
        self._known = {}
        if self._keyring:
            self._keyring.check()

    def forget(self) -> None:
        """Forget all PINs, on the YubiKeys too."""
        if self._keyring:
            self._keyring.forget()
        self.close()

    def _open(self, wanted: "Stub", given: Sequence[Stanza]) -> None:
        if wanted.serial in self._refused:
            raise self._refused[wanted.serial]
        agent = self._agent()
        if agent is None:
            keys = self.unwrap_here(str(wanted), given)
        else:
            try:
                keys = agent.unwrap(str(wanted), given)
            except VaultError as error:
                if agent.final:
                    self._refused[wanted.serial] = error
                raise
            finally:
                agent.close()
        self._known |= {(wanted, stanza): key for stanza, key in zip(given, keys, strict=True)}

    def _agent(self) -> "Agent | None":
        if not self._asks_agent:
            return None
        from tskeyvault_yubikey import remote

        return remote.find(self._ui, os.environ)

    def _file_key(self, wanted: "Stub", wrapped: "Wrapped") -> bytes:
        file_key = self._known[wanted, wrapped.stanza]
        if file_key is None:
            raise stanzas.does_not_open(wrapped)
        return file_key


def _pcsc() -> "Readers":
    from tskeyvault_yubikey.pcsc import PcscReaders

    try:
        return PcscReaders()
    except ModuleNotFoundError as error:
        raise _missing(error) from None


def _missing(error: ModuleNotFoundError) -> Exception:
    """Return the error that the extra is not installed, or *error* when it is about something else."""
    if (error.name or "").partition(".")[0] not in {"smartcard", "ykman", "yubikit"}:
        return error
    from tskeyvault_yubikey import faults

    return faults.not_installed()
