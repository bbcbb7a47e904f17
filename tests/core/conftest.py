"""Settings and fixtures for the tests of the core."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support import needs

# A slow machine is no failure; a run that failed can be repeated.
settings.register_profile("core", deadline=None, print_blob=True)
settings.load_profile("core")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    """Give an open descriptor of an empty directory, which is ``tmp_path / "folder"``."""
    (tmp_path / "folder").mkdir()
    fd = os.open(tmp_path / "folder", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def memory() -> Iterator[Path]:
    """Give an empty directory on tmpfs that only we can enter."""
    directory = tempfile.mkdtemp(prefix="tskeyvault-test-", dir=needs.shared_memory())
    yield Path(directory)
    shutil.rmtree(directory)
