"""``vault recipients check``: until when each can be encrypted to, and what is wrong with keys and programs."""

import time
from argparse import Namespace
from collections.abc import Iterator, Sequence

from tskeyvault import names, recipients
from tskeyvault.values import Finding, Reader
from tskeyvault.vault import Vault

from . import terminal

_SOON = 30 * 86400.0
"""Seconds ahead that an expiry is warned of."""
_SHOWN = 200
"""Readers and findings that are listed for people; JSON has them all."""
_RENEW = "have it renewed, then: vault recipients add; or vault recipients rm"
_RENEW_THERE = "have it renewed, then: gpg --import FILE; or pass init ID... without it"


def run(vault: Vault, options: Namespace) -> int:
    """Print a line for each who reads, and every finding; the exit code is 1 when there is one."""
    files = vault.store.recipients_files(lambda path: terminal.warn(f"passed over: {names.shown(path)}"))
    found = [vault.resolve(plugin, recipients.load(vault.store, path)) for plugin, path in files]
    readers = {reader: file.path for file in found for _, line in file.pairs for reader in line}
    renew = _RENEW_THERE if vault.plugin else _RENEW
    findings = [finding for reader in readers for finding in _of(reader, renew)]
    approve = f"vault recipients ack --plugin {vault.plugin}" if vault.plugin else "vault recipients ack"
    findings += [
        Finding(f"{names.shown(change.path)} is not approved on this host", approve)
        for change in recipients.changes(vault.store, vault.state, vault.resolve)
    ]
    for plugin in dict.fromkeys(plugin for plugin, _ in files):
        findings += vault.plugins.get(plugin).check(vault.store.public_keys())
    if not vault.plugin:  # which looks at its own store itself
        hint = "take it out of there, and change the secret when it held one"
        findings += [
            Finding(f"'{names.shown(path)}' is no encrypted secret", hint) for path in vault.store.strays()
        ]
    if options.json:
        terminal.as_json(
            {
                "readers": [reader._asdict() for reader in readers],
                "findings": [finding._asdict() for finding in findings],
            }
        )
        return 1 if findings else 0
    _tell(list(readers), findings)
    return 1 if findings else 0


def _tell(readers: Sequence[Reader], findings: Sequence[Finding]) -> None:
    terminal.table([(reader.recipient, reader.name, _until(reader)) for reader in readers[:_SHOWN]])
    if len(readers) > _SHOWN:
        terminal.say(f"and {len(readers) - _SHOWN} more who read")
    for finding in findings[:_SHOWN]:
        terminal.say(finding.text)
        if finding.hint:
            terminal.hint(finding.hint)
    if len(findings) > _SHOWN:
        terminal.say(f"and {len(findings) - _SHOWN} more findings")


def _until(reader: Reader) -> str:
    return reader.problem or (f"until {reader.expires}" if reader.expires else "does not expire")


def _of(reader: Reader, renew: str) -> Iterator[Finding]:
    """Yield what is to be done about *reader*; *renew* is the hint."""
    whose = f"recipient {names.shown(reader.recipient)}" + (
        f" ({names.shown(reader.name)})" if reader.name else ""
    )
    if reader.problem:
        yield Finding(f"{whose} {reader.problem}", renew)
    elif reader.expires:
        left = _seconds(reader.expires) - time.time()
        if left < _SOON:
            yield Finding(f"{whose} expires in {max(0, int(left // 86400))} days", renew)


def _seconds(day: str) -> float:
    import calendar

    return calendar.timegm(time.strptime(f"{day} 235959", "%Y-%m-%d %H%M%S"))
