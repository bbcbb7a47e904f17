"""Whether the hooks that were installed are those that git will run, and whether they can do their work."""

import os

from tskeyvault_hooks import stubs
from tskeyvault_hooks.installer import keys, read, recorded
from tskeyvault_hooks.repository import Repository
from tskeyvault_hooks.stubs import ALL, OURS


def installed(where: Repository) -> "list[str]":
    """Return the events for which git will run our hooks."""
    return [event for event in ALL if not _missing(where, event)]


def problems(where: Repository) -> "list[str]":
    """Return what keeps the installed hooks from working as they should, in lines."""
    known = recorded(where)
    lines = []
    for event in ALL:
        missing = _missing(where, event)
        if not missing and not _is_current(where, event):
            lines.append(
                f"{event}: '{_path(where, event)}' runs another interpreter or scanner than this one"
            )
        elif missing and event in known:
            lines.append(f"{event}: {missing}")
    return lines


def _is_current(where: Repository, event: str) -> bool:
    text = read(_path(where, event))
    return all(f"={path}\n".encode(errors="surrogateescape") in text for path in stubs.program().values())


def _path(where: Repository, event: str) -> str:
    """Return the path of the file that git runs for *event*, or ``""`` where it looks for none."""
    folder = where.own if where.by_configuration else where.folder()
    return os.path.join(folder, event) if folder else ""


def _missing(where: Repository, event: str) -> str:
    """Return why git does not run our hook for *event*, or ``""``."""
    told = _not_told(where, event) if where.by_configuration else _elsewhere(where, event)
    return told or _not_ours(_path(where, event))


def _not_told(where: Repository, event: str) -> str:
    on, command = keys(event)
    if where.values(on) != [event] or where.values(command) != [stubs.command(where, event)]:
        return "git's configuration does not name it"
    off = [key for key in (f"hook.vault-{event}.enabled", f"hook.{event}.enabled") if where.is_off(key)]
    return f"{off[0]} has switched it off" if off else ""


def _elsewhere(where: Repository, event: str) -> str:
    path = _path(where, event)
    if not path:
        return "core.hooksPath is not set"
    other = os.path.join(where.default or where.own, event)
    if OURS not in read(path) and OURS in read(other):
        return f"git looks for hooks in '{os.path.dirname(path)}', so ours are not run"
    return ""


def _not_ours(path: str) -> str:
    if not os.path.lexists(path):
        return f"there is no '{path}'"
    text = read(path)
    if OURS not in text:
        return f"'{path}' is not ours: another program has put its own there"
    if stubs.SCANS not in text:
        return f"'{path}' only runs another hook"
    return "" if os.access(path, os.X_OK) else f"'{path}' is not executable"
