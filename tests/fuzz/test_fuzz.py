"""A short box of fuzzing in the normal run: the examples of every target, and random changes to them."""

import os
import random
from pathlib import Path

import pytest

from fuzz.targets import TARGETS
from tskeyvault.errors import VaultError

CHANGES = 150
SEED = int(os.environ.get("TSKEYVAULT_FUZZ_SEED", "0"))


@pytest.mark.parametrize("name", TARGETS)
def test_examples_and_random_changes_to_them(name: str) -> None:
    rng = random.Random(SEED)  # noqa: S311 - to be repeated, not to be secret
    for seed in TARGETS[name].seeds:
        for _ in range(CHANGES):
            data = bytearray(seed)
            for _ in range(rng.randint(0, 3)):
                start = rng.randrange(len(data) + 1)
                data[start : start + rng.randint(0, 4)] = rng.randbytes(rng.randint(0, 4))
            _run(name, bytes(data))


def _run(name: str, data: bytes) -> None:
    try:
        TARGETS[name].run(data)
    except VaultError:
        return


def test_the_script_knows_every_target() -> None:
    script = Path(__file__).with_name("run.sh").read_text()
    assert f"set -- {' '.join(TARGETS)}\n" in script
