"""Limits on time and memory: deadlines, locks that do not wait for ever, and no core dumps."""

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType

from .errors import DeliveryError

LOCK_SECONDS = 30.0
"""How long a lock is waited for, where the caller sets no shorter limit."""

_ASK_AGAIN = 0.02
_INTERRUPTS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGQUIT)
_PR_SET_DUMPABLE = 4


@contextlib.contextmanager
def deadline(seconds: float, what: str) -> Iterator[None]:
    """Let the body run for *seconds* at most, and let it clean up when it is told to stop.

    Raises DeliveryError, in the body, when time is up or SIGTERM or SIGHUP arrives; time every
    second again, for code that swallows it.
    """

    def up(_number: int, _frame: FrameType | None) -> None:
        raise DeliveryError(f"{what}: not done within {seconds:g} s", "--timeout gives it longer")

    before = signal.signal(signal.SIGALRM, up)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        with stoppable(what):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def stoppable(what: str, *, unless_handled: bool = False) -> Iterator[None]:
    """Let the body clean up when it is told to stop: SIGTERM and SIGHUP raise DeliveryError in it.

    A signal that is ignored (nohup) stays so, and with *unless_handled* one that somebody handles already.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        raise DeliveryError(f"{what}: stopped by {signal.Signals(number).name}")

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    kept = [it for it in before.values() if it == signal.SIG_IGN or (unless_handled and it != signal.SIG_DFL)]
    ours = {number: handler for number, handler in before.items() if handler not in kept}
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back signals that can be held back while the body runs: it must be short and not wait."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def locked(fd: int, what: str, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock of the open directory *fd* (flock: it leaves no file, and ends with the process).

    Raises DeliveryError when another process holds it for *seconds*.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > end:
                raise DeliveryError(f"{what}: another process has held its lock for {seconds:g} s") from None
            time.sleep(_ASK_AGAIN)
        except OSError as error:
            raise DeliveryError(f"{what} cannot be locked: {os.strerror(error.errno or 0).lower()}") from None
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def protect_memory() -> None:
    """Allow no core dump of this process and no reading of its memory by the same user.

    To be called before the first plaintext. The limit is inherited by programs it starts.
    """
    import ctypes
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
