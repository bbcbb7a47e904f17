"""How this program is called, in lines that others are to run: units, and people who repair something."""

import os
import shlex
import sys

from tskeyvault import process


def command(vault: str = "") -> str:
    """Return ``vault``, as an absolute path where there is one, with the *vault* to use; words are quoted."""
    own = os.path.abspath(sys.argv[0])
    path = own if os.path.basename(own) in {"vault", "tskeyvault"} else process.find("vault") or "vault"
    return shlex.join([path, *(["--vault", vault] if vault else [])])
