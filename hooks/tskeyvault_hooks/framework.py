"""The hooks for pre-commit and prek, which tell in the environment what the event is about."""

import os
import sys

sys.path.append(__file__.rpartition("/")[0].rpartition("/")[0])

from tskeyvault_hooks import git, hook, pushes, scan
from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.places import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_OLDEST = (3, 11)
_MESSAGES = ("COMMIT_EDITMSG", "MERGE_MSG")
_NOT_OURS = ("refs/remotes/*", "refs/stash", "refs/prefetch/*", "refs/bisect/*")


def main(arguments: "Sequence[str]") -> int:
    """Scan for the event and, for a message, the file in *arguments*; return 0 or :data:`hook.BLOCKED`."""
    event, *given = arguments
    if _of_push("NAME"):
        event = "pre-push"

    def look(found: scan.Scan) -> None:
        if event == "pre-push":
            _pushed(found)
        elif event == "commit-msg":
            _messages(found, given)
        else:
            _committed(found)

    return hook.guarded(event, _state(), look)


def _committed(found: scan.Scan) -> None:
    """Scan what is committed; started by hand, all that is in the index, and the commits between two if given."""
    if "GIT_INDEX_FILE" in os.environ:
        scan.staged(found)
        return
    scan.staged(found, scan.empty_tree())
    start, end = (os.environ.get(f"PRE_COMMIT_{name}_REF", "") for name in ("FROM", "TO"))
    if start and end:
        pushes.between(found, f"{start}..{end}")


def _messages(found: scan.Scan, given: "Sequence[str]") -> None:
    """Scan the message: the file that is *given*, or where a filter of the user's took it away, where git has it."""
    if not given:
        names = (
            git.ask("rev-parse", "--git-path", name).decode(errors="surrogateescape") for name in _MESSAGES
        )
        given = [path for path in (name.removesuffix("\n") for name in names) if os.path.exists(path)]
    if not given:
        raise ScanError("there is no message of a commit")
    for path in given:
        scan.message(found, path)


def _pushed(found: scan.Scan) -> None:
    """Scan what the remote has not. Of a push of several refs we are told one, so all that there are are taken."""
    name, url = _of_push("NAME"), _of_push("URL")
    ours = [*(f"--exclude={pattern}" for pattern in _NOT_OURS), "--all"]
    given = [ref for ref in (os.environ.get("PRE_COMMIT_TO_REF", ""), _of_push("BRANCH", "LOCAL")) if ref]
    place = Place(found.state, name, url)
    pushes.objects_of(found, ["HEAD", *given, *ours, *(f"^{known}" for known in place.has([]))])
    if not found.findings:
        place.remember()


def _of_push(what: str, whose: str = "REMOTE") -> str:
    return os.environ.get(f"PRE_COMMIT_{whose}_{what}", "")


def _state() -> str:
    asked = git.Process(["rev-parse", "--path-format=absolute", "--git-common-dir"])
    answer = git.read_some(asked.output, None).decode(errors="surrogateescape").removesuffix("\n")
    return os.path.join(answer, "vault") if asked.status()[0] == 0 else ""


if sys.version_info < _OLDEST:
    sys.exit("vault: python3 is older than 3.11, so nothing passes")
sys.exit(main(sys.argv[1:]))
