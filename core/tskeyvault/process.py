"""The one way to run another program: an argument list, a closed environment, a time limit.

:func:`run` is for a program that is asked once, :func:`interactive` for one that the user works with,
:func:`conversation` for one that we talk to. One with a channel of its own for what it reports is in
:mod:`tskeyvault.exchange`.
"""

import contextlib
import math
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, NamedTuple

from . import home, limits
from .errors import PluginError

if TYPE_CHECKING:
    import subprocess

PASSED_ON = (
    "HOME", "PATH", "USER", "LOGNAME", "TZ", "TERM", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK",
    "GNUPGHOME", "GPG_TTY", "PINENTRY_USER_DATA", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY",
    "DBUS_SESSION_BUS_ADDRESS", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_AUTHOR_NAME",
    "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_DATE", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "GIT_COMMITTER_DATE",
    "SYSTEMD_TPM2_DEVICE",
)  # fmt: skip
"""Variables that a program gets from ours; no others, so none that redirects git to another tree."""

MAX_OUTPUT = 2 << 20
"""Bytes that a program may say in one conversation; no more are kept."""

_SILENCE = 5.0
"""Seconds without a word from the program, after which the user is told."""
_MOMENT = 1.0
"""Seconds that a program gets to end by itself, and again to end when it is told to."""
_PIECE = 1 << 16


class Result(NamedTuple):
    """How a program ended."""

    status: int
    output: str
    errors: str


def run(argv: Sequence[str], *, directory: str, given: bytes = b"", seconds: float = 60.0) -> Result:
    """Run *argv* in *directory*, with *given* as its whole standard input, and wait at most *seconds*.

    Raises PluginError when it cannot be started or does not end in time; a failure is a status.
    """
    import subprocess  # 14 ms that reading a secret never needs

    try:
        done = subprocess.run(  # noqa: S603 - a list, never a shell; callers pass validated names behind "--"
            argv,
            cwd=directory,
            env=_environment(),
            input=given,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PluginError(f"{argv[0]} did not end within {seconds:g} s") from None
    except OSError as error:
        raise _not_started(argv[0], error) from None
    return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def interactive(argv: Sequence[str], *, directory: str) -> int:
    """Run *argv* in *directory* on our terminal, as long as its user likes; return its exit code.

    It has our whole environment, save what redirects git; a signal that ended it counts as 128 more.
    Ctrl-C is for the program. Raises PluginError when it cannot be started.
    """
    import subprocess

    ours = {k: v for k, v in os.environ.items() if k in PASSED_ON or not k.startswith("GIT_")}
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)  # ignored, it would be so there too
    try:
        done = subprocess.run(argv, cwd=directory, env=ours, check=False)  # noqa: S603 - a list, never a shell
    except OSError as error:
        raise _not_started(argv[0], error) from None
    finally:
        signal.signal(signal.SIGINT, before)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def find(program: str) -> str:
    """Return the absolute path of *program*, a plain file name, or ``""``.

    Only absolute entries of PATH are searched: no program comes from the working directory.
    """
    if os.path.basename(program) != program or program in {"", ".", ".."} or "\0" in program:
        return ""
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    paths = [os.path.join(entry, program) for entry in entries if os.path.isabs(entry)]
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), "")


@contextlib.contextmanager
def conversation(
    argv: Sequence[str], *, seconds: float, silent: Callable[[], None] | None = None
) -> Iterator["Conversation"]:
    """Run *argv*, whose first is an absolute path, in ``/`` and talk to it for at most *seconds*.

    *silent* is called, once, when it has said nothing for 5 s. What it writes to standard error is
    discarded. It runs in a session of its own, without a terminal; at the end that is ended whole,
    with what it has left behind. Raises PluginError when it cannot be started.
    """
    with started(argv) as running, limits.stoppable(running.name):
        yield Conversation(running, seconds, silent)


class Running(NamedTuple):
    """A program that runs, and the pipes to it."""

    name: str
    pid: int
    stdin: IO[bytes]
    stdout: int
    """A descriptor."""
    status: Callable[[], int | None]
    """Gives its exit code, once it was ended."""


@contextlib.contextmanager
def started(argv: Sequence[str], passed: Sequence[int] = ()) -> Iterator[Running]:
    """Run *argv*, whose first is an absolute path, in ``/``; it also gets the descriptors *passed*.

    What it writes to standard error is discarded. It runs in a session of its own, without a terminal;
    at the end that is ended whole, with what it has left behind. Raises PluginError when it cannot be started.
    """
    import subprocess

    name = os.path.basename(argv[0])
    try:
        process = subprocess.Popen(  # noqa: S603 - a list, never a shell; callers pass checked names
            argv,
            cwd="/",
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            pass_fds=passed,
            start_new_session=True,
        )
    except OSError as error:
        raise _not_started(name, error) from None
    try:
        if process.stdin is None or process.stdout is None:
            raise PluginError(f"{name} cannot be started")
        yield Running(name, process.pid, process.stdin, process.stdout.fileno(), lambda: process.returncode)
    finally:
        _end(process)


class Conversation:
    """A running program that is written to and that answers, within limits on its time and output."""

    def __init__(self, running: Running, seconds: float, silent: Callable[[], None] | None):
        self._in, self._out = running.stdin.fileno(), running.stdout
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._name = running.name
        self._seconds = seconds
        self._silent = silent
        self._listens = self._speaks = True
        self._heard = bytearray()
        self._left = MAX_OUTPUT
        self.renew()

    def write(self, data: bytes) -> None:
        """Send *data*, and keep what the program says meanwhile.

        What it does not want to read any more is dropped: what it said tells why. Raises
        PluginError when it does not read in time.
        """
        rest = memoryview(data)
        while rest and self._listens and self._speaks:
            self._wait(writing=True)
            try:
                rest = rest[os.write(self._in, rest) :]
            except BlockingIOError:
                continue  # it was only heard
            except BrokenPipeError:
                self._listens = False

    def readline(self, limit: int) -> bytes | None:
        """Return the next line, without its LF, or None when the program says no more.

        A line without an end is none. Raises PluginError when none comes in time, for one of more
        than *limit* bytes, and when the program has said more than 2 MiB.
        """
        while (end := self._heard.find(b"\n")) < 0:
            if len(self._heard) > limit:
                break
            if not self._speaks:
                return None
            self._wait()
        if not 0 <= end <= limit:
            raise PluginError(f"{self._name} sends a line of more than {limit} bytes")
        line = bytes(self._heard[:end])
        del self._heard[: end + 1]
        return line

    def renew(self) -> None:
        """Give the program its time anew, because it did what it was to do."""
        self._end = time.monotonic() + self._seconds
        self._listen()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Run the body at nobody's expense: it waits for the user, not for the program."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._end += time.monotonic() - start
            self._listen()

    def _listen(self) -> None:
        self._until_told = time.monotonic() + _SILENCE if self._silent else math.inf

    def _wait(self, *, writing: bool = False) -> None:
        """Wait until something was heard, which is kept, or may be written, or the user is to be told."""
        now = time.monotonic()
        if now >= self._end:
            raise PluginError(f"{self._name} did not answer within {self._seconds:g} s")
        if now >= self._until_told:
            self._tell()
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        if writing:
            poll.register(self._in, select.POLLOUT)
        pause = min(self._end, self._until_told) - now
        if any(fd == self._out for fd, _event in poll.poll(math.ceil(pause * 1000))):
            self._hear()

    def _tell(self) -> None:
        silent, self._silent = self._silent, None
        self._listen()
        if silent:
            silent()

    def _hear(self) -> None:
        data = os.read(self._out, _PIECE)
        self._speaks = bool(data)
        self._left -= len(data)
        if self._left < 0:
            raise PluginError(f"{self._name} sends more than {MAX_OUTPUT >> 20} MiB")
        self._heard += data
        self._listen()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Close the pipes, let the program end, then make it and all in its process group end; reap it.

    The program is not reaped before the last signal, so its number cannot be another's meanwhile.
    """
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
    try:
        ended = os.pidfd_open(process.pid)
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        try:
            poll.poll(_MOMENT * 1000)
            _signal(process.pid, signal.SIGTERM)
            poll.poll(_MOMENT * 1000)
        finally:
            os.close(ended)
    finally:
        _signal(process.pid, signal.SIGKILL)
        process.wait()


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _environment() -> dict[str, str]:
    own = {"HOME": found} if (found := home.of_user(os.environ)) else {}
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | own | {"LC_ALL": "C.UTF-8"}


def _not_started(program: str, error: OSError) -> PluginError:
    if isinstance(error, FileNotFoundError):
        return PluginError(f"{program} is not installed")
    return PluginError(f"{program} cannot be started")
