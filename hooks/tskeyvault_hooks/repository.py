"""Where a repository, or a user for all of theirs, has its hooks, and what git's configuration says of them."""

import os
import shlex

from tskeyvault_hooks import files, git
from tskeyvault_hooks.faults import ScanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_OLDEST = (2, 31)
_BY_CONFIGURATION = (2, 54)
HOOKS_PATH = "core.hooksPath"
_OF_WORKTREE = "config.worktree"


class Settings:
    """git's settings of one scope, ``--local`` or ``--global``, or of one file."""

    def __init__(self, *scope: str):
        """Take the options of ``git config`` that say which."""
        self._scope = scope
        self._known: dict[str, list[str]] | None = None

    def values(self, name: str) -> "list[str]":
        """Return all values of git's setting *name*."""
        if self._known is None:
            self._known = {}
            answer = _answer("config", "-z", *self._scope, "--get-regexp", "^(core|hook)[.]")
            for entry in answer.split("\0")[:-1]:
                key, _, value = entry.partition("\n")
                self._known.setdefault(key, []).append(value)
        section, _, variable = name.rpartition(".")
        return self._known.get(f"{section}.{variable.lower()}", [])

    def set(self, name: str, values: "Sequence[str]") -> None:
        """Set git's setting *name* to *values*, or remove it. Raises ScanError."""
        if self.values(name) == list(values):
            return
        self._known = None
        for number, value in enumerate(values):
            git.ask("config", *self._scope, "--add" if number else "--replace-all", name, value)
        if not values:
            git.ask("config", *self._scope, "--unset-all", name)


class Repository:
    """Where hooks go: in one repository, or for all of a user's."""

    def __init__(self, *, everywhere: bool):
        """Find it from the working directory; with *everywhere* it is the user's own configuration.

        Raises ScanError outside a repository, and for a git that is too old.
        """
        version = _version()
        if version < _OLDEST:
            raise ScanError(f"git {_dotted(version)} is too old", f"git {_dotted(_OLDEST)} or newer will do")
        self.everywhere = everywhere
        self.of_all = self.settings = Settings("--global" if everywhere else "--local")
        self.by_configuration = version >= _BY_CONFIGURATION
        self.bare = False
        if everywhere:
            given = os.environ.get("XDG_DATA_HOME", "")
            base = given if os.path.isabs(given) else os.path.expanduser("~/.local/share")
            self.common = ""
            self.state = os.path.join(base, "tskeyvault")
        else:
            self.bare, self.common = _found()
            self.state = os.path.join(self.common, "vault")
        self.default = os.path.join(self.common, "hooks") if self.common else ""
        """git's own folder of hooks, or ``""``."""
        self.own = os.path.join(self.state, "hooks")
        """Our folder of hooks."""
        self._of_worktree()

    def _of_worktree(self) -> None:
        """Take the configuration of this worktree where that is what leads git to its hooks."""
        if not self.everywhere and not self.by_configuration and self.led()[-1:] == ["worktree"]:
            folder = git.ask("rev-parse", "--path-format=absolute", "--git-dir")
            self.settings, self.own = _of_worktree(_text(folder))

    def worktrees(self) -> "list[tuple[Settings, str]]":
        """Return, for each work tree that may have any alone, its settings and our folder of its hooks."""
        if self.everywhere:
            return []
        linked = os.path.join(self.common, "worktrees")
        folders = [self.common, *(os.path.join(linked, name) for name in files.entries(linked))]
        return [
            _of_worktree(folder) for folder in folders if os.path.isfile(os.path.join(folder, _OF_WORKTREE))
        ]

    def user_file(self) -> str:
        """Return the file in which git keeps, or would make, the settings of this user: git-config(1), FILES."""
        home = os.path.expanduser("~/.gitconfig")
        base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        other = os.path.join(base, "git", "config")
        return os.environ.get("GIT_CONFIG_GLOBAL") or (
            other if os.path.exists(other) and not os.path.exists(home) else home
        )

    def led(self) -> "list[str]":
        """Return the scopes that set ``core.hooksPath``, the one that counts last, like ``local``."""
        scope = ("--global",) if self.everywhere else ()
        answer = _answer("config", "-z", "--show-scope", *scope, "--get-all", HOOKS_PATH)
        return answer.split("\0")[:-1:2]

    def hooks_path(self) -> str:
        """Return where ``core.hooksPath`` leads, or ``""``; a relative one is relative to each work tree."""
        scope = ("--global",) if self.everywhere else ()
        return _answer("config", "-z", "--type=path", *scope, "--get", HOOKS_PATH).removesuffix("\0")

    def switched_off(self) -> "list[str]":
        """Return the settings, of any scope, by which a hook of the configuration is not to run."""
        answer = _answer("config", "-z", "--type=bool", "--get-regexp", "^hook[.].*[.]enabled$")
        last = dict(entry.split("\n") for entry in answer.split("\0")[:-1])
        return [key for key, value in last.items() if value == "false"]

    def folder(self) -> str:
        """Return the folder that git looks for hooks in from here, or ``""``: for everywhere it may have none."""
        path = self.hooks_path()
        if self.everywhere or os.path.isabs(path):
            return path
        if not path:
            return self.default
        base = self.common if self.bare else _text(git.ask("rev-parse", "--show-toplevel"))
        return os.path.normpath(os.path.join(base, path))


def _of_worktree(folder: str) -> "tuple[Settings, str]":
    """Return the settings of the work tree alone whose git directory is *folder*, and our folder of its hooks."""
    return Settings("--file", os.path.join(folder, _OF_WORKTREE)), os.path.join(folder, "vault", "worktree")


def _found() -> "tuple[bool, str]":
    """Return whether the repository that we stand in is bare, and git's directory. Raises ScanError without one."""
    asked = git.Process(("rev-parse", "--path-format=absolute", "--is-bare-repository", "--git-common-dir"))
    bare, _, common = _text(git.read_some(asked.output, None)).partition("\n")
    status, said = asked.status()
    if not status:
        return bare == "true", common
    hint = "in a repository, or with --global for all of this user's"
    if "safe.bareRepository" in said:
        named = said.partition("'")[2].rpartition("' (")[0] or os.getcwd()
        hint = f"GIT_DIR={shlex.quote(named)} before the command says that you mean this one"
    elif "dubious ownership" in said:
        hint = "git config --global --add safe.directory DIRECTORY, where its owner is to be trusted"
    raise ScanError(git.reason(said), hint)


def _answer(*arguments: str) -> str:
    """Return what git answers, or ``""`` where it says no. Raises ScanError for a damaged configuration."""
    asked = git.Process(arguments)
    answer = git.read_some(asked.output, None).decode(errors="surrogateescape")
    status, said = asked.status()
    if status > 1:
        raise ScanError(f"git config failed: {said.strip().removeprefix('fatal: ')[:200]}")
    return "" if status else answer


def _text(answer: bytes) -> str:
    return answer.decode(errors="surrogateescape").removesuffix("\n")


def _version() -> "tuple[int, ...]":
    words = git.ask("version").decode(errors="replace").split()
    numbers = (words[2] if len(words) > 2 else "").split(".")[:2]  # noqa: PLR2004 - "git version 2.54.0"
    return tuple(int(number) for number in numbers if number.isdecimal())


def _dotted(version: "tuple[int, ...]") -> str:
    return ".".join(map(str, version))
