"""What gpg's failures mean, told apart by the codes in its report and never by what it says to people."""

from collections.abc import Callable, Sequence

from tskeyvault.errors import IntegrityError, LockedError, PluginError, VaultError
from tskeyvault_gpg import status
from tskeyvault_gpg.packets import HIDDEN
from tskeyvault_gpg.program import Gpg
from tskeyvault_gpg.status import Line

_CODE = 0xFFFF
_NO_PASSPHRASE = 177
_DAMAGED = ("BEGIN_DECRYPTION", "NODATA", "UNEXPECTED")
_SYSTEM_ERROR = 0x8000
_SOURCE_SHIFT, _SOURCE = 24, 0x7F
_AGENT, _PINENTRY, _CARDS = 4, 5, 6
_BAD_DATA = 79

_PASSPHRASE = "see passphrase_file in [plugins.gpg], or give the credential gpg-passphrase"  # noqa: S105 - no passphrase
_LOCKED = {
    11: ("the passphrase is wrong", "see passphrase_file in [plugins.gpg], or the credential gpg-passphrase"),
    62: ("nobody entered the passphrase in time", _PASSPHRASE),
    77: ("there is no gpg-agent, and none can be started", "gpgconf --launch gpg-agent says why"),
    85: ("pinentry is missing, so nobody can be asked for the passphrase", f"apt install pinentry-curses, or {_PASSPHRASE}"),
    86: ("pinentry fails, so nobody can be asked for the passphrase", _PASSPHRASE),
    87: ("the PIN is wrong", "gpg --card-status shows how many attempts are left"),
    99: ("the passphrase was not entered", ""),
    108: ("the card does not answer", "gpg --card-status"),
    109: ("the card was reset", "try again"),
    110: ("the card was removed", "insert it and try again"),
    112: ("the card is not inserted", "insert the card that has the key"),
    114: ("it was not confirmed", ""),
    119: ("the agent's socket cannot be reached", "gpgconf --list-dirs agent-socket says where it should be"),
    177: ("no passphrase was given", _PASSPHRASE),
    178: ("no PIN was given", ""),
}  # fmt: skip
"""By libgpg-error's code: what happened, and what to do."""


_HOME = "in gpg's home (gpgconf --list-dirs homedir)"
_PARTS = (
    (("--no-options",), "configuration", f"gpg --list-keys says which line of gpg.conf is wrong, {_HOME}"),
    (
        ("--trustdb-name", "vault-has-none.gpg"),
        "trust database",
        f"move trustdb.gpg away, {_HOME}: the vault does not need it, and gpg makes a new one",
    ),
    ((), "keyring", f"gpg --list-keys says more; the one before may still be there as pubring.kbx~, {_HOME}"),
)
"""What gpg is to do without, and what is damaged when it works then; what is left is that without which it never does."""


def explained(
    name: str,
    lines: Sequence[Line],
    *,
    has_agent: Callable[[], bool],
    damage: Callable[[], VaultError | None],
) -> VaultError:
    """Return what to raise when the secret *name* was not decrypted, by gpg's report.

    *has_agent* tells whether a gpg-agent can be had, without which gpg believes to have no secret key at all;
    *damage* is :func:`of_home`, for failures that may come of it.
    """
    kind, message, hint = _reason(lines, has_agent)
    if (kind, message, hint) in {_NO_KEY, _NO_REASON} and (found := damage()):
        return found
    return kind(f"secret '{name}': {message}", hint)


def of_home(gpg: Gpg) -> PluginError | None:
    """Return what to raise where *gpg* can do nothing with the user's home, or None where it can."""
    if gpg.can_list():
        return None
    _, what, hint = next(part for part in _PARTS if part is _PARTS[-1] or gpg.can_list(*part[0]))
    return PluginError(f"gpg cannot read its {what}", hint)


def _reason(lines: Sequence[Line], has_agent: Callable[[], bool]) -> tuple[type[VaultError], str, str]:
    failures = status.found(lines, "ERROR")
    codes = [int(code) for where, code, *_ in failures if where == "pkdecrypt_failed" and code.isdecimal()]
    locked = next(filter(None, map(_locked, codes)), None)
    found: tuple[type[VaultError], str, str] = _NO_REASON
    if locked or status.found(lines, "NEED_PASSPHRASE"):
        found = (LockedError, *(locked or _LOCKED[_NO_PASSPHRASE]))
    elif any(words[0] == "add_keyblock_resource" for words in failures):
        found = (PluginError, "gpg cannot use its home", "it has to exist and be yours: gpg --list-keys")
    elif status.found(lines, "NO_SECKEY") and not codes and not status.found(lines, "DECRYPTION_KEY"):
        hidden = any(words[0] == HIDDEN for words in status.found(lines, "NO_SECKEY"))
        found = (_HIDDEN if hidden else _NO_KEY) if has_agent() else _NO_AGENT
    elif any(map(_is_of_agent, codes)):
        found = _NO_USE
    elif codes or any(status.found(lines, keyword) for keyword in _DAMAGED):
        found = (IntegrityError, "damaged", "")
    return found


_NO_REASON = (PluginError, "gpg failed without a reason", "try: gpg --decrypt on its file")
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
_NO_AGENT = (
    PluginError,
    "there is no gpg-agent, and none could be started",
    "the home of gpg has to be writable for it: gpgconf --launch gpg-agent says more",
)


def _locked(code: int) -> tuple[str, str] | None:
    """Return what is said of *code* (libgpg-error) where it is about unlocking a key."""
    if _source(code) == _PINENTRY and code & _SYSTEM_ERROR:
        return "pinentry has no terminal to ask for the passphrase on", _PASSPHRASE
    return _LOCKED.get(code & _CODE)


def _is_of_agent(code: int) -> bool:
    """Tell whether *code* (libgpg-error) is about the secret key, and not about what was to be decrypted."""
    return _source(code) in {_AGENT, _PINENTRY, _CARDS} and code & _CODE != _BAD_DATA


def _source(code: int) -> int:
    return code >> _SOURCE_SHIFT & _SOURCE
