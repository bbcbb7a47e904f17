"""``python -m tskeyvault``: the same as ``vault``."""

import sys

from .cli import main

sys.exit(main())
