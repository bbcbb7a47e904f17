"""Fuzz one target, guided by coverage, for some seconds: fuzz.py TARGET SECONDS. Needs atheris.

The exit status is not 0 when there is a finding; the input that led to it is then in ``.cache/fuzz``.
"""

import importlib
import sys
import tempfile
from pathlib import Path

from tskeyvault.errors import VaultError

FINDINGS = Path(__file__).parents[2] / ".cache" / "fuzz"
LONGEST = 80_000  # bytes: a chunk and a header
PATIENCE = 5  # seconds for one input
MEMORY = 1024  # MiB for all of it, most of which is atheris and its corpus


def main() -> None:
    """Run the target that the command line names."""
    atheris = importlib.import_module("atheris")
    name, seconds = sys.argv[1:]
    with atheris.instrument_imports(include=["tskeyvault_age"]):
        target = importlib.import_module("targets").TARGETS[name]

    def once(data: bytes) -> None:
        try:
            target.run(data)
        except VaultError:
            return

    FINDINGS.mkdir(parents=True, exist_ok=True)
    corpus = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=FINDINGS))
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        f"-timeout={PATIENCE}",
        f"-rss_limit_mb={MEMORY}",
    ]
    atheris.Setup(
        [
            name,
            *limits,
            "-print_final_stats=1",
            "-verbosity=0",
            f"-artifact_prefix={FINDINGS}/{name}-",
            str(corpus),
        ],
        once,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
