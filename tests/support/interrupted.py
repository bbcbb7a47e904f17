"""A program that installs or uninstalls hooks here, killed before each of its changes in turn, and then finishes it.

    python -m support.interrupted install|uninstall

Of a long row of the same changes in one folder only the ends are tried. For each kill it prints one line: what the repository then is, once hooks were installed and uninstalled in full.
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
_SAME = 2
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


def changes(verb: str, steps: int | None = None) -> list[str]:
    """Run *verb* in a process that dies before change number *steps*, if given; return what it changed until then."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        for name in ("rename", "link", "symlink", "mkdir", "unlink", "rmdir", "posix_spawnp"):
            setattr(os, name, _dying(getattr(os, name), steps, writer))
        run(verb)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        done = file.read().splitlines()
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != (0 if steps is None else KILLED):
        sys.exit("it failed instead of being killed")
    return done


def _dying(function: Callable[..., Any], steps: int | None, writer: int) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> object:
        if function.__name__ != "posix_spawnp" or _CHANGES & set(arguments[1]):
            if len(_done) == steps:
                os._exit(KILLED)
            folder = "" if function.__name__ == "posix_spawnp" else Path(os.fsdecode(arguments[0])).parent
            _done.append(f"{function.__name__} {str(folder)!r}")
            os.write(writer, f"{_done[-1]}\n".encode())
        return function(*arguments, **options)

    return call


_done: list[str] = []


def ends(rows: list[str]) -> list[int]:
    """Return the places in *rows* that do not stand within many of the same."""
    return [
        place
        for place in range(len(rows))
        if not _SAME <= place <= len(rows) - _SAME or len(set(rows[place - _SAME : place + _SAME])) > 1
    ]


def main(verb: str) -> None:
    """Print the state before, and after each kill and what mends it."""
    sys.stdout.write(f"{state()}\n")
    sys.stdout.flush()
    if verb == "uninstall":
        run("install")
    for steps in [None, *ends(changes(verb))]:
        if verb == "uninstall":
            run("install")
        changes(verb, steps)
        if verb == "install":
            run("install")
        run("uninstall")
        sys.stdout.write(f"{state()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
