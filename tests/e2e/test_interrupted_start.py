"""Ctrl-C while a command is still starting: it ends, and says nothing of its insides."""

import os
from pathlib import Path

from support import needs, tracing
from support.vaults import PATH


def test_ctrl_c_at_any_moment_of_the_start_shows_no_traceback(tmp_path: Path) -> None:
    needs.program("strace")
    environment = {**os.environ, "PYTHONPATH": PATH}

    def run(*inject: str) -> tracing.Run:
        return tracing.run(tmp_path / "trace", environment, ["ls", "--help"], *inject)

    opened = [call for call in run().calls if call.name == "openat"]
    first = next(call.when for call in opened if "cli/__init__" in call.text or "/cli" in call.text)
    last = opened[-1].when
    assert last - first > 5
    for when in range(first, last + 1, max(1, (last - first) // 6)):
        done = run(f"openat:signal=INT:when={when}")
        assert done.code in {-2, 0, 130}, done.err  # 0: it had done what it was asked for
        assert "Traceback" not in done.err
