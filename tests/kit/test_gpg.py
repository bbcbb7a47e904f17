"""The built-in gpg plugin passes the kit, with the real gpg."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from support import gpg, needs
from support.gpg import Person
from tskeyvault.testing import BackendContract, Member, member
from tskeyvault_gpg.plugin import Plugin


class _People(NamedTuple):
    reader: Person
    stranger: Person


@pytest.fixture(scope="module")
def people() -> Iterator[_People]:
    """Give three people with keys, which are made once."""
    needs.program("gpg")
    with gpg.homes() as folder:
        yield _People(*(gpg.person(folder, name) for name in ("Reader", "Stranger")))


def _member(people: _People, who: Person) -> Iterator[Member]:
    public = {one.file: one.public for one in people}
    made = member("gpg", Plugin, {"home": str(who.home)}, [who.fingerprint], public)
    yield made
    made.backend.close()


class TestGpg(BackendContract):
    """One recipient each: OpenPGP does not authenticate what it holds for the others."""

    binds = False
    damages = 100
    """Each is a gpg and takes its agent some time."""

    @pytest.fixture
    def reader(self, people: _People) -> Iterator[Member]:
        """Give the one who encrypts and reads."""
        yield from _member(people, people.reader)

    @pytest.fixture
    def stranger(self, people: _People) -> Iterator[Member]:
        """Give somebody else."""
        yield from _member(people, people.stranger)
