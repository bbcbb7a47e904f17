"""What a test needs from the machine that it runs on: each function skips the test where that is missing.

No test skips in any other way. The end of the run names those that were skipped, and with
``TSKEYVAULT_REQUIRE_ALL=1`` they fail.
"""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SANDBOX = Path(__file__).with_name("systemd_sandbox.sh")
SYSTEM_PYTHON = "/usr/bin/python3"


def program(*names: str) -> None:
    """Skip unless all of these programs are on PATH."""
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"needs the program {name}")


def root() -> None:
    """Skip unless the tests run as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


def systemd() -> None:
    """Skip unless a systemd of our own can be booted, with a Python that its units can run."""
    reason = _no_systemd()
    if reason:
        pytest.skip(reason)


@functools.cache
def _no_systemd() -> str:
    check = subprocess.run(["bash", SANDBOX, "check"], check=False, capture_output=True, text=True)
    if check.returncode:
        return check.stdout.strip() or "needs systemd"
    version = [SYSTEM_PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if not Path(SYSTEM_PYTHON).exists() or subprocess.run(version, check=False).returncode:
        return f"needs {SYSTEM_PYTHON} of version 3.11 or newer"
    return ""
