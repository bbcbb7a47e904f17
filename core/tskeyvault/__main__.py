"""The program: ``vault``, ``tskeyvault`` and ``python -m tskeyvault`` are the same."""

import gc
import signal
import sys

_OBJECTS = 100_000

# Until the command line can say that it was interrupted, Ctrl-C ends us without a traceback.
if _INTERRUPTS := signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def program() -> int:
    """Run the command line in a process of its own; return its exit code."""
    # A fifth of a short command's time would go into looking for garbage, which ends with the process anyway.
    gc.set_threshold(_OBJECTS)
    from .cli import main

    try:
        if _INTERRUPTS:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = main()
        if _INTERRUPTS:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    except KeyboardInterrupt:
        return 130
    gc.freeze()
    return code


if __name__ == "__main__":
    sys.exit(program())
