"""The file that hooks run: finds the package beside it, and nothing of anybody else's before the standard library."""

import sys
from posix import _exit as leave  # os takes 2 ms to load
from posix import write

sys.path.append(__file__.rpartition("/")[0].rpartition("/")[0])

try:
    from tskeyvault_hooks import hook
except Exception as error:  # noqa: BLE001 - a hook shows no traceback
    write(2, f"vault: the scanner is damaged: {error}\n".encode(errors="backslashreplace"))
    leave(1)

# Nothing is left to be written, and taking the interpreter apart takes a tenth of the time.
leave(hook.main(sys.argv[1:]))
