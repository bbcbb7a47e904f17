"""OpenPGP cards with keys of the user: a PIN that was wrong is not tried again, and no last try is spent unasked."""

import re
from collections.abc import Iterable, Mapping, Sequence

from tskeyvault import process
from tskeyvault.errors import LockedError
from tskeyvault_gpg import faults, status
from tskeyvault_gpg.packets import HIDDEN
from tskeyvault_gpg.program import Gpg
from tskeyvault_gpg.status import Line

LAST_TRY = "last-try"
"""The consent to spend it: :data:`tskeyvault.values.Options`."""
_SECONDS = 30.0
_SERIAL = re.compile(r"D27600012401[0-9A-F]{20}", re.ASCII)
_TRIES = re.compile(r"^S CHV-STATUS \+?\d+\+\d+\+\d+\+\d+\+(\d+)\+", re.MULTILINE | re.ASCII)
"""Those of the PIN come after four other numbers (scd/app-openpgp.c of GnuPG)."""
_KEY_ID, _TOKEN = 4, 14
_LONG = 16
_MAKER, _NUMBER = slice(16, 20), slice(20, 28)


class Cards:
    """The cards that keys of the user are on, by what their *gpg* notes of them; for one command."""

    def __init__(self, gpg: Gpg):
        self._gpg = gpg
        self._serials: Mapping[str, str] | None = None
        self._left: dict[str, int | None] = {}
        self._accepted: set[str] = set()
        self._is_refused = False

    def check(self, name: str, key_ids: Sequence[str], *, spares_last: bool) -> None:
        """Raise LockedError where to open the secret *name*, encrypted to *key_ids*, would try a PIN that was wrong.

        With *spares_last* also where it could take the last try. gpg tries a card as often as a message asks for
        its key, and where recipients are hidden, for each of them; it does not report that.
        """
        if self._is_refused and (self._of(key_ids) or not self._known()):
            raise LockedError(f"secret '{name}': the PIN of the card was wrong, and is not tried again")
        if not spares_last:
            return
        for serial in self._of(key_ids):
            if serial not in self._accepted:
                self._left[serial] = left = self._tries(serial)
                _spare(name, left, sum(key in {HIDDEN, *self._keys(serial)} for key in key_ids))

    def are_unproven(self, key_ids: Iterable[str] = (HIDDEN,)) -> bool:
        """Tell whether a card that opens what is encrypted to *key_ids*, by default any, has not yet taken the PIN."""
        return not self._accepted.issuperset(self._of(key_ids))

    def heard(self, report: Sequence[Line]) -> None:
        """Take notice of gpg's *report* on what was checked, even where it was opened by another key."""
        used = {words[0][-_LONG:] for words in status.found(report, "DECRYPTION_KEY") if words}
        self._accepted |= {serial for key, serial in self._known().items() if key in used}
        unsure = [serial for serial in self._left if serial not in self._accepted]
        if faults.is_pin_refused(report) or any(self._tries(one) != self._left[one] for one in unsure):
            self._is_refused = True

    def tries(self, key_ids: Iterable[str]) -> int | None:
        """Return how many tries are left for the PIN of the one card that opens what is encrypted to *key_ids*.

        None where there are several cards, or it does not say.
        """
        serials = self._of(key_ids)
        return self._tries(serials[0]) if len(serials) == 1 else None

    def numbers(self, key_ids: Iterable[str]) -> Sequence[str]:
        """Return the numbers of the cards that open what is encrypted to *key_ids*, as gpg prints them."""
        return [f"{serial[_MAKER]} {serial[_NUMBER]}" for serial in self._of(key_ids)]

    def _tries(self, serial: str) -> int | None:
        where = ("--homedir", self._gpg.home) if self._gpg.home else ()
        ask = (f"SCD SERIALNO --demand={serial}", "SCD GETATTR CHV-STATUS", "/bye")
        program = process.find("gpg-connect-agent") or "gpg-connect-agent"
        said = process.run([program, *where, *ask], directory="/", seconds=_SECONDS).output
        found = _TRIES.search(said)
        return int(found[1]) if found and serial in said else None

    def _keys(self, serial: str) -> Iterable[str]:
        return (key for key, on in self._known().items() if on == serial)

    def _of(self, key_ids: Iterable[str]) -> Sequence[str]:
        """Return the serial numbers of the cards that gpg may ask to open what is encrypted to *key_ids*."""
        wanted = set(key_ids)
        return sorted({serial for key, serial in self._known().items() if key in wanted or HIDDEN in wanted})

    def _known(self) -> Mapping[str, str]:
        """Return the serial number of its card by the id of each key of the user that is on one."""
        if self._serials is None:
            self._serials = _serials(self._gpg.listing("--list-secret-keys"))
        return self._serials


def _spare(name: str, left: int | None, needed: int) -> None:
    """Raise LockedError where *needed* tries of a PIN could be all that are *left*; where none is, nothing is spent."""
    if not left or left > needed:
        return
    what = "one try is left for the PIN of the card, and it was not spent"
    if needed > 1:
        what = f"a wrong PIN would cost {needed} tries, as its recipients are hidden, and the card has {left}"
    raise LockedError(f"secret '{name}': {what}", f"--{LAST_TRY} spends {'it' if left == 1 else 'them'}")


def _serials(listing: Sequence[Sequence[str]]) -> Mapping[str, str]:
    """Return the serial number of its card by the id of each key that is on one."""
    return {
        record[_KEY_ID]: record[_TOKEN]
        for record in listing
        if record[0] in {"sec", "ssb"} and len(record) > _TOKEN and _SERIAL.fullmatch(record[_TOKEN])
    }
