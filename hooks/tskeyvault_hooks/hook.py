"""What a hook of git does: scan what the event is about, and let it pass or not."""

import posix  # os takes 2 ms to load

from tskeyvault_hooks import git, scan, state
from tskeyvault_hooks.faults import ScanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BLOCKED = 10
"""Exit status of a scan that lets nothing pass and has said why: no accident of an interpreter has it."""

EVENTS = ("pre-commit", "pre-merge-commit", "prepare-commit-msg", "commit-msg", "pre-applypatch", "pre-push")
SERVER_EVENTS = ("pre-receive",)
_OF_PUSHES = ("pre-push", "pre-receive")
_MARKING = ("pre-commit", "pre-merge-commit")
"""After these, and after no other, the same git also asks commit-msg."""


def main(arguments: "Sequence[str]") -> int:
    """Scan for the event, directory of state, process of git and its arguments; return 0 or BLOCKED."""
    event, directory, caller, *given = arguments

    def look(found: scan.Scan) -> None:
        held = state.hold(directory) if event in _MARKING else ""
        _scan(found, event, given)
        if held and not found.findings:
            state.mark(held, caller)

    return guarded(event, directory, look)


def guarded(event: str, directory: str, look: "Callable[[scan.Scan], None]") -> int:
    """Let *look* scan for *event*, with what is known in *directory*; report, and return 0 or BLOCKED."""
    try:
        found = scan.Scan(state.finder(directory), directory, inline=event not in SERVER_EVENTS)
        look(found)
        return _report(found, event) if found.findings else 0
    except ScanError as error:
        _say(
            f"vault: {event}: {error.message}, so nothing passes",
            *([f"hint: {error.hint}"] if error.hint else []),
        )
    except OSError as error:
        _say(f"vault: {event}: {posix.strerror(error.errno or 0).lower()}, so nothing passes")
    except KeyboardInterrupt:
        _say(f"vault: {event}: interrupted, so nothing passes")
    except Exception as error:  # noqa: BLE001 - a traceback could show a secret
        _say(
            f"vault: {event}: {type(error).__name__}, so nothing passes",
            "hint: this is a defect: please report it",
        )
    return BLOCKED


def _scan(found: scan.Scan, event: str, given: "Sequence[str]") -> None:
    if event == "commit-msg":
        scan.message(found, given[0])
    elif event in _OF_PUSHES:
        from tskeyvault_hooks import pushes

        told = git.read_some(0, None)
        pushes.received(found, told) if event == "pre-receive" else pushes.pushed(found, told, *given[:2])
    else:
        scan.staged(found)
        if event == "prepare-commit-msg":
            scan.message(found, given[0])


def _report(found: scan.Scan, event: str) -> int:
    from tskeyvault_hooks import advice, history, report

    history.locate(found)
    _say(f"vault: {event}: {report.total(found.findings)}, so nothing passes")
    _say(*report.lines(found.findings), f"vault: {report.counted(found)}")
    where = {"pre-push": advice.PUSHED, "pre-receive": advice.RECEIVED}.get(event, advice.STAGED)
    _say(*(f"hint: {line}" for line in advice.lines(found.findings, where, event)))
    return BLOCKED


def _say(*lines: str) -> None:
    data = "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")
    try:
        posix.write(2, data)
    except OSError:
        return  # nobody listens, and the exit status says it
