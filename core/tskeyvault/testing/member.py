"""Members: those who use a plugin in the kit, each with a key of their own."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tskeyvault.backend import NO_KEYS, Backend

from .watching import told


class Member(NamedTuple):
    """Somebody who uses the plugin: the loaded plugin with their key, and the recipients that belong to it."""

    backend: Backend
    recipients: tuple[str, ...]
    public_keys: Mapping[str, bytes] = NO_KEYS
    """Files that travel with the vault, by name, with the keys of all members; for ``vault_resolve``."""


class _Nobody:
    """There is nobody to ask in a test; what is said is looked at."""

    def message(self, text: str) -> None:
        """Look at *text*."""
        told(text)

    def confirm(self, question: str, yes: str, no: str) -> bool | None:
        """Look at the question, answer nothing."""
        told(f"{question} {yes} {no}")
        return None

    def public(self, prompt: str) -> str | None:
        """Look at *prompt*, answer nothing."""
        told(prompt)
        return None

    def secret(self, prompt: str) -> bytes | None:
        """Look at *prompt*, answer nothing."""
        told(prompt)
        return None

    def progress(self, done: int, total: int) -> None:
        """Show nothing."""


def member(
    name: str,
    implementation: object,
    options: Mapping[str, object],
    recipients: Sequence[str],
    public_keys: Mapping[str, bytes] = NO_KEYS,
) -> Member:
    """Return a Member for the plugin *name*: a module, an object, or a class that takes *options*.

    ``identities``, ``credentials`` and ``ui`` are filled in as the core does where *options* lack them.
    """
    complete = {"identities": (), "credentials": "", "ui": _Nobody(), **options}
    made = implementation(complete) if isinstance(implementation, type) else implementation
    return Member(Backend(name, made, complete), tuple(recipients), public_keys)
