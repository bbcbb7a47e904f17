"""A plain file is shredded only while it is the one that was read."""

import os
from pathlib import Path

import pytest

from tskeyvault import plainfile
from tskeyvault.errors import IntegrityError, NotFoundError, UsageError, VaultError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a file with a key in it, by its real path."""
    found = tmp_path.resolve() / "folder/key"
    found.parent.mkdir()
    found.write_bytes(b"the key")
    return found


def test_its_bytes_are_overwritten_before_its_name_goes(path: Path) -> None:
    with plainfile.opened(str(path), 100) as file, path.open("rb") as still:
        file.refuse_shredding()
        file.shred()
        left = still.read()
    assert (len(left), left != b"the key", path.exists()) == (7, True, False)


def _other_content(path: Path) -> None:
    path.write_bytes(b"another")


def _other_file(path: Path) -> None:
    path.rename(path.with_name("old"))
    path.write_bytes(b"another")


def _a_link(path: Path) -> None:
    path.rename(path.with_name("old"))
    path.symlink_to("old")


def _second_name(path: Path) -> None:
    os.link(path, path.with_name("second"))


def _gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (_other_content, IntegrityError),
        (_other_file, IntegrityError),
        (_a_link, UsageError),
        (_second_name, UsageError),
        (_gone, UsageError),
    ],
)
def test_what_changed_since_it_was_read_is_left(path: Path, change: object, kind: type[VaultError]) -> None:
    assert callable(change)
    with plainfile.opened(str(path), 100) as file:
        change(path)
        before = {entry: entry.read_bytes() for entry in path.parent.iterdir()}
        with pytest.raises(kind):
            file.shred()
    assert {entry: entry.read_bytes() for entry in path.parent.iterdir()} == before


def test_a_file_above_the_limit_or_none_is_refused(path: Path) -> None:
    with pytest.raises(IntegrityError, match="larger than 6 bytes"), plainfile.opened(str(path), 6):
        pass
    with pytest.raises(NotFoundError), plainfile.opened(f"{path}x", 6):
        pass
