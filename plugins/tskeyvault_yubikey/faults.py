"""What can go wrong with a YubiKey, each in words of its own: the one place that makes them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tskeyvault.errors import LockedError, PluginError, VaultError
from tskeyvault_yubikey.link import LinkError, Trouble

_INSTALL = "pip install 'tskeyvault[yubikey]', which takes a C compiler and libpcsclite-dev"
_FREE = "gpgconf --kill scdaemon, or --free-reader"


def not_installed() -> PluginError:
    """Return the error that the extra is not installed."""
    return PluginError("a YubiKey needs what is not installed here", _INSTALL)


def absent(who: str) -> LockedError:
    """Return the error that the YubiKey is not connected."""
    return LockedError(f"{who} is not connected", "plug it in and try again")


def without_piv(who: str, reader: str) -> PluginError:
    """Return the error that the only card there has no PIV application."""
    return PluginError(
        f"{who} is not connected, and the card in '{reader}' has no PIV application",
        "ykman config usb --enable PIV, when it is turned off",
    )


def of_link(trouble: Trouble, who: str) -> VaultError:
    """Return the error for *trouble* with the YubiKey *who*."""
    return {
        Trouble.NO_SERVICE: PluginError(
            "pcscd does not run, and no YubiKey is reached without it", "systemctl enable --now pcscd.socket"
        ),
        Trouble.REFUSED: PluginError(
            "pcscd does not let this user in",
            "polkit must allow org.debian.pcsc-lite.access_pcsc and access_card",
        ),
        Trouble.HELD: PluginError(f"{who} is held by {_holder()}", _FREE),
        Trouble.NO_CARD: PluginError(f"{who} was pulled out", "plug it in and try again"),
        Trouble.RESET: PluginError(f"another program keeps taking {who} away", "end it, and try again"),
        Trouble.SILENT: PluginError(f"{who} did not answer in time", "plug it in anew when it stays so"),
        Trouble.OTHER: PluginError(
            f"{who} cannot be reached", "plug it in anew, and look at what pcscd says"
        ),
    }[trouble]


def held(who: str, reader: str) -> PluginError:
    """Return the error that another program has *reader* for itself, in which the YubiKey may be."""
    return PluginError(f"{_holder()} holds the reader '{reader}', so that {who} is not reached", _FREE)


def wrong_pin(who: str, left: int) -> LockedError:
    """Return the error that the PIN was wrong; *left* tries are left."""
    if not left:
        return blocked(who)
    return LockedError(f"the PIN of {who} is wrong; {tries(left)}")


def blocked(who: str) -> LockedError:
    """Return the error that the PIN is blocked."""
    return LockedError(f"the PIN of {who} is blocked", "ykman piv access unblock-pin, which takes the PUK")


def last_try(who: str) -> LockedError:
    """Return the error that only one try of the PIN is left, which was not spent."""
    return LockedError(f"one try is left for the PIN of {who}, and it was not spent", "--last-try spends it")


def no_pin(who: str) -> LockedError:
    """Return the error that a PIN is needed and nobody gave one."""
    return LockedError(
        f"{who} needs its PIN, and none was given", "a terminal, or the credential yubikey-pin"
    )


def pin_lost(who: str) -> LockedError:
    """Return the error that the key wants a PIN though none should be needed, or a right one was given."""
    return LockedError(f"{who} wants its PIN again", "another program may have used it meanwhile: try again")


def untouched(who: str) -> LockedError:
    """Return the error that nobody touched the YubiKey."""
    return LockedError(f"{who} was not touched in time")


def empty(who: str, number: int) -> LockedError:
    """Return the error that the slot *number* has no key for age, or none at all."""
    return LockedError(f"slot {number} of {who} is empty", "the key is lost: another reader must rekey")


def other_key(who: str, number: int) -> LockedError:
    """Return the error that the slot *number* has another key than the identity says."""
    return LockedError(
        f"slot {number} of {who} holds another key than the identity says",
        "vault yubikey list shows its keys",
    )


def tries(left: int) -> str:
    """Return how many tries are *left*, in words."""
    return f"{left} {'try is' if left == 1 else 'tries are'} left"


@contextmanager
def explained(who: str) -> Iterator[None]:
    """Turn whatever a card or yubikit raises in the body into a VaultError about the YubiKey *who*."""
    from yubikit.core import CommandError, NotSupportedError
    from yubikit.core.smartcard import ApduError

    try:
        yield
    except LinkError as error:
        raise of_link(error.trouble, who) from None
    except ApduError as error:
        raise PluginError(f"{who} answered with the error {error.sw:04X}") from None
    except NotSupportedError:
        raise PluginError(f"the firmware of {who} does not do this") from None
    except (CommandError, ValueError):
        raise PluginError(f"{who} answered with what makes no sense") from None


def _holder() -> str:
    return "GnuPG's scdaemon" if _runs("scdaemon") else "another program"


def _runs(name: str) -> bool:
    """Tell whether a program *name* runs; one that cannot be looked at does not."""
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                with open(f"/proc/{entry}/comm", encoding="utf-8", errors="replace") as file:
                    if file.read().strip() == name:
                        return True
            except OSError:
                continue
    return False
