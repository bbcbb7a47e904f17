"""Where a PIN comes from, and whether it can be one: checked before it costs a try."""

import os
from collections.abc import Mapping
from typing import Protocol

from tskeyvault import process
from tskeyvault.errors import LockedError, NotFoundError
from tskeyvault.local import credentials, read_private
from tskeyvault.values import UI
from tskeyvault_yubikey import faults

CREDENTIAL = "yubikey-pin"
"""The credential; with ``-SERIAL`` behind it, for that YubiKey."""
SHORTEST, LONGEST = 6, 8
"""Bytes of a PIN (Yubico; NIST SP 800-73-4, part 2, 2.4.3)."""

_ASK_PASSWORD = "systemd-ask-password"  # noqa: S105 - the name of a program
_ASK_SECONDS = 60
_MAX_SIZE = 1024
_OTP_LENGTH = 44
_MODHEX = "cbdefghijklnrtuv"


class PinSource(Protocol):
    """Where PINs come from."""

    def ask(self, serial: int, left: int | None) -> bytes:
        """Return the PIN of the YubiKey *serial*, which has *left* tries, or all for None; raise LockedError."""


class Pins:
    """Gets PINs: from a credential, else from the terminal, else, in a unit, from systemd-ask-password."""

    def __init__(self, ui: UI, environ: Mapping[str, str]):
        self._ui = ui
        self._environ = environ
        self._given: set[str] = set()

    def ask(self, serial: int, left: int | None) -> bytes:
        """Return the PIN of the YubiKey *serial*: well-formed, nothing more.

        It has *left* tries, or all of them for None. Raises LockedError.
        """
        who = f"YubiKey {serial}"
        prompt = f"PIN of {who}:" if left is None else f"PIN of {who} ({faults.tries(left)}):"
        pin = self._credential(serial) or self._ui.secret(prompt)
        if pin is None and self._environ.get("INVOCATION_ID"):
            pin = _from_systemd(serial, prompt)
        if not pin:
            raise faults.no_pin(who)
        return check(pin, serial)

    def _credential(self, serial: int) -> bytes | None:
        """Return the PIN in a credential; one that does not say for which key is given for one key alone."""
        folder = credentials(self._environ)
        if not folder:
            return None
        for name in (f"{CREDENTIAL}-{serial}", CREDENTIAL):
            if name not in self._given:
                try:
                    pin = read_private(os.path.join(folder, name), _MAX_SIZE).removesuffix(b"\n")
                except NotFoundError:
                    continue
                self._given.add(name)
                return pin
        return None


def check(pin: bytes, serial: int) -> bytes:
    """Return *pin* when it can be one. Raises LockedError, which says why not and nothing of it."""
    if len(pin) == _OTP_LENGTH and pin.startswith(_otp_prefix(serial)):
        raise LockedError(
            "that was a one-time password, which the YubiKey types when it is touched too early; no try was spent",
            "type the PIN, and touch it only when told to",
        )
    if not SHORTEST <= len(pin) <= LONGEST:
        raise LockedError(f"a PIN has {SHORTEST} to {LONGEST} characters; no try was spent")
    if not pin.isascii():
        raise LockedError("a PIN has letters, digits and signs of ASCII; no try was spent")
    return pin


def _from_systemd(serial: int, prompt: str) -> bytes | None:
    """Ask whoever answers for the system: a console, Plymouth or systemd-tty-ask-password-agent."""
    if not (program := process.find(_ASK_PASSWORD)):
        return None
    argv = [program, "--no-tty", f"--timeout={_ASK_SECONDS}", f"--id=tskeyvault:{serial}", prompt]
    done = process.run(argv, directory="/", seconds=_ASK_SECONDS + 5)
    return None if done.status else done.output.removesuffix("\n").encode()


def _otp_prefix(serial: int) -> bytes:
    """Return how the one-time passwords of the YubiKey *serial* begin, in modhex."""
    return "".join(_MODHEX[int(digit, 16)] for digit in f"0000{serial:08x}").encode("ascii")
