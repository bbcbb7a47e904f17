"""What git will store of the message of a commit that it lets a hook see: without comments and what is below scissors.

As ``git commit`` has it (``cleanup_message`` in sequencer.c, ``wt_status_locate_end`` in wt-status.c of git 2.55):
it cuts at the first line of scissors if it was told ``--verbose``, or if it cleans up by them and has an editor open;
and it takes comments out if it was told to, or has an editor open and was told nothing else.
"""

import os

from tskeyvault_hooks import caller, git

_SCISSORS = b" ------------------------ >8 ------------------------\n"
_SETTINGS = r"^(commit\.(verbose|cleanup)|core\.comment(char|string))$"
_YES = ("true", "yes", "on")
_NO_EDITOR = ":"
"""What git puts into GIT_EDITOR for its hooks when it opens none."""


def stored(text: bytes) -> bytes:
    """Return what git will store of *text*: all of it where it is not sure that git takes something out.

    Raises ScanError.
    """
    command, arguments = next(iter(caller.commands()), ("", []))
    options = caller.of_commit(arguments) if command == "commit" else None
    settings = _settings()
    if options is None or "auto" in (settings.get("core.commentchar"), settings.get("core.commentstring")):
        return text  # git chose what begins a comment, and does not say which
    comment = _comment()
    cleanup = options.get("cleanup", settings.get("commit.cleanup", "default"))
    edited = os.environ.get("GIT_EDITOR") != _NO_EDITOR
    if _is_verbose(options, settings) or (edited and cleanup == "scissors"):
        text = (b"\n" + text).partition(b"\n" + comment + _SCISSORS)[0][1:]
    if cleanup == "strip" or (edited and cleanup == "default"):
        text = b"\n".join(b"" if line.startswith(comment) else line for line in text.split(b"\n"))
    return text


def _is_verbose(options: "dict[str, str]", settings: "dict[str, str]") -> bool:
    if "verbose" in options:
        return True
    setting = settings.get("commit.verbose", "").lower()
    return "no-verbose" not in options and (setting in _YES or setting.strip("0").isdecimal())


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
