"""Watching where a secret goes while a plugin works: programs, environments, files, logs and output.

Python's audit events (PEP 578) tell what is about to happen, so also of a file that is removed
again at once. What a program does that the plugin starts is seen from its arguments, from its
environment, and from what it leaves in the directory for temporary files.
"""

import base64
import contextlib
import io
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from typing import NamedTuple

_MAX_READ = 64 << 20
_PROGRAMS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.spawn")
_ENDS = ("os.remove", "os.rename", "os.truncate", "shutil.rmtree")

_watching: "list[Watch]" = []


class Trace(NamedTuple):
    """A place where the secret was seen."""

    where: str
    """``argv``, ``environment``, ``file``, ``log``, ``output`` or ``exception``."""
    what: str
    """Which program, variable or file; never the secret."""


class Watch:
    """What was seen of one secret; see :func:`watched`."""

    def __init__(self, secret: bytes):
        self._forms = _forms(secret)
        self._written: set[str] = set()
        self.traces: list[Trace] = []

    def look(self, where: str, what: str, content: bytes) -> None:
        """Note a trace when *content* holds the secret in any form."""
        trace = Trace(where, what)
        if trace not in self.traces and any(form in content for form in self._forms):
            self.traces.append(trace)

    def event(self, name: str, arguments: tuple[object, ...]) -> None:
        """Take an audit event."""
        if name in _PROGRAMS:
            self.look("argv", _first(arguments), _bytes(arguments))
            self._environment()
        elif name == "os.putenv":
            self.look("environment", _first(arguments), _bytes(arguments))
        elif name == "open" and isinstance(arguments[0], (str, bytes)) and _is_writing(arguments[2]):
            self._written.add(os.path.abspath(os.fsdecode(arguments[0])))
        elif name in _ENDS:
            self._files()

    def end(self, folder: str) -> None:
        """Look at what is left: written files, and all that lies in *folder*."""
        self._environment()
        self._written |= {os.path.join(base, name) for base, _, names in os.walk(folder) for name in names}
        self._files()

    def exception(self, error: BaseException) -> None:
        """Look at the text of *error* and of all that stands behind it."""
        self.look("exception", type(error).__name__, "".join(traceback.format_exception(error)).encode())
        seen: BaseException | None = error
        while seen is not None:
            self.look("exception", type(seen).__name__, repr(seen.args).encode() + str(seen).encode())
            seen = seen.__cause__ or seen.__context__

    def _environment(self) -> None:
        for name, value in os.environb.items():
            self.look("environment", os.fsdecode(name), value)

    def _files(self) -> None:
        for path in self._written:
            with contextlib.suppress(OSError):
                file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    self.look("file", path, os.read(file, _MAX_READ))
                finally:
                    os.close(file)


@contextlib.contextmanager
def watched(secret: bytes) -> Iterator[Watch]:
    """Watch where *secret* goes while the body runs; its temporary files go to a directory of their own."""
    watch = Watch(secret)
    output, log = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(log)
    logger, level = logging.getLogger(), logging.getLogger().level
    with tempfile.TemporaryDirectory() as folder, _temporary(folder):
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        _hook()
        _watching.append(watch)
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                yield watch
            watch.end(folder)
        finally:
            _watching.remove(watch)
            logger.removeHandler(handler)
            logger.setLevel(level)
    watch.look("output", "standard output or error", output.getvalue().encode(errors="surrogateescape"))
    watch.look("log", "logging", log.getvalue().encode(errors="surrogateescape"))


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


def _hook() -> None:
    """Install the audit hook, once: Python cannot remove one."""
    if not getattr(sys, "_tskeyvault_watch", False):
        sys._tskeyvault_watch = True  # type: ignore[attr-defined]  # noqa: SLF001 - survives a second import of us
        sys.addaudithook(_audit)


def _audit(name: str, arguments: tuple[object, ...]) -> None:
    current = list(_watching)
    _watching.clear()  # what we do ourselves is not to be watched
    try:
        for watch in current:
            watch.event(name, arguments)
    finally:
        _watching.extend(current)


def _forms(secret: bytes) -> list[bytes]:
    """Return *secret* as it is and as it is commonly written, in all alignments of base64."""
    encoded = [base64.b64encode(secret[shift:])[4:-4] for shift in range(3)]
    text = repr(secret)[2:-1].encode()
    return [form for form in (secret, secret.hex().encode(), text, *encoded) if len(form) > 8]  # noqa: PLR2004 - by chance


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return os.fsencode(value)
    if isinstance(value, dict):
        return b"\0".join(_bytes(item) for pair in value.items() for item in pair)
    if isinstance(value, (list, tuple)):
        return b"\0".join(map(_bytes, value))
    return b""


def _first(arguments: tuple[object, ...]) -> str:
    return os.fsdecode(_bytes(arguments[0]).partition(b"\0")[0])[:80]


def _is_writing(flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
