"""A program that installs or uninstalls hooks here, killed before each of its changes in turn, and then finishes it.

    python -m support.interrupted install|uninstall

For each kill it prints one line: what the repository then is, once hooks were installed and uninstalled in full.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import witness
from tskeyvault_hooks import installer
from tskeyvault_hooks.repository import Repository

KILLED = 9
_CHANGES = {"--replace-all", "--unset-all", "--add"}


def state() -> str:
    """Return a digest of all files here and all settings, whatever the order of these is."""
    found = witness.everything(Path.cwd())
    found = {path: it for path, it in found.items() if not path.endswith("/.git/config")}
    settings = sorted(subprocess.check_output(["git", "config", "--list", "--show-scope"]).splitlines())
    return hashlib.sha256(repr((sorted(found.items()), settings)).encode()).hexdigest()


def run(verb: str) -> None:
    """Install or uninstall here."""
    where = Repository(everywhere=False)
    if verb == "install":
        installer.install(where, server=False)
    else:
        installer.uninstall(where)


def is_killed(verb: str, steps: int) -> bool:
    """Run *verb* in a process that dies after *steps* changes; tell whether there were more."""
    child = os.fork()
    if not child:
        for name in ("rename", "link", "symlink", "mkdir", "unlink", "rmdir", "posix_spawnp"):
            setattr(os, name, _dying(getattr(os, name), steps))
        run(verb)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in {0, KILLED}:
        sys.exit(f"it failed with {code} instead of being killed")
    return code == KILLED


_done: list[str] = []


def _dying(function: Callable[..., Any], steps: int) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> object:
        if function.__name__ != "posix_spawnp" or _CHANGES & set(arguments[1]):
            if len(_done) == steps:
                os._exit(KILLED)
            _done.append(function.__name__)
        return function(*arguments, **options)

    return call


def main(verb: str) -> None:
    """Print the state before, and after each kill and what mends it."""
    sys.stdout.write(f"{state()}\n")
    sys.stdout.flush()
    more, steps = True, 0
    while more:
        if verb == "uninstall":
            run("install")
        more = is_killed(verb, steps)
        if verb == "install":
            run("install")
        run("uninstall")
        sys.stdout.write(f"{state()}\n")
        sys.stdout.flush()
        steps += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
