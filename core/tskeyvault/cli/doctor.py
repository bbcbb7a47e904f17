"""``vault doctor``: what is wrong on this host and in this clone, each with the command that repairs it."""

import os
from argparse import ArgumentParser, Namespace
from contextlib import ExitStack

from tskeyvault import doctor
from tskeyvault.doctor import Report
from tskeyvault.doctor.finding import Finding
from tskeyvault.doctor.host import Host
from tskeyvault.errors import NotFoundError, VaultError
from tskeyvault.vault import Vault, opened

from . import place, program, terminal

_WITHOUT_VAULT = "vault"
"""The check that tells why a vault that is there cannot be opened."""


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checks", nargs="*", metavar="CHECK", help="only these checks")
    parser.add_argument("--list", action="store_true", help="list the checks")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: Namespace) -> int:
    """Run the checks; the exit code is 1 when one of them finds something."""
    if options.list:
        if options.json:
            terminal.as_json({name: check.summary for name, check in doctor.CHECKS.items()})
        else:
            terminal.table([(name, check.summary) for name, check in doctor.CHECKS.items()])
        return 0
    with ExitStack() as stack:
        vault, error = _vault(stack, options)
        reason = error.message if error else ""
        host = Host("/", os.environ, getattr(options, "identity", ""), program.command(), vault, reason)
        report = doctor.run(host, options.checks)
    if error and not isinstance(error, NotFoundError) and _WITHOUT_VAULT in (options.checks or doctor.CHECKS):
        report.findings.append(Finding(_WITHOUT_VAULT, "", error.message, error.hint))
        report.not_checked.pop(_WITHOUT_VAULT, None)
    _tell(report, options)
    return 1 if report.findings else 0


def _vault(stack: ExitStack, options: Namespace) -> tuple[Vault | None, VaultError | None]:
    """Return the vault, or why there is none; a vault that was named has to be there."""
    try:
        return stack.enter_context(opened(place(options), os.environ, terminal.USER)), None
    except NotFoundError as error:
        if getattr(options, "vault", ""):
            raise
        return None, error
    except VaultError as error:
        return None, error


def _tell(report: Report, options: Namespace) -> None:
    if options.json:
        findings = [finding._asdict() for finding in report.findings]
        terminal.as_json({"findings": findings, "not_checked": report.not_checked})
        return
    for finding in report.findings:
        thing = f"{finding.thing}: " if finding.thing else ""
        repair = [f"  repair: {finding.repair}"] if finding.repair else []
        terminal.lines([f"{finding.check}: {thing}{finding.message}", *repair])
    for name, reason in report.not_checked.items():
        terminal.say(f"not checked: {name}: {reason}")
    found, left = len(report.findings), len(report.not_checked)
    counted = f"{found} finding{'' if found == 1 else 's'}" if found else "nothing found"
    terminal.say(
        f"{len(options.checks or doctor.CHECKS)} checks: {counted}" + (f", {left} not made" if left else "")
    )
