"""The third-party example passes the kit."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from support.documents import CHECKOUT
from tskeyvault.testing import BackendContract, Member, member


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    """Give the module of the example, as it stands in the checkout."""
    path = CHECKOUT / "tests/third_party/tskeyvault_demo/tskeyvault_demo.py"
    spec = importlib.util.spec_from_file_location("tskeyvault_demo_in_the_checkout", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def reads(demo: ModuleType, path: Path) -> Member:
    """Return a member with the passphrase *path* of its own name."""
    path.write_text(f"the passphrase of {path.name}\n")
    options = {"key_file": str(path)}
    own = demo.Plugin(options).vault_own_recipients()
    return member("demo", demo.Plugin, options, own)


class TestDemo(BackendContract):
    """One passphrase, and so one recipient, each."""

    damages = 60
    shares = False

    @pytest.fixture
    def reader(self, demo: ModuleType, tmp_path: Path) -> Member:
        """Give the one who encrypts and reads."""
        return reads(demo, tmp_path / "reader")

    @pytest.fixture
    def stranger(self, demo: ModuleType, tmp_path: Path) -> Member:
        """Give somebody else."""
        return reads(demo, tmp_path / "stranger")
