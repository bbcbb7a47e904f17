"""Whether the hooks that were installed are those that git will run, and whether they can do their work."""

import os

from tskeyvault_hooks import installer, stubs
from tskeyvault_hooks.installer import keys, read, recorded
from tskeyvault_hooks.repository import Repository
from tskeyvault_hooks.stubs import ALL, OURS

_ELSEWHERE = "git looks for hooks in '{}', so ours are not run"


def installed(where: Repository) -> "list[str]":
    """Return the events for which git will run our hooks."""
    return [event for event in ALL if not _missing(where, event)]


def problems(where: Repository) -> "list[str]":
    """Return what keeps the installed hooks from working as they should, in lines."""
    found = []
    known = recorded(where)
    for event in ALL:
        missing = _missing(where, event)
        if missing and event in known:
            found.append(f"{event}: {missing}")
        elif not missing:
            path = _path(where, event)
            if not all(f"={text}\n".encode(errors="surrogateescape") in read(path) for text in _program()):
                found.append(f"{event}: '{path}' runs another interpreter or scanner than this one")
    return found


def _program() -> "list[str]":
    return list(stubs.program().values())


def _path(where: Repository, event: str) -> str:
    return os.path.join(where.own if where.by_configuration else where.folder(), event)


def _missing(where: Repository, event: str) -> str:
    """Return why git does not run our hook for *event*, or ``""``."""
    if where.by_configuration:
        on, command = keys(event)
        if where.values(on) != [event] or where.values(command) != [stubs.command(where, event)]:
            return "git's configuration does not name it"
        for key in (f"hook.vault-{event}.enabled", f"hook.{event}.enabled"):
            if where.is_off(key):
                return f"{key} has switched it off"
    folder = where.own if where.by_configuration else where.folder()
    if not folder:
        return "core.hooksPath is not set"
    path = os.path.join(folder, event)
    if OURS in read(path):
        if stubs.SCANS not in read(path):
            return "it only runs the hook that was there"
        return "" if os.access(path, os.X_OK) else f"'{path}' is not executable"
    if not where.by_configuration and OURS in read(os.path.join(where.default or where.own, event)):
        return _ELSEWHERE.format(folder)
    if os.path.lexists(path):
        return f"'{path}' is not ours: another program has put its own there"
    return f"there is no '{path}'"
