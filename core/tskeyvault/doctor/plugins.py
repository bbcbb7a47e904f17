"""What the plugins that the vault uses say of themselves: each in a process of its own, which cannot hold up the rest."""

import json
import os
import select
import signal
import time
from collections.abc import Iterator

from tskeyvault import limits
from tskeyvault.errors import VaultError
from tskeyvault.vault import Vault

from .finding import Finding
from .host import Host

SECONDS = 20.0
"""For one plugin."""
GRACE = 2.0
"""Seconds more, in which one that was told to stop can close what it has opened."""
_MOST = 1 << 20
"""Bytes of what it says."""

_REPORT = "report it to whoever wrote the plugin"

_Said = list[tuple[str, str]]


def own_checks(host: Host) -> Iterator[Finding]:
    """Yield what the plugins find, and those that fail to look."""
    vault = host.vault
    for name in _used(vault):
        for text, hint in _apart(vault, name):
            yield Finding("plugins", name, text, hint)


def _used(vault: Vault) -> list[str]:
    """Return the plugins that a secret, a recipients file or a service names, and that of new secrets."""
    stored = {entry.plugin for entry in vault.store.entries(lambda _: None)}
    readers = {plugin for plugin, _ in vault.store.recipients_files(lambda _: None)}
    files = [file for service in vault.settings.services.values() for file in service.files]
    named = {reference.plugin for file in files for reference in file.references}
    return sorted((stored | readers | named | {vault.settings.backend}) - {""})


def _apart(vault: Vault, name: str) -> _Said:
    """Return text and hint of what plugin *name* finds; it is ended, with all that it has started, when it takes too long."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _in_child(vault, name, writer)
    os.close(writer)
    try:
        said = _heard(reader)
    finally:
        os.close(reader)
        _end(child)
    return said


def _in_child(vault: Vault, name: str, writer: int) -> None:
    """Ask the plugin, write what it says, and end this process whatever happens."""
    try:
        os.setsid()
        try:
            with limits.deadline(SECONDS, "its check"):
                found = vault.plugins.get(name).check(vault.store.public_keys())
                said = [(finding.text, finding.hint) for finding in found]
        except VaultError as error:
            said = [(error.message.removeprefix(f"plugin '{name}': "), error.hint)]
        with os.fdopen(writer, "wb") as file:
            file.write(json.dumps(said).encode())
        vault.plugins.close()
    finally:
        os._exit(0)


def _heard(reader: int) -> _Said:
    """Return what a child says, or that it says nothing, or nothing in time."""
    end = time.monotonic() + SECONDS + GRACE
    data = b""
    while len(data) <= _MOST:
        left = max(0.0, end - time.monotonic())
        if not select.select([reader], [], [], left)[0]:
            return [(f"its check did not end within {SECONDS:g} s", _REPORT)]
        piece = os.read(reader, 1 << 16)
        if not piece:
            break
        data += piece
    try:
        return [(str(text), str(hint)) for text, hint in json.loads(data)]
    except (ValueError, TypeError):
        return [("its check ended without a word", _REPORT)]


def _end(child: int) -> None:
    """Let the child *child* close its plugin, for a moment; then end it and what it has started."""
    ended = os.pidfd_open(child)
    try:
        select.select([ended], [], [], GRACE)
    finally:
        os.close(ended)
        try:
            os.killpg(child, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
