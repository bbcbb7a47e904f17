"""Using the keys of one YubiKey for the length of a command: its PIN is asked for at most once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from tskeyvault.errors import LockedError
from tskeyvault.values import UI
from tskeyvault_yubikey import faults, stub
from tskeyvault_yubikey.card import Card, NotAllowedError, WrongPinError
from tskeyvault_yubikey.certificate import SlotKey
from tskeyvault_yubikey.link import LinkError, Trouble
from tskeyvault_yubikey.pin import PinSource
from tskeyvault_yubikey.stub import Stub

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

LAST_TRY = "last-try"

_NEVER, _ONCE, _ALWAYS = "never", "once", "always"
_ATTEMPTS = 3
"""How often a thing is tried while another program takes the YubiKey away."""

T = TypeVar("T")


class Session:
    """One connected YubiKey. What it raises is a VaultError about it."""

    def __init__(self, card: Card, pins: PinSource, ui: UI, consents: frozenset[str]):
        self.card = card
        self.who = f"YubiKey {card.serial}"
        self._pins = pins
        self._ui = ui
        self._consents = consents
        self._pin = b""
        self._unlocked = False
        self._keys: dict[int, SlotKey] = {}

    def key(self, wanted: Stub) -> SlotKey:
        """Return the key that an identity means. Raises LockedError when the slot holds another one, or none."""
        number = stub.number(wanted.slot)
        if wanted.slot not in self._keys:
            try:
                with faults.explained(self.who):
                    found = self._steadily(lambda: self.card.key(wanted.slot))
            except LockedError as error:
                raise LockedError(f"slot {number} of {self.who} {error.message}") from None
            if found is None:
                raise faults.empty(self.who, number)
            self._keys[wanted.slot] = found
        if self._keys[wanted.slot].tag != wanted.tag:
            raise faults.other_key(self.who, number)
        return self._keys[wanted.slot]

    def agree(self, slot: int, key: SlotKey, peers: "Sequence[EllipticCurvePublicKey]") -> list[bytes]:
        """Return what *key*, in *slot*, and each of *peers* make together, an x coordinate (32 bytes) each.

        Asks for the PIN when that is needed, and for a touch when the YubiKey waits for one; no
        other program can use it meanwhile.
        """
        with faults.explained(self.who):
            if key.policies.pin != _NEVER:
                self._steadily(lambda: self._have_pin(key))
            secrets = []
            with self.alone(), self._touched(key, len(peers)):
                self._unlocked = False
                for peer in peers:
                    secrets.append(self._steadily(partial(self._agree, slot, key, peer)))
                    self._ui.progress(len(secrets), len(peers))
        return secrets

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other programs away from the YubiKey while the body runs."""
        self._steadily(self.card.begin)
        try:
            yield
        finally:
            self.card.end()

    def unlock(self) -> bytes:
        """Verify the PIN, asking for it at most once, and return it."""
        with faults.explained(self.who):
            self._ask(self._steadily(self.card.tries))
            self._verify()
        return self._pin

    def look_again(self) -> None:
        """Believe nothing that was seen in the slots before."""
        self._keys = {}

    def forget(self) -> None:
        """Forget the PIN, on the YubiKey too."""
        self._pin = b""
        with suppress(LinkError):
            self.card.forget()

    def _touched(self, key: SlotKey, count: int) -> AbstractContextManager[None]:
        """Tell the user to touch it: for each of *count* uses in advance, or when the last touch is too long ago."""
        if key.policies.touch == _NEVER:
            return nullcontext()
        each = f", once for each of {count} secrets" if key.policies.touch == _ALWAYS and count > 1 else ""
        again = key.policies.touch != _ALWAYS
        return self.card.patience.touch(f"touch {self.who} now{each}", again=again)

    def _steadily(self, call: Callable[[], T]) -> T:
        """Return what *call* returns, again when another program takes the YubiKey away meanwhile."""
        for attempt in range(_ATTEMPTS):
            try:
                if attempt:
                    self._unlocked = False
                    self.card.select_again()
                return call()
            except LinkError as error:
                if error.trouble is not Trouble.RESET:
                    raise
        raise LinkError(Trouble.RESET)

    def _agree(self, slot: int, key: SlotKey, peer: "EllipticCurvePublicKey") -> bytes:
        self._unlock(key)
        try:
            return self.card.agree(slot, peer)
        except NotAllowedError:
            raise self._not_allowed(key) from None

    def _not_allowed(self, key: SlotKey) -> LockedError:
        if key.policies.touch != _NEVER and (key.policies.pin == _NEVER or self.card.tries() is None):
            return faults.untouched(self.who)
        return faults.pin_lost(self.who)

    def _have_pin(self, key: SlotKey) -> None:
        left = self.card.tries()
        if left is not None or key.policies.pin != _ONCE:
            self._ask(left)

    def _ask(self, left: int | None) -> None:
        if self._pin:
            return
        if left is not None:
            self._refuse(left)
        self._pin = self._pins.ask(self.card.serial, left)

    def _refuse(self, left: int) -> None:
        if not left:
            raise faults.blocked(self.who)
        if left == 1 and LAST_TRY not in self._consents:
            raise faults.last_try(self.who)

    def _unlock(self, key: SlotKey) -> None:
        """Let *key* be used once; a PIN that has to be verified only once is so for all uses."""
        if key.policies.pin == _NEVER or (key.policies.pin == _ONCE and self._unlocked):
            return
        left = self.card.tries()
        if key.policies.pin != _ONCE or left is not None:
            self._ask(left)
            self._verify()
        self._unlocked = True

    def _verify(self) -> None:
        """Verify the PIN, unless others have spent its tries meanwhile."""
        if (left := self.card.tries()) is not None:
            self._refuse(left)
        try:
            self.card.verify(self._pin)
        except WrongPinError as error:
            self._pin = b""
            raise faults.wrong_pin(self.who, error.left) from None
