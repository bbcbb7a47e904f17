"""What git is told of a change to another program's store: in that program's own words (pass 1.7.4)."""

from tskeyvault.vault import Vault

_WORDS = {
    "Add": "Add given password for {} to store.",
    "Replace": "Add given password for {} to store.",
    "Generate": "Add generated password for {}.",
    "Add by": "Add password for {} using {}.",
    "Edit by": "Edit password for {} using {}.",
    "Remove": "Remove {} from store.",
    "Move": "Rename {} to {}.",
    "Copy": "Copy {} to {}.",
}


def of(vault: Vault, what: str, *names: str) -> str:
    """Return the message of a commit about *names*, or ``""`` where *vault* is a vault of our own."""
    return _WORDS[what].format(*names) if vault.plugin else ""
