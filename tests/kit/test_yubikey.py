"""The age plugin passes the kit also where its only key is in a YubiKey."""

from pathlib import Path

import pytest

from plugins.yubikey.conftest import Person
from support.pivcard import PivCard
from support.pivreaders import SoftReaders
from support.yubikeys import make
from tskeyvault.backend import Backend
from tskeyvault.testing import BackendContract, Member, member
from tskeyvault_age.plugin import Plugin as AgePlugin
from tskeyvault_yubikey.plugin import Plugin


def reads(folder: Path, serial: int) -> Member:
    """Return a member whose YubiKey is plugged in."""
    made = make(PivCard(serial))
    path = folder / f"identity-{serial}"
    path.write_text(f"# Recipient: {made.recipient}\n{made.identity}\n")
    identities = (str(path),)
    options = {"ui": Person(), "readers": SoftReaders(made.card), "identities": identities, "agent": False}
    backend = Backend("yubikey", Plugin(options), options)
    given = {
        "identities": identities,
        "key_plugin": lambda name, _hook: backend if name == "yubikey" else None,
    }
    return member("age", AgePlugin, given, [made.recipient])


class TestYubiKey(BackendContract):
    """A YubiKey each."""

    @pytest.fixture
    def reader(self, tmp_path: Path) -> Member:
        """Give the one who encrypts and reads."""
        return reads(tmp_path, 11111111)

    @pytest.fixture
    def stranger(self, tmp_path: Path) -> Member:
        """Give somebody else."""
        return reads(tmp_path, 22222222)
