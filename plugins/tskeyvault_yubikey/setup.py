"""Making a key for age in a YubiKey: in a free slot, never over another key, with its certificate."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from ykman.piv import sign_certificate_builder
from yubikit.core import InvalidPinError
from yubikit.core.smartcard import ApduError
from yubikit.piv import DEFAULT_MANAGEMENT_KEY, KEY_TYPE, PIN_POLICY, SLOT, TOUCH_POLICY

from tskeyvault.errors import LockedError, PluginError, UsageError
from tskeyvault.values import UI
from tskeyvault_yubikey import advice, certificate, faults, inventory, management, pin, stub
from tskeyvault_yubikey.card import Card, WrongPinError
from tskeyvault_yubikey.certificate import Policies, SlotKey
from tskeyvault_yubikey.inventory import Listed
from tskeyvault_yubikey.session import Session
from tskeyvault_yubikey.stub import SLOTS

DEFAULT_PIN, DEFAULT_PUK = "123456", "12345678"

_DELETES_KEYS = (5, 7, 0)


class Wish(NamedTuple):
    """What key is wanted."""

    slot: int
    """From 1, or 0 for the first free one."""
    policies: Policies
    name: str
    post_quantum: bool
    classic: bool
    """Known by ``age1yubikey1...``, which age-plugin-yubikey before 0.6 needs."""
    keep_defaults: bool
    """Leave a default PIN, PUK and management key as they are."""


def wish(fields: Mapping[str, object]) -> Wish:
    """Return the wish that *fields* describes, with text for the policies. Raises UsageError."""
    policies = Policies(str(fields["pin"]), str(fields["touch"]))
    number = int(str(fields["slot"]))
    if not 0 <= number <= len(SLOTS):
        raise UsageError(f"the slots for age are 1 to {len(SLOTS)}")
    if fields["post_quantum"] and fields["classic"]:
        raise UsageError("a post-quantum key has no classic recipient")
    return Wish(
        number,
        policies,
        str(fields["name"]),
        post_quantum=bool(fields["post_quantum"]),
        classic=bool(fields["classic"]),
        keep_defaults=bool(fields["keep_defaults"]),
    )


class Codes(NamedTuple):
    """What is on a YubiKey, and what it is to be; empty for no change."""

    pin: str
    new_pin: str
    new_puk: str
    management: bytes


def set_up(session: Session, wish: Wish, ui: UI) -> Listed:
    """Make the key and its certificate; return it as it now is on the YubiKey.

    Raises UsageError when the slot is in use, LockedError for wrong codes, PluginError. What the
    user had is never overwritten.
    """
    card = session.card
    with faults.explained(session.who), _pins_explained(session.who):
        slot = _slot(session, wish.slot)
        codes = _codes(session, wish, ui)
        with session.alone():
            _change(card, codes, ui, keep=wish.keep_defaults)
            pin_now = codes.new_pin or codes.pin
            card.verify(pin_now.encode("ascii"))
            with _whole(session, slot, ui):
                _make(session, slot, wish, pin_now)
            made = card.key(slot)
        _tell_what_stays_weak(session, ui)
    if made is None:
        raise PluginError(f"{session.who} did not keep the certificate")
    return Listed(card.serial, slot, made, "")


def _slot(session: Session, number: int) -> int:
    """Return the slot to use; raise UsageError when it, or every one, is in use."""
    used = {it.slot: it for it in inventory.listed(session)}
    if not number:
        free = next((slot for slot in SLOTS if slot not in used), None)
        if free is None:
            raise UsageError(f"all {len(SLOTS)} slots of {session.who} are in use")
        return free
    slot = SLOTS[number - 1]
    if slot in used:
        raise UsageError(
            f"slot {number} of {session.who} is in use, and what is there is kept",
            "vault yubikey list shows it",
        )
    return slot


def _codes(session: Session, wish: Wish, ui: UI) -> Codes:
    """Ask for all that is needed, before anything is changed."""
    now = inventory.settings(session.card)
    old = DEFAULT_PIN if now.pin_is_default else session.unlock().decode("ascii")
    new_pin = new_puk = ""
    if not wish.keep_defaults and (now.pin_is_default or old == DEFAULT_PIN):
        new_pin = _new(session, "PIN", ui)
    if not wish.keep_defaults and now.puk_is_default:
        new_puk = _new(session, "PUK", ui)
    session.card.verify(old.encode("ascii"))
    piv = session.card.piv
    return Codes(old, new_pin, new_puk, management.find(piv, old) or management.ask(piv, session.who, ui))


def _new(session: Session, what: str, ui: UI) -> str:
    """Return a new PIN or PUK, which the user types twice. Raises LockedError."""
    first = ui.secret(f"{session.who} has the default {what}; its new one:")
    if not first:
        raise LockedError(
            f"{session.who} has the default {what}, and no new one was given",
            "a terminal, or --keep-defaults to leave it weak",
        )
    chosen = pin.check(first, session.card.serial).decode("ascii")
    if chosen in {DEFAULT_PIN, DEFAULT_PUK}:
        raise LockedError(f"that is the default {what}, which everybody knows; nothing was changed")
    if ui.secret(f"the new {what} again:") != first:
        raise LockedError("the two are not the same; nothing was changed")
    return chosen


def _change(card: Card, codes: Codes, ui: UI, *, keep: bool) -> None:
    """Change the defaults, with the PIN verified before and after."""
    if codes.new_puk:
        card.piv.change_puk(DEFAULT_PUK, codes.new_puk)
        ui.message("changed the PUK")
    if codes.new_pin:
        card.piv.change_pin(codes.pin, codes.new_pin)
        ui.message("changed the PIN")
    card.verify((codes.new_pin or codes.pin).encode("ascii"))
    card.piv.authenticate(codes.management)
    if codes.management == DEFAULT_MANAGEMENT_KEY and not keep:
        management.protect(card.piv)
        ui.message("changed the management key; the YubiKey keeps it, under its PIN")


def _make(session: Session, slot: int, wish: Wish, pin_now: str) -> SlotKey:
    piv, policies = session.card.piv, wish.policies
    public = piv.generate_key(
        SLOT(slot), KEY_TYPE.ECCP256, PIN_POLICY[policies.pin.upper()], TOUCH_POLICY[policies.touch.upper()]
    )
    if not isinstance(public, EllipticCurvePublicKey):
        raise PluginError(f"{session.who} made another kind of key")
    seed = certificate.new_seed() if wish.post_quantum else b""
    name = wish.name or certificate.default_name(public, seed)
    builder = certificate.builder(public, name, policies, seed, tagged=not wish.classic)
    session.card.verify(pin_now.encode("ascii"))
    with session.card.patience.touch(f"touch {session.who} now"):
        signed = sign_certificate_builder(piv, SLOT(slot), KEY_TYPE.ECCP256, builder)
    piv.put_certificate(SLOT(slot), signed)
    return certificate.read(signed)


def _tell_what_stays_weak(session: Session, ui: UI) -> None:
    now = inventory.settings(session.card)
    for it in advice.about_settings(now):
        ui.message(f"weak: {it.problem}")
    if now.puk_is_default is None:
        ui.message(
            f"whether the PUK of {session.who} is the default one is not known: ykman piv access change-puk"
        )


@contextlib.contextmanager
def _whole(session: Session, slot: int, ui: UI) -> Iterator[None]:
    """Leave no key without its certificate behind, as far as the firmware can do that."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            if session.card.version >= _DELETES_KEYS:
                session.card.piv.delete_key(SLOT(slot))
            elif inventory.is_used(session.card, slot):
                ui.message(f"slot {stub.number(slot)} of {session.who} has a key now that nothing uses")
        raise


@contextlib.contextmanager
def _pins_explained(who: str) -> Iterator[None]:
    try:
        yield
    except WrongPinError as error:
        raise faults.wrong_pin(who, error.left) from None
    except InvalidPinError as error:
        raise faults.wrong_pin(who, error.attempts_remaining) from None
    except ApduError as error:
        if error.sw != 0x6982:  # noqa: PLR2004 - security status not satisfied
            raise
        raise faults.untouched(who) from None
