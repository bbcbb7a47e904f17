"""How this program is called, in lines that others are to run: units, and people who repair something."""

import os
import shlex
import sys


def words() -> tuple[str, ...]:
    """Return the words that run this program again, from anywhere."""
    started = os.path.abspath(sys.argv[0])
    if os.path.isfile(started) and os.access(started, os.X_OK):
        return (started,)
    return (sys.executable, "-m", "tskeyvault")


def command(vault: str = "") -> str:
    """Return the same as a line for a shell, with the *vault* to use."""
    return shlex.join([*words(), *(["--vault", vault] if vault else [])])
