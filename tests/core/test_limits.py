"""Deadlines, locks, held signals, and a memory that nobody else can read."""

import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from support import needs
from support.vaults import run_python
from tskeyvault import files, limits
from tskeyvault.errors import DeliveryError

CAUGHT = (signal.SIGTERM, signal.SIGHUP)


def handlers() -> list[object]:
    return [
        signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    ]


@pytest.fixture
def nothing() -> Iterator[int]:
    """Give a descriptor from which reading never ends by itself."""
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


def test_a_deadline_that_is_not_reached_leaves_everything_as_it_was() -> None:
    before = handlers()
    with limits.deadline(60, "it"):
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert handlers() == before


def test_a_deadline_ends_a_wait_and_lets_the_body_clean_up(nothing: int) -> None:
    before, cleaned = handlers(), []

    def body() -> None:
        with limits.deadline(0.01, "materialize"):
            try:
                os.read(nothing, 1)
            finally:
                cleaned.append("up")

    with pytest.raises(DeliveryError, match=r"materialize: not done within 0\.01 s") as caught:
        body()
    assert caught.value.hint == "--timeout gives it longer"
    assert cleaned == ["up"]
    assert handlers() == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_deadline_that_is_swallowed_comes_again(nothing: int) -> None:
    swallowed = []

    def body() -> None:
        with limits.deadline(0.01, "it"):
            try:
                os.read(nothing, 1)
            except DeliveryError:
                swallowed.append("once")
            os.read(nothing, 1)

    with pytest.raises(DeliveryError):
        body()
    assert swallowed == ["once"]


@pytest.mark.parametrize("number", CAUGHT)
def test_a_signal_to_stop_is_an_explained_failure(number: signal.Signals) -> None:
    before = handlers()
    with pytest.raises(DeliveryError, match=f"it: stopped by {number.name}"), limits.deadline(60, "it"):
        signal.raise_signal(number)
    assert handlers() == before


def test_a_failure_in_the_body_passes_through() -> None:
    before = handlers()
    with pytest.raises(ZeroDivisionError), limits.deadline(60, "it"):
        raise ZeroDivisionError
    assert handlers() == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGINT])
def test_signals_are_held_back_and_not_lost(number: signal.Signals) -> None:
    arrived: list[int] = []

    def note(arriving: int, _frame: FrameType | None) -> None:
        arrived.append(arriving)

    before = signal.signal(number, note)
    try:
        with limits.uninterrupted():
            signal.raise_signal(number)
            assert number in signal.sigpending()
            assert arrived == []
        assert arrived == [number]
    finally:
        signal.signal(number, before)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {number}


def test_the_mask_is_what_it_was_also_after_a_failure() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with pytest.raises(ZeroDivisionError), limits.uninterrupted():
            raise ZeroDivisionError
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_a_deadline_waits_until_what_must_not_be_interrupted_is_done() -> None:
    done = []

    def body() -> None:
        with limits.deadline(60, "it"), limits.uninterrupted():
            signal.raise_signal(signal.SIGALRM)  # as the timer does
            done.append("all")

    with pytest.raises(DeliveryError):
        body()
    assert done == ["all"]


def test_a_lock_excludes_and_is_given_back(folder: int, tmp_path: Path) -> None:
    with files.directory(str(tmp_path / "folder")) as other:
        with limits.locked(folder, "it"):
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with (
                pytest.raises(DeliveryError, match="it: another process has held its lock for 0 s"),
                limits.locked(other, "it", 0),
            ):
                pytest.fail("it was locked twice")
        with limits.locked(other, "it", 0):
            pass
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_lock_is_given_back_after_a_failure(folder: int, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), limits.locked(folder, "it"):
        raise ZeroDivisionError
    with files.directory(str(tmp_path / "folder")) as other, limits.locked(other, "it", 0):
        pass


def test_a_wait_for_a_lock_ends_with_the_deadline(folder: int, tmp_path: Path) -> None:
    with (
        files.directory(str(tmp_path / "folder")) as other,
        limits.locked(folder, "it"),
        pytest.raises(DeliveryError, match="materialize: not done within"),
        limits.deadline(0.01, "materialize"),
        limits.locked(other, "it"),
    ):
        pytest.fail("it was locked twice")


PROTECTED = """\
import ctypes, sys
from tskeyvault import limits
limits.protect_memory()
limits.protect_memory()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


def test_no_core_is_dumped_and_the_memory_is_closed() -> None:
    limit = "print(next(line for line in open('/proc/self/limits') if 'core' in line).split()[4:6])"
    done = run_python("-c", f"{PROTECTED}import resource; print(resource.getrlimit(resource.RLIMIT_CORE))")
    assert done.out.decode().splitlines() == ["0", "(0, 0)"], done.err
    if os.geteuid() == 0:  # everybody else is shut out of it
        done = run_python("-c", PROTECTED + limit)
        assert done.out.decode().splitlines() == ["0", "['0', '0']"], done.err


LOOKING = """\
import ctypes, os, resource
from tskeyvault import limits
os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
open("/proc/self/mem", "rb").close()
limits.protect_memory()
try:
    open("/proc/self/mem", "rb")
except PermissionError:
    print("shut")
"""


def test_an_ordinary_user_cannot_open_it_any_more() -> None:
    needs.root()  # to become an ordinary user
    assert run_python("-c", LOOKING).out == b"shut\n"
