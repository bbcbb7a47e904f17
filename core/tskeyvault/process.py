"""The one way to run another program: an argument list, a closed environment, a time limit."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from .errors import PluginError

PASSED_ON = (
    "HOME", "PATH", "USER", "LOGNAME", "TZ", "TERM", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK",
    "GNUPGHOME", "GPG_TTY", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_AUTHOR_NAME",
    "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_DATE", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "GIT_COMMITTER_DATE",
)  # fmt: skip
"""Variables that a program gets from ours; no others, so none that redirects git to another tree."""


class Result(NamedTuple):
    """How a program ended."""

    status: int
    output: str
    errors: str


def run(argv: Sequence[str], *, directory: str, seconds: float = 60.0) -> Result:
    """Run *argv* in *directory* without standard input and wait at most *seconds*.

    Raises PluginError when it cannot be started or does not end in time; a failure is a status.
    """
    import subprocess  # 14 ms that reading a secret never needs

    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(  # noqa: S603 - a list, never a shell; callers pass validated names behind "--"
            argv,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        raise PluginError(f"{argv[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise PluginError(f"{argv[0]} did not end within {seconds:g} s") from None
    except OSError:
        raise PluginError(f"{argv[0]} cannot be started") from None
    return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
