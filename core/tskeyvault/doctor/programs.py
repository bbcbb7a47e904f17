"""Programs that are not ours, and too old to be trusted."""

import re
from collections.abc import Iterator

from tskeyvault import process
from tskeyvault.errors import PluginError

from .finding import Finding, NotCheckedError
from .host import Host

_SAFE = (1, 2, 1)
"""From here on, a recipient's name cannot make age run any program (CVE-2024-56327). We refuse such names ourselves."""


def age(_host: Host) -> Iterator[Finding]:
    """Yield that the age program, which nobody has to have, is too old."""
    path = process.find("age")
    if not path:
        return
    try:
        said = process.run([path, "--version"], directory="/", seconds=10).output
    except PluginError as error:
        raise NotCheckedError(error.message) from None
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", said)
    if not match:
        raise NotCheckedError("age does not say which version it is")
    version = tuple(map(int, match.groups()))
    if version < _SAFE:
        message = f"age {'.'.join(map(str, version))} is older than 1.2.1: a hostile recipient can make it run a program"
        hint = "update it, unless it has the fix for CVE-2024-56327; or remove it: vault needs no age program"
        yield Finding("age-program", path, message, hint)
