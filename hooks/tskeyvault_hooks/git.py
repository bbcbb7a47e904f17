"""Asks git, without the module subprocess, which takes longer to load than git to answer."""

import fcntl
import posix  # what os is made of: os takes 2 ms to load

from tskeyvault_hooks.faults import ScanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_GIT = ("git", "--literal-pathspecs", "--no-replace-objects")
_NO_BARE = ("-c", "safe.bareRepository=explicit")
_SAID = 1 << 16
_READ = 1 << 17
_PIPE = 1 << 20
_NOTHING = "/dev/null"
_ENVIRONMENT = {b"LC_ALL": b"C", b"GIT_OPTIONAL_LOCKS": b"0", b"GIT_GRAFT_FILE": _NOTHING.encode()}
_GET = "see: git fsck; where an object is missing, fetch it"


class Process:
    """A running git, and the descriptor that its output is read from."""

    def __init__(self, arguments: "Sequence[str]", stdin: "int | None" = None, *, without: bytes = b""):
        """Start git with *arguments*; *stdin* is a descriptor it reads from, which is closed here.

        It does not get the variable *without*.

        Raises ScanError when there is no git.
        """
        self.what = arguments[0]
        self.output, writer = posix.pipe()
        self._errors = posix.memfd_create("vault")  # git never waits for us to read it
        _enlarge(writer)
        try:
            self._pid = posix.posix_spawnp(
                _GIT[0],
                [*_GIT, *(() if _is_server() else _NO_BARE), *arguments],
                {name: value for name, value in {**posix.environ, **_ENVIRONMENT}.items() if name != without},
                file_actions=[
                    (posix.POSIX_SPAWN_OPEN, 0, _NOTHING, posix.O_RDONLY, 0)
                    if stdin is None
                    else (posix.POSIX_SPAWN_DUP2, stdin, 0),
                    (posix.POSIX_SPAWN_DUP2, writer, 1),
                    (posix.POSIX_SPAWN_DUP2, self._errors, 2),
                ],
            )
        except OSError:
            posix.close(self.output)
            posix.close(self._errors)
            raise ScanError("git cannot be started", "is it installed, and on PATH?") from None
        finally:
            posix.close(writer)
            if stdin is not None:
                posix.close(stdin)

    def read(self) -> bytes:
        """Return all of the output, which is small.

        Raises ScanError when git fails.
        """
        output = read_some(self.output, None)
        self.end()
        return output

    def end(self) -> None:
        """Wait for git.

        Raises ScanError when it failed, with the first line of what it said.
        """
        status, said = self.status()
        if status:
            raise ScanError(f"git {self.what} failed: {reason(said) or status}", _GET)

    def status(self) -> "tuple[int, str]":
        """Close the output, wait, and return git's exit status and what it wrote to standard error."""
        if self.output >= 0:
            posix.close(self.output)
            self.output = -1
        _, status = posix.waitpid(self._pid, 0)
        said = posix.pread(self._errors, _SAID, 0).decode(errors="replace")
        posix.close(self._errors)
        return posix.waitstatus_to_exitcode(status), said


def reason(said: str) -> str:
    """Return, for people, the first line that says something in what git *said*."""
    first = next((line for line in said.splitlines() if line.strip()), "")
    return "".join(c if c.isprintable() else "?" for c in first.removeprefix("fatal: ")[:200])


def ask(*arguments: str) -> bytes:
    """Return what git answers to *arguments*.

    Raises ScanError when it fails.
    """
    return Process(arguments).read()


def ask_about(command: "Sequence[str]", names: "Iterable[str]") -> bytes:
    """Return what git answers to *command*, which reads *names*.

    Raises ScanError when it fails.
    """
    return Process(command, stored("".join(f"{name}\n" for name in names).encode())).read()


def among(command: "Sequence[str]", revisions: "Sequence[str]") -> Process:
    """Start git with *command* about *revisions*, options like ``--all`` and names: more than arguments can be."""
    options = [it for it in revisions if it.startswith("-")]
    names = "".join(f"{it}\n" for it in revisions if not it.startswith("-"))
    return Process([*command, "--stdin", *options], stored(names.encode(errors="surrogateescape")))


def stored(data: bytes) -> int:
    """Return a descriptor from which *data* is read: so git never waits for us while we wait for it."""
    fd = posix.memfd_create("vault")
    view = memoryview(data)
    while view:
        view = view[posix.write(fd, view) :]
    posix.lseek(fd, 0, 0)
    return fd


class Object:
    """One object that was read: its id, type and size in bytes."""

    __slots__ = ("id", "kind", "size")

    def __init__(self, head: bytes):
        """Take the line that ``git cat-file --batch`` puts before it; raise ScanError when it is none."""
        parts = head.split(b" ")
        if len(parts) != 3 or not parts[2].isdigit():  # noqa: PLR2004 - id, type, size
            raise ScanError(f"git has no object {parts[0].decode(errors='replace')[:64]}", _GET)
        self.id, self.kind, self.size = parts[0].decode(), parts[1].decode(), int(parts[2])


def objects(
    fd: int, may_hold: "Callable[[bytes], bool]"
) -> "Iterator[tuple[Object, Iterator[bytes] | None]]":
    """Yield the objects that ``git cat-file --batch`` writes to *fd*, and their content in pieces.

    Where *may_hold* tells of a buffer that nothing in it matters, its objects come without
    content, in constant memory and without a look at each. The content has to be read before the
    next object is asked for. Raises ScanError when the stream ends early.
    """
    data = b""
    while more := posix.read(fd, _READ):
        data += more
        whole, place = [], 0
        while (head_end := data.find(b"\n", place)) >= 0:
            found = Object(data[place:head_end])
            start, end = head_end + 1, head_end + 1 + found.size
            if end >= len(data):
                break
            whole.append((found, data[start:end]))
            place = end + 1
        # Without what git says of each: its id would be taken for base64.
        close = may_hold(b"\n".join([content for _, content in whole])) if whole else False
        for complete, content in whole:
            yield complete, iter((content,)) if close else None
        data = data[place:]
        if head_end >= 0 and found.size > _PIPE:
            rest = _rest_of(fd, data.partition(b"\n")[2], found.size)
            yield found, rest
            for _ in rest:
                pass  # what was not read of it is no object of its own
            data = b""
    if data:
        raise ScanError("git stopped in the middle of an object", _GET)


def _rest_of(fd: int, begun: bytes, size: int) -> "Iterator[bytes]":
    """Yield the content of an object of *size* bytes, of which *begun* was read; and read what ends it."""
    left = size - len(begun)
    if begun:
        yield begun
    while left >= 0:  # with the line end behind it
        piece = posix.read(fd, min(_PIPE, left + 1))
        if not piece:
            raise ScanError("git stopped in the middle of an object", _GET)
        if left:
            yield piece[:left]
        left -= len(piece)


def read_some(fd: int, limit: "int | None") -> bytes:
    """Return what *fd* gives, at most *limit* bytes."""
    pieces, size = [], 0
    while (limit is None or size < limit) and (piece := posix.read(fd, _PIPE)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def capacity(pipe: int) -> int:
    """Return how many bytes *pipe* takes before somebody reads."""
    return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)


def _is_server() -> bool:
    """Tell whether we stand in a bare repository, and in none that a work tree brought.

    A committed directory can look like one, and its configuration names programs to run.
    """
    try:
        posix.stat("HEAD")
    except OSError:
        return False  # as nearly always
    import os

    if not (os.path.isfile("HEAD") and os.path.isdir("objects") and os.path.isdir("refs")):
        return False
    folder = os.getcwd()
    while not os.path.lexists(os.path.join(folder, ".git")):
        if folder == os.path.dirname(folder):
            return True
        folder = os.path.dirname(folder)
    return False


def _enlarge(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    except OSError:
        return  # it is only slower
