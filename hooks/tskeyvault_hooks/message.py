"""What git will store of the message of a commit that it lets a hook see: all, or what stands above the scissors.

As ``git commit`` has it (``cleanup_message`` in sequencer.c, ``wt_status_locate_end`` in wt-status.c of git 2.55):
it cuts at the first line of scissors if it was told ``--verbose``, or if it cleans up by them and has an editor open.
"""

import os

from tskeyvault_hooks import caller, git

_SCISSORS = b" ------------------------ >8 ------------------------\n"
_SETTINGS = r"^(commit\.(verbose|cleanup)|core\.comment(char|string))$"
_YES = ("true", "yes", "on")
_NO_EDITOR = ":"
"""What git puts into GIT_EDITOR for its hooks when it opens none."""


def stored(text: bytes) -> bytes:
    """Return what git will store of *text*: all of it where it is not sure that git cuts something off.

    Raises ScanError.
    """
    if _SCISSORS not in text:
        return text
    settings = _settings()
    comments = {settings.get("core.commentchar", ""), settings.get("core.commentstring", "")}
    if "auto" in comments or not _cuts(settings):  # git chose one, and does not say which
        return text
    line = b"\n" + _comment() + _SCISSORS
    place = (b"\n" + text).find(line)
    return text if place < 0 else text[:place]


def _cuts(settings: "dict[str, str]") -> bool:
    """Tell whether the git that asks will for sure cut at the scissors."""
    command, arguments = next(iter(caller.commands()), ("", []))
    options = caller.of_commit(arguments) if command == "commit" else None
    if options is None:
        return False
    if "verbose" in options:
        return True
    verbose = settings.get("commit.verbose", "").lower()
    if "no-verbose" not in options and (verbose in _YES or verbose.strip("0").isdecimal()):
        return True
    cleanup = options.get("cleanup", settings.get("commit.cleanup"))
    return cleanup == "scissors" and os.environ.get("GIT_EDITOR") != _NO_EDITOR


def _settings() -> "dict[str, str]":
    asked = git.Process(["config", "-z", "--get-regexp", _SETTINGS])
    output = git.read_some(asked.output, None).decode(errors="surrogateescape")
    asked.status()  # 1 where there is none
    rows = (row.partition("\n") for row in output.split("\0") if row)
    return {key: value if given else "true" for key, given, value in rows}


def _comment() -> bytes:
    """Return what begins a comment for git."""
    asked = git.Process(["stripspace", "--comment-lines"], git.stored(b"x\n"))
    return asked.read().removesuffix(b" x\n")
