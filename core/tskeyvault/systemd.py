"""systemd's own programs: the one place that finds and runs them."""

from . import process

SECONDS = 30.0
"""How long an answer is waited for, where the caller says nothing else."""


def run(program: str, *arguments: str, given: bytes = b"", seconds: float = SECONDS) -> process.Result | None:
    """Run *program* of systemd, with *given* as its standard input; return None where it is not installed.

    Raises PluginError when it does not end within *seconds*; a failure is a status.
    """
    path = process.find(program)
    return process.run([path, *arguments], directory="/", given=given, seconds=seconds) if path else None


def systemctl(*arguments: str, seconds: float = SECONDS) -> process.Result | None:
    """Run systemctl, which asks nobody for a password; see :func:`run`."""
    return run("systemctl", "--no-ask-password", "--no-pager", *arguments, seconds=seconds)
