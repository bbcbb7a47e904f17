"""The software card behaves to yubikit as the real one is documented to: or no other test here would mean anything."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from ykman.piv import get_pivman_protected_data, pivman_set_mgm_key
from yubikit.core import TRANSPORT, ApplicationNotAvailableError, InvalidPinError, NotSupportedError
from yubikit.core.smartcard import ApduError, SmartCardConnection
from yubikit.management import ManagementSession
from yubikit.piv import DEFAULT_MANAGEMENT_KEY, KEY_TYPE, PIN_POLICY, SLOT, TOUCH_POLICY, PivSession
from yubikit.yubiotp import YubiOtpSession

from support.pivcard import PIN as PIN_REFERENCE
from support.pivcard import PUK, PivCard

FIRMWARE = [(4, 3, 5), (5, 2, 4), (5, 4, 3), (5, 7, 1)]
PEER = ec.generate_private_key(ec.SECP256R1())


class Direct(SmartCardConnection):
    """What yubikit talks through."""

    def __init__(self, card: PivCard, transport: TRANSPORT = TRANSPORT.USB):
        self._card = card
        self._transport = transport

    @property
    def transport(self) -> TRANSPORT:
        """USB or NFC, and with that long or short commands."""
        return self._transport

    def send_and_receive(self, apdu: bytes) -> tuple[bytes, int]:
        """Let the card answer."""
        return self._card.transmit(apdu)

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture(params=FIRMWARE, ids=lambda firmware: ".".join(map(str, firmware)))
def card(request: pytest.FixtureRequest) -> PivCard:
    """Give a new card of each firmware."""
    return PivCard(firmware=request.param)


def made(
    card: PivCard, pin: PIN_POLICY = PIN_POLICY.ONCE, touch: TOUCH_POLICY = TOUCH_POLICY.NEVER
) -> PivSession:
    """Return a session in which a key was made in the first retired slot."""
    session = PivSession(Direct(card))
    session.authenticate(DEFAULT_MANAGEMENT_KEY)
    session.generate_key(SLOT.RETIRED1, KEY_TYPE.ECCP256, pin, touch)
    return session


def refused(session: PivSession) -> int:
    """Return the status word by which a key agreement is refused."""
    with pytest.raises(ApduError) as caught:
        session.calculate_secret(SLOT.RETIRED1, PEER.public_key())
    return caught.value.sw


def test_a_key_agreement_is_that_of_the_curve(card: PivCard) -> None:
    session = made(card)
    session.verify_pin("123456")
    secret = session.calculate_secret(SLOT.RETIRED1, PEER.public_key())
    assert secret == PEER.exchange(ec.ECDH(), card.keys[0x82].private.public_key())


def test_without_the_management_key_nothing_is_written(card: PivCard) -> None:
    session = PivSession(Direct(card))
    with pytest.raises(ApduError, match="6982"):
        session.generate_key(SLOT.RETIRED1, KEY_TYPE.ECCP256)
    with pytest.raises(ApduError, match="6982"):
        session.authenticate(bytes(24))


@pytest.mark.parametrize("how", ["power", "forget", "another application", "wrong PIN"])
def test_what_clears_the_pin(card: PivCard, how: str) -> None:
    session = made(card)
    assert refused(session) == 0x6982
    session.verify_pin("123456")
    session.protocol.select(bytes.fromhex("A000000308"))  # which clears nothing
    session.calculate_secret(SLOT.RETIRED1, PEER.public_key())
    if how == "power":
        card.power_off()
    elif how == "forget":
        session.protocol.send_apdu(0, 0x20, 0xFF, 0x80)
    elif how == "another application":
        YubiOtpSession(Direct(card))
        assert refused(session) == 0x6D00
    else:
        with pytest.raises(InvalidPinError):
            session.verify_pin("000000")
    assert refused(PivSession(Direct(card))) == 0x6982


def test_the_policy_always_wants_the_pin_directly_before(card: PivCard) -> None:
    session = made(card, PIN_POLICY.ALWAYS)
    session.verify_pin("123456")
    session.calculate_secret(SLOT.RETIRED1, PEER.public_key())
    assert refused(session) == 0x6982
    session.verify_pin("123456")
    session.protocol.send_apdu(0, 0xFD, 0, 0)
    assert refused(session) == 0x6982


def test_a_touch_is_good_for_a_while(card: PivCard) -> None:
    times = [0.0]
    card.clock = lambda: times[-1]
    session = made(card, touch=TOUCH_POLICY.CACHED)
    session.verify_pin("123456")
    for now, touches in ((0.0, 1), (14.0, 1), (16.0, 2)):
        times.append(now)
        session.calculate_secret(SLOT.RETIRED1, PEER.public_key())
        assert card.touches == touches
    card.touch = lambda _slot: False
    times.append(100.0)
    assert refused(session) == 0x6982


def test_the_tries_are_counted_and_come_back(card: PivCard) -> None:
    session = PivSession(Direct(card))
    for left in (2, 1, 0):
        with pytest.raises(InvalidPinError) as caught:
            session.verify_pin("000000")
        assert caught.value.attempts_remaining == left
    with pytest.raises(InvalidPinError) as caught:
        session.verify_pin("123456")
    assert caught.value.attempts_remaining == 0
    session.unblock_pin("12345678", "654321")
    session.verify_pin("654321")
    assert card.left == {PIN_REFERENCE: 3, PUK: 3}


def test_it_is_reset_only_when_both_are_blocked(card: PivCard) -> None:
    session = made(card)
    with pytest.raises(ApduError, match="6985"):
        session.protocol.send_apdu(0, 0xFB, 0, 0)
    session.reset()
    assert (card.keys, card.left) == ({}, {PIN_REFERENCE: 3, PUK: 3})


@pytest.mark.parametrize("transport", [TRANSPORT.USB, TRANSPORT.NFC])
def test_large_objects_come_and_go_in_one_piece_and_in_many(card: PivCard, transport: TRANSPORT) -> None:
    session = PivSession(Direct(card, transport))
    session.authenticate(DEFAULT_MANAGEMENT_KEY)
    data = os.urandom(2000)
    session.put_object(0x5FC10E, data)
    assert session.get_object(0x5FC10E) == data


def test_a_management_key_is_kept_under_the_pin(card: PivCard) -> None:
    session = PivSession(Direct(card))
    session.authenticate(DEFAULT_MANAGEMENT_KEY)
    session.verify_pin("123456")
    pivman_set_mgm_key(session, bytes(range(24)), session.management_key_type, store_on_device=True)
    again = PivSession(Direct(card))
    again.verify_pin("123456")
    assert get_pivman_protected_data(again).key == bytes(range(24))
    again.authenticate(bytes(range(24)))
    card.power_off()
    with pytest.raises(ApduError, match="6982"):
        get_pivman_protected_data(PivSession(Direct(card)))


def test_it_tells_what_its_firmware_tells(card: PivCard) -> None:
    session = made(card)
    if card.firmware >= (5, 3, 0):
        assert session.get_slot_metadata(SLOT.RETIRED1).pin_policy == PIN_POLICY.ONCE
        assert session.get_pin_metadata().default_value
    else:
        with pytest.raises(NotSupportedError):
            session.get_slot_metadata(SLOT.RETIRED1)
    if card.firmware >= (5, 0, 3):
        assert session.get_serial() == card.serial
    assert session.attest_key(SLOT.RETIRED1).public_key() == card.keys[0x82].private.public_key()
    assert YubiOtpSession(Direct(card)).get_serial() == card.serial
    assert ManagementSession(Direct(card)).read_device_info().serial == card.serial
    with pytest.raises(ApplicationNotAvailableError):
        session.protocol.select(bytes.fromhex("A0000005272101"))
