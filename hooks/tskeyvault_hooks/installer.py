"""Puts the hooks into a repository, or into all of a user's, and takes them away again.

git from 2.54 on is told by its configuration, and no file of anybody is touched. Older git has one
place for each hook: a hook that is there is kept beside ours and run by it, with its arguments and
standard input; where ``core.hooksPath`` leads elsewhere, it is led to ours, which run those there.
"""

import os
import shlex
import sys

from tskeyvault_hooks import git, state
from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.hook import EVENTS, SERVER_EVENTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_BY_CONFIGURATION = (2, 54)
_KEPT = ".pre-vault"
"""Suffix of the hook that was there before ours."""
_OURS = b'# Lets no key pass. Made by "vault hooks install"'
_PREVIOUS = "previous"
"""In the state: core.hooksPath as it was set in this repository, and as it was for it, in two lines."""
_FOLDER = os.path.dirname(os.path.abspath(__file__))
_OTHERS = (
    "applypatch-msg", "post-applypatch", "post-commit", "pre-rebase", "post-checkout", "post-merge", "pre-auto-gc",
    "post-rewrite", "sendemail-validate", "fsmonitor-watchman", "post-index-change", "reference-transaction",
    "push-to-checkout", "update", "post-receive", "post-update", "proc-receive",
)  # fmt: skip
"""All other hooks of githooks(5): where ours stand in the place of a folder, they only pass on."""
_PREFIX = "hook.vault-"


class Repository:
    """Where a repository, or a user for all of theirs, has its hooks."""

    def __init__(self, *, everywhere: bool):
        """Find it from the working directory; with *everywhere* it is the user's own configuration.

        Raises ScanError outside a repository.
        """
        self.everywhere = everywhere
        self.scope = "--global" if everywhere else "--local"
        self.by_configuration = _version() >= _BY_CONFIGURATION
        if everywhere:
            base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
            self.state = os.path.join(base, "tskeyvault")
            self.bare = False
        else:
            answer = git.ask(
                "rev-parse", "--path-format=absolute", "--git-common-dir", "--is-bare-repository"
            )
            common, bare = answer.decode(errors="surrogateescape").splitlines()
            self.state = os.path.join(common, "vault")
            self.default = os.path.join(common, "hooks")
            self.bare = bare == "true"
        self.own = os.path.join(self.state, "hooks")

    def setting(self, name: str) -> str:
        """Return the value of git's setting *name* in our scope, or ``""``."""
        asked = git.Process(["config", self.scope, "--get", name])
        value = git.read_some(asked.output, None).decode(errors="surrogateescape").removesuffix("\n")
        return value if asked.status()[0] == 0 else ""

    def set(self, name: str, value: str) -> None:
        """Set git's setting *name* in our scope, or with ``""`` remove it."""
        if value:
            git.ask("config", self.scope, "--replace-all", name, value)
        elif self.setting(name):
            git.ask("config", self.scope, "--unset-all", name)


def install(where: Repository, *, server: bool) -> "list[str]":
    """Install the hooks, or bring them up to date; return the names of the events.

    Raises ScanError, before anything was changed, where it cannot be done.
    """
    events: Sequence[str] = SERVER_EVENTS if server else EVENTS
    before = None if where.by_configuration else _led_to(where)
    os.makedirs(where.own, mode=0o700, exist_ok=True)
    if not where.everywhere and not os.path.exists(os.path.join(where.state, state.SALT)):
        write(os.path.join(where.state, state.SALT), os.urandom(16).hex().encode(), 0o600)
    if where.by_configuration:
        for event in events:
            write(os.path.join(where.own, event), _stub(where, "''"), 0o755)
            where.set(f"{_PREFIX}{event}.command", shlex.quote(os.path.join(where.own, event)))
            where.set(f"{_PREFIX}{event}.event", event)
    elif before is not None:
        events = (*EVENTS, *SERVER_EVENTS)
        for event in (*events, *_OTHERS):
            write(os.path.join(where.own, event), _stub(where, before), 0o755)
        where.set("core.hooksPath", where.own)
    else:
        os.makedirs(where.default, exist_ok=True)
        for event in events:
            _put(where, event)
    return list(events)


def uninstall(where: Repository) -> "list[str]":
    """Take the hooks away and bring back what was there; return the names of the events they were for."""
    found = installed(where)
    for event in (*EVENTS, *SERVER_EVENTS):
        for key in ("command", "event"):
            where.set(f"{_PREFIX}{event}.{key}", "")
        if not where.everywhere:
            _take(os.path.join(where.default, event))
    if where.setting("core.hooksPath") == where.own:
        where.set("core.hooksPath", _previous(where))
    for folder in (where.own, where.state):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            os.unlink(os.path.join(folder, name))
        if os.path.isdir(folder):
            os.rmdir(folder)
    return found


def installed(where: Repository) -> "list[str]":
    """Return the events that our hooks stand for, and that git will run."""
    return [event for event in (*EVENTS, *SERVER_EVENTS) if _path_of(where, event)]


def problems(where: Repository) -> "list[str]":
    """Return what keeps the installed hooks from working as they should, in lines."""
    found = []
    for event in installed(where):
        path = _path_of(where, event)
        text = _read(path)
        if not os.access(path, os.X_OK) or _OURS not in text:
            found.append(f"{event}: '{path}' is not what was installed")
        elif _program() not in text:
            found.append(f"{event}: '{path}' runs another interpreter or scanner than this one")
    return found


def write(path: str, data: bytes, mode: int) -> None:
    """Write the file *path*: all of it or the old one.

    Raises ScanError.
    """
    temporary = f"{path}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with open(fd, "wb") as file:
            file.write(data)
            os.fchmod(fd, mode)
            file.flush()
            os.fsync(fd)
        os.rename(temporary, path)
    except OSError as error:
        raise ScanError(f"'{path}' cannot be written: {os.strerror(error.errno or 0).lower()}") from None


def _path_of(where: Repository, event: str) -> str:
    """Return the path of our hook for *event*, when git runs it, or ``""``."""
    own = os.path.join(where.own, event)
    if where.setting(f"{_PREFIX}{event}.event") == event:
        return own if where.by_configuration else ""
    if where.setting("core.hooksPath") == where.own:
        return own
    default = "" if where.everywhere else os.path.join(where.default, event)
    return default if default and _OURS in _read(default) else ""


def _led_to(where: Repository) -> "str | None":
    """Return, for the shell, the hook that ``core.hooksPath`` leads to; None where git looks in its own folder.

    What was set before is kept for :func:`uninstall`. Raises ScanError where a whole user's is another's.
    """
    if where.everywhere:
        if where.setting("core.hooksPath") not in {"", where.own}:
            raise ScanError("core.hooksPath is set in the global configuration", "git 2.54 does without it")
        return '"${state%/*}/hooks/$event"'
    ours = where.setting("core.hooksPath")
    kept = os.path.join(where.state, _PREVIOUS)
    if ours == where.own:
        effective = _read(kept).decode(errors="surrogateescape").split("\n")[1]
    else:
        asked = git.Process(["config", "--type=path", "--get", "core.hooksPath"])
        effective = git.read_some(asked.output, None).decode(errors="surrogateescape").removesuffix("\n")
        if asked.status()[0] or _OURS in _read(os.path.join(effective, EVENTS[0])):
            return None  # those for all repositories run those of each
        os.makedirs(where.state, mode=0o700, exist_ok=True)
        write(kept, f"{ours}\n{effective}\n".encode(errors="surrogateescape"), 0o600)
    return f'{shlex.quote(effective)}/"$event"'


def _previous(where: Repository) -> str:
    if where.everywhere:
        return ""
    return _read(os.path.join(where.state, _PREVIOUS)).decode(errors="surrogateescape").split("\n")[0]


def _put(where: Repository, event: str) -> None:
    """Write our hook into git's own folder, and keep another that is there."""
    path = os.path.join(where.default, event)
    if os.path.lexists(path) and _OURS not in _read(path):
        if os.path.lexists(path + _KEPT):
            raise ScanError(
                f"'{path}' and '{path}{_KEPT}' are both there", "remove the one that is not wanted"
            )
        os.rename(path, path + _KEPT)
    write(path, _stub(where, f'"$0{_KEPT}"', '"$here/../vault"'), 0o755)


def _take(path: str) -> None:
    """Remove our hook at *path*, and bring back the one that was there."""
    if _OURS in _read(path):
        os.unlink(path)
    if os.path.lexists(path + _KEPT) and not os.path.lexists(path):
        os.rename(path + _KEPT, path)


def _stub(where: Repository, before: str, directory: str = '"${here%/*}"') -> bytes:
    """Return a hook that runs *before*, then scans; both are words of the shell, like the *directory* of state."""
    if where.everywhere:
        directory = '"$(git rev-parse --path-format=absolute --git-common-dir)/vault"'
    text = _read(os.path.join(_FOLDER, "stub.sh")).replace(b"@PROGRAM@\n", _program())
    return text.replace(b"@STATE@", directory.encode()).replace(
        b"@BEFORE@", before.encode(errors="surrogateescape")
    )


def _program() -> bytes:
    scanner = shlex.quote(os.path.join(_FOLDER, "run.py"))
    return f"python={shlex.quote(os.path.realpath(sys.executable))}\nscanner={scanner}\n".encode(
        errors="surrogateescape"
    )


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""


def _version() -> "tuple[int, ...]":
    words = git.ask("version").decode(errors="replace").split()
    numbers = (words[2] if len(words) > 2 else "").split(".")[:2]  # noqa: PLR2004 - "git version 2.54.0"
    return tuple(int(number) for number in numbers if number.isdecimal())
