"""The kit on every broken plugin of this folder; run by ``test_broken.py``, and not collected otherwise."""

import importlib
from pathlib import Path
from typing import cast

import pytest

from tskeyvault.testing import BackendContract, Member, member
from tskeyvault_age.x25519 import X25519Identity

NAMES = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in {"__init__", "contract"}
)


class _Broken(BackendContract):
    seconds = 3.0
    damages = 100
    module = ""

    @pytest.fixture
    def reader(self, tmp_path: Path) -> Member:
        return self._member(tmp_path / "reader")

    @pytest.fixture
    def stranger(self, tmp_path: Path) -> Member:
        return self._member(tmp_path / "stranger")

    def _member(self, path: Path) -> Member:
        key = X25519Identity.generate()
        path.write_text(f"{key.export()}\n")
        plugin = cast("type", importlib.import_module(f"kit.broken.{self.module}").Plugin)
        return member("broken", plugin, {"identities": (str(path),)}, [str(key.recipient)])


for _name in NAMES:
    globals()[f"Test_{_name}"] = type(f"Test_{_name}", (_Broken,), {"module": _name})
