"""``vault status``: age, expiry and readers of every secret, without a key."""

import os
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Collection
from typing import NamedTuple

from tskeyvault import binding, change, names, recipients
from tskeyvault.errors import VaultError
from tskeyvault.store import Entry
from tskeyvault.vault import Vault, opened

from . import place, terminal

_SOON = 14 * 86400.0
_FINDINGS = {
    change.UNBOUND: "not bound to its name: insert or rekey binds it",
    change.OTHERS: "encrypted to other recipients: vault rekey",
}


class Row(NamedTuple):
    """What can be said of a secret without opening it. Nothing of it is verified."""

    name: str
    plugin: str
    generation: int | None
    created: str | None
    expires: str | None
    readers: list[str]
    findings: list[str]
    """What is to be done about it: expired, unbound, to be re-encrypted, damaged."""


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", nargs="?", default="", metavar="FOLDER", help="only the secrets in it")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: Namespace) -> int:
    """Print a line for each secret; the exit code is 1 when there is something to do."""
    plugin, folder = names.folder(options.folder)
    with opened(place(options), os.environ, terminal.USER, plugin) as vault:
        # A host that has approved nobody yet only looks.
        changes = (
            recipients.changes(vault.store, vault.state, vault.resolve) if vault.state.approved_paths else []
        )
        unapproved = {found.path for found in changes}
        rows = [_row(vault, entry, unapproved) for entry in vault.store.within(folder)]
    if options.json:
        terminal.as_json([row._asdict() for row in rows])
    else:
        terminal.table([_line(row) for row in rows])
    return 1 if any(row.findings for row in rows) else 0


def _row(vault: Vault, entry: Entry, unapproved: Collection[str]) -> Row:
    findings: list[str] = []
    readers: recipients.Recipients | None = None
    bound = None
    try:
        readers = recipients.governing(vault.store, entry.plugin, entry.name.rpartition("/")[0])
        readers = vault.resolve(entry.plugin, readers)
        ciphertext = vault.store.read(entry.path)
        bound = vault.check_binding(entry, ciphertext)
        owed = change.owed(vault, entry, readers, ciphertext, bound)
        dates = _dates(bound) if bound else []
    except VaultError as error:
        findings.append(error.message.removeprefix(f"secret '{entry.name}': "))
    except ValueError:
        findings.append("its dates cannot be read: no calendar has them")
        bound = None
    else:
        findings += dates
        if owed:
            findings.append(_FINDINGS[owed])
        if readers.path in unapproved and owed != change.UNBOUND:
            findings.append("its recipients are not approved: vault recipients ack")
    who = [it.label or it.text for it in readers.entries] if readers else []
    generation, created, expires = (
        (bound.generation, bound.created, bound.expires) if bound else (None, None, None)
    )
    return Row(entry.name, entry.plugin, generation, created, expires, who, findings)


def _dates(bound: binding.Binding) -> list[str]:
    binding.seconds(bound.created)  # which is shown as an age
    if bound.expires is None:
        return []
    left = binding.seconds(bound.expires) - time.time()
    if left < 0:
        return ["expired: replace it with vault insert"]
    return [f"expires in {int(left // 86400)} days"] if left < _SOON else []


def _line(row: Row) -> tuple[str, ...]:
    age = (
        f"{int((time.time() - binding.seconds(row.created)) // 86400)} days old"
        if row.created
        else "age unknown"
    )
    until = f"until {row.expires[:10]}" if row.expires else ""
    return row.name, age, until, ", ".join(row.readers), "; ".join(row.findings)
