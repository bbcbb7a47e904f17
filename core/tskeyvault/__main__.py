"""The program: ``vault``, ``tskeyvault`` and ``python -m tskeyvault`` are the same."""

import gc
import sys

_OBJECTS = 100_000


def program() -> int:
    """Run the command line in a process of its own; return its exit code."""
    # A fifth of a short command's time would go into looking for garbage, which ends with the process anyway.
    gc.set_threshold(_OBJECTS)
    from .cli import main

    code = main()
    gc.freeze()
    return code


if __name__ == "__main__":
    sys.exit(program())
