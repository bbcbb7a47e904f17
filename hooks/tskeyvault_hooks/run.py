"""The file that hooks run: finds the package beside it, and nothing of anybody else's before the standard library."""

import sys

sys.path.append(__file__.rpartition("/")[0].rpartition("/")[0])

from tskeyvault_hooks import hook

sys.exit(hook.main(sys.argv[1:]))
