"""The vault itself: whether it can be read, who reads its secrets, and which are too old."""

import shlex
import time
from collections.abc import Iterator

from tskeyvault import binding, change, recipients
from tskeyvault.binding import Binding
from tskeyvault.errors import IntegrityError, VaultError
from tskeyvault.recipients import Recipients
from tskeyvault.store import Entry
from tskeyvault.vault import Vault

from .finding import Finding, shown
from .host import Host

_SOON = 14 * 86400.0


def readable(host: Host) -> Iterator[Finding]:
    """Yield what lies among the secrets and is none."""
    passed_over: list[str] = []
    host.vault.store.entries(passed_over.append)
    for path in passed_over:
        yield Finding("vault", shown(path), "lies among the secrets and is none", "take it out of there")


def unapproved(host: Host) -> Iterator[Finding]:
    """Yield the recipients files that are not as this host has approved them; one that never did only looks."""
    vault = host.vault
    if not vault.state.approved_paths:
        return
    for found in recipients.changes(vault.store, vault.state, vault.resolve):
        message = "names other recipients than this host has approved: " + ", ".join(found.lines)
        repair = f"{host.vault_command} recipients ack  # which shows them and asks"
        yield Finding("recipients", shown(found.path), message, repair)


def of_others(host: Host) -> Iterator[Finding]:
    """Yield the secrets that are encrypted to others than should read them, or that are not what they should be."""
    vault = host.vault
    for entry in vault.store.entries(lambda _: None):
        repair = f"{host.vault_command} rekey {shlex.quote(entry.name)}"
        try:
            why = _owed(vault, entry)
        except VaultError as error:
            yield Finding("readers", shown(entry.name), _without_name(error, entry), error.hint or repair)
            continue
        if why:
            yield Finding("readers", shown(entry.name), f"is {why}", repair)


def expiring(host: Host) -> Iterator[Finding]:
    """Yield the secrets that are to be replaced now or soon."""
    vault = host.vault
    for entry in vault.store.entries(lambda _: None):
        try:
            bound = vault.binding(entry, vault.store.read(entry.path))
        except IntegrityError:
            continue  # which "readers" tells
        if bound and (message := _age(bound)):
            repair = f"{host.vault_command} insert --force {shlex.quote(entry.name)}"
            yield Finding("expiry", shown(entry.name), message, repair)


def _age(bound: Binding) -> str:
    """Return what is to be said of the date until which a secret is good, or ``""``."""
    try:
        left = binding.seconds(bound.expires) - time.time() if bound.expires else _SOON
    except ValueError:
        return "has a date that no calendar has"
    if left < 0:
        return "has expired"
    return f"expires in {int(left // 86400)} days" if left < _SOON else ""


def _owed(vault: Vault, entry: Entry) -> str:
    ciphertext = vault.store.read(entry.path)
    return change.owed(
        vault, entry, _readers(vault, entry), ciphertext, vault.check_binding(entry, ciphertext)
    )


def _readers(vault: Vault, entry: Entry) -> Recipients:
    found = recipients.governing(vault.store, entry.plugin, entry.name.rpartition("/")[0])
    return vault.resolve(entry.plugin, found)


def _without_name(error: VaultError, entry: Entry) -> str:
    return error.message.removeprefix(f"secret '{entry.name}': ")
