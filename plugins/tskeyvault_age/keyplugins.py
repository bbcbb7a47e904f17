"""Kinds of keys that plugins bring, in the process or as programs: the age side of them."""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from tskeyvault.errors import PluginError, UsageError
from tskeyvault.values import Stanza
from tskeyvault_age import bech32
from tskeyvault_age.keys import FILE_KEY_LENGTH

_RECIPIENT_PREFIX = "age1"
_IDENTITY_PREFIX = "AGE-PLUGIN-"
_NAME = re.compile(r"[a-z0-9_+-][a-z0-9._+-]*")
_MAX_NAME = 64
_ARGUMENT = re.compile(r"[!-~]+")
_RESERVED = ("scrypt", "tskeyvault")  # they mean something to the whole file


class KeyPlugins(Protocol):
    """All plugins that bring kinds of keys, by name."""

    def wrap(self, name: str, recipient: str, file_key: bytes) -> tuple[Sequence[Stanza], frozenset[str]]:
        """Return the stanzas and labels of *file_key* (16 bytes) wrapped for *recipient*, ``age1NAME1...``."""

    def unwrap(self, name: str, identity: str, files: Sequence[Sequence[Stanza]]) -> Mapping[int, bytes]:
        """Return the file keys that *identity*, ``AGE-PLUGIN-NAME-1...``, recovers, by index of *files*.

        Raises IntegrityError when one of *files* is malformed, any other VaultError when no file
        can be tried.
        """


class PluginRecipient:
    """A recipient of a plugin's kind; its labels are known when :meth:`wrap` has returned."""

    __slots__ = ("_name", "_plugins", "_text", "labels")

    def __init__(self, name: str, text: str, plugins: KeyPlugins | None):
        self._name = name
        self._text = text
        self._plugins = plugins
        self.labels: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str, plugins: KeyPlugins | None) -> "PluginRecipient":
        """Return the recipient that *text*, ``age1NAME1...``, stands for; the data is the plugin's.

        Raises UsageError when it is not Bech32 or the name is not allowed.
        """
        prefix, _ = bech32.decode(text)
        if not prefix.startswith(_RECIPIENT_PREFIX):
            raise UsageError("the key is not of a plugin's kind")
        return cls(check_name(prefix.removeprefix(_RECIPIENT_PREFIX)), text, plugins)

    def __str__(self) -> str:
        return self._text

    def wrap(self, file_key: bytes) -> Sequence[Stanza]:
        """Return the new stanzas from which only the identity recovers *file_key* (16 bytes)."""
        if self._plugins is None:
            raise PluginError(f"there is no plugin for recipients of the kind {self._name!r}")
        stanzas, self.labels = self._plugins.wrap(self._name, self._text, file_key)
        if not stanzas or not all(_is_well_formed(stanza) for stanza in stanzas):
            raise PluginError(f"plugin {self._name!r} returned no stanza, or one that is not allowed")
        return stanzas


class PluginIdentity:
    """An identity of a plugin's kind, which is asked about many files at once."""

    __slots__ = ("_plugins", "_text", "name")

    def __init__(self, name: str, text: str, plugins: KeyPlugins | None):
        self.name = name
        self._text = text
        self._plugins = plugins

    @classmethod
    def parse(cls, text: str, plugins: KeyPlugins | None) -> "PluginIdentity":
        """Return the identity that *text*, ``AGE-PLUGIN-NAME-1...``, stands for.

        Raises UsageError, whose message holds nothing of *text*.
        """
        prefix, _ = bech32.decode(text)
        name = prefix.removeprefix(_IDENTITY_PREFIX).removesuffix("-")
        if prefix != f"{_IDENTITY_PREFIX}{name}-":
            raise UsageError("the key is not of a plugin's kind")
        return cls(check_name(name.lower()), text, plugins)

    def unwrap_all(self, files: Sequence[Sequence[Stanza]]) -> Mapping[int, bytes]:
        """Return the 16-byte file keys that it recovers, by index of *files*; raise as the plugin does."""
        if self._plugins is None:
            raise PluginError(f"there is no plugin for identities of the kind {self.name!r}")
        keys = self._plugins.unwrap(self.name, self._text, files)
        if not all(0 <= at < len(files) and len(key) == FILE_KEY_LENGTH for at, key in keys.items()):
            raise PluginError(f"plugin {self.name!r} returned what is no file key, or for no file")
        return keys


def check_name(name: str) -> str:
    """Return *name*, in lower case, of a plugin; raise UsageError when it could be more than a name.

    A program is called by it, so it has no slash and does not begin with a dot.
    Source: C2SP age-plugin.md; CVE-2024-56327.
    """
    if not _NAME.fullmatch(name) or ".." in name or len(name) > _MAX_NAME:
        raise UsageError("the key names a plugin by a name that is not allowed")
    return name


def _is_well_formed(stanza: Stanza) -> bool:
    return (
        bool(stanza.args)
        and all(_ARGUMENT.fullmatch(argument) for argument in stanza.args)
        and stanza.args[0] not in _RESERVED
    )
