"""What is damaged in the user's home of gpg, found by letting gpg do without one part after the other."""

from tskeyvault.errors import PluginError
from tskeyvault_gpg.agent import trouble
from tskeyvault_gpg.program import Gpg

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


def of_home(gpg: Gpg) -> PluginError | None:
    """Return what to raise where *gpg* can do nothing with the user's home, or None where it can."""
    if gpg.can_list():
        return None
    if not gpg.runs():
        return PluginError("gpg failed without a reason", "gpg --version shows whether it works at all")
    if missing := trouble(gpg.home):
        return PluginError(f"gpg cannot work: {missing.reason}", missing.hint)
    _, what, hint = next(part for part in _PARTS if part is _PARTS[-1] or gpg.can_list(*part[0]))
    return PluginError(f"gpg cannot read its {what}", hint)
