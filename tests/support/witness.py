"""Hooks that write down how git ran them, and what a repository's hooks and settings are."""

import os
import stat
from pathlib import Path

_OF_COMMITS = {"objects", "logs", "refs", "index", "COMMIT_EDITMSG", "ORIG_HEAD", "HEAD"}
_HOOK = """\
#!/bin/sh
# Somebody's own.
{{ printf '%s\\0' "${{0##*/}}" "$@"; printf '\\n'; {read}; printf '%s' end; }} >>'{log}'
exit {code}
"""


def put(path: Path, log: Path, *, code: int = 0, reads: bool = False) -> None:
    """Make *path* a hook that writes name, arguments and, where it *reads*, standard input to *log*."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_HOOK.format(log=log, read="cat" if reads else ":", code=code))
    path.chmod(0o755)


def runs(log: Path) -> list[tuple[list[str], bytes]]:
    """Return name and arguments, and what was read, of each run that *log* tells of."""
    told = log.read_bytes().split(b"end") if log.exists() else [b""]
    found = []
    for entry in told[:-1]:
        words, _, read = entry.partition(b"\0\n")
        found.append(([os.fsdecode(word) for word in words.split(b"\0")], read))
    return found


def everything(*roots: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content, or target, of all files and folders in *roots*, but for what git keeps of commits."""
    found = {}
    for root in roots:
        for path in [root, *sorted(root.rglob("*"))]:
            parts = path.relative_to(root.parent).parts
            if ".git" in parts and _OF_COMMITS.intersection(parts):
                continue
            mode = path.lstat().st_mode
            content = os.fsencode(path.readlink()) if stat.S_ISLNK(mode) else b""
            found[str(path)] = (mode, path.read_bytes() if stat.S_ISREG(mode) else content)
    return found
