"""Runs uv, the one on PATH or the one that ``venv.sh`` fetched, with the checkout's own cache."""

import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def run(*arguments: str | Path) -> str:
    """Run uv in the root of the checkout and return its standard output."""
    argv = ["sh", CHECKOUT / "tests/support/venv.sh", "--uv", *arguments]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"uv {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout
