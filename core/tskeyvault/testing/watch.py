"""Watching where a secret goes while a plugin works: programs, environments, files, logs and output.

Python's audit events (PEP 578) tell what is about to happen, and a profile function tells what has
just happened. Every regular file that is open for a moment is opened once more, for reading, and read
after every write: so it is seen though it is anonymous, overwritten, renamed or removed at once.

Of a program that the plugin starts, its arguments, its environment, its output and what it leaves in
the directory for temporary files are seen; not what it removes itself, nor what it starts in turn.
Nor is a copy of this process watched that the plugin makes with ``os.fork``.
"""

import base64
import contextlib
import fcntl
import io
import logging
import os
import stat
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import NamedTuple

_MAX_READ = 64 << 20
_BY_CHANCE = 8
_SHOWN = 80

_COMMANDS: Mapping[str, tuple[int, int | None]] = {
    "subprocess.Popen": (1, 3),
    "os.exec": (1, 2),
    "os.posix_spawn": (1, 2),
    "os.spawn": (2, 3),
    "os.system": (0, None),
}
"""Which arguments of an audit event are the command and the environment of the program."""
_ENDS = frozenset({"os.remove", "os.rename", "os.truncate", "os.link", "shutil.rmtree"})
_TOUCH = frozenset(
    (
        "open",
        "fdopen",
        "write",
        "writelines",
        "writev",
        "pwrite",
        "flush",
        "fsync",
        "close",
        "truncate",
        "ftruncate",
        "seek",
        "lseek",
        "sendfile",
        "copy_file_range",
    )
)
"""Functions after (and before) which files may have changed."""

_watching: "list[Watch]" = []
_busy = threading.local()


class Trace(NamedTuple):
    """A place where the secret was seen."""

    where: str
    """``argv``, ``environment``, ``file``, ``log``, ``output``, ``repr``, ``ciphertext`` or ``exception``."""
    what: str
    """Which program, variable, file or exception; never the secret."""

    def __str__(self) -> str:
        return f"{self.where} ({self.what})" if self.what else self.where


class Watch:
    """What was seen of one secret; see :func:`watched`."""

    def __init__(self, secret: bytes):
        self._forms = _forms(secret)
        self._written: set[str] = set()
        self._held: dict[tuple[int, int], tuple[int, str]] = {}
        self.traces: list[Trace] = []

    def look(self, where: str, what: str, content: object) -> None:
        """Note a trace when *content* holds the secret in any form."""
        data = _bytes(content)
        trace = Trace(where, self._shown(what))
        if trace not in self.traces and any(form in data for form in self._forms):
            self.traces.append(trace)

    def event(self, name: str, arguments: tuple[object, ...]) -> None:
        """Take an audit event."""
        if name in _COMMANDS:
            self._program(name, arguments)
        elif name == "os.putenv":
            self.look("environment", _text(arguments[0]), arguments)
        elif name == "syslog.syslog":
            self.look("log", "syslog", arguments)
        elif name == "open" and isinstance(arguments[0], (str, bytes)):
            self.look("file", "its name", arguments[0])
            if _is_writing(arguments[2]):
                self._written.add(os.path.abspath(os.fsdecode(arguments[0])))
        elif name in _ENDS:
            self.look("file", "its name", [part for part in arguments if isinstance(part, (str, bytes))])
        if name in _ENDS or name == "open":
            self.files()

    def files(self) -> None:
        """Look at every file that is open or was written."""
        for identity, fd in _open_files().items():
            if identity not in self._held:
                with contextlib.suppress(OSError):
                    again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                    self._held[identity] = again, os.readlink(f"/proc/self/fd/{again}")
        for again, path in self._held.values():
            self.look("file", path, _content(again))
        for path in self._written:
            with contextlib.suppress(OSError):
                file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    self.look("file", path, _content(file))
                finally:
                    os.close(file)

    def end(self, folder: str) -> None:
        """Look at what is left: the environment, written files, and all that lies in *folder*."""
        self._environment(os.environb)
        found = [os.path.join(base, name) for base, _, names in os.walk(folder) for name in names]
        self._written.update(found)
        self.look("file", "its name", found)
        self.files()
        for again, _ in self._held.values():
            os.close(again)
        self._held = {}

    def exception(self, error: BaseException) -> None:
        """Look at *error* and at all that stands behind it: text, arguments, attributes and notes."""
        self.look("exception", type(error).__name__, "".join(traceback.format_exception(error)))
        for one in _behind(error):
            self.look("exception", type(one).__name__, [str(one), repr(one), repr(one.args), repr(vars(one))])

    def _program(self, name: str, arguments: tuple[object, ...]) -> None:
        command, environment = _COMMANDS[name]
        self.look("argv", _text(arguments[0]), [arguments[0], arguments[command]])
        given = None if environment is None else arguments[environment]
        if isinstance(given, Mapping):
            self._environment(given)
        elif given:
            self.look("environment", _text(arguments[0]), given)
        else:
            self._environment(os.environb)

    def _environment(self, variables: Mapping[object, object] | Mapping[bytes, bytes]) -> None:
        for name, value in variables.items():
            self.look("environment", _text(name), [name, value])

    def _shown(self, what: str) -> str:
        hidden = any(form in os.fsencode(what) for form in self._forms)
        return "whose name holds it" if hidden else what


@contextlib.contextmanager
def watched(secret: bytes) -> Iterator[Watch]:
    """Watch where *secret* goes while the body runs; its temporary files go to a directory of their own."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(_temporary(folder))
        output = stack.enter_context(_output())
        watch = Watch(secret)
        stack.enter_context(_logs(watch))
        stack.enter_context(_calls(watch))
        yield watch
        with _unwatched():
            watch.end(folder)
            watch.look("output", "standard output or error", output())


def told(text: str) -> None:
    """Look at what a plugin tells the user through ``options["ui"]``."""
    for watch in _watching:
        watch.look("output", "a message to the user", text)


@contextlib.contextmanager
def _temporary(folder: str) -> Iterator[None]:
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    try:
        yield
    finally:
        tempfile.tempdir = before[1]
        if before[0] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before[0]


@contextlib.contextmanager
def _output() -> Iterator[Callable[[], bytes]]:
    """Take what is written to standard output and error, by Python or past it; yield what returns it."""
    written = io.StringIO()
    memory = os.memfd_create("output")
    before = [(fd, os.dup(fd)) for fd in (1, 2)]

    def taken() -> bytes:
        for stream in (sys.__stdout__, sys.__stderr__):
            if stream and not stream.closed:
                stream.flush()
        return written.getvalue().encode(errors="surrogateescape") + _content(memory)

    try:
        for fd, _ in before:
            os.dup2(memory, fd)
        with contextlib.redirect_stdout(written), contextlib.redirect_stderr(written):
            yield taken
    finally:
        for fd, copy in before:
            os.dup2(copy, fd)
            os.close(copy)
        os.close(memory)


@contextlib.contextmanager
def _logs(watch: Watch) -> Iterator[None]:
    """Look at every log record that is made, whoever would handle it; warnings become records."""
    root, level, made = logging.getLogger(), logging.getLogger().level, logging.getLogRecordFactory()
    disabled = root.manager.disable
    formatter = logging.Formatter()

    def record(*arguments: object, **more: object) -> logging.LogRecord:
        found = made(*arguments, **more)
        said = [repr(found.args), repr(found.msg)]
        with contextlib.suppress(Exception):  # a record that cannot be formatted shows no more
            said.append(formatter.format(found))
        watch.look("log", found.name, said)
        found.msg, found.args, found.exc_info, found.exc_text = "looked at by the kit", (), None, None
        return found

    try:
        logging.setLogRecordFactory(record)
        root.setLevel(logging.DEBUG)
        logging.disable(logging.NOTSET)
        logging.captureWarnings(True)
        yield
    finally:
        logging.captureWarnings(False)
        logging.disable(disabled)
        root.setLevel(level)
        logging.setLogRecordFactory(made)


@contextlib.contextmanager
def _calls(watch: Watch) -> Iterator[None]:
    """Follow what happens in all threads: audit events, and the calls of functions that touch files."""
    if not getattr(sys, "_tskeyvault_watch", False):  # Python cannot remove an audit hook
        sys._tskeyvault_watch = True  # type: ignore[attr-defined]  # noqa: SLF001 - survives a second import of us
        sys.addaudithook(_audit)
    before = sys.getprofile(), threading.getprofile()
    _watching.append(watch)
    threading.setprofile(_profile)
    sys.setprofile(_profile)
    try:
        yield
    finally:
        sys.setprofile(before[0])
        threading.setprofile(before[1])  # None is what it was
        _watching.remove(watch)


@contextlib.contextmanager
def _unwatched() -> Iterator[None]:
    _busy.here = True
    try:
        yield
    finally:
        _busy.here = False


def _audit(name: str, arguments: tuple[object, ...]) -> None:
    if _watching and not getattr(_busy, "here", False):
        with _unwatched():
            for watch in _watching:
                watch.event(name, arguments)


def _profile(_frame: FrameType, event: str, function: object) -> None:
    touches = event in {"c_call", "c_return", "c_exception"} and getattr(function, "__name__", "") in _TOUCH
    if touches and _watching and not getattr(_busy, "here", False):
        with _unwatched():
            for watch in _watching:
                watch.files()


def _open_files() -> dict[tuple[int, int], int]:
    """Return the regular files that this process has open for writing, but those in memory alone."""
    found = {}
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            info = os.fstat(fd)
            writable = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
            in_memory = os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:")
            if writable and stat.S_ISREG(info.st_mode) and not in_memory:
                found[info.st_dev, info.st_ino] = fd
    return found


def _content(fd: int) -> bytes:
    return os.pread(fd, _MAX_READ, 0)


def _behind(error: BaseException) -> list[BaseException]:
    """Return *error* and all that it was raised from, while handling, or together with."""
    found: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is not None and one not in found:
            found.append(one)
            pending += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return found


def _forms(secret: bytes) -> list[bytes]:
    """Return *secret* as it is and as it is commonly written, in all alignments of base64."""
    encoded = [base64.b64encode(secret[shift:])[4:-4] for shift in range(3)]
    forms = [
        secret,
        secret[::-1],
        secret.hex().encode(),
        secret.hex().upper().encode(),
        repr(secret)[2:-1].encode(),
        base64.b32encode(secret)[:-8],
        *encoded,
        *(base64.urlsafe_b64encode(base64.b64decode(form)) for form in encoded if len(form) % 4 == 0),
        secret.decode(errors="replace").encode("utf-16-le"),
    ]
    return [form for form in dict.fromkeys(forms) if len(form) > _BY_CHANCE]


def _bytes(value: object) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    if isinstance(value, os.PathLike):
        return _bytes(os.fspath(value))
    if isinstance(value, Mapping):
        return b"\0".join(_bytes(item) for pair in value.items() for item in pair)
    if isinstance(value, (list, tuple)):
        return b"\0".join(map(_bytes, value))
    return b""


def _text(value: object) -> str:
    return _bytes(value).partition(b"\0")[0].decode(errors="replace")[:_SHOWN]


def _is_writing(flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
