"""What is known about firmware, and what of a YubiKey's settings leaves its keys weaker than they could be."""

from collections.abc import Sequence
from typing import NamedTuple

from tskeyvault_yubikey import faults


class Advice(NamedTuple):
    """Something that its user should know."""

    problem: str
    hint: str


_ROCA = ((4, 2, 6), (4, 3, 5))
_EUCLEAK = ((5, 0, 0), (5, 7, 0))


def about_firmware(version: Sequence[int]) -> list[Advice]:
    """Return the advisories for firmware *version*. Sources: Yubico YSA-2017-01 and YSA-2024-03."""
    found = []
    if _ROCA[0] <= tuple(version) < _ROCA[1]:
        found.append(
            Advice(
                "ROCA (CVE-2017-15361): RSA keys that were made on this YubiKey can be computed from their public keys",
                "the keys for age are not RSA; replace RSA keys in other slots",
            )
        )
    if _EUCLEAK[0] <= tuple(version) < _EUCLEAK[1]:
        found.append(
            Advice(
                "EUCLEAK (CVE-2024-45678): who has the YubiKey, its PIN and a laboratory can extract keys that sign by ECDSA",
                "the keys for age sign once, when they are made; a lost YubiKey is to be removed from the recipients at once",
            )
        )
    return found


class Settings(NamedTuple):
    """Settings of a YubiKey's PIV application; None for what its firmware does not tell."""

    pin_tries: int | None
    puk_tries: int | None
    pin_is_default: bool | None
    puk_is_default: bool | None
    management_is_default: bool | None


def about_settings(settings: Settings) -> list[Advice]:
    """Return what is weak, or about to be lost."""
    found = []
    if settings.pin_is_default:
        found.append(Advice("the PIN is the default one", "ykman piv access change-pin"))
    if settings.puk_is_default:
        found.append(Advice("the PUK is the default one", "ykman piv access change-puk"))
    if settings.management_is_default:
        found.append(
            Advice(
                "the management key is the default one: anybody can put other keys into it",
                "ykman piv access change-management-key --generate --protect",
            )
        )
    if settings.pin_tries is not None and settings.pin_tries <= 1:
        what = "the PIN is blocked" if not settings.pin_tries else f"for the PIN {faults.tries(1)}"
        found.append(Advice(what, "ykman piv access unblock-pin, which takes the PUK"))
    if settings.puk_tries == 0:
        found.append(Advice("the PUK is blocked: a blocked PIN cannot be set again", "have a second YubiKey"))
    return found
