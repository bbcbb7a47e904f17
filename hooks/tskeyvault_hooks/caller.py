"""What git was asked to do: the command lines of the processes of git that run this one, which tell it no other way."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OF_GIT = (
    "-C", "-c", "--git-dir", "--work-tree", "--namespace", "--super-prefix", "--config-env", "--attr-source",
)  # fmt: skip
"""Options before the command whose value is the next argument."""
_LETTERS = {
    "C": "reuse-message", "F": "file", "a": "all", "c": "reedit-message", "e": "edit", "i": "include", "m": "message",
    "n": "no-verify", "o": "only", "p": "patch", "q": "quiet", "s": "signoff", "t": "template", "v": "verbose",
}  # fmt: skip
_VALUED = (
    "author", "cleanup", "date", "file", "fixup", "message", "reedit-message", "reuse-message", "squash", "template",
    "trailer",
)  # fmt: skip
"""Options of ``git commit`` that have a value."""
_PLAIN = (
    "all", "allow-empty", "allow-empty-message", "amend", "edit", "gpg-sign", "include", "interactive", "only", "patch",
    "quiet", "reset-author", "signoff", "status", "verbose", "verify",
)  # fmt: skip
"""Those that have none, or may begin with ``no-``."""
PATHS = "--"
"""What stands for all paths among the options."""


def commands() -> "list[tuple[str, list[str]]]":
    """Return the command, like ``commit``, and its arguments of each git that runs this process, the nearest first."""
    found = []
    process = "self"
    while (process := _parent(process)) != "0":
        name, *arguments = _words(process)
        if name.rpartition("/")[2] == "git":
            found.append(_command(iter(arguments)))
    return found


def of_commit(arguments: "Sequence[str]") -> "dict[str, str] | None":
    """Return the options of ``git commit`` in *arguments* by their long names, and PATHS where there are any.

    The values are ``""`` but for ``cleanup``: others may be what nobody shall see. Return ``None`` for
    what is not understood, as an option that is shortened.
    """
    found: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        name, given, value = word.removeprefix("--").partition("=")
        if word == "--":
            found |= dict.fromkeys([PATHS] * any(True for _ in words), "")
        elif word.startswith("--") and name in _VALUED:
            value = value if given else next(words, "")
            found[name] = value if name == "cleanup" else ""
        elif word.startswith("--") and not given and name.removeprefix("no-") in _PLAIN:
            found.pop(name.removeprefix("no-") if name.startswith("no-") else f"no-{name}", None)
            found[name] = ""
        elif word.startswith("-") and word[1:2] not in {"", "-"}:
            names = _of_letters(word[1:], words)
            if names is None:
                return None
            found |= names
        elif word.startswith("--"):
            return None
        else:
            found[PATHS] = ""
    return found


def _of_letters(letters: str, words: "Iterator[str]") -> "dict[str, str] | None":
    """Return the options that *letters* of one argument are; where the last has a value, *words* may have it."""
    found = {}
    for place, letter in enumerate(letters, 1):
        name = _LETTERS.get(letter)
        if name is None:
            return None
        found[name] = ""
        if name in _VALUED:
            if place == len(letters):
                next(words, "")
            break
    return found


def _command(words: "Iterator[str]") -> "tuple[str, list[str]]":
    for word in words:
        if word in _OF_GIT:
            next(words, "")
        elif not word.startswith("-"):
            return word, list(words)
    return "", []


def _parent(process: str) -> str:
    """Return the number of the process that runs *process*, or ``"0"``."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[1].decode()  # its name may have any character
    except (OSError, IndexError):
        return "0"


def _words(process: str) -> "list[str]":
    """Return the command line of *process*; ``[""]`` where nobody may know it."""
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            return file.read().decode(errors="surrogateescape").removesuffix("\0").split("\0")
    except OSError:
        return [""]
