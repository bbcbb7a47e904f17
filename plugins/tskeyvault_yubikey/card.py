"""The PIV application of one YubiKey, by yubikit over a connection of our own."""

import contextlib
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from yubikit.core import TRANSPORT, InvalidPinError
from yubikit.core.smartcard import SW, ApduError, SmartCardConnection
from yubikit.piv import SLOT, PivSession
from yubikit.yubiotp import YubiOtpSession

from tskeyvault_yubikey import certificate
from tskeyvault_yubikey.certificate import PIN_POLICIES, TOUCH_POLICIES, UNKNOWN, Policies, SlotKey
from tskeyvault_yubikey.link import Link, LinkError, Trouble
from tskeyvault_yubikey.patience import Patience

TELLS_SERIAL = (5, 0, 3)
"""Firmware from which on PIV tells the serial number."""
TELLS_METADATA = (5, 3, 0)
"""Firmware from which on PIV tells what is in a slot."""

_AUTHENTICATE = 0x87
"""Any use of a private key: the only command that waits for a touch."""
_VERIFY, _FORGET, _PIN = 0x20, 0xFF, 0x80
_TRIES = 0x63C0


class _Connection(SmartCardConnection):
    """What yubikit talks through."""

    def __init__(self, link: Link, patience: Patience):
        self._link = link
        self._patience = patience

    @property
    def transport(self) -> TRANSPORT:
        return TRANSPORT.NFC if self._link.contactless else TRANSPORT.USB

    def send_and_receive(self, apdu: bytes) -> tuple[bytes, int]:
        return self._patience.wait(lambda: self._link.transmit(apdu), touch=apdu[1] == _AUTHENTICATE)

    def close(self) -> None:
        """Leave it open: whoever opened the link closes it."""


class WrongPinError(Exception):
    """The PIN was wrong; ``left`` tries are left."""

    def __init__(self, left: int):
        super().__init__("wrong PIN")
        self.left = left


class NotAllowedError(Exception):
    """A key was not used: its PIN was not verified, or nobody touched the YubiKey."""


class Card:
    """A YubiKey whose PIV application is selected.

    Every call raises LinkError, with Trouble.RESET also when another program has selected another
    application: :meth:`select_again` brings it back, and the PIN is to be verified anew.
    """

    def __init__(self, link: Link, patience: Patience):
        """Select PIV and learn the serial number.

        Raises yubikit's ApplicationNotAvailableError when the card has no PIV, NotSupportedError when it tells no serial.
        """
        self._link = link
        self.patience = patience
        self._connection = _Connection(link, patience)
        with _interruptible():
            self.piv = PivSession(self._connection)
            self.version: tuple[int, ...] = tuple(self.piv.version)
            self.serial = self._serial()

    def _serial(self) -> int:
        if self.version >= TELLS_SERIAL:
            return self.piv.get_serial()
        serial = YubiOtpSession(self._connection).get_serial()
        self.piv = PivSession(self._connection)
        return serial

    def begin(self) -> None:
        """Keep other programs away from the YubiKey until :meth:`end`; waits for them first."""
        self.patience.wait(self._link.begin)

    def end(self) -> None:
        """Let other programs use the YubiKey."""
        with contextlib.suppress(LinkError):  # it may be gone
            self.patience.wait(self._link.end)

    def select_again(self) -> None:
        """Take up the connection again, with PIV selected."""
        self.patience.wait(self._link.reconnect)
        with _interruptible():
            self.piv = PivSession(self._connection)

    def tries(self) -> int | None:
        """Return how many tries the PIN has, None when it is verified; this costs none."""
        try:
            with _interruptible():
                self.piv.protocol.send_apdu(0, _VERIFY, 0, _PIN)
        except ApduError as error:
            if error.sw & 0xFFF0 == _TRIES:
                return error.sw & 0xF
            if error.sw == SW.AUTH_METHOD_BLOCKED:
                return 0
            raise
        return None

    def verify(self, pin: bytes) -> None:
        """Verify *pin*, 6 to 8 bytes; raise WrongPinError, which has cost a try."""
        try:
            with _interruptible():
                self.piv.verify_pin(pin.decode("ascii"))
        except InvalidPinError as error:
            left = error.attempts_remaining
        else:
            return
        raise WrongPinError(left)  # here, as the error above holds the PIN's frame and would be our context

    def forget(self) -> None:
        """Let the YubiKey forget that its PIN was verified."""
        with contextlib.suppress(ApduError):
            self.piv.protocol.send_apdu(0, _VERIFY, _FORGET, _PIN)

    def is_there(self) -> bool:
        """Tell whether the YubiKey was not pulled out."""
        try:
            self.patience.wait(self._link.check)
        except LinkError as error:
            return error.trouble is Trouble.RESET
        return True

    def agree(self, slot: int, peer: EllipticCurvePublicKey) -> bytes:
        """Return the x coordinate (32 bytes) of what *peer* and the key in *slot* make together.

        Raises NotAllowedError.
        """
        try:
            with _interruptible():
                return self.piv.calculate_secret(SLOT(slot), peer)
        except ApduError as error:
            if error.sw == SW.SECURITY_CONDITION_NOT_SATISFIED:
                raise NotAllowedError from None
            raise

    def key(self, slot: int) -> SlotKey | None:
        """Return the key in *slot*, or None when there is no certificate; raise LockedError as ``certificate.read``."""
        try:
            with _interruptible():
                found = self.piv.get_certificate(SLOT(slot))
                policies = self._policies(slot)
        except ApduError as error:
            if error.sw == SW.FILE_NOT_FOUND:
                return None
            raise
        key = certificate.read(found)
        return key._replace(policies=policies or key.policies)

    def _policies(self, slot: int) -> Policies | None:
        """Return what the YubiKey itself says, None when there is no key or it is too old to tell."""
        if self.version < TELLS_METADATA:
            return None
        try:
            found = self.piv.get_slot_metadata(SLOT(slot))
        except ApduError as error:
            if error.sw == SW.REFERENCE_DATA_NOT_FOUND:
                return None
            raise
        return Policies(
            PIN_POLICIES.get(found.pin_policy, UNKNOWN), TOUCH_POLICIES.get(found.touch_policy, UNKNOWN)
        )

    def close(self) -> None:
        """Let go of it, with power, its PIN and its touch as they are."""
        with contextlib.suppress(LinkError):
            self.patience.wait(self._link.close)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Tell in one way that another program has reset the card, or selected another application."""
    try:
        yield
    except ApduError as error:
        if error.sw == SW.INVALID_INSTRUCTION:
            raise LinkError(Trouble.RESET) from None
        raise
