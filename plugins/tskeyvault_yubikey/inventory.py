"""What is on the YubiKeys that are connected: their keys for age, and the state of their PIV application."""

from collections.abc import Iterator
from typing import NamedTuple

from yubikit.core.smartcard import SW, ApduError
from yubikit.piv import DEFAULT_MANAGEMENT_KEY, SLOT

from tskeyvault.errors import LockedError
from tskeyvault.names import shown
from tskeyvault_yubikey import faults, stub
from tskeyvault_yubikey.advice import Settings
from tskeyvault_yubikey.card import TELLS_METADATA, Card
from tskeyvault_yubikey.certificate import SlotKey
from tskeyvault_yubikey.recipient import YubikeyRecipient
from tskeyvault_yubikey.session import Session
from tskeyvault_yubikey.stub import SLOTS, Stub

_ATTESTS = (4, 3, 0)
_PIN_MEANS = {
    "always": "Always (A PIN is required for every decryption, if set)",
    "once": "Once   (A PIN is required once per session, if set)",
    "never": "Never  (A PIN is NOT required to decrypt)",
}
_TOUCH_MEANS = {
    "always": "Always (A physical touch is required for every decryption)",
    "cached": "Cached (A physical touch is required for decryption, and is cached for 15 seconds)",
    "never": "Never  (A physical touch is NOT required to decrypt)",
}
_UNKNOWN_MEANS = "Unknown"


class Listed(NamedTuple):
    """A slot that is in use."""

    serial: int
    slot: int
    """One of ``stub.SLOTS``."""
    key: SlotKey | None
    """None when it is none for age."""
    note: str
    """Why it is none."""

    @property
    def identity(self) -> str:
        """The identity of the key, or ``""``."""
        return str(Stub(self.serial, self.slot, self.key.tag)) if self.key else ""

    @property
    def recipients(self) -> list[str]:
        """The recipients of the key; the one that it is known by comes first."""
        if not self.key:
            return []
        known = str(self.key.recipient)
        others = (
            []
            if self.key.seed
            else [str(YubikeyRecipient(self.key.public)), str(self.key._replace(tagged=True).recipient)]
        )
        return list(dict.fromkeys([known, *others]))

    @property
    def lines(self) -> list[str]:
        """The key as an identity file, just as age-plugin-yubikey prints it (i18n/en-US, yubikey-identity)."""
        if not self.key:
            return [
                f"#       Serial: {self.serial}, Slot: {stub.number(self.slot)}",
                f"#         Note: {self.note}",
            ]
        pin, touch = self.key.policies
        return [
            f"#       Serial: {self.serial}, Slot: {stub.number(self.slot)}",
            f"#         Name: {shown(self.key.name)}",
            f"#      Created: {self.key.created.strftime('%a, %d %b %Y %H:%M:%S +0000')}",
            f"#   PIN policy: {_PIN_MEANS.get(pin, _UNKNOWN_MEANS)}",
            f"# Touch policy: {_TOUCH_MEANS.get(touch, _UNKNOWN_MEANS)}",
            f"#    Recipient: {self.recipients[0]}",
            self.identity,
        ]


def listed(session: Session) -> Iterator[Listed]:
    """Yield all retired slots of a YubiKey that are in use. Raises PluginError."""
    for slot in SLOTS:
        with faults.explained(session.who):
            try:
                key = session.card.key(slot)
            except LockedError as error:
                yield Listed(session.card.serial, slot, None, error.message)
                continue
            if key:
                yield Listed(session.card.serial, slot, key, "")
            elif is_used(session.card, slot):
                yield Listed(session.card.serial, slot, None, "holds a key without a certificate")


def is_used(card: Card, slot: int) -> bool:
    """Tell whether there is a key in *slot*, as far as the firmware tells: one that has no certificate too."""
    try:
        if card.version >= TELLS_METADATA:
            card.piv.get_slot_metadata(SLOT(slot))
        elif card.version >= _ATTESTS:
            card.piv.attest_key(SLOT(slot))
        else:
            return False
    except ApduError as error:
        if error.sw in {SW.REFERENCE_DATA_NOT_FOUND, SW.INCORRECT_PARAMETERS, SW.FILE_NOT_FOUND}:
            return False
        raise
    return True


def settings(card: Card) -> Settings:
    """Return the settings of the PIV application."""
    if card.version < TELLS_METADATA:
        return Settings(card.tries(), None, None, None, _has_default_management(card))
    pin, puk = card.piv.get_pin_metadata(), card.piv.get_puk_metadata()
    management = card.piv.get_management_key_metadata()
    return Settings(
        pin.attempts_remaining,
        puk.attempts_remaining,
        pin.default_value,
        puk.default_value,
        management.default_value,
    )


def _has_default_management(card: Card) -> bool:
    """Tell whether the default key works, of which there is no count of tries."""
    try:
        card.piv.authenticate(DEFAULT_MANAGEMENT_KEY)
    except ApduError:
        return False
    return True
