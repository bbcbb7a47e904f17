"""Plugins: which there are, how one is loaded, and the typed calls of its hooks.

Each plugin has a pluggy manager of its own, which holds the core's defaults and that plugin
alone. So an ordinary hook call reaches nobody else: no other plugin can see it, wrap it or answer it.
"""

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from typing import Protocol, TypeVar, cast

import pluggy

from . import names
from .errors import PluginError, UsageError, VaultError
from .materialize import default
from .spec import PROJECT, VaultSpec
from .values import UI, Finding, Housing, Options, Pattern, PublicKey, Reader, Secret, Stanza, Target, Vouched

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

_TELLING = 16
"""Bytes of plaintext that do not stand in a ciphertext by chance."""

_NEEDLE = 4
"""Bytes of a pattern's needle: a shorter one would be found everywhere, and looked at closely."""

T = TypeVar("T")

PublicKeys = Mapping[str, bytes]
NO_KEYS: PublicKeys = {}


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


class Backend:
    """One loaded plugin and the typed calls of its hooks.

    Every call raises what the hook's contract says, or PluginError when the plugin fails in
    another way, lacks the hook, or returns something else. The text of a foreign exception is
    never shown, since it may hold the secret.
    """

    def __init__(self, name: str, implementation: object, options: Options):
        self.name = name
        self._options = options
        self.implementation = implementation
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(VaultSpec)
        self._manager.register(default, "tskeyvault.core")  # which is nobody's name: it has a dot
        self._guarded("registration", self._register)

    def encrypt(
        self,
        secret: Secret,
        plaintext: bytes,
        recipients: Sequence[str],
        binding: bytes,
        public_keys: PublicKeys = NO_KEYS,
    ) -> bytes:
        """Call ``vault_encrypt``; refuse a result that plainly is no ciphertext."""
        ciphertext = self._call(
            "vault_encrypt",
            bytes,
            secret=secret,
            plaintext=plaintext,
            recipients=recipients,
            binding=binding,
            public_keys=public_keys,
        )
        if plaintext and (
            ciphertext == plaintext or (len(plaintext) >= _TELLING and plaintext in ciphertext)
        ):
            raise PluginError(f"plugin '{self.name}': vault_encrypt returned the plaintext")
        return ciphertext

    def decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Call ``vault_decrypt``."""
        return self._call("vault_decrypt", bytes, secret=secret, ciphertext=ciphertext)

    def binding(self, ciphertext: bytes) -> bytes:
        """Call ``vault_binding``; a plugin without it has none."""
        if not self.implements("vault_binding"):
            return b""
        return self._call("vault_binding", bytes, ciphertext=ciphertext)

    def prepare(self, ciphertexts: Sequence[bytes]) -> None:
        """Call ``vault_prepare`` where it is implemented."""
        if self.implements("vault_prepare"):
            self._call("vault_prepare", bool, ciphertexts=ciphertexts)

    def materialize(self, secret: Secret, plaintext: bytes, target: Target) -> str:
        """Call ``vault_materialize``."""
        return self._call("vault_materialize", str, secret=secret, plaintext=plaintext, target=target)

    def wrap(self, recipient: str, file_key: bytes) -> Stanza:
        """Call ``vault_wrap``."""
        return self._call("vault_wrap", Stanza, recipient=recipient, file_key=file_key)

    def unwrap(self, identity: str, files: Sequence[Sequence[Stanza]]) -> Mapping[int, bytes]:
        """Call ``vault_unwrap``."""
        return self._call("vault_unwrap", dict, identity=identity, files=files)

    def keygen(self) -> bytes:
        """Call ``vault_keygen``."""
        return self._call("vault_keygen", bytes)

    def own_recipients(self) -> list[str]:
        """Call ``vault_own_recipients``; refuse what is no line of text."""
        found = self._call("vault_own_recipients", tuple)
        if not all(isinstance(text, str) and text.isprintable() and text.strip() for text in found):
            raise PluginError(
                f"plugin '{self.name}': vault_own_recipients returned something else than recipients"
            )
        return list(found)

    def resolve(self, recipients: Sequence[str], public_keys: PublicKeys) -> list[tuple[Reader, ...]]:
        """Call ``vault_resolve``; a plugin without it takes recipients as they are written."""
        if not self.implements("vault_resolve"):
            return [(Reader(text),) for text in recipients]
        found = self._call("vault_resolve", list, recipients=recipients, public_keys=public_keys)
        readers = [reader for line in found for reader in line]
        if len(found) != len(recipients) or not all(found) or not all(map(_is_reader, readers)):
            raise PluginError(f"plugin '{self.name}': vault_resolve returned something else than readers")
        return found

    def public_key(self, recipient: str, public_keys: PublicKeys) -> PublicKey | None:
        """Call ``vault_public_key`` where it is implemented."""
        if not self.implements("vault_public_key"):
            return None
        found = self._call("vault_public_key", PublicKey, recipient=recipient, public_keys=public_keys)
        names.component(found.file, "file of a public key")
        return found

    def encrypted_to(self, ciphertext: bytes, recipients: Sequence[str], public_keys: PublicKeys) -> bool:
        """Call ``vault_encrypted_to``."""
        return self._call(
            "vault_encrypted_to",
            bool,
            ciphertext=ciphertext,
            recipients=recipients,
            public_keys=public_keys,
        )

    def store(self) -> Housing:
        """Call ``vault_store``; refuse what is no absolute path."""
        found = self._call("vault_store", Housing)
        if not os.path.isabs(found.directory):
            raise PluginError(f"plugin '{self.name}': vault_store returned no absolute path")
        return found

    def recipients(self, content: bytes, signature: bytes) -> Vouched:
        """Call ``vault_recipients`` where it is implemented; nobody is vouched for where it is not."""
        if not self.implements("vault_recipients"):
            return Vouched(())
        found = self._call("vault_recipients", Vouched, content=content, signature=signature)
        if not all(map(_is_recipient, found.recipients)):
            raise PluginError(
                f"plugin '{self.name}': vault_recipients returned something else than recipients"
            )
        return found

    def workers(self) -> int:
        """Call ``vault_workers`` where it is implemented; 1 where it is not."""
        return max(1, self._call("vault_workers", int)) if self.implements("vault_workers") else 1

    def check(self, public_keys: PublicKeys) -> list[Finding]:
        """Call ``vault_check`` where it is implemented."""
        if not self.implements("vault_check"):
            return []
        found = self._call("vault_check", tuple, public_keys=public_keys)
        if not all(isinstance(finding, Finding) for finding in found):
            raise PluginError(f"plugin '{self.name}': vault_check returned something else than findings")
        return list(found)

    def patterns(self) -> list[Pattern]:
        """Call ``vault_patterns`` where it is implemented; refuse what the scanner cannot use."""
        if not self.implements("vault_patterns"):
            return []
        found = self._call("vault_patterns", tuple)
        for pattern in found:
            if not isinstance(pattern, Pattern) or not _is_usable(pattern):
                raise PluginError(f"plugin '{self.name}': vault_patterns returned what is no pattern")
        return list(found)

    def close(self) -> None:
        """Close the plugin at the end of the command, when it is a class with ``close``."""
        closing = getattr(self.implementation, "close", None)
        if callable(closing):
            self._guarded("close", closing)

    def _register(self) -> None:
        _check_hooks(self.name, self.implementation)
        self._manager.register(self.implementation, self.name)
        self._manager.check_pending()

    def implements(self, hook: str) -> bool:
        """Tell whether the plugin itself implements *hook*."""
        return any(
            call.plugin_name == self.name for call in getattr(self._manager.hook, hook).get_hookimpls()
        )

    def _call(self, hook: str, kind: type[T], **arguments: object) -> T:
        caller = getattr(self._manager.hook, hook)
        result = self._guarded(hook, lambda: caller(options=self._options, **arguments))
        if result is None and not self.implements(hook):
            raise PluginError(f"plugin '{self.name}' does not implement {hook}")
        if not isinstance(result, kind):
            found = names.shown(type(result).__name__)
            raise PluginError(f"plugin '{self.name}': {hook} returned {found}, not {kind.__name__}")
        return result

    def _guarded(self, what: str, call: Callable[[], object]) -> object:
        try:
            return call()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, VaultError) and _explains(error):
                raise
            kind = names.shown(type(error).__name__)
            raise PluginError(f"plugin '{self.name}': {what} failed with {kind}") from None


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


def _explains(error: VaultError) -> bool:
    """Tell whether *error* has a message and the exit code of a failure, as every VaultError should."""
    texts = (getattr(error, "message", None), getattr(error, "hint", None))
    return all(isinstance(text, str) for text in texts) and error.exit_code in range(1, 8)


def _is_recipient(text: object) -> bool:
    return isinstance(text, str) and text.isprintable() and bool(text.strip())


def _is_reader(reader: object) -> bool:
    """Tell whether *reader* is a Reader of printable texts, one line each."""
    if not isinstance(reader, Reader):
        return False
    texts = cast("tuple[object, ...]", reader)
    return all(isinstance(text, str) and text.isprintable() for text in texts)


def _is_usable(pattern: Pattern) -> bool:
    import re

    name, needle, expression = cast("tuple[object, ...]", pattern)  # a plugin may have put anything there
    if not (isinstance(name, str) and isinstance(needle, bytes) and isinstance(expression, bytes)):
        return False
    try:
        groups = re.compile(expression).groups
    except (re.error, RecursionError, OverflowError):
        return False
    return groups >= 1 and len(needle) >= _NEEDLE and name.isprintable()


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


def _check_hooks(name: str, implementation: object) -> None:
    for attribute in dir(implementation):
        function = getattr(implementation, attribute, None)
        marks = getattr(function, f"{PROJECT}_impl", None)
        if not isinstance(marks, dict) or not callable(function):
            continue
        hook = marks.get("specname") or attribute
        spec = getattr(VaultSpec, hook, None) if str(hook).startswith("vault_") else None
        if spec is None:
            raise PluginError(f"plugin '{name}': there is no hook '{names.shown(hook)}'")
        if marks.get("wrapper") or marks.get("hookwrapper"):
            raise PluginError(f"plugin '{name}': {hook} is a wrapper, which the contract does not have")
        unknown = set(inspect.signature(function).parameters) - set(inspect.signature(spec).parameters)
        if unknown:
            raise PluginError(
                f"plugin '{name}': {hook} asks for '{names.shown(min(unknown))}', which it has not"
            )
