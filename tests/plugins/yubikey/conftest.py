"""For the tests of keys in a YubiKey: a person, and the age plugin with software cards behind it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from support.pivreaders import SoftReaders
from support.yubikeys import PIN, Made
from tskeyvault.backend import Backend
from tskeyvault.values import Secret, Stanza
from tskeyvault_age.plugin import Plugin as AgePlugin
from tskeyvault_yubikey.plugin import Plugin

SECRET = Secret("tailscale/key", "secrets/tailscale/key.age")


class Person:
    """A user with a PIN, who keeps all that was asked and told."""

    def __init__(self, pin: bytes | None = PIN):
        self.pin = pin
        self.prompts: list[str] = []
        self.messages: list[str] = []
        self.steps: list[tuple[int, int]] = []

    def message(self, text: str) -> None:
        """Keep *text*."""
        self.messages.append(text)

    def confirm(self, question: str, yes: str, no: str) -> bool | None:
        """Say nothing."""

    def public(self, prompt: str) -> str | None:
        """Say nothing."""

    def secret(self, prompt: str) -> bytes | None:
        """Type the PIN."""
        self.prompts.append(prompt)
        return self.pin

    def progress(self, done: int, total: int) -> None:
        """Keep how far it is."""
        self.steps.append((done, total))


class Host:
    """A host with YubiKeys: the age plugin, and the plugin for YubiKeys as the core finds it."""

    def __init__(
        self, folder: Path, readers: Callable[[], SoftReaders], person: Person, consents: Sequence[str]
    ):
        self.folder = folder
        self.readers = readers
        self.person = person
        options = {"ui": person, "consents": frozenset(consents), "readers": readers}
        self.plugin = Plugin(options)
        self.backend = Backend("yubikey", self.plugin, options)
        self.identities = folder / f"identities-{id(self)}"
        self._age: AgePlugin | None = None

    def has(self, *identities: str) -> "Host":
        """Give this host's user *identities*."""
        self.identities.write_text("".join(f"{text}\n" for text in identities))
        return self

    @property
    def age(self) -> AgePlugin:
        """The age plugin for these identities, one for a command."""
        if self._age is None:
            paths = (str(self.identities),) if self.identities.exists() else ()
            find = {"yubikey": self.backend}.get
            self._age = AgePlugin(
                {"identities": paths, "ui": self.person, "key_plugin": lambda name, _hook: find(name)}
            )
        return self._age

    def encrypt(self, plaintext: bytes, *recipients: str) -> bytes:
        """Return an age file for *recipients*."""
        return self.age.vault_encrypt(plaintext, recipients, b"")

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Return the plaintext of *ciphertext*."""
        return self.age.vault_decrypt(SECRET, ciphertext)

    def decrypt_all(self, ciphertexts: Sequence[bytes]) -> list[bytes]:
        """Return the plaintexts of *ciphertexts*, as one command does it."""
        self.age.vault_prepare(ciphertexts)
        return [self.decrypt(ciphertext) for ciphertext in ciphertexts]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Give what makes a host with readers."""
    made: list[Host] = []

    def make(
        readers: SoftReaders | None = None, person: Person | None = None, consents: Sequence[str] = ()
    ) -> Host:
        made.append(Host(tmp_path, readers or SoftReaders(), person or Person(), consents))
        return made[-1]

    yield make
    for it in made:
        it.plugin.close()


def stanzas_for(made: Made, host: Host, *, tagged: bool = False) -> list[Stanza]:
    """Return the stanza of a file key for *made*."""
    return [host.plugin.vault_wrap(made.tagged if tagged else made.recipient, bytes(range(16)))]
