"""What the commands show of YubiKeys, as plain values that can be printed or written as JSON."""

from collections.abc import Sequence

from tskeyvault.errors import NotFoundError, UsageError
from tskeyvault.names import shown
from tskeyvault_yubikey import advice, faults, inventory, stub
from tskeyvault_yubikey.card import Card
from tskeyvault_yubikey.inventory import Listed
from tskeyvault_yubikey.session import Session
from tskeyvault_yubikey.stub import SLOTS

Row = dict[str, object]
"""The fields of one thing, by name."""


def keys(sessions: Sequence[Session]) -> list[Row]:
    """Return a row for each slot that is in use."""
    return [row(it) for session in sessions for it in inventory.listed(session)]


def row(it: Listed) -> Row:
    """Return what there is to say of a slot."""
    return {
        "serial": it.serial,
        "slot": stub.number(it.slot),
        "name": shown(it.key.name) if it.key else "",
        "created": it.key.created.isoformat() if it.key else "",
        "pin": it.key.policies.pin if it.key else "",
        "touch": it.key.policies.touch if it.key else "",
        "recipients": it.recipients,
        "identity": it.identity,
        "lines": it.lines,
        "note": it.note,
    }


def states(sessions: Sequence[Session]) -> list[Row]:
    """Return a row for each YubiKey: its firmware, its settings, and what its user should know."""
    return [_state(session) for session in sessions]


def _state(session: Session) -> Row:
    card = session.card
    used = list(inventory.listed(session))
    with faults.explained(session.who):
        settings = inventory.settings(card)
    return {
        "serial": card.serial,
        "firmware": ".".join(map(str, card.version)),
        "pin_tries": settings.pin_tries,
        "puk_tries": settings.puk_tries,
        "management_key": _management(card),
        "keys": sum(it.key is not None for it in used),
        "free_slots": len(SLOTS) - len(used),
        "problems": [it._asdict() for it in advice.about_settings(settings)],
        "advisories": [it._asdict() for it in advice.about_firmware(card.version)],
    }


def _management(card: Card) -> str:
    return card.piv.management_key_type.name


def choose(sessions: Sequence[Session], serial: int, passed_over: int) -> Session:
    """Return the YubiKey *serial*, or for 0 the only one besides *passed_over*.

    Raises NotFoundError when there is none, UsageError when there are several.
    """
    found = [it for it in sessions if it.card.serial != passed_over and serial in {0, it.card.serial}]
    if not found:
        if serial:
            raise faults.absent(f"YubiKey {serial}")
        raise NotFoundError("no other YubiKey is connected", "plug in the one that is to be set up")
    if len(found) > 1:
        serials = ", ".join(str(it.card.serial) for it in found)
        raise UsageError("several YubiKeys are connected", f"--serial says which: {serials}")
    return found[0]
