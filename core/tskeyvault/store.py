"""The ``secrets/`` tree: where ciphertexts and recipients files lie, and how they are found.

It comes from git and is treated as hostile: no link in it is followed, whatever it leads to.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from . import files, names, plugins
from .errors import IntegrityError, NameInvalidError, NotFoundError, UsageError, VaultError
from .names import Reference
from .values import Secret

FOLDER = "secrets"
PUBLIC_KEYS = ".public-keys"
"""The folder in it of the public keys that travel with the vault."""
_MAX_KEY = 256 << 10
_MAX_KEYS = 1000
MAX_SECRET = 16 << 20
"""Bytes of a secret."""
MAX_CIPHERTEXT = MAX_SECRET + (2 << 20)
"""Bytes of a ciphertext file."""


class Entry(NamedTuple):
    """A secret in the store: the plugin that its suffix names, its name and its path."""

    plugin: str
    name: str

    @property
    def path(self) -> str:
        """Where its ciphertext lies, relative to the vault, or to the plugin's own directory."""
        return f"{plugins.folder(self.plugin)}/{self.name}{plugins.suffix(self.plugin)}"

    @property
    def secret(self) -> Secret:
        """The same for a plugin's eyes."""
        return Secret(self.name, self.path)


class Store:
    """The tree of one vault, reached through a descriptor of the vault's directory.

    Or that of *plugin*, whose secrets lie in a directory of their own: there the tree is all of it.
    """

    def __init__(self, root: int, plugin: str = "", umask: int = 0o022):
        self.root = root
        self.umask = umask
        self._plugin = plugin
        self._tree = plugins.folder(plugin)

    def find(self, reference: Reference) -> Entry | None:
        """Return the entry that *reference* names, or None.

        Raises UsageError when two plugins have a secret of that name and none is named, and for
        a plugin whose secrets lie elsewhere.
        """
        if reference.plugin not in {"", self._plugin} and (
            self._plugin or plugins.is_housed(reference.plugin)
        ):
            raise UsageError(
                f"secret '{reference}' does not lie here",
                "vault import copies or moves from one place to another",
            )
        found = [name for name in self._suffixes(reference.name) if reference.plugin in {"", name}]
        if len(found) > 1:
            found = [name for name in found if plugins.is_installed(name)] or found
        if len(found) > 1:
            choices = " or ".join(f"{plugin}:{reference.name}" for plugin in found)
            raise UsageError(f"secret '{reference.name}': several plugins have it", f"name one: {choices}")
        return Entry(found[0], reference.name) if found else None

    def get(self, reference: Reference) -> Entry:
        """Return the entry that *reference* names.

        Raises NotFoundError with the nearest name, and what :meth:`find` raises.
        """
        entry = self.find(reference)
        if entry is None:
            from difflib import get_close_matches

            known = [entry.name for entry in self.entries(lambda _: None)]
            near = get_close_matches(reference.name, known, n=1)
            hint = f"did you mean '{near[0]}'" if near else "vault ls shows what there is"
            raise NotFoundError(f"secret '{reference}': not in the vault", hint)
        return entry

    def entries(self, passed_over: Callable[[str], None]) -> list[Entry]:
        """Return all secrets, sorted by name; *passed_over* is told of paths that cannot be one."""
        found = []
        installed: dict[str, bool] = {}  # each look at the installed packages costs some ms
        for path in self.walk(passed_over):
            stem, _, ending = path.rpartition(".")
            plugin = self._plugin_of(ending)
            try:
                name = names.secret(stem)
            except NameInvalidError:
                passed_over(path)
                continue
            if plugin not in installed:
                installed[plugin] = plugins.is_installed(plugin)
            if installed[plugin]:
                found.append(Entry(plugin, name))
            elif self._plugin:
                passed_over(path)
        return sorted(found, key=lambda entry: (entry.name, entry.plugin))

    def strays(self) -> list[str]:
        """Return the paths of files among the secrets that are none, sorted."""
        known = {entry.path for entry in self.entries(lambda _: None)}
        paths: list[str] = []
        found = [f"{self._tree}/{path}" for path in self.walk(paths.append)]
        return sorted({*found, *(f"{self._tree}/{path}" for path in paths)} - known)

    def within(self, folder: str) -> list[Entry]:
        """Return the secrets in *folder*, a name, or all for ``""``.

        Raises NotFoundError when a folder holds none.
        """
        found = [
            it for it in self.entries(lambda _: None) if not folder or f"{it.name}/".startswith(f"{folder}/")
        ]
        if folder and not found:
            raise NotFoundError(f"'{folder}' holds no secrets", "vault ls shows what there is")
        return found

    def read(self, path: str, limit: int = MAX_CIPHERTEXT) -> bytes:
        """Return the file at *path*, relative to the vault.

        Raises NotFoundError, and IntegrityError for a link, a device or a file above *limit* bytes.
        """
        *parts, name = path.split("/")
        try:
            with self.folder(parts[1:]) as fd:
                return files.read(fd, name, limit)
        except VaultError as error:
            raise type(error)(f"{names.shown(path)}: {error.message}", error.hint) from None

    def nearest(self, file: str, folder: str) -> str:
        """Return the path of the nearest *file* in *folder* (``""``: the whole store) or above it, or ``""``."""
        parts = folder.split("/") if folder else []
        for depth in range(len(parts), -1, -1):
            try:
                with self.folder(parts[:depth]) as fd:
                    if files.exists(fd, file):
                        return "/".join([self._tree, *parts[:depth], file])
            except NotFoundError:
                continue
        return ""

    def recipients_files(self, passed_over: Callable[[str], None]) -> list[tuple[str, str]]:
        """Return plugin and path of all recipients files, sorted by path."""
        found = [
            (self._plugin or plugin, f"{self._tree}/{path}")
            for path in self.walk(passed_over, hidden=True)
            if (plugin := plugins.of_recipients_file(path.rpartition("/")[2]))
        ]
        return sorted(found, key=lambda pair: pair[1])

    def public_keys(self) -> dict[str, bytes]:
        """Return the files of the folder of public keys, by name, sorted.

        Raises IntegrityError for a link, a folder, a file above 256 KiB, and for more than 1,000.
        """
        if self._plugin:
            return {}  # its keys are those of the user
        try:
            with self.folder([PUBLIC_KEYS]) as fd:
                found = sorted(name for name in os.listdir(fd) if not files.is_temporary(name))
        except NotFoundError:
            return {}
        if len(found) > _MAX_KEYS:
            raise IntegrityError(f"'{FOLDER}/{PUBLIC_KEYS}' holds more than {_MAX_KEYS} files")
        return {name: self.read(f"{FOLDER}/{PUBLIC_KEYS}/{name}", _MAX_KEY) for name in found}

    @contextmanager
    def folder(self, parts: list[str], *, create: bool = False) -> Iterator[int]:
        """Open the folder *parts*, through no link.

        Raises NotFoundError when it is not there and not to be made, IntegrityError.
        """
        whole = parts if self._plugin else [FOLDER, *parts]
        fd = files.descend(self.root, whole, create=create, mode=0o777 & ~self.umask)
        try:
            yield fd
        finally:
            os.close(fd)

    def _suffixes(self, name: str) -> list[str]:
        """Return the plugin names of the files that are called *name* and a suffix."""
        *parts, last = name.split("/")
        try:
            with self.folder(parts) as fd:
                stems = [found.rpartition(".") for found in os.listdir(fd)]
        except NotFoundError:
            return []
        found = (self._plugin_of(ending) for stem, dot, ending in stems if dot and stem == last)
        return sorted(plugin for plugin in found if names.is_plugin(plugin))

    def _plugin_of(self, ending: str) -> str:
        """Return the plugin whose files end in a dot and *ending*, or ``""`` when none has any here."""
        if self._plugin:
            return self._plugin if plugins.suffix(self._plugin) == f".{ending}" else ""
        return "" if plugins.is_housed(ending) else ending

    def walk(self, passed_over: Callable[[str], None], *, hidden: bool = False) -> Iterator[str]:
        """Yield the paths, relative to the store, of all regular files whose name begins with a dot or not."""
        pending: list[list[str]] = [[]]
        while pending:
            parts = pending.pop()
            try:
                with self.folder(parts) as fd:
                    found = [
                        (name, os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
                        for name in os.listdir(fd)
                    ]
            except NotFoundError:
                continue
            except OSError:
                passed_over("/".join(parts))
                continue
            for name, mode in found:
                path = "/".join([*parts, name])
                if stat.S_ISDIR(mode):
                    if not name.startswith("."):
                        pending.append([*parts, name])
                elif not stat.S_ISREG(mode):
                    passed_over(path)
                elif name.startswith(".") == hidden:
                    yield path


def refuse_large(data: bytes) -> bytes:
    """Return *data* when it may be a secret.

    Raises UsageError for nothing at all, IntegrityError above MAX_SECRET bytes.
    """
    if not data:
        raise UsageError("an empty secret is refused")
    if len(data) > MAX_SECRET:
        raise IntegrityError(f"a secret is at most {MAX_SECRET} bytes")
    return data
