"""The built-in plugin for pass passes the kit, with the real gpg; each person's keyring has everybody's key."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from support import gpg, needs
from support.gpg import Person
from tskeyvault.testing import BackendContract, Member, member
from tskeyvault_pass.plugin import Plugin


class _People(NamedTuple):
    reader: Person
    stranger: Person


@pytest.fixture(scope="module")
def people() -> Iterator[_People]:
    """Give two people with keys, which are made once."""
    needs.program("gpg")
    with gpg.homes() as folder:
        found = _People(*(gpg.person(folder, name) for name in ("Reader", "Stranger")))
        gpg.run(found.reader.home, "--import", input=found.stranger.public)
        gpg.run(found.stranger.home, "--import", input=found.reader.public)
        yield found


def _member(who: Person) -> Iterator[Member]:
    made = member("pass", Plugin, {"home": str(who.home)}, [who.fingerprint])
    yield made
    made.backend.close()


class TestPass(BackendContract):
    """One recipient each: OpenPGP does not authenticate what it holds for the others."""

    binds = False
    damages = 100
    """Each is a gpg and takes its agent some time."""

    @pytest.fixture
    def reader(self, people: _People) -> Iterator[Member]:
        """Give the one who encrypts and reads."""
        yield from _member(people.reader)

    @pytest.fixture
    def stranger(self, people: _People) -> Iterator[Member]:
        """Give somebody else."""
        yield from _member(people.stranger)
