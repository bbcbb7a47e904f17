"""The management key, which writing to a YubiKey takes: found, and kept by the YubiKey under its PIN."""

import os

from ykman.piv import (
    OBJECT_ID_PIVMAN_DATA,
    OBJECT_ID_PIVMAN_PROTECTED_DATA,
    PivmanProtectedData,
    derive_management_key,
    get_pivman_data,
    get_pivman_protected_data,
)
from yubikit.core import BadResponseError
from yubikit.core.smartcard import ApduError
from yubikit.piv import DEFAULT_MANAGEMENT_KEY, PivSession

from tskeyvault.errors import LockedError
from tskeyvault.values import UI


def find(piv: PivSession, pin: str) -> bytes:
    """Return the key: the one on the YubiKey or the default one, whichever it is; else ``b""``.

    The PIN is verified. There is no count of tries. That the YubiKey says it keeps none is not
    believed: setting it may have been cut short.
    """
    data = get_pivman_data(piv)
    known = [
        get_pivman_protected_data(piv).key or b"",
        derive_management_key(pin, data.salt) if data.salt else b"",
        DEFAULT_MANAGEMENT_KEY,
    ]
    return next((key for key in known if key and opens(piv, key)), b"")


def ask(piv: PivSession, who: str, ui: UI) -> bytes:
    """Return the key that the user types, in hexadecimal. Raises LockedError when it is another one."""
    text = ui.secret(f"management key of {who} (hexadecimal):") or b""
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if not opens(piv, key):
        raise LockedError(
            f"{who} has another management key, and nothing was changed",
            "ykman piv reset starts from scratch, and all keys on it are lost",
        )
    return key


def opens(piv: PivSession, key: bytes) -> bool:
    """Authenticate by *key*; return whether it is the right one."""
    try:
        piv.authenticate(key)
    except (ApduError, BadResponseError, ValueError):
        return False
    return True


def protect(piv: PivSession) -> None:
    """Set a new random key of the same type, and keep it on the YubiKey, readable with the PIN alone.

    It is kept before it is set, so that :func:`find` finds the right one whenever this is cut short.
    The layout is that of ykman and age-plugin-yubikey.
    """
    kind = piv.management_key_type
    key = os.urandom(kind.key_len)
    kept: PivmanProtectedData = get_pivman_protected_data(piv)
    kept.key = key
    data = get_pivman_data(piv)
    data.salt = None
    data.mgm_key_protected = True
    piv.put_object(OBJECT_ID_PIVMAN_PROTECTED_DATA, kept.get_bytes())
    piv.set_management_key(kind, key)
    piv.put_object(OBJECT_ID_PIVMAN_DATA, data.get_bytes())
