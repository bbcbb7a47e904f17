"""The home that programs are given, in which they look for their settings: as root none of another user's."""

import os
import pwd
from collections.abc import Mapping


def of_user(environ: Mapping[str, str]) -> str:
    """Return HOME as *environ* says it, or ``""``; as root, root's own where that one is another user's.

    A line of a unit with ``+`` is run by root with the home of the unit's user: who could name a program in it
    that root then runs, as in gpg.conf. With sudo it is the home of who has asked for root.
    """
    given = environ.get("HOME", "")
    if not given or os.geteuid() != 0 or _owner(given) in {"0", environ.get("SUDO_UID")}:
        return given
    return pwd.getpwuid(0).pw_dir


def _owner(path: str) -> str:
    try:
        return str(os.stat(path).st_uid)
    except (OSError, ValueError):
        return ""
