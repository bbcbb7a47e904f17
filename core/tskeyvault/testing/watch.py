"""What is looked at for a secret: programs, environments, files, logs and output.

Every regular file that is open for a moment is opened once more, for reading, and read after every
write: so it is seen though it is anonymous, overwritten, renamed or removed at once.

Of a program that the plugin starts, its arguments, its environment, its output and what it leaves in
the directory for temporary files are seen; not what it removes itself, nor what it starts in turn.
"""

import base64
import contextlib
import fcntl
import os
import stat
import traceback
from collections.abc import Mapping
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


class Trace(NamedTuple):
    """A place where the secret was seen."""

    where: str
    """``argv``, ``environment``, ``file``, ``log``, ``output``, ``repr``, ``ciphertext`` or ``exception``."""
    what: str
    """Which program, variable, file or exception; never the secret."""

    def __str__(self) -> str:
        return f"{self.where} ({self.what})" if self.what else self.where


class Watch:
    """What was seen of one secret; see :func:`.watching.watched`."""

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
            self.look("file", path, content(again))
        for path in self._written:
            with contextlib.suppress(OSError):
                file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    self.look("file", path, content(file))
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


def content(fd: int) -> bytes:
    """Return what the open file *fd* holds, up to 64 MiB of it."""
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
