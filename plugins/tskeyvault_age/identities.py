"""Identity files: age's own form, SSH private keys, and either encrypted with a passphrase."""

import os
import stat
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tskeyvault.errors import ConfigError, IntegrityError, LockedError, UsageError
from tskeyvault.values import Stanza
from tskeyvault_age import file
from tskeyvault_age.asking import Ask, Once
from tskeyvault_age.file import OwnIdentity
from tskeyvault_age.header import Header

if TYPE_CHECKING:
    from tskeyvault_age.keyplugins import KeyPlugins, PluginIdentity

MAX_FILE = 1 << 20
"""Bytes that an identity file may have."""

_HINT = "vault keygen makes one"
_ENCRYPTED = (b"age-encryption", b"-----BEGIN AGE")


class Identities:
    """Identities by how they are tried: at once, after asking the user, and by plugins."""

    def __init__(self) -> None:
        self.plain: list[OwnIdentity] = []
        self.asking: list[OwnIdentity | PassphraseFile] = []
        self._plugins: list[PluginIdentity] = []

    def __bool__(self) -> bool:
        return bool(self.plain or self.asking or self._plugins)

    @property
    def native(self) -> "tuple[OwnIdentity | PassphraseFile, ...]":
        """All but those of plugins, in the order in which they are tried."""
        return (*self.plain, *self.asking)

    @property
    def plugins(self) -> "tuple[PluginIdentity, ...]":
        """Those of plugins, also from passphrase files, which are opened for it if they can be."""
        return (*self._plugins, *(inner for outer in self.asking for inner in _plugins_in(outer)))

    def add(self, data: bytes, origin: str, ask: Ask, plugins: "KeyPlugins | None") -> None:
        """Take the identities in *data*, the content of the identity file named *origin*.

        Raises ConfigError when it is malformed, or LockedError when it holds no identity.
        """
        if data.startswith(_ENCRYPTED):
            self.asking.append(PassphraseFile(data, origin, ask, plugins))
        elif data.startswith(b"-----BEGIN "):
            from tskeyvault_age import sshkey

            identity = sshkey.parse(data, origin, ask)
            (self.asking if identity.asks else self.plain).append(identity)
        else:
            self._add_lines(data, origin, plugins)

    def _add_lines(self, data: bytes, origin: str, plugins: "KeyPlugins | None") -> None:
        """Take one identity a line; LF or CRLF ends it, blank ones and those with ``#`` are skipped."""
        lines = _text(data, origin).split("\n")
        found = [
            (line.removesuffix("\r"), f"identity file {origin!r}: line {number}")
            for number, line in enumerate(lines, 1)
            if line.strip() and not line.startswith("#")
        ]
        if not found:
            raise LockedError(f"identity file {origin!r} holds no identity", _HINT)
        for line, place in found:
            if line.startswith("AGE-PLUGIN-"):
                self._plugins.append(_plugin_identity(line, place, plugins))
            else:
                self.plain.append(_identity(line, place))


class PassphraseFile:
    """An identity file that is an age file itself; its passphrase is asked for at the first need."""

    def __init__(self, data: bytes, origin: str, ask: Ask, plugins: "KeyPlugins | None"):
        self._origin = origin
        self.opened = Once(lambda: self._open(data, ask, plugins))
        """Returns the identities in it. Raises LockedError, or ConfigError when it is damaged."""

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the 16-byte file key by the first of its own identities that opens *stanzas*, or None."""
        for identity in self.opened().native:
            if (file_key := identity.unwrap(stanzas)) is not None:
                return file_key
        return None

    def _open(self, data: bytes, ask: Ask, plugins: "KeyPlugins | None") -> Identities:
        place = f"identity file {self._origin!r}"
        try:
            if file.read_header(data).stanzas[0].args[0] != "scrypt":
                raise ConfigError(f"{place} is encrypted, but not with a passphrase")
            passphrase = ask(place)
            content = file.decrypt_by(data, lambda head: _by_passphrase(head, passphrase, place))
        except IntegrityError as error:
            raise ConfigError(f"{place}: {error.message}") from None
        if content.startswith(_ENCRYPTED):
            raise ConfigError(f"{place} is encrypted twice")
        inner = Identities()
        inner.add(content, self._origin, ask, plugins)
        return inner


def load(paths: Iterable[str], ask: Ask, plugins: "KeyPlugins | None" = None) -> Identities:
    """Return all identities in the files at *paths*, in order; a file that is missing is skipped.

    Raises LockedError when there is no file or one cannot be read, ConfigError when one is malformed.
    """
    found = Identities()
    for path in paths:
        data = read(path)
        if data is not None:
            found.add(data, path, ask, plugins)
    if not found:
        raise LockedError("no identity", _HINT)
    return found


def read(path: str) -> bytes | None:
    """Return the content of the identity file at *path*, None when there is no such file.

    Links are followed, as the user named the file; whatever is not a regular file in the end is
    refused, without waiting for it. Raises LockedError, or ConfigError above 1 MiB.
    """
    try:
        with open(path, "rb", opener=_opener) as source:
            if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                raise LockedError(f"identity file {path!r} is not a regular file")
            data = source.read(MAX_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LockedError(f"identity file {path!r}: {os.strerror(error.errno or 0).lower()}") from None
    if len(data) > MAX_FILE:
        raise ConfigError(f"identity file {path!r} is too large")
    return data


def _identity(line: str, place: str) -> OwnIdentity:
    if line.lower().startswith(("age1", "ssh-")):
        raise ConfigError(f"{place} is a recipient, not an identity")
    try:
        if line.startswith("AGE-SECRET-KEY-PQ-1"):
            from tskeyvault_age.hybrid import HybridIdentity

            return HybridIdentity.parse(line)
        from tskeyvault_age.x25519 import X25519Identity

        return X25519Identity.parse(line)
    except UsageError as error:
        raise ConfigError(f"{place}: {error.message}") from None


def _plugin_identity(line: str, place: str, plugins: "KeyPlugins | None") -> "PluginIdentity":
    from tskeyvault_age.keyplugins import PluginIdentity

    try:
        return PluginIdentity.parse(line, plugins)
    except UsageError as error:
        raise ConfigError(f"{place}: {error.message}") from None


def _by_passphrase(head: Header, passphrase: bytes, place: str) -> bytes:
    from tskeyvault_age.scrypt import ScryptIdentity

    file_key = ScryptIdentity(passphrase).unwrap(head.stanzas)
    if file_key is None:
        raise LockedError(f"the passphrase of {place} is wrong")
    return file_key


def _plugins_in(outer: OwnIdentity | PassphraseFile) -> "tuple[PluginIdentity, ...]":
    if not isinstance(outer, PassphraseFile):
        return ()
    try:
        return outer.opened().plugins
    except (ConfigError, LockedError):
        return ()  # it was reported when it was tried as an identity


def _text(data: bytes, origin: str) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None:  # raised here, as the error above holds the bytes and would be our context
        raise ConfigError(f"identity file {origin!r} is not UTF-8")
    return text


def _opener(path: str, _flags: int) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
