"""Work on many things: in order, several at a time, and given up at the first failure."""

import threading

import pytest

from tskeyvault import parallel
from tskeyvault.errors import LockedError


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_results_come_in_order_and_progress_is_told(workers: int) -> None:
    told: list[tuple[int, int]] = []
    found = parallel.each(
        workers, lambda it: it * it, range(20), lambda done, whole: told.append((done, whole))
    )
    assert found == [it * it for it in range(20)]
    assert told == [(done, 20) for done in range(1, 21)]


def test_as_many_run_at_once_as_may() -> None:
    together = threading.Barrier(3)
    assert parallel.each(3, lambda _: together.wait(10) < 3, range(6)) == [True] * 6


@pytest.mark.parametrize("workers", [1, 4])
def test_the_first_failure_is_raised_and_the_rest_does_not_begin(workers: int) -> None:
    begun: list[int] = []

    def work(it: int) -> None:
        begun.append(it)
        raise LockedError(f"{it}")

    with pytest.raises(LockedError):
        parallel.each(workers, work, range(1000))
    assert len(begun) < 1000


def test_nothing_is_made_of_nothing() -> None:
    assert parallel.each(4, lambda it: it, []) == []
