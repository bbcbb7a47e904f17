"""The files that git runs as hooks: what is written into them, and what it is told to run."""

import os
import re
import shlex
import sys

from tskeyvault_hooks import files
from tskeyvault_hooks.hook import EVENTS, SERVER_EVENTS
from tskeyvault_hooks.repository import Repository

ALL = (*EVENTS, *SERVER_EVENTS)
OTHERS = (
    "applypatch-msg", "post-applypatch", "post-commit", "pre-rebase", "post-checkout", "post-merge", "pre-auto-gc",
    "post-rewrite", "sendemail-validate", "fsmonitor-watchman", "post-index-change", "reference-transaction",
    "push-to-checkout", "update", "post-receive", "post-update", "proc-receive", "p4-changelist", "p4-pre-submit",
    "p4-prepare-changelist", "p4-post-changelist",
)  # fmt: skip
"""All other hooks of githooks(5): where ours stand in the place of a folder, they only pass on."""
OURS = b'Made by "vault hooks install"'
"""In every file of ours."""
SCANS = b"# Lets no key pass. "
"""In those of them that do more than run a hook."""
KEPT = ".pre-vault"
"""Suffix of the folder, beside git's own, of the hooks that were there before ours."""
BESIDE = f""""$here{KEPT}/$event"
case $0 in
*.legacy)
  # pre-commit or prek has found this and runs it; what ours would run may be themselves, who refuse to run twice.
  ! grep -q '^# File generate[d] by pre' "$before" 2>/dev/null || before=$before.legacy
  ;;
esac"""
"""For the shell: the one among them."""

_FOLDER = os.path.dirname(os.path.abspath(__file__))
_STATE_ABOVE = "state=${here%/*}"
_STATE_BESIDE = """case $here in
*/*) state=${here%/*}/vault ;;
*) state=vault ;;
esac"""
_STATE_OF_EACH = """state=.git/vault
if [ -n "$GIT_DIR" ] || [ ! -d .git ]; then state=$(git rev-parse --git-common-dir)/vault; fi"""
REPOSITORIES = "repositories"
"""In the state for all repositories: git's directories in which it made theirs, each ended by a zero byte."""
# For whom git's directory is, as files.make_folder has it.
_REMEMBERED = f"""
if [ ! -d "$state" ]; then
  {{
    printf '%s\\0' "$(cd "${{state%/*}}" && pwd)" >>"${{here%/*}}/{REPOSITORIES}" && mkdir "$state" &&
      chmod "$(stat -L -c %a "${{state%/*}}")" "$state"
  }} 2>/dev/null
fi"""
_PRESENT = '[ -d "$state" ] || refuse "what it knows, in $state, is gone"\n'
# The hook of the repository may be ours too: then it does all.
_ONCE = """  { read -r line && IFS= read -r line; } <"$before"
  case $line in "# Lets no key pass. "*) exec "$before" "$@" ;; esac
"""
_FIND = (
    "h=/vault/hooks/{event}; d=${{GIT_DIR:-.git}}"
    '; [ -x "$d$h" ] || d=$(git rev-parse --git-common-dir)'
    '; [ -x "$d$h" ] || echo "hint: vault hooks install mends it" >&2'
    '; exec "$d$h"'
)
"""Finds our hook from every work tree, and after the repository was moved; git adds its arguments."""


def text(where: Repository, event: str, found: str, folder: str, *, scans: bool) -> bytes:
    """Return the hook for *event* in *folder*: it runs *found*, for the shell, and then scans or not."""
    directory = f"state={shlex.quote(where.state)}"
    if where.everywhere:
        directory = _STATE_OF_EACH + (_REMEMBERED if scans else "")
    elif folder == where.default:
        directory = _STATE_BESIDE
    return _filled(where, "stub.sh" if scans else "pass.sh", event, found, directory)


def told(where: Repository, event: str) -> bytes:
    """Return the hook for *event* that git's configuration names: git runs the others itself."""
    directory = _STATE_OF_EACH + _REMEMBERED if where.everywhere else _STATE_ABOVE
    return _filled(where, "stub.sh", event, "''", directory)


def command(where: Repository, event: str) -> str:
    """Return, for git's configuration, what runs the hook that :func:`told` makes."""
    if not where.everywhere:
        return _FIND.format(event=event)
    path = os.path.join(where.own, event)
    quoted = shlex.quote(path)
    return path if quoted == path else f"exec {quoted}"


def is_ours(path: str) -> bool:
    """Tell whether the file *path* is a hook of ours."""
    return OURS in files.read(path)


def knows(text: bytes, where: Repository) -> bool:
    """Tell whether our hook with this *text* asks the state of this repository, and not of where it once was."""
    states = (_STATE_BESIDE, _STATE_ABOVE, _STATE_OF_EACH, f"state={shlex.quote(where.state)}")
    return any(f"\n{it}\n".encode(errors="surrogateescape") in text for it in states)


def leading_to(folder: str) -> str:
    """Return, for the shell, the hook in *folder*, or without one that of the repository itself."""
    return f'{shlex.quote(folder)}/"$event"' if folder else '"${state%/vault}/hooks/$event"'


def program() -> "dict[str, str]":
    """Return the interpreter and the scanner, for the shell."""
    python, scanner = os.path.realpath(sys.executable), os.path.join(_FOLDER, "run.py")
    return {"PYTHON": shlex.quote(python), "SCANNER": shlex.quote(scanner)}


def _filled(where: Repository, name: str, event: str, found: str, directory: str) -> bytes:
    with open(os.path.join(_FOLDER, name), encoding="ascii") as file:
        template = file.read()
    template = template.replace("@ONCE@\n", _ONCE if where.everywhere else "")
    template = template.replace("@PRESENT@\n", "" if where.everywhere else _PRESENT)
    values = {"EVENT": event, "STATE": directory, "BEFORE": found, **program()}
    return re.sub("@([A-Z]+)@", lambda match: values[match[1]], template).encode(errors="surrogateescape")
