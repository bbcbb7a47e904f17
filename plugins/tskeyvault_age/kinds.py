"""Where a plugin's kind of key comes from: a plugin in this process, else a program ``age-plugin-NAME``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tskeyvault.values import UI, Stanza

Labels = frozenset[str]


class Bringer(Protocol):
    """A plugin in this process, as the core calls it."""

    def wrap(self, recipient: str, file_key: bytes) -> Stanza:
        """Call ``vault_wrap``."""

    def unwrap(self, identity: str, files: Sequence[Sequence[Stanza]]) -> Mapping[int, bytes]:
        """Call ``vault_unwrap``."""

    def own_recipients(self) -> Sequence[str]:
        """Call ``vault_own_recipients``."""


class Kinds:
    """All kinds of keys that others bring: a :class:`tskeyvault_age.keyplugins.KeyPlugins`."""

    def __init__(self, find: Callable[[str, str], Bringer | None], ui: UI):
        """Take *find*, which returns the plugin of a name that implements a hook, and the user."""
        self._find = find
        self._ui = ui

    def wrap(self, name: str, recipient: str, file_key: bytes) -> tuple[Sequence[Stanza], Labels]:
        """Return the stanzas and labels of *file_key* (16 bytes) wrapped for *recipient*, ``age1NAME1...``."""
        if plugin := self._find(name, "vault_wrap"):
            return (plugin.wrap(recipient, file_key),), frozenset()
        from tskeyvault_age import program

        return program.wrap(name, [recipient], file_key, self._ui)

    def unwrap(self, name: str, identity: str, files: Sequence[Sequence[Stanza]]) -> Mapping[int, bytes]:
        """Return the file keys that *identity*, ``AGE-PLUGIN-NAME-1...``, recovers, by index of *files*."""
        if plugin := self._find(name, "vault_unwrap"):
            return plugin.unwrap(identity, files)
        from tskeyvault_age import program

        return program.unwrap(name, [identity], files, self._ui)
