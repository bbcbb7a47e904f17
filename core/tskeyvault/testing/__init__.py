"""The conformance kit: inherit :class:`BackendContract` in a test, give two fixtures, and run pytest.

::

    from pathlib import Path

    import pytest
    import tskeyvault_mine
    from tskeyvault.testing import BackendContract, Member, member

    class TestMine(BackendContract):
        @pytest.fixture
        def reader(self, tmp_path: Path) -> Member:        # holds the key that belongs to its recipients
            return member("mine", tskeyvault_mine, {...}, recipients=["..."])

        @pytest.fixture
        def stranger(self, tmp_path: Path) -> Member:      # the same with another key
            return member("mine", tskeyvault_mine, {...}, recipients=["..."])

The kit calls the plugin as the core does. It checks that the plugin works, that it fails in the
way the contract names, and that no plaintext gets where it could be seen. A failure says which
obligation was broken and by what; never the plaintext. It runs on Linux, where the vault does.

Four class attributes say what a backend is like: ``seconds`` a call may take, ``damages`` to try,
``binds`` (its format has a place for the binding) and ``shares`` (a secret can have several
recipients). A backend that sets one of the last two to False protects less, and should say so.
"""

from .contract import BackendContract
from .member import Member, member

__all__ = ["BackendContract", "Member", "member"]
