"""Where a repository, or a user for all of theirs, has its hooks, and what git's configuration says of them."""

import os

from tskeyvault_hooks import git
from tskeyvault_hooks.faults import ScanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_OLDEST = (2, 31)
_BY_CONFIGURATION = (2, 54)
HOOKS_PATH = "core.hooksPath"


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
        self.scope = "--global" if everywhere else "--local"
        self.by_configuration = version >= _BY_CONFIGURATION
        self._settings: dict[str, list[str]] | None = None
        self.bare = False
        if everywhere:
            given = os.environ.get("XDG_DATA_HOME", "")
            base = given if os.path.isabs(given) else os.path.expanduser("~/.local/share")
            self.common = ""
            self.state = os.path.join(base, "tskeyvault")
        else:
            asked = ("--path-format=absolute", "--is-bare-repository", "--git-common-dir")
            bare, _, common = _text(git.ask("rev-parse", *asked)).partition("\n")
            self.bare = bare == "true"
            self.common = common
            self.state = os.path.join(common, "vault")
        self.default = os.path.join(self.common, "hooks") if self.common else ""
        """git's own folder of hooks, or ``""``."""
        self.own = os.path.join(self.state, "hooks")
        """Our folder of hooks."""
        self._of_worktree()

    def _of_worktree(self) -> None:
        """Take the configuration of this worktree where that is what leads git to its hooks."""
        if not self.everywhere and not self.by_configuration and self.led()[-1:] == ["worktree"]:
            self.scope = "--worktree"
            folder = git.ask("rev-parse", "--path-format=absolute", "--git-dir")
            self.own = os.path.join(_text(folder), "vault", "worktree")

    def led(self) -> "list[str]":
        """Return the scopes that set ``core.hooksPath``, the one that counts last, like ``local``."""
        scope = ("--global",) if self.everywhere else ()
        answer = _answer("config", "-z", "--show-scope", *scope, "--get-all", HOOKS_PATH)
        return answer.split("\0")[:-1:2]

    def hooks_path(self) -> str:
        """Return where ``core.hooksPath`` leads, or ``""``; a relative one is relative to each work tree."""
        scope = ("--global",) if self.everywhere else ()
        return _answer("config", "-z", "--type=path", *scope, "--get", HOOKS_PATH).removesuffix("\0")

    def values(self, name: str) -> "list[str]":
        """Return all values of git's setting *name* in our scope."""
        if self._settings is None:
            self._settings = {}
            answer = _answer("config", "-z", self.scope, "--get-regexp", "^(core|hook)[.]")
            for entry in answer.split("\0")[:-1]:
                key, _, value = entry.partition("\n")
                self._settings.setdefault(key, []).append(value)
        section, _, variable = name.rpartition(".")
        return self._settings.get(f"{section}.{variable.lower()}", [])

    def switched_off(self) -> "list[str]":
        """Return the settings, of any scope, by which a hook of the configuration is not to run."""
        answer = _answer("config", "-z", "--type=bool", "--get-regexp", "^hook[.].*[.]enabled$")
        last = dict(entry.split("\n") for entry in answer.split("\0")[:-1])
        return [key for key, value in last.items() if value == "false"]

    def set(self, name: str, values: "Sequence[str]") -> None:
        """Set git's setting *name* in our scope to *values*, or remove it. Raises ScanError."""
        if self.values(name) == list(values):
            return
        self._settings = None
        for number, value in enumerate(values):
            git.ask("config", self.scope, "--add" if number else "--replace-all", name, value)
        if not values:
            git.ask("config", self.scope, "--unset-all", name)

    def folder(self) -> str:
        """Return the folder that git looks for hooks in from here, or ``""``: for everywhere it may have none."""
        path = self.hooks_path()
        if self.everywhere or os.path.isabs(path):
            return path
        if not path:
            return self.default
        base = self.common if self.bare else _text(git.ask("rev-parse", "--show-toplevel"))
        return os.path.normpath(os.path.join(base, path))


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
