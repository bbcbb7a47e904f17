"""Puts the hooks into a repository, or into all of a user's, and takes them away again.

git from 2.54 on is told by its configuration, and no file of anybody is touched. Older git has one
place for each hook, and ours run the hook that they find there, with its arguments and standard
input. Where ``core.hooksPath`` leads git elsewhere it is led to ours instead, which run those there.
Every step leaves a state that the next :func:`install` or :func:`uninstall` understands.
"""

import os
import shutil
import stat

from tskeyvault_hooks import state, stubs
from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.hook import EVENTS, SERVER_EVENTS
from tskeyvault_hooks.repository import HOOKS_PATH, Repository
from tskeyvault_hooks.stubs import ALL, KEPT, OTHERS, OURS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_MOVED = ".legacy"
"""What pre-commit and prek add to the name of the hook that was there before theirs, and that they run."""
_NEW = ".vault-new"
_RECORD = "events"
"""In the state: the events that the hooks were installed for, one a line."""
_PREVIOUS = "previous"
"""In our folder of hooks: where core.hooksPath led, and the values that said so, each ended by a zero byte."""
_MADE = "made-hooks"
"""In the state: git's own folder of hooks was not there."""
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
    if plan:
        _refuse_two_of_one(where, plan, events)
    make(where)
    write(os.path.join(where.state, _RECORD), "".join(f"{event}\n" for event in events).encode(), 0o644)
    if plan:
        _put_files(where, plan, events)
        _take_configuration(where, ())
    else:
        _configure(where, events)
        _take_files(where, events)
    return events


def uninstall(where: Repository) -> "list[str]":
    """Take the hooks away and bring back what was there; return the events that they were there for.

    Raises ScanError.
    """
    found = recorded(where)
    try:
        _take_configuration(where, ())
        _take_files(where, ())
        if not where.everywhere:
            shutil.rmtree(where.state, ignore_errors=True)
        elif os.path.isdir(where.state):
            remove(os.path.join(where.state, _RECORD))
            _remove_folder(where.state)
    except OSError as error:
        raise failed(error) from None
    return found


def recorded(where: Repository) -> "list[str]":
    """Return the events that the hooks were installed for."""
    known = read(os.path.join(where.state, _RECORD)).decode(errors="replace").split("\n")
    return [event for event in ALL if event in known]


def led_to(where: Repository) -> str:
    """Return where ``core.hooksPath`` would lead without the hooks, or ``""`` where they leave it alone."""
    return _previous(where)[0]


def make(where: Repository) -> None:
    """Make the directory of state, with the salt of the allow-list's fingerprints.

    Others may read it: where several people share a repository, the hooks run for each of them.
    Raises ScanError.
    """
    try:
        os.makedirs(where.own, exist_ok=True)
    except OSError as error:
        raise failed(error) from None
    salt = os.path.join(where.state, state.SALT)
    if not where.everywhere and not os.path.exists(salt):
        write(salt, os.urandom(16).hex().encode(), 0o644)


def write(path: str, data: bytes, mode: int) -> None:
    """Write the file *path*: all of it, or it stays as it is.

    Raises ScanError.
    """
    if _has(path, data, mode):
        return
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(path + _NEW, flags, mode), "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + _NEW, path)
    except OSError as error:
        raise failed(error) from None


def _has(path: str, data: bytes, mode: int) -> bool:
    try:
        found = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(found) and stat.S_IMODE(found) == mode and read(path) == data


def remove(path: str) -> None:
    """Remove the file *path* where it is there. Raises ScanError."""
    try:
        if os.path.lexists(path):
            os.unlink(path)
    except OSError as error:
        raise failed(error) from None


def read(path: str) -> bytes:
    """Return what is in the file *path*, at most 64 MiB, or nothing when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(64 << 20)
    except OSError:
        return b""


def failed(error: OSError) -> ScanError:
    """Return *error* as one that says which file and why."""
    name = os.fspath(error.filename or "").removesuffix(_NEW)
    return ScanError(f"'{name}' cannot be changed: {os.strerror(error.errno or 0).lower()}")


def keys(event: str) -> "tuple[str, str]":
    """Return the names of git's settings that say for which event our hook is, and what runs it."""
    return f"{_PREFIX}{event}.event", f"{_PREFIX}{event}.command"


def _configure(where: Repository, events: "Collection[str]") -> None:
    for event in events:
        path = os.path.join(where.own, event)
        write(path, stubs.told(where, event), 0o755)
        on, command = keys(event)
        where.set(command, [stubs.command(where, event)])
        where.set(on, [event])
    _take_configuration(where, events)


def _take_configuration(where: Repository, but: "Collection[str]") -> None:
    for event in ALL:
        for key in keys(event) if event not in but else ():
            where.set(key, ())


def _plan(where: Repository) -> _Plan:
    """Return where the files go. Raises ScanError for a damaged configuration."""
    led_to, *before = _previous(where)
    now = where.values(HOOKS_PATH)
    if now == [where.own]:
        return _Plan(where.own, led_to, before)
    folder, scopes = where.folder(), where.led()
    if where.everywhere:
        return _Plan(where.own, folder, now)
    ours = OURS in read(os.path.join(folder, EVENTS[0]))
    if not scopes and led_to:
        return _Plan(where.default, led_to, before)
    if not scopes or os.path.realpath(folder) == os.path.realpath(where.default) or ours:
        return _Plan(where.default)  # those for all repositories run those of each
    # Without a setting git looks in its own folder, wherever the repository is moved to; so that is best.
    alone = set(scopes) == {"local"}
    return _Plan(where.default if alone else where.own, where.hooks_path(), now or before)


def _previous(where: Repository) -> "list[str]":
    """Return where ``core.hooksPath`` led, and its values; ``[""]`` when it was not changed."""
    kept = read(os.path.join(where.own, _PREVIOUS)).decode(errors="surrogateescape")
    return kept.split("\0")[:-1] or [""]


def _put_files(where: Repository, plan: _Plan, events: "Collection[str]") -> None:
    if plan.led_to:
        previous = "".join(f"{text}\0" for text in (plan.led_to, *plan.before))
        write(os.path.join(where.own, _PREVIOUS), previous.encode(errors="surrogateescape"), 0o644)
    if plan.folder == where.default and not os.path.isdir(where.default):
        write(os.path.join(where.state, _MADE), b"", 0o644)
        os.makedirs(where.default, exist_ok=True)
    instead = plan.led_to or plan.folder == where.own
    for event in (*ALL, *OTHERS) if instead else events:
        found = stubs.leading_to(plan.led_to) if instead else stubs.BESIDE
        text = stubs.text(where, event, found, plan.folder, scans=event in events)
        if plan.folder == where.default:
            _keep(os.path.join(plan.folder, event))
        write(os.path.join(plan.folder, event), text, 0o755)
    if plan.folder == where.own:
        where.set(HOOKS_PATH, [where.own])
    elif plan.led_to:
        where.set(HOOKS_PATH, ())


def _keep(path: str) -> None:
    """Keep another's hook at *path* under a second name, so that ours can take its first one in one step."""
    if not os.path.lexists(path) or OURS in read(path):
        return
    if OURS in read(path + _MOVED):
        # pre-commit was installed after us and runs ours; from now on it runs what ours ran.
        if os.path.lexists(path + KEPT):
            os.rename(path + KEPT, path + _MOVED)
        else:
            os.unlink(path + _MOVED)
    if not os.path.lexists(path + KEPT):
        try:
            os.link(path, path + KEPT, follow_symlinks=False)
        except OSError:
            os.rename(path, path + KEPT)


def _refuse_two_of_one(where: Repository, plan: _Plan, events: "Collection[str]") -> None:
    """Raise ScanError where a hook is in the way that is not ours, and so is the one that we keep."""
    for event in (*ALL, *OTHERS) if plan.led_to else events:
        path = os.path.join(where.default, event)
        if plan.folder != where.default or not os.path.lexists(path) or OURS in read(path):
            continue
        if os.path.lexists(path + KEPT) and OURS not in read(path + _MOVED) and not _is_same(path):
            raise ScanError(
                f"'{path}' and '{path}{KEPT}' are both there", "remove the one that is not wanted"
            )


def _is_same(path: str) -> bool:
    return os.path.samestat(os.lstat(path), os.lstat(path + KEPT))


def _take_files(where: Repository, but: "Collection[str]") -> None:
    """Lead git to where it went before, and bring back the hooks that were there."""
    _, *before = _previous(where)
    if where.values(HOOKS_PATH) in ([], [where.own]):
        where.set(HOOKS_PATH, before)
    for event in (*ALL, *OTHERS) if where.default else ():
        _take(os.path.join(where.default, event))
    if os.path.lexists(os.path.join(where.state, _MADE)):
        _remove_folder(where.default)
        remove(os.path.join(where.state, _MADE))
    for name in os.listdir(where.own) if os.path.isdir(where.own) else ():
        if name not in but:
            os.unlink(os.path.join(where.own, name))
    _remove_folder(where.own)


def _take(path: str) -> None:
    """Remove our hook at *path*, and bring back the one that was there."""
    remove(path + _NEW)
    ours = OURS in read(path)
    if os.path.lexists(path + KEPT) and (ours or not os.path.lexists(path) or _is_same(path)):
        os.rename(path + KEPT, path)
        remove(path + KEPT)  # of two names for one file, a rename leaves both
    elif ours:
        os.unlink(path)


def _remove_folder(path: str) -> None:
    """Remove the directory *path* when it is empty."""
    if os.path.isdir(path) and not os.listdir(path):
        os.rmdir(path)
