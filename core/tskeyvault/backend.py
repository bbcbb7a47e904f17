"""One loaded plugin: the typed calls of its hooks, each answered by it alone.

Each plugin has a pluggy manager of its own, which holds the core's defaults and that plugin
alone. So an ordinary hook call reaches nobody else: no other plugin can see it, wrap it or answer it.
"""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

import pluggy

from . import names
from .errors import PluginError, VaultError
from .materialize import default
from .spec import PROJECT, VaultSpec
from .values import Finding, Housing, Options, Pattern, PublicKey, Reader, Secret, Stanza, Target, Vouched

PublicKeys = Mapping[str, bytes]
"""Files of public keys that travel with the vault, by name."""
NO_KEYS: PublicKeys = {}

_TELLING = 16
"""Bytes of plaintext that do not stand in a ciphertext by chance."""
_NEEDLE = 4
"""Bytes of a pattern's needle: a shorter one would be found everywhere, and looked at closely."""

T = TypeVar("T")


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
