"""Watching while a plugin works: how the kit learns of every program, file, record and message.

Python's audit events (PEP 578) tell what is about to happen, and a profile function tells what has
just happened. A copy of this process that the plugin makes with ``os.fork`` is not watched.
"""

import contextlib
import io
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from .watch import Watch, content

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

_watching: list[Watch] = []
_busy = threading.local()


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
        return written.getvalue().encode(errors="surrogateescape") + content(memory)

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
