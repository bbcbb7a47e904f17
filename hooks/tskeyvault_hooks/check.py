"""Whether the hooks that were installed are those that git will run, and whether they can do their work."""

import os

from tskeyvault_hooks import stubs
from tskeyvault_hooks.files import read
from tskeyvault_hooks.installer import keys, left_by_move, recorded
from tskeyvault_hooks.repository import Repository
from tskeyvault_hooks.stubs import ALL, OURS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection


def installed(where: Repository) -> "list[str]":
    """Return the events for which git will run our hooks: those of this repository, or those for all."""
    return [event for event, missing in _missing(_that_count(where)).items() if not missing]


def problems(where: Repository) -> "list[str]":
    """Return what keeps the installed hooks from working as they should, in lines."""
    where = _that_count(where)
    known = recorded(where)
    lines = []
    for event, missing in _missing(where).items():
        if missing and event in known:
            lines.append(f"{event}: {missing}")
        elif not missing:
            lines += [f"{event}: {stale}" for path in _run(where, event) if (stale := _stale(where, path))]
    return lines


def _that_count(where: Repository) -> Repository:
    """Return *where*, or all of the user's where git's configuration names hooks there and none for this one."""
    told = where.everywhere or not where.by_configuration or recorded(where)
    return where if told else Repository(everywhere=True)


def _run(where: Repository, event: str) -> "list[str]":
    """Return the hooks of ours that git runs for *event*: those for all repositories run the one of this too."""
    paths = [os.path.join(folder, event) for folder in (_folder(where), where.default) if folder]
    return [path for path in dict.fromkeys(paths) if OURS in read(path)]


def _stale(where: Repository, path: str) -> str:
    text = read(path)
    if not all(f"={name}\n".encode(errors="surrogateescape") in text for name in stubs.program().values()):
        return f"'{path}' runs another interpreter or scanner than this one"
    return "" if stubs.knows(text, where) else f"'{path}' is of where this repository was, or of another one"


def _folder(where: Repository) -> str:
    return where.own if where.by_configuration else where.folder()


def _missing(where: Repository) -> "dict[str, str]":
    """Return for each event why git does not run our hook, or ``""``."""
    folder = _folder(where)
    if not folder:
        return dict.fromkeys(ALL, "core.hooksPath is not set")
    off = where.switched_off() if where.by_configuration else ()
    found = {}
    for event in ALL:
        told = _not_told(where, event, off) if where.by_configuration else _elsewhere(where, folder, event)
        found[event] = told or _not_ours(os.path.join(folder, event))
    return found


def _not_told(where: Repository, event: str, off: "Collection[str]") -> str:
    on, command = keys(event)
    values = where.settings.values
    if values(on) != [event] or values(command) != [stubs.command(where, event)]:
        return "git's configuration does not name it"
    switches = [key for key in (f"hook.vault-{event}.enabled", f"hook.{event}.enabled") if key in off]
    return f"{switches[0]} has switched it off" if switches else ""


def _elsewhere(where: Repository, folder: str, event: str) -> str:
    if was := left_by_move(where):
        return f"core.hooksPath leads to '{was}', where they were before the repository was moved"
    other = os.path.join(where.default or where.own, event)
    if OURS not in read(os.path.join(folder, event)) and OURS in read(other):
        return f"git looks for hooks in '{folder}', so ours are not run"
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
