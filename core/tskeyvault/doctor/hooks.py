"""The git hooks: whether they are installed, and whether git runs them."""

import contextlib
import shlex
from collections.abc import Iterator

from tskeyvault_hooks import check
from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.repository import Repository

from .finding import Finding, NotCheckedError, shown
from .host import Host


def missing(host: Host) -> Iterator[Finding]:
    """Yield that the hooks are not installed in the vault's repository, or what keeps them from working."""
    directory = host.vault.directory
    if not host.work_tree:
        raise NotCheckedError("the vault is in no git work tree")
    with contextlib.chdir(directory):
        try:
            where = Repository(everywhere=False)
            problems, events = check.problems(where), check.installed(where)
        except ScanError as error:
            raise NotCheckedError(error.message) from None
    repair = f"(cd {shlex.quote(directory)} && {host.program} hooks install)"
    for problem in problems or ([] if events else ["no hooks are installed: a commit may have a key in it"]):
        yield Finding("hooks", shown(directory), problem, repair)
