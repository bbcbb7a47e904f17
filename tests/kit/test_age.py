"""The built-in age plugin passes the kit that everybody else's has to pass."""

from pathlib import Path

import pytest

from tskeyvault.testing import BackendContract, Member, member
from tskeyvault_age.plugin import Plugin
from tskeyvault_age.x25519 import X25519Identity


def reads(folder: Path, name: str, *keys: X25519Identity) -> Member:
    """Return a member with an identity file of these *keys*."""
    path = folder / name
    path.write_text("".join(f"{key.export()}\n" for key in keys))
    return member("age", Plugin, {"identities": (str(path),)}, [str(key.recipient) for key in keys])


class TestX25519(BackendContract):
    """One recipient each."""

    @pytest.fixture
    def reader(self, tmp_path: Path) -> Member:
        """Give the one who encrypts and reads."""
        return reads(tmp_path, "reader", X25519Identity.generate())

    @pytest.fixture
    def stranger(self, tmp_path: Path) -> Member:
        """Give somebody else."""
        return reads(tmp_path, "stranger", X25519Identity.generate())


class TestSeveralRecipients(BackendContract):
    """Several recipients each."""

    @pytest.fixture
    def reader(self, tmp_path: Path) -> Member:
        """Give the one who encrypts and reads."""
        return reads(tmp_path, "reader", *(X25519Identity.generate() for _ in range(5)))

    @pytest.fixture
    def stranger(self, tmp_path: Path) -> Member:
        """Give somebody else."""
        return reads(tmp_path, "stranger", *(X25519Identity.generate() for _ in range(3)))
