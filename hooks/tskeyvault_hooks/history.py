"""The whole history: every object once, on all cores, and which commit has what was found."""

import marshal
import os

from tskeyvault_hooks import git
from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.pushes import names_of_refs
from tskeyvault_hooks.scan import FILE, HEAD_OF, MESSAGES, Finding, Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_FEW = 1000
"""Objects that one process scans before another would have started."""
_PARTS = 16
"""Of the objects that a process scans: what one is late with, it is early with in another."""
_MOST_LOOKED_UP = 100
_LONGEST_HEAD = 1 << 20
_SHORT_ID = 12
_DIFF = ("diff-tree", "--stdin", "-r", "-m", "--root", "--no-renames", "--raw", "--no-abbrev", "-z")


def whole(scan: Scan) -> None:
    """Scan every object that the repository has, reachable or not.

    Raises ScanError when one cannot be read.
    """
    scan.revisions = ["--all"]
    listed = git.ask("cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname)")
    ids = listed.split(b"\n")[:-1]
    count = 1 if len(ids) < _FEW else len(os.sched_getaffinity(0))
    # Neighbours are in one pack, and often deltas of each other; some parts of it are heavier than others.
    size = -(-len(ids) // (count * _PARTS)) or 1
    parts = [ids[start : start + size] for start in range(0, len(ids), size)]
    shares = [
        [name for part in parts[first::count] for name in part] for first in range(min(count, len(parts)))
    ]
    _ = scan.allowed  # read once, before there are several
    workers = [_start(scan, share) for share in shares[1:]]
    try:
        if shares:
            _share(scan, shares[0])
    finally:
        results = [_result(*worker) for worker in workers]
    for objects, size, findings in results:
        scan.objects += objects
        scan.bytes += size
        scan.findings += findings
    names_of_refs(scan, git.ask("for-each-ref", "--format=%(refname)").split(b"\n"))
    if scan.objects < len(ids):
        raise ScanError(f"git has {len(ids)} objects and gave {scan.objects}", "see: git fsck")


def _share(scan: Scan, ids: "Sequence[bytes]") -> None:
    scan.batch(git.Process(["cat-file", "--batch", "--buffer"], git.stored(b"\n".join(ids) + b"\n")))


def _start(scan: Scan, ids: "Sequence[bytes]") -> "tuple[int, int]":
    """Scan *ids* in a process of its own; return its number, and a pipe for what :func:`_result` returns."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    try:
        os.close(reader)
        part = Scan(scan.finder)
        part._allowed = scan.allowed  # noqa: SLF001 - the same list
        error = None
        try:
            _share(part, ids)
        except ScanError as failure:
            error = (failure.message, failure.hint)
        rows = [tuple(getattr(found, name) for name in Finding.__slots__) for found in part.findings]
        with open(writer, "wb") as file:
            marshal.dump((part.objects, part.bytes, rows, error), file)
        os._exit(0)
    finally:
        os._exit(1)  # whatever it was, it is told by the missing result


def _result(child: int, reader: int) -> "tuple[int, int, list[Finding]]":
    with open(reader, "rb") as file:
        data = file.read()
    _, status = os.waitpid(child, 0)
    if status or not data:
        raise ScanError("a part of the history could not be scanned")
    objects, size, rows, error = marshal.loads(data)  # noqa: S302 - our own child wrote it
    if error:
        raise ScanError(*error)
    findings = []
    for row in rows:
        found = Finding.__new__(Finding)
        for name, value in zip(Finding.__slots__, row, strict=True):
            setattr(found, name, value)
        findings.append(found)
    return objects, size, findings


def locate(scan: Scan) -> None:
    """Say of the findings of *scan* in which commit, and under which path there, they stand.

    Where git cannot say it, the id of the object is what is left to look for.
    """
    if not scan.revisions:
        return
    missing = [found for found in scan.findings if found.object and found.place == FILE]
    ids = list(dict.fromkeys(found.object for found in missing))[:_MOST_LOOKED_UP]
    known = _first_commits(ids, scan.revisions) if ids else {}
    for found in missing:
        if found.object in known:
            found.commit, path = known[found.object]
            found.place = found.path = scan.shown(path)
        else:
            found.place = f"object {found.object[:_SHORT_ID]}"
    for found in [it for it in scan.findings if it.object and it.place in MESSAGES][:_MOST_LOOKED_UP]:
        _locate_in_text(found)


def _locate_in_text(found: Finding) -> None:
    """Say of *found* in a commit or tag whether it stands above the message, and otherwise in which line of that."""
    kind = MESSAGES[found.place]
    if kind == "commit":
        found.commit = found.object
    asked = git.Process(["cat-file", kind, found.object])
    head, _, _ = git.read_some(asked.output, _LONGEST_HEAD).partition(b"\n\n")
    asked.status()
    lines = head.count(b"\n") + 1
    if found.line > lines:
        found.line -= lines + 1
    else:
        found.place = f"{HEAD_OF} {kind}"


def _first_commits(ids: "Sequence[str]", revisions: "Sequence[str]") -> "dict[str, tuple[str, str]]":
    """Return the oldest commit of *revisions* that brings each of the objects *ids*, and its path there."""
    listing = git.among(["rev-list"], revisions)
    asked = git.Process([*_DIFF, *(f"--find-object={name}" for name in ids)], os.dup(listing.output))
    output = git.read_some(asked.output, None).decode(errors="surrogateescape")
    asked.status()
    listing.status()
    known, commit = {}, ""
    parts = iter(output.split("\0"))
    for part in parts:
        if part.startswith(":"):
            known[part.split(" ")[3]] = (commit, next(parts))  # what comes later is older
        elif part:
            commit = part.split(maxsplit=1)[0]  # of a merge: its id, and that of a parent
    return known
