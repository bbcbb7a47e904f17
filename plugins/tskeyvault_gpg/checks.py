"""What ``vault recipients check`` says of this host's gpg and of the members' keys."""

import os
import re
from collections.abc import Iterable, Iterator

from tskeyvault import names, process
from tskeyvault.values import Finding
from tskeyvault_gpg.agent import Agent
from tskeyvault_gpg.keys import Key

_SAFE = ((2, 2, 36), (2, 3, 7))
"""From these on, of 2.2 and later, a hostile message cannot write into the report (CVE-2022-34903)."""


def of_program() -> Iterator[Finding]:
    """Yield what is wrong with the programs."""
    found = process.run(["gpg", "--version"], directory="/", seconds=10)
    match = re.match(r"gpg \(GnuPG[^)]*\) (\d+)\.(\d+)\.(\d+)", found.output)
    version = tuple(map(int, match.groups())) if match else (0, 0, 0)
    if version < (_SAFE[0] if version < (2, 3) else _SAFE[1]):
        said = ".".join(map(str, version))
        yield Finding(f"gpg {said} is older than 2.2.36", "update it, unless it has a fix for CVE-2022-34903")


def of_agent(agent: Agent) -> Iterator[Finding]:
    """Yield what keeps a user who has secret keys from using them."""
    if agent.has_keys() and (missing := agent.missing()):
        yield Finding(f"no gpg-agent can be started: {missing.reason}", missing.hint)


def of_pinentry(table: str) -> Iterator[Finding]:
    """Yield what is wrong with the program that asks for passphrases; *table* is the user's, where to do without."""
    found = process.run(["gpgconf", "--list-components"], directory="/", seconds=10)
    for line in found.output.splitlines():
        name, _, path = line.split(":")[:3]
        if name == "pinentry" and not os.access(path, os.X_OK):
            hint = f"apt install pinentry-curses, or set passphrase_file in {table}"
            yield Finding(f"pinentry is missing: there is no '{names.shown(path)}'", hint)


def of_keys(found: Iterable[Key]) -> Iterator[Finding]:
    """Yield what is wrong with the members' keys beyond what keeps them from being used."""
    for key in found:
        if key.is_weak:
            whose = f"key {key.fingerprint} ({names.shown(key.name)})"
            yield Finding(f"{whose} is weak: {key.bits} bits", "have a new one made")
