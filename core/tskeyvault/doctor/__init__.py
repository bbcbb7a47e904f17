"""The checks of ``vault doctor``: what is wrong on this host and in this clone, and the command that repairs it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tskeyvault import limits
from tskeyvault import names as naming
from tskeyvault.errors import DeliveryError, UsageError, VaultError

from . import (
    credentials,
    hooks,
    permissions,
    plugins,
    programs,
    runtime,
    secrets,
    swap,
    tailscale,
    tree,
    units,
)
from .finding import Finding, NotCheckedError, shown
from .host import Host

SECONDS = 60.0
"""For one check."""


class Check(NamedTuple):
    """One check, and what it says in half a line."""

    find: Callable[[Host], Iterator[Finding]]
    summary: str


CHECKS: Mapping[str, Check] = {
    "key-files": Check(permissions.of_key_files, "modes and owners of what the old methods left"),
    "identities": Check(permissions.of_identities, "who else can read or change the identities"),
    "run-leftovers": Check(runtime.leftovers, "keys under /run that belong to nothing that runs"),
    "swap": Check(swap.unencrypted, "swap that a tmpfs can be written to in plain text"),
    "unit-files": Check(units.with_plain_files, "units that still take a key from a plain file, or hold one"),
    "unit-clean-up": Check(units.without_clean_up, "units that leave their keys under /run when they stop"),
    "unit-directory": Check(units.with_a_shared_directory, "units whose keys go when another unit stops"),
    "unit-environment": Check(
        units.with_variables_of_the_user, "units whose user can choose what root's vault loads"
    ),
    "credential-server": Check(
        credentials.of_server, "whether units that ask the vault's server for credentials get to it"
    ),
    "credential-units": Check(credentials.of_units, "credentials that units ask for and would be refused"),
    "tailscale": Check(tailscale.failures, "why Tailscale did not accept a key, by the journal"),
    "age-program": Check(programs.age, "an age program that can be made to run another one"),
    "vault": Check(secrets.readable, "whether the vault and its configuration can be read"),
    "recipients": Check(secrets.unapproved, "recipients that changed and were not approved here"),
    "readers": Check(secrets.of_others, "secrets that others can read than should, or that are damaged"),
    "expiry": Check(secrets.expiring, "secrets that have expired or do so within two weeks"),
    "plugins": Check(plugins.own_checks, "what the vault's plugins say of their programs and keys"),
    "work-tree": Check(tree.plain_keys, "plain keys in the files beside the vault, committed or not"),
    "hooks": Check(hooks.missing, "whether git runs the hooks that let no key pass"),
}
"""All checks, by their names, which stay as they are."""


class Report(NamedTuple):
    """What came of the checks."""

    findings: list[Finding]
    not_checked: dict[str, str]
    """Why, by check."""


def run(host: Host, names: Sequence[str]) -> Report:
    """Run the checks *names*, or all; none keeps another from being run.

    Raises UsageError for a name that is none.
    """
    if unknown := next((name for name in names if name not in CHECKS), None):
        from difflib import get_close_matches

        near = get_close_matches(unknown, CHECKS, n=1)
        raise UsageError("no such check", f"did you mean '{near[0]}'" if near else "vault doctor --list")
    report = Report([], {})
    for name in names or CHECKS:
        try:
            with limits.deadline(SECONDS, name):
                for finding in CHECKS[name].find(host):
                    report.findings.append(_masked(finding))
        except (NotCheckedError, DeliveryError) as error:
            report.not_checked[name] = error.message
        except VaultError as error:
            report.findings.append(Finding(name, "", error.message, error.hint))
        except OSError as error:
            report.not_checked[name] = f"the system said: {error.strerror or 'nothing'}".lower()
    return report


def _masked(finding: Finding) -> Finding:
    """Return *finding* with no key in it, where people have put one into the name of a unit or a service."""
    if not any(map(naming.holds_key, finding)):
        return finding
    thing, message = shown(finding.thing), shown(finding.message)
    return Finding(
        finding.check, thing, message, f"rename it, for its name holds a key: {shown(finding.repair)}"
    )
