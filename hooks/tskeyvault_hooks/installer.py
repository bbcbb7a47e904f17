"""Puts the hooks into a repository, or into all of a user's, and takes them away again.

git from 2.54 on is told by its configuration, and no file of anybody is touched. Older git has one
place for each hook, and ours run the hook that they find there, with its arguments and standard
input. Where ``core.hooksPath`` leads git elsewhere it is led to ours instead, which run those there.
Every step leaves a state that the next :func:`install` or :func:`uninstall` understands.
"""

import os
import shutil

from tskeyvault_hooks import files, kept, state, stubs
from tskeyvault_hooks.hook import EVENTS, SERVER_EVENTS
from tskeyvault_hooks.repository import HOOKS_PATH, Repository, Settings
from tskeyvault_hooks.stubs import ALL, OTHERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_RECORD = "events"
"""In the state: the events that the hooks were installed for, one a line."""
_PREVIOUS = "previous"
"""In our folder of hooks: its path, where core.hooksPath led, and the values that said so, each ended by a zero byte."""
_MADE = "made"
"""In the state: what was not there before, from the state, each ended by a zero byte."""
_PREFIX = "hook.vault-"


class _Plan:
    """Where the files of hooks go for a git that is not told by its configuration."""

    def __init__(self, folder: str, led_to: str = "", before: "Sequence[str]" = ()):
        self.folder = folder
        self.led_to = led_to
        """Where ``core.hooksPath`` leads without us, or ``""``."""
        self.before = list(before)
        """Its values that we replace or remove."""


def install(where: Repository, *, server: bool) -> "list[str]":
    """Install the hooks, or bring them up to date; return the events that they are there for.

    Raises ScanError; where two hooks claim one place, before anything was changed.
    """
    wanted = {*recorded(where), *(SERVER_EVENTS if server else EVENTS)}
    events = [event for event in ALL if event in wanted]
    plan = None if where.by_configuration else _plan(where)
    if plan and plan.folder == where.default:
        kept.refuse_two_of_one(where.default, (*ALL, *OTHERS) if plan.led_to else events)
    elif not plan and where.default:
        kept.refuse_what_is_left(where.default)
    make(where)
    try:
        files.write(
            os.path.join(where.state, _RECORD), "".join(f"{event}\n" for event in events).encode(), 0o644
        )
        if plan:
            _put_files(where, plan, events)
            _take_configuration(where, ())
        else:
            _configure(where, events)
            _take_files(where, events)
    except OSError as error:
        raise files.failed(error) from None
    return events


def uninstall(where: Repository) -> "list[str]":
    """Take the hooks away and bring back what was there; return the events that they were there for.

    Raises ScanError; where what was there cannot come back, before anything was changed.
    """
    found = recorded(where)
    if where.default:
        kept.refuse_what_is_left(where.default)
    try:
        _take_configuration(where, ())
        _take_files(where, ())
        if where.everywhere:
            _forget_repositories(where)
            files.remove(os.path.join(where.state, _RECORD))
            _unmake(where)
        elif os.path.isdir(where.state) and not os.path.islink(where.state):
            shutil.rmtree(where.state)
    except OSError as error:
        raise files.failed(error) from None
    return found


def recorded(where: Repository) -> "list[str]":
    """Return the events that the hooks were installed for."""
    known = files.read(os.path.join(where.state, _RECORD)).decode(errors="replace").split("\n")
    return [event for event in ALL if event in known]


def led_to(where: Repository) -> str:
    """Return where ``core.hooksPath`` would lead without the hooks, or ``""`` where they leave it alone."""
    return _previous(where.own)[1]


def left_by_move(where: Repository) -> str:
    """Return where ``core.hooksPath`` leads because our hooks were there, before the repository was moved, or ``""``."""
    was = _previous(where.own)[0]
    return was if was != where.own and where.settings.values(HOOKS_PATH) == [was] else ""


def make(where: Repository) -> None:
    """Make the directory of state, with the salt of the allow-list's fingerprints.

    Others may read it: where several people share a repository, the hooks run for each of them.
    Raises ScanError.
    """
    missing = _missing(where)
    above = where.common
    if where.everywhere:
        above = os.path.dirname(where.state)
        try:
            os.makedirs(above, exist_ok=True)
        except OSError as error:
            raise files.failed(error) from None
    for path in (where.state, os.path.dirname(where.own), where.own):
        files.make_folder(path, above)
    if missing:
        _remember_made(where, missing)
    salt = os.path.join(where.state, state.SALT)
    if not where.everywhere:
        files.make_folder(os.path.join(where.state, state.SCANNED), above)
        if not _is_salt(files.read(salt)):
            files.write(salt, os.urandom(16).hex().encode(), 0o644)


def _is_salt(data: bytes) -> bool:
    try:
        return bool(bytes.fromhex(data.decode()))
    except ValueError:
        return False


def _missing(where: Repository) -> "list[str]":
    """Return what :func:`make` and git will make outside of the state, the outermost first."""
    if not where.everywhere:
        return []
    folders: list[str] = []
    path = os.path.dirname(where.state)
    while not os.path.lexists(path):
        folders.insert(0, path)
        path = os.path.dirname(path)
    config = where.user_file()
    return [*folders, *([] if os.path.lexists(config) else [config])]


def _remember_made(where: Repository, paths: "Sequence[str]") -> None:
    """Remember that *paths* were not there, relative to the state, which may be moved with them."""
    known = files.read(os.path.join(where.state, _MADE))
    names = (os.path.relpath(path, where.state).encode(errors="surrogateescape") + b"\0" for path in paths)
    more = b"".join(name for name in names if name not in known)
    files.write(os.path.join(where.state, _MADE), known + more, 0o644)


def _unmake(where: Repository) -> None:
    """Remove what was not there before and is empty now."""
    path = os.path.join(where.state, _MADE)
    names = files.read(path).decode(errors="surrogateescape").split("\0")[:-1]
    made = [os.path.normpath(os.path.join(where.state, name)) for name in names]
    if where.everywhere:
        files.remove(path)
        files.remove_folder(where.state)
    for it in reversed(made):
        if os.path.isfile(it) and not os.path.getsize(it):
            os.unlink(it)
        files.remove_folder(it)
    files.remove(path)


def _forget_repositories(where: Repository) -> None:
    """Remove what the hooks for all repositories made in those that have none of their own."""
    path = os.path.join(where.state, stubs.REPOSITORIES)
    for folder in set(files.read(path).decode(errors="surrogateescape").split("\0")[:-1]):
        own = os.path.join(folder, "vault")
        names = files.entries(own)
        if not os.path.islink(own) and set(names) <= {state.SCANNED, state.SALT}:
            shutil.rmtree(own, ignore_errors=True)  # another user's, perhaps, or on a disk that is away
    files.remove(path)


def keys(event: str) -> "tuple[str, str]":
    """Return the names of git's settings that say for which event our hook is, and what runs it."""
    return f"{_PREFIX}{event}.event", f"{_PREFIX}{event}.command"


def _configure(where: Repository, events: "Collection[str]") -> None:
    for event in events:
        path = os.path.join(where.own, event)
        files.write(path, stubs.told(where, event), 0o755)
        on, command = keys(event)
        where.settings.set(command, [stubs.command(where, event)])
        where.settings.set(on, [event])
    _take_configuration(where, events)


def _take_configuration(where: Repository, but: "Collection[str]") -> None:
    for event in ALL:
        for key in keys(event) if event not in but else ():
            where.settings.set(key, ())


def _plan(where: Repository) -> _Plan:
    """Return where the files go. Raises ScanError for a damaged configuration."""
    was, led_to, *before = _previous(where.own)
    now = where.settings.values(HOOKS_PATH)
    if now and now in ([where.own], [was]):
        return _Plan(where.own, led_to, before)
    folder, scopes = where.folder(), where.led()
    if where.everywhere:
        return _Plan(where.own, folder, now)
    ours = stubs.is_ours(os.path.join(folder, EVENTS[0]))
    if not scopes and led_to:
        return _Plan(where.default, led_to, before)
    if not scopes or os.path.realpath(folder) == os.path.realpath(where.default) or ours:
        return _Plan(where.default)  # those for all repositories run those of each
    # Without a setting git looks in its own folder, wherever the repository is moved to; so that is best.
    alone = set(scopes) == {"local"}
    return _Plan(where.default if alone else where.own, where.hooks_path(), now or before)


def _previous(own: str) -> "list[str]":
    """Return what our folder *own* was called, where ``core.hooksPath`` led, and its values, if it was changed."""
    text = files.read(os.path.join(own, _PREVIOUS)).decode(errors="surrogateescape")
    return text.split("\0")[:-1] or ["", ""]


def _put_files(where: Repository, plan: _Plan, events: "Collection[str]") -> None:
    if plan.led_to:
        previous = "".join(f"{text}\0" for text in (where.own, plan.led_to, *plan.before))
        files.write(os.path.join(where.own, _PREVIOUS), previous.encode(errors="surrogateescape"), 0o644)
    if plan.folder == where.default:
        _put_into_gits_own(where, plan, events)
    else:
        _fill(where, plan, events, plan.folder)
    if plan.folder == where.own:
        where.settings.set(HOOKS_PATH, [where.own])
    elif plan.led_to:
        where.settings.set(HOOKS_PATH, ())


def _put_into_gits_own(where: Repository, plan: _Plan, events: "Collection[str]") -> None:
    if kept.is_linked(where.default):
        if os.path.isdir(where.default) and not os.path.islink(where.default):
            _fill(where, plan, events, where.default)
        else:
            kept.replace_link(where.default, lambda new: _fill(where, plan, events, new))
        return
    if not os.path.lexists(where.default):
        _remember_made(where, [where.default])
        files.make_folder(where.default, where.common)
    kept.keep(where.default, _all(where, plan, events))
    _fill(where, plan, events, where.default)


def _all(where: Repository, plan: _Plan, events: "Collection[str]") -> "list[str]":
    """Return the events for which there has to be a hook of ours, if only to run another."""
    if plan.led_to or plan.folder == where.own or kept.is_linked(where.default):
        return [*ALL, *OTHERS]
    return [*events, *kept.also_moved(where.default, events)]


def _fill(where: Repository, plan: _Plan, events: "Collection[str]", folder: str) -> None:
    instead = plan.led_to or plan.folder == where.own
    found = stubs.leading_to(plan.led_to) if instead else stubs.BESIDE
    for event in _all(where, plan, events):
        text = stubs.text(where, event, found, plan.folder, scans=event in events)
        files.write(os.path.join(folder, event), text, 0o755)


def _take_files(where: Repository, but: "Collection[str]") -> None:
    """Lead git to where it went before, in all work trees, and bring back the hooks that were there."""
    _lead_back(where.of_all, os.path.join(where.state, "hooks"), but)
    for settings, own in where.worktrees():
        _lead_back(settings, own, ())
        files.remove_folder(os.path.dirname(own))
    if where.default:
        kept.bring_back(where.default)
        _unmake(where)


def _lead_back(settings: Settings, own: str, but: "Collection[str]") -> None:
    """Lead git to where *settings* led it without us, and empty our folder *own* of all hooks *but* some."""
    was, _, *before = _previous(own)
    if settings.values(HOOKS_PATH) in ([], [own], [was]):
        settings.set(HOOKS_PATH, before)
    for name in files.entries(own) if not os.path.islink(own) else ():
        if name not in but:
            os.unlink(os.path.join(own, name))
    files.remove_folder(own)
