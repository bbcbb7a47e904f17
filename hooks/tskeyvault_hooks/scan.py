"""One scan: what it reads, in which order, and what it found and counted."""

import posix  # os takes 2 ms to load

from tskeyvault_hooks import git
from tskeyvault_hooks.faults import ScanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tskeyvault_hooks.allow import Allowed
    from tskeyvault_hooks.finder import Finder, Hit

ALLOWED = ".tskeyvault-allow"
"""The file with what may stay."""
FILE = "a file"
"""What a file is called whose path is not known yet."""
MESSAGES = {"the message of a commit": "commit", "the message of a tag": "tag"}
"""What the text of a commit and of a tag is called."""
HEAD_OF = "the header of a"
"""How what stands above a message is called: author and committer."""
NAME_OF_REF = "the name of the ref"
"""How it is called where the name of a branch or tag has a key, and the name follows."""
_SUBMODULE, _FOLDER = b"160000", b"040000"
# -r: where a sparse index has a whole folder as one entry, a newer git names the folder alone without it.
_DIFF = ("diff-index", "--cached", "-r", "--raw", "-z", "--no-renames", "--no-abbrev", "--diff-filter=d")
_SHOWN = 4


class Finding:
    """A key that stands where it should not, as it is reported: without the key."""

    __slots__ = ("commit", "fingerprint", "kind", "line", "masked", "object", "path", "place")

    def __init__(self, place: str, path: str, hit: "Hit", fingerprint: str, object_id: str):
        self.place = place or path
        """A path, or another name of what was read."""
        self.path = path
        """The path that has the key, in it or in its name, or ``""`` where there is none."""
        self.line = hit.line
        self.kind = hit.kind
        self.masked = masked(hit.secret)
        self.fingerprint = fingerprint
        self.object = object_id
        """The id of git's object, or ``""``."""
        self.commit = ""
        """A commit that has it, where that was looked for."""


class Scan:
    """What is looked for and what may stay, and what came of it so far."""

    def __init__(self, finder: "Finder", state: str = "", *, outside: bool = False, inline: bool = True):
        """Take what to look for, and the directory of state; or that this is *outside* a repository.

        *inline* is whether a line can say of itself that it is allowed: not where others decide.
        """
        self.finder = finder
        self.state = state
        """The directory of state, or ``""``."""
        self._outside = outside
        self._inline = inline
        self._allowed: Allowed | None = None
        self.findings: list[Finding] = []
        self.revisions: list[str] = []
        """Where the commits are looked for that have what was found, when it was found by its id alone."""
        self.objects = 0
        self.bytes = 0

    @property
    def allowed(self) -> "Allowed":
        """The list of what may stay; it is read at the first need. Raises ScanError."""
        if self._allowed is None:
            from tskeyvault_hooks import allow

            self._allowed = allow.Allowed(b"", {}) if self._outside else allow.stored(self.state)
        return self._allowed

    def note(self, hits: "Iterable[Hit]", place: str, object_id: str = "", path: str = "") -> None:
        """Keep those of *hits* that are not allowed; they stand in *place*, or without it in the file *path*."""
        for hit in hits:
            fingerprint = self.allowed.fingerprint(hit.kind, hit.secret)
            if not (hit.allowed and self._inline) and not self.allowed.holds(fingerprint):
                self.findings.append(Finding(place, self.shown(path), hit, fingerprint, object_id))

    def shown(self, path: str) -> str:
        """Return *path* without the keys that are in it."""
        data = path.encode(errors="surrogateescape")
        while hits := self.finder.find(data):
            if not any(hit.secret in data for hit in hits):
                return "…"  # it stands there in base64
            for hit in hits:
                data = data.replace(hit.secret, masked(hit.secret).encode())
        return data.decode(errors="surrogateescape")

    def pieces(self, pieces: "Iterator[bytes]", place: str, path: str = "") -> None:
        """Scan what *pieces* are together, of a *place* or the file *path*; count it as one object."""
        self.objects += 1

        def counted() -> "Iterator[bytes]":
            for piece in pieces:
                self.bytes += len(piece)
                yield piece

        self.note(self.finder.find_in(counted()), place, "", path)

    def batch(self, batch: git.Process, names: "dict[str, list[str]] | None" = None) -> None:
        """Scan all that a ``git cat-file --batch`` writes; *names* are the paths of its objects."""
        for found, pieces in git.objects(batch.output, self.finder.may_hold):
            self.objects += 1
            self.bytes += found.size
            hits = self.finder.find_in(pieces) if pieces else []
            for path in (names or {}).get(found.id) or [""]:
                self.note(hits, "" if path else _what(found), found.id, path)
        batch.end()


def staged(scan: Scan, base: str = "HEAD") -> None:
    """Scan what the next commit changes in *base*, as the index has it, and the names of the files.

    Raises ScanError.
    """
    reader, writer = posix.pipe()
    diff = git.Process([*_DIFF, base, "--"])
    batch = git.Process(["cat-file", "--batch", "--buffer"], reader)  # it starts while git compares
    output = git.read_some(diff.output, None)
    status, said = diff.status()
    if status:
        output = _against_nothing(said)
    names = _records(output)
    _names(scan, [name for paths in names.values() for name in paths])
    before = scan.objects
    scan.batch(_fed(batch, writer, "".join(f"{name}\n" for name in names).encode()), names)
    if scan.objects - before != len(names):
        raise ScanError(f"the index has {len(names)} new objects, and git gave {scan.objects - before}")


def _names(scan: Scan, names: "Sequence[str]") -> None:
    """Scan the names of files; where the list of what may stay is one of them, it has to be in order."""
    if scan.finder.find("\n".join(names).encode(errors="surrogateescape")):
        for name in names:
            scan.note(scan.finder.find(name.encode(errors="surrogateescape")), "the name of a file", "", name)
    if ALLOWED in names:
        _ = scan.allowed


def _fed(batch: git.Process, writer: int, ids: bytes) -> git.Process:
    """Return *batch*, which was given *ids* through its pipe; or another, where they are more than that holds."""
    if len(ids) > git.capacity(writer):
        posix.close(writer)
        batch.end()
        return git.Process(["cat-file", "--batch", "--buffer"], git.stored(ids))
    try:
        posix.write(writer, ids)
    except BrokenPipeError:
        batch.end()  # which says why
        raise
    posix.close(writer)
    return batch


def _against_nothing(said: str) -> bytes:
    """Return the difference from an empty tree, when it was for want of a first commit that git *said* no."""
    probe = git.Process(["rev-parse", "--quiet", "--verify", "HEAD"])
    git.read_some(probe.output, None)
    if probe.status()[0] == 0 or "HEAD" not in said:
        reason = next((line for line in said.splitlines() if line.strip()), "it gave no reason")
        raise ScanError(f"git diff-index failed: {reason.removeprefix('fatal: ')[:200]}", "see: git fsck")
    return git.ask(*_DIFF, empty_tree(), "--")


def empty_tree() -> str:
    """Return the id of a tree without files. Raises ScanError."""
    return git.ask("hash-object", "-t", "tree", "/dev/null").decode().strip()


def _records(output: bytes) -> "dict[str, list[str]]":
    """Return the paths by object id of a raw difference, without submodules and without what is unmerged.

    Raises ScanError.
    """
    names: dict[str, list[str]] = {}
    parts = output.split(b"\0")
    for head, path in zip(parts[::2], parts[1::2], strict=False):
        fields = head.split(b" ")
        if fields[1] == _FOLDER:
            raise ScanError(
                "git names a folder, and not the files in it", "git sparse-checkout reapply --no-sparse-index"
            )
        if fields[1] != _SUBMODULE and fields[3].strip(b"0"):
            names.setdefault(fields[3].decode(), []).append(path.decode(errors="surrogateescape"))
    return names


def message(scan: Scan, path: str) -> None:
    """Scan the message of a commit, without the difference that ``git commit -v`` puts below it."""
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError:
        raise ScanError("the message of the commit cannot be read") from None
    scan.objects += 1
    scan.bytes += len(text)
    hits = scan.finder.find(text)
    if hits:
        from tskeyvault_hooks import message as written

        hits = scan.finder.find(written.stored(text))
    scan.note(hits, "the message of the commit")


def masked(secret: bytes) -> str:
    """Return what can be shown of *secret*: at most four characters of each end, and an eighth of it."""
    count = min(_SHOWN, len(secret) // 16)
    ends = (secret[:count], secret[len(secret) - count :])
    first, last = ("".join(c if c.isprintable() else "?" for c in end.decode("latin-1")) for end in ends)
    return f"{first}…{last}"


def _what(found: git.Object) -> str:
    if found.kind == "tree":
        return "the name of a file"
    return next((place for place, kind in MESSAGES.items() if kind == found.kind), FILE)
