"""What the vault asks of git: a work tree, commits of exactly the touched paths, and who changed what."""

from collections.abc import Sequence

from . import process
from .errors import PluginError
from .names import shown


def work_tree(directory: str) -> str:
    """Return the top of the work tree that *directory* lies in, or ``""``."""
    found = process.run(["git", "rev-parse", "--show-toplevel"], directory=directory)
    return found.output.removesuffix("\n") if found.status == 0 else ""


def init(directory: str) -> None:
    """Make *directory* a git work tree.

    Raises PluginError.
    """
    _run(directory, "init", "--quiet")


def commit(directory: str, paths: Sequence[str], message: str) -> bool:
    """Commit exactly *paths*, relative to *directory*; whatever else is staged stays as it is.

    Returns False when git has nothing to commit in them. Raises PluginError.
    """
    known = _run(directory, "ls-files", "-z", "--cached", "--others", "--", *paths).split("\0")
    present = [path for path in paths if path in known]
    if not present:
        return False
    _run(directory, "add", "--force", "--all", "--", *present)
    if not _run(directory, "status", "--porcelain", "-z", "--", *present):
        return False
    _run(directory, "commit", "--quiet", "--only", "--message", message, "--", *present)
    return True


def last_change(directory: str, path: str) -> str:
    """Return who last committed *path* and when, for people to read, or ``""`` where git cannot say."""
    log = ["git", "--literal-pathspecs", "log", "-1", "--format=%h by %an <%ae> on %cs", "--", path]
    found = process.run(log, directory=directory)
    return shown(found.output.strip()) if found.status == 0 else ""


def is_dirty(directory: str, path: str) -> bool:
    """Tell whether *path* differs from the last commit."""
    found = process.run(
        ["git", "--literal-pathspecs", "status", "--porcelain", "--", path], directory=directory
    )
    return bool(found.output.strip())


def _run(directory: str, *arguments: str) -> str:
    done = process.run(["git", "--literal-pathspecs", *arguments], directory=directory)
    if done.status != 0:
        reason = next((line for line in done.errors.splitlines() if line.strip()), "no reason given")
        raise PluginError(f"git {arguments[0]} failed: {shown(reason)}", f"see: git -C {directory} status")
    return done.output
