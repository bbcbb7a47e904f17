"""What gpg's failures mean, told apart by the codes in its report and never by what it says to people."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tskeyvault.errors import IntegrityError, LockedError, PluginError, VaultError
from tskeyvault_gpg import status
from tskeyvault_gpg.agent import Missing
from tskeyvault_gpg.packets import HIDDEN
from tskeyvault_gpg.status import Line

_CODE = 0xFFFF
_NO_PASSPHRASE = 177
_DAMAGED = ("BEGIN_DECRYPTION", "NODATA", "UNEXPECTED")
_SYSTEM_ERROR = 0x8000
_SOURCE_SHIFT, _SOURCE = 24, 0x7F
_AGENT, _PINENTRY, _CARDS = 4, 5, 6
_BAD_DATA = 79
_BAD_PIN, _NO_CARD = 87, 112
_BLOCKED = 130

_PASSPHRASE = "see passphrase_file in {table}, or give the credential gpg-passphrase"  # noqa: S105 - no passphrase
_LOCKED = {
    11: ("the passphrase is wrong", "see passphrase_file in {table}, or the credential gpg-passphrase"),
    62: ("nobody entered the passphrase in time", _PASSPHRASE),
    77: ("there is no gpg-agent, and none can be started", "gpgconf --launch gpg-agent says why"),
    85: ("pinentry is missing, so nobody can be asked for the passphrase", f"apt install pinentry-curses, or {_PASSPHRASE}"),
    86: ("pinentry fails, so nobody can be asked for the passphrase", _PASSPHRASE),
    99: ("the passphrase was not entered", ""),
    114: ("it was not confirmed", ""),
    130: ("the PIN of the card is blocked", "gpg --change-pin unblocks it, with the Admin PIN"),
    177: ("no passphrase was given", _PASSPHRASE),
    178: ("no PIN was given", ""),
}  # fmt: skip
"""By libgpg-error's code: what happened, and what to do."""

_AGAIN = "insert it again; gpgconf --kill scdaemon where that does not help"
_NO_SCDAEMON = 119
_BROKEN = {
    1: ("the card was pulled out, or does not answer", _AGAIN),
    108: ("the card was pulled out, or does not answer", _AGAIN),
    109: ("the card was reset", "try again"),
    110: ("the card was pulled out", "insert it and try again"),
    119: ("scdaemon is missing, so no card can be used", "apt install scdaemon"),
}
"""The same for a card that is not locked, but does not work."""


class Around(NamedTuple):
    """What gpg does not report, to be asked where it matters."""

    agent: Callable[[], Missing | None]
    """Tells why no gpg-agent can be had, without which gpg believes to have no secret key at all."""
    home: Callable[[], Missing | None]
    """Tells what keeps gpg from working in its home."""
    tries: Callable[[], int | None]
    """Tells how many tries the PIN of the card has left, where the card says so."""
    cards: Callable[[], Sequence[str]]
    """Tells the numbers, as gpg prints them, of the cards that could have opened it."""
    damage: Callable[[], VaultError | None]
    """Tells what gpg cannot read in its home."""
    table: str = "[plugins.gpg]"
    """Of the local configuration: where the user says how the key is unlocked."""


def explained(name: str, lines: Sequence[Line], around: Around) -> VaultError:
    """Return what to raise when the secret *name* was not decrypted, by gpg's report."""
    kind, message, hint = _reason(lines, around)
    if (kind, message, hint) in {_NO_KEY, _NO_REASON} and (found := around.damage()):
        return found
    return kind(f"secret '{name}': {message}", hint.replace("{table}", around.table))


def is_pin_refused(lines: Sequence[Line]) -> bool:
    """Tell whether a card had a PIN that is wrong, or takes none any more."""
    return any(code & _CODE in {_BAD_PIN, _BLOCKED} for code in _codes(lines))


def _codes(lines: Sequence[Line]) -> list[int]:
    failures = status.found(lines, "ERROR")
    return [int(code) for where, code, *_ in failures if where == "pkdecrypt_failed" and code.isdecimal()]


def _reason(lines: Sequence[Line], around: Around) -> tuple[type[VaultError], str, str]:
    failures, codes = status.found(lines, "ERROR"), _codes(lines)
    locked = next((said for code in codes if (said := _locked(code, around))), None)
    broken = next((_BROKEN[code & _CODE] for code in codes if _is_of_card(code)), None)
    found: tuple[type[VaultError], str, str] | None = None
    if locked or status.found(lines, "NEED_PASSPHRASE"):
        found = (LockedError, *(locked or _LOCKED[_NO_PASSPHRASE]))
    elif any(words[0] == "add_keyblock_resource" for words in failures):
        found = _of_home(around.home()) or (
            PluginError,
            "gpg cannot use its home",
            "gpg --list-keys says more",
        )
    elif status.found(lines, "NO_SECKEY") and not codes and not status.found(lines, "DECRYPTION_KEY"):
        hidden = any(words[0] == HIDDEN for words in status.found(lines, "NO_SECKEY"))
        missing = around.agent()
        found = no_agent(missing) if missing else (_HIDDEN if hidden else _NO_KEY)
    elif broken:
        found = (PluginError, *broken)
    elif any(map(_is_of_agent, codes)):
        found = _NO_USE
    elif codes or any(status.found(lines, keyword) for keyword in _DAMAGED):
        found = (IntegrityError, "damaged", "")
    return found or _of_home(around.home()) or _NO_REASON


_NO_KEY = (LockedError, "not encrypted to a key of yours", "gpg --list-secret-keys shows those you have")
_HIDDEN = (
    LockedError,
    "its recipients are hidden, and no key of yours that could be unlocked opens it",
    _PASSPHRASE,
)
_NO_USE = (
    PluginError,
    "gpg-agent cannot use the secret key",
    "the key or its card may be damaged: gpg --decrypt on the file says more",
)


_NO_REASON = (PluginError, "gpg failed without a reason", "try: gpg --decrypt on its file")


def _of_home(trouble: Missing | None) -> tuple[type[VaultError], str, str] | None:
    return trouble and (PluginError, f"gpg cannot work: {trouble.reason}", trouble.hint)


def no_agent(missing: Missing) -> tuple[type[VaultError], str, str]:
    """Return what is said where no agent can be had."""
    return PluginError, f"no gpg-agent can be started: {missing.reason}", missing.hint


def _locked(code: int, around: Around) -> tuple[str, str] | None:
    """Return what is said of *code* (libgpg-error) where it is about unlocking a key."""
    if _source(code) == _PINENTRY and code & _SYSTEM_ERROR:
        return "pinentry has no terminal to ask for the passphrase on", _PASSPHRASE
    if code & _CODE == _BAD_PIN:
        return _wrong_pin(around.tries())
    if code & _CODE == _NO_CARD:
        card = " or ".join(around.cards()) or "that has the key"
        hint = f"insert the card {card}, or end what uses it: gpg --card-status shows what is there"
        return "the card with the key is not inserted, or another program uses it", hint
    return _LOCKED.get(code & _CODE)


def _wrong_pin(tries: int | None) -> tuple[str, str]:
    if tries == 0:
        return "the PIN of the card is wrong, and now it is blocked", _LOCKED[_BLOCKED][1]
    left = "" if tries is None else f", and {tries} {'try is' if tries == 1 else 'tries are'} left"
    hint = "correct passphrase_file in {table}, or the credential gpg-passphrase, before it is tried again"
    return f"the PIN of the card is wrong{left}", hint


def _is_of_card(code: int) -> bool:
    return code & _CODE in _BROKEN and (_source(code) == _CARDS or code & _CODE == _NO_SCDAEMON)


def _is_of_agent(code: int) -> bool:
    """Tell whether *code* (libgpg-error) is about the secret key, and not about what was to be decrypted."""
    return _source(code) in {_AGENT, _PINENTRY, _CARDS} and code & _CODE != _BAD_DATA


def _source(code: int) -> int:
    return code >> _SOURCE_SHIFT & _SOURCE
