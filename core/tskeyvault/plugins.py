"""Plugins: which there are, how their files are called, and how one is loaded."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from importlib import import_module
from typing import Protocol

from . import names
from .backend import Backend
from .errors import PluginError, UsageError, VaultError
from .values import UI, Options

BUILT_IN: Mapping[str, str] = {
    "age": "tskeyvault_age.plugin:Plugin",
    "gpg": "tskeyvault_gpg.plugin:Plugin",
    "pass": "tskeyvault_pass.plugin:Plugin",
    "yubikey": "tskeyvault_yubikey.plugin:Plugin",
}
"""Name and entry point of the plugins that come with the vault: found without importlib.metadata."""

_RECIPIENTS_FILES: Mapping[str, str] = {"gpg": ".gpg-id"}
"""Where other programs have given a recipients file its name."""

_HOUSED: Mapping[str, str] = {"pass": "gpg"}
"""Plugins whose secrets lie in a directory of their own, which they say, and whose kind of files those are."""

_ASK_OTHERS = frozenset({"age"})
"""Plugins that other plugins bring kinds of keys to, through vault_wrap and vault_unwrap."""

GROUP = "tskeyvault.plugins"
"""The entry-point group of everybody else's."""


class _EntryPoint(Protocol):
    def load(self) -> object: ...


def suffix(plugin: str) -> str:
    """Return the suffix of the ciphertext files of *plugin*."""
    return f".{_HOUSED.get(plugin, plugin)}"


def is_housed(plugin: str) -> bool:
    """Tell whether the secrets of *plugin* lie in a directory of their own, and in no vault."""
    return plugin in _HOUSED


def folder(plugin: str) -> str:
    """Return the folder of the secrets of *plugin*, relative to the directory that they lie in."""
    return "." if is_housed(plugin) else "secrets"


def tree(texts: Iterable[str]) -> str:
    """Return the plugin in whose own directory all references *texts* lie, or any other where they lie in the vault.

    Raises UsageError when they lie in several places, and NameInvalidError.
    """
    found = {names.folder(text).plugin for text in texts}
    if len(found) > 1 and any(map(is_housed, found)):
        raise UsageError(
            "these secrets lie in different places", "vault import copies or moves from one place to another"
        )
    return next(iter(found), "")


def recipients_file(plugin: str) -> str:
    """Return the name of the recipients files of *plugin*."""
    return _RECIPIENTS_FILES.get(_HOUSED.get(plugin, plugin), f".{plugin}-recipients")


def of_recipients_file(name: str) -> str:
    """Return the plugin whose recipients files are called *name*, or ``""``."""
    plugin = next((plugin for plugin, file in _RECIPIENTS_FILES.items() if file == name), "")
    plugin = plugin or name.removeprefix(".").removesuffix("-recipients")
    return plugin if names.is_plugin(plugin) and name == recipients_file(plugin) else ""


def is_installed(name: str) -> bool:
    """Tell whether there is a plugin *name*, without loading it."""
    return name in BUILT_IN or bool(names.is_plugin(name) and _entry_points(name))


class Plugins:
    """The plugins of one command: each loaded when it is first named, all closed at the end."""

    def __init__(
        self,
        options: Mapping[str, Options],
        identities: tuple[str, ...],
        ui: UI,
        credentials: str = "",
        consents: frozenset[str] = frozenset(),
    ):
        self._options = options
        self._given: Options = {
            "identities": identities,
            "ui": ui,
            "credentials": credentials,
            "consents": consents,
        }
        self._loaded: dict[str, Backend] = {}

    def find(self, name: str, hook: str) -> Backend | None:
        """Return the plugin *name* when there is one that implements *hook*."""
        backend = self.get(name) if is_installed(name) else None
        return backend if backend and backend.implements(hook) else None

    def get(self, name: str) -> Backend:
        """Return the plugin *name*, loading it and no other.

        Raises PluginError.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def close(self) -> None:
        """Close all that were loaded, the last one first.

        Raises the first failure, after all were closed.
        """
        with ExitStack() as closing:
            for backend in self._loaded.values():
                closing.callback(backend.close)
            self._loaded = {}

    def _load(self, name: str) -> Backend:
        options: Options = {**self._options.get(name, {}), **self._given}
        if name in _ASK_OTHERS:
            options = {**options, "key_plugin": self.find}
        try:
            implementation = _find(name)
            if isinstance(implementation, type):
                implementation = implementation(options)
        except (VaultError, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - an import may do anything
            kind = names.shown(type(error).__name__)
            raise PluginError(f"plugin '{name}': loading failed with {kind}") from None
        return Backend(name, implementation, options)


def _find(name: str) -> object:
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return getattr(import_module(module), attribute)
    found = _entry_points(names.plugin(name))
    if not found:
        raise PluginError(f"plugin '{name}' is not installed", "vault plugins lists those that are")
    if len(found) > 1:
        raise PluginError(f"plugin '{name}' is provided by {len(found)} packages", "uninstall all but one")
    return found[0].load()


def _entry_points(name: str) -> list[_EntryPoint]:
    from importlib.metadata import entry_points  # 30 ms, so only when somebody else's plugin is named

    return list(entry_points(group=GROUP, name=name))
