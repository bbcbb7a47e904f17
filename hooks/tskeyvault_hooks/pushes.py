"""What a push sends, what a server receives, and what a range has: the new objects, and the names of refs."""

import os

from tskeyvault_hooks import git
from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.places import Place
from tskeyvault_hooks.scan import NAME_OF_REF, Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_LISTING = ("rev-list", "--objects", "--no-object-names")


def pushed(scan: Scan, data: bytes, remote: str, url: str) -> None:
    """Scan what a push sends: *data* is what pre-push is given to read. Raises ScanError."""
    # What is pushed comes first, as it was typed: "HEAD^{/some words}" has blanks.
    rows = [_checked(line.rsplit(b" ", 3), 4) for line in data.split(b"\n") if line]
    new = _new_refs(scan, [(row[1], row[2]) for row in rows])
    if new:
        place = Place(scan.state, remote, url)
        there = [row[3].decode() for row in rows if _is_id(row[3]) and row[3].strip(b"0")]
        objects_of(scan, [*new, *(f"^{name}" for name in place.has(there))])
        if not scan.findings:
            place.remember()


def received(scan: Scan, data: bytes) -> None:
    """Scan what a server receives: *data* is what pre-receive is given to read. Raises ScanError."""
    rows = [_checked(line.split(b" ", 2), 3) for line in data.split(b"\n") if line]
    _keeps_the_list(rows)
    new = _new_refs(scan, [(row[1], row[2]) for row in rows])
    revisions = [*new, "--not", "--all"]
    ids = git.among(_LISTING, revisions).read() if new else b""
    scan.revisions = revisions if new else []
    # And what else the pack brings, which no ref leads to: it could be fetched all the same.
    more = _quarantined().difference(ids.split(b"\n"))
    for part in (ids, b"".join(name + b"\n" for name in sorted(more))):
        if part:
            scan.batch(git.Process(["cat-file", "--batch", "--buffer"], git.stored(part)))


def _keeps_the_list(rows: "Iterable[list[bytes]]") -> None:
    """Refuse a push that would leave a damaged list of what may stay in HEAD, where it is read for all that follow."""
    asked = git.Process(["symbolic-ref", "--quiet", "HEAD"])
    head = git.read_some(asked.output, None).removesuffix(b"\n")
    asked.status()  # 1 where HEAD is no branch, which no push can move
    for _, name, ref in rows:
        if ref == head and name.strip(b"0"):
            from tskeyvault_hooks import allow

            allow.of(name.decode())


def _quarantined() -> "set[bytes]":
    """Return the ids of all new objects that the push has brought, which git keeps apart until it is accepted."""
    if b"GIT_QUARANTINE_PATH" not in os.environb:
        return set()
    listed = ["cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname)"]
    ids = git.Process(listed, without=b"GIT_ALTERNATE_OBJECT_DIRECTORIES").read()
    # Of a thin pack git adds what it builds on, and that may be what the push takes away.
    known = ["cat-file", "--batch-check=%(objectname)"]
    said = git.Process(known, git.stored(ids), without=b"GIT_OBJECT_DIRECTORY").read()
    return {line.removesuffix(b" missing") for line in said.split(b"\n") if line.endswith(b" missing")}


def _checked(fields: "list[bytes]", count: int) -> "list[bytes]":
    if len(fields) != count or not _is_id(fields[1]):
        raise ScanError("what git says of the push is not understood")
    return fields


def _is_id(name: bytes) -> bool:
    return bool(name) and not name.strip(b"0123456789abcdef")


def _new_refs(scan: Scan, rows: "Iterable[tuple[bytes, bytes]]") -> "list[str]":
    """Scan the names in *rows* of id and ref, without those that are deleted: their ids are zeros. Return the ids."""
    new = [(name.decode(), ref) for name, ref in rows if name.strip(b"0")]
    names_of_refs(scan, [ref for _, ref in new])
    return [name for name, _ in new]


def names_of_refs(scan: Scan, names: "Iterable[bytes]") -> None:
    """Scan the whole names of branches, tags and other refs."""
    for name in names:
        hits = scan.finder.find(name)
        if hits:
            scan.note(hits, f"{NAME_OF_REF} {scan.shown(os.fsdecode(name))}")


def between(scan: Scan, revisions: str) -> None:
    """Scan the objects of *revisions*, like ``main..HEAD``. Raises ScanError."""
    probe = git.Process(["rev-parse", "--quiet", "--revs-only", "--end-of-options", revisions])
    known = git.read_some(probe.output, None)
    if probe.status()[0] or not known or revisions.startswith("-"):  # not shown: it may be anything
        raise ScanError("git knows no such range of commits", "main..HEAD is one")
    objects_of(scan, [revisions])


def objects_of(scan: Scan, revisions: "list[str]") -> None:
    """Scan the objects that *revisions* lead to, options of ``git rev-list`` and names. Raises ScanError."""
    scan.revisions = revisions
    listing = git.among(_LISTING, revisions)
    scan.batch(git.Process(["cat-file", "--batch", "--buffer"], os.dup(listing.output)))
    listing.end()
