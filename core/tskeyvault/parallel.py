"""Work on many things, several at a time where that is allowed."""

import contextlib
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

Progress = Callable[[int, int], None]
"""Told how many of how many are done."""

T = TypeVar("T")
R = TypeVar("R")


def each(
    workers: int,
    work: Callable[[T], R],
    things: Collection[T] | Sequence[T],
    progress: Progress = lambda _done, _all: None,
) -> list[R]:
    """Return what *work* makes of each of *things*, in their order, *workers* of them at a time.

    The first failure is raised at once: what has not begun does not begin any more, and what runs
    is left to whoever can end it.
    """
    results = []
    with contextlib.ExitStack() as stack:
        if workers > 1 and len(things) > 1:
            from concurrent.futures import ThreadPoolExecutor  # 10 ms that one secret never needs

            pool = ThreadPoolExecutor(min(workers, len(things)))
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            made = pool.map(work, things)
        else:
            made = map(work, things)
        for done, result in enumerate(made, 1):
            results.append(result)
            progress(done, len(things))
    return results
