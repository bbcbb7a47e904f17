"""One question to a program that answers in two channels: its output, and a report on how it went.

gpg is such a program. Its report (``--status-fd``) is believed only because it comes on a descriptor
of its own, on which nothing else is written: what it says to people is not even read.
"""

import contextlib
import math
import os
import select
import time
from collections.abc import Sequence
from typing import NamedTuple

from . import process
from .errors import IntegrityError, PluginError
from .process import Running

MAX_REPORT = 4 << 20
"""Bytes of a report."""
_PIECE = 1 << 16


class Answer(NamedTuple):
    """How a program ended, and what it said."""

    status: int
    """The exit code; a signal that ended it is negative."""
    output: bytes
    """What it wrote to its standard output."""
    report: bytes
    """What it wrote to the descriptor for reports."""


class Stop:
    """Lets one thread end the programs that others are waiting for."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()

    def now(self) -> None:
        """End them all, and those that begin later."""
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1

    def check(self) -> None:
        """Raise PluginError when no program may begin any more."""
        if self._writer < 0:
            raise PluginError("stopped")

    def __del__(self) -> None:
        self.now()
        os.close(self.reader)


def ask(
    argv: Sequence[str],
    *,
    given: bytes = b"",
    report: str = "",
    secret: tuple[str, bytes] | None = None,
    limit: int,
    seconds: float,
    stop: Stop,
) -> Answer:
    """Run *argv*, whose first is an absolute path, in ``/`` with *given* as its whole standard input.

    *report* is the option that tells it where to report to, *secret* one for a descriptor that it
    reads a passphrase (at most 4 KiB) from, and that passphrase. Its standard error is discarded.

    Raises PluginError when it cannot be started, takes more than *seconds* or reports too much, and
    IntegrityError when it puts out more than *limit* bytes.
    """
    stop.check()
    with contextlib.ExitStack() as stack:
        ours, theirs = os.pipe()
        stack.callback(os.close, ours)
        with contextlib.ExitStack() as only_theirs:
            only_theirs.callback(os.close, theirs)
            channels = [(report, theirs)] if report else []
            if secret:
                channels.append((secret[0], _held(only_theirs, secret[1])))
            extra = [word for option, fd in channels for word in (option, str(fd))]
            started = stack.enter_context(
                process.started([argv[0], *extra, *argv[1:]], passed=[fd for _, fd in channels])
            )
        ended = os.pidfd_open(started.pid)
        stack.callback(os.close, ended)
        talk = _Talk(started, ours, given, limit)
        talk.finish(ended, stop.reader, seconds)
    return Answer(started.status() or 0, bytes(talk.output), bytes(talk.reported))


class _Talk:
    """What is still to be written to a running program, and what was heard of it."""

    def __init__(self, started: Running, report: int, given: bytes, limit: int):
        self._name = started.name
        self._in, self._out, self._report = started.stdin, started.stdout, report
        self._given, self._limit = memoryview(given), limit
        self.output, self.reported = bytearray(), bytearray()
        for fd in (self._in.fileno(), self._out, self._report):
            os.set_blocking(fd, False)

    def finish(self, ended: int, stop: int, seconds: float) -> None:
        """Write and read until *ended* tells that the program has, and everything that it said was heard."""
        end = time.monotonic() + seconds
        poll = select.poll()
        for fd in (self._out, self._report, ended, stop):
            poll.register(fd, select.POLLIN)
        poll.register(writing := self._in.fileno(), select.POLLOUT)
        ready: set[int] = set()
        while ended not in ready:
            ready = {fd for fd, _ in poll.poll(math.ceil(max(end - time.monotonic(), 0) * 1000))}
            if stop in ready:
                raise PluginError(f"{self._name}: stopped")
            if not ready:
                raise PluginError(f"{self._name} did not answer within {seconds:g} s")
            if writing in ready and not self._write():
                poll.unregister(writing)
                self._in.close()
                writing = -1
            for fd in {self._out, self._report} & ready:
                if not self._hear(fd):
                    poll.unregister(fd)
        while self._hear(self._out) or self._hear(self._report):
            pass  # what it had said before it ended

    def _write(self) -> bool:
        """Send some more; tell whether there is more to send."""
        try:
            self._given = self._given[os.write(self._in.fileno(), self._given[:_PIECE]) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        return bool(self._given)

    def _hear(self, fd: int) -> bool:
        """Take what the program says on *fd*; tell whether there was something."""
        try:
            data = os.read(fd, _PIECE)
        except BlockingIOError:
            return False
        heard, limit = (self.output, self._limit) if fd == self._out else (self.reported, MAX_REPORT)
        heard += data
        if len(heard) > limit:
            kind = IntegrityError if fd == self._out else PluginError
            raise kind(f"{self._name} puts out more than {limit} bytes")
        return bool(data)


def _held(stack: contextlib.ExitStack, data: bytes) -> int:
    """Return a descriptor that *data*, which a pipe can hold, is read from."""
    reader, writer = os.pipe()
    stack.callback(os.close, reader)
    try:
        os.write(writer, data)
    finally:
        os.close(writer)
    return reader
