"""The conformance kit: inherit :class:`BackendContract` in a test, give two fixtures, and run pytest.

::

    import pytest
    from tskeyvault.testing import BackendContract, Member, member
    import tskeyvault_mine

    class TestMine(BackendContract):
        @pytest.fixture
        def reader(self, tmp_path) -> Member:        # holds the key that belongs to its recipients
            return member("mine", tskeyvault_mine, {...}, recipients=["..."])

        @pytest.fixture
        def stranger(self, tmp_path) -> Member:      # the same with another key
            return member("mine", tskeyvault_mine, {...}, recipients=["..."])

The kit calls the plugin as the core does. It checks that the plugin works, that it fails in the
way the contract names, and that no plaintext gets where it could be seen.
"""

from .contract import BackendContract, Member, member

__all__ = ["BackendContract", "Member", "member"]
