"""Folders in folders, deeper than what calls itself for each of them can go."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def nested(top: Path, depth: int) -> Iterator[int]:
    """Yield a descriptor of the last of *depth* folders ``a``, each in the one before, the first in *top*.

    They go in the end, by a program that can: what tidies up after tests calls itself.
    """
    here = os.open(top, os.O_RDONLY)
    try:
        for _ in range(depth):
            os.mkdir("a", 0o700, dir_fd=here)
            below = os.open("a", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)
        subprocess.run(["rm", "-rf", str(top / "a")], check=True)
