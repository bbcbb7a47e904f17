"""What the vault asks of git: a work tree, commits of exactly the touched paths, and who changed what."""

import os
import shlex
from collections.abc import Sequence

from . import process
from .errors import PluginError
from .names import shown
from .process import Result

# A committed directory can look like a bare repository, whose configuration names programs to run.
_GIT = ("git", "-c", "safe.bareRepository=explicit", "--literal-pathspecs")
_FROM_INPUT = ("--pathspec-from-file=-", "--pathspec-file-nul")  # any number of paths


def work_tree(directory: str) -> str:
    """Return the top of the work tree that *directory* lies in, or ``""``.

    Raises PluginError when git does not answer that question: for the work tree of another user.
    """
    found = process.run([*_GIT, "rev-parse", "--show-toplevel"], directory=directory)
    if found.status == 0:
        return found.output.removesuffix("\n")
    if "not a git repository" in found.errors:
        return ""
    raise PluginError(f"git refuses '{shown(directory)}': {_reason(found)}", "see: git status there")


def init(directory: str) -> None:
    """Make *directory* a git work tree.

    Raises PluginError.
    """
    _run(directory, "init", "--quiet")


def commit(directory: str, paths: Sequence[str], message: str) -> bool:
    """Commit exactly *paths*, relative to *directory*; whatever else is staged stays as it is.

    Returns False when some of them are there and git has nothing to commit in them. Raises PluginError.
    """
    tops = {path.partition("/")[0] for path in paths}
    known = set(_run(directory, "ls-files", "-z", "--cached", "--others", "--", *tops).split("\0"))
    if present := [path for path in paths if path in known]:
        _run(directory, "add", "--force", "--all", *_FROM_INPUT, given=present)
    diff = _run(directory, "diff", "--cached", "--name-only", "--no-renames", "--relative", "-z")
    staged = set(diff.split("\0"))
    if changed := [path for path in present if path in staged]:
        _run(directory, "commit", "--quiet", "--only", "--message", message, *_FROM_INPUT, given=changed)
        return True
    return not any(os.path.lexists(os.path.join(directory, path)) for path in paths)


def changes(directory: str, path: str) -> int:
    """Return how many commits have touched *path*: 0 where git cannot say."""
    try:
        found = process.run([*_GIT, "rev-list", "--count", "HEAD", "--", path], directory=directory)
    except PluginError:
        return 0
    return int(found.output) if found.status == 0 and found.output.strip().isdecimal() else 0


def last_change(directory: str, path: str) -> str:
    """Return who last committed *path* and when, for people to read, or ``""`` where git cannot say."""
    log = [*_GIT, "log", "-1", "--format=%h by %an <%ae> on %cs", "--", path]
    found = process.run(log, directory=directory)
    return shown(found.output.strip()) if found.status == 0 else ""


def undo(directory: str, path: str) -> str:
    """Return the command that brings back what *path* was before its last change, or ``""`` where git does not know it."""
    commit = last_change(directory, path).partition(" ")[0]
    if not commit:
        return ""
    before = "HEAD" if is_dirty(directory, path) else f"{commit}^"
    return f"git -C {shlex.quote(directory)} checkout {before} -- {shlex.quote(os.path.normpath(path))} brings the last one back"


def is_dirty(directory: str, path: str) -> bool:
    """Tell whether *path* differs from the last commit."""
    found = process.run([*_GIT, "status", "--porcelain", "--", path], directory=directory)
    return bool(found.output.strip())


def _run(directory: str, *arguments: str, given: Sequence[str] = ()) -> str:
    """Run git, with the paths *given* on its standard input."""
    listed = "\0".join(given).encode()
    done = process.run([*_GIT, *arguments], directory=directory, given=listed)
    if done.status != 0:
        hint = f"what was written stays; when git -C {shown(directory)} commit works, the next change commits it too"
        raise PluginError(f"git {arguments[0]} failed: {_reason(done)}", hint)
    return done.output


def _reason(done: Result) -> str:
    return shown(next((line for line in done.errors.splitlines() if line.strip()), "it gave no reason"))
