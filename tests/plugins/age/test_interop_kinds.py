"""Interoperability of every kind of key with every other implementation that has it, both ways."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

import pytest

from plugins.age import oracles
from plugins.age.conftest import SSHKeys
from plugins.age.oracles import Key, Oracle
from plugins.age.softkeys import Person, TagIdentity, TagPQIdentity
from tskeyvault_age import armor, asking, file, recipients, sshkey
from tskeyvault_age.hybrid import HybridIdentity
from tskeyvault_age.scrypt import ScryptIdentity, ScryptRecipient
from tskeyvault_age.x25519 import X25519Identity

PLAINTEXT = b"plain text" * 10_000  # two chunks
PHRASE = "correct horse battery staple"


def _pairs(table: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    return [(name, kind) for name, kinds in table.items() for kind in kinds]


@pytest.fixture
def oracle(tmp_path: Path) -> Callable[[str], Oracle]:
    """Return a function that gives the implementation of a name."""
    makers: dict[str, Callable[[], Oracle]] = {
        "debian": lambda: oracles.debian_age(tmp_path),
        "go": lambda: oracles.go_age(tmp_path),
        "rage": oracles.Rage,
        "typage": oracles.typage,
    }
    return lambda name: makers[name]()


@pytest.fixture(scope="session")
def key(ssh_keys: SSHKeys) -> Callable[[str], Key]:
    """Return a function that makes a key pair of a kind."""

    def make(kind: str) -> Key:
        if kind.startswith("ssh-"):
            options = ["-b", "2048"] if kind == "ssh-rsa" else []
            path = ssh_keys.make(kind.removeprefix("ssh-"), *options)
            identity = sshkey.parse(path.read_bytes(), "key", asking.asker(Person()))
            return Key(kind, str(identity.recipient), path.read_bytes(), identity)
        if kind.startswith("tag"):
            tagged = TagIdentity() if kind == "tag" else TagPQIdentity()
            return Key(kind, str(tagged.recipient), b"", tagged)
        own = HybridIdentity.generate() if kind == "pq" else X25519Identity.generate()
        return Key(kind, str(own.recipient), own.export().encode() + b"\n", own)

    return make


@pytest.mark.parametrize("binding", [b"", b"tailscale/key 7"], ids=["plain", "bound"])
@pytest.mark.parametrize(("name", "kind"), _pairs(oracles.READS))
def test_they_open_ours(
    name: str, kind: str, binding: bytes, oracle: Callable[[str], Oracle], key: Callable[[str], Key]
) -> None:
    other, pair = oracle(name), key(kind)
    data = file.encrypt(PLAINTEXT, [recipients.parse(pair.recipient, None)], binding)
    assert other.decrypt(data, pair) == PLAINTEXT
    if name != "typage":  # whose armor is a function apart
        assert other.decrypt(armor.encode(data), pair) == PLAINTEXT


@pytest.mark.parametrize(("name", "kind"), _pairs(oracles.WRITES))
def test_we_open_theirs(
    name: str, kind: str, oracle: Callable[[str], Oracle], key: Callable[[str], Key]
) -> None:
    other, pair = oracle(name), key(kind)
    assert file.decrypt(other.encrypt(PLAINTEXT, [pair.recipient]), [pair.ours]) == PLAINTEXT
    if name != "typage":
        text = other.encrypt(PLAINTEXT, [pair.recipient], armored=True)
        assert text.startswith(armor.BEGIN)
        assert file.decrypt(text, [pair.ours]) == PLAINTEXT


@pytest.mark.parametrize("program", ["debian", "go"])
def test_passphrases_of_age(program: str, tmp_path: Path) -> None:
    age = oracles.debian_age(tmp_path) if program == "debian" else oracles.go_age(tmp_path)
    theirs = age.with_passphrase(PLAINTEXT, PHRASE, "-p")
    assert file.decrypt(theirs, [ScryptIdentity(PHRASE.encode())]) == PLAINTEXT
    ours = file.encrypt(PLAINTEXT, [ScryptRecipient(PHRASE.encode())], b"")
    assert age.with_passphrase(ours, PHRASE, "-d") == PLAINTEXT


def test_passphrases_of_rage() -> None:
    pyrage = import_module("pyrage")
    theirs = pyrage.passphrase.encrypt(PLAINTEXT, PHRASE)
    assert file.decrypt(theirs, [ScryptIdentity(PHRASE.encode())]) == PLAINTEXT
    ours = file.encrypt(PLAINTEXT, [ScryptRecipient(PHRASE.encode())], b"")
    assert pyrage.passphrase.decrypt(ours, PHRASE) == PLAINTEXT


def test_passphrases_of_typage() -> None:
    age = oracles.typage()
    theirs = age.run({"passphrase": PHRASE}, "encrypt", PLAINTEXT)
    assert file.decrypt(theirs, [ScryptIdentity(PHRASE.encode())]) == PLAINTEXT
    ours = file.encrypt(PLAINTEXT, [ScryptRecipient(PHRASE.encode())], b"")
    assert age.run({"passphrase": PHRASE}, "decrypt", ours) == PLAINTEXT


def test_identity_file_that_age_encrypted(tmp_path: Path) -> None:
    from tskeyvault_age.plugin import Plugin

    own = X25519Identity.generate()
    path = tmp_path / "identity.age"
    path.write_bytes(oracles.debian_age(tmp_path).with_passphrase(own.export().encode(), PHRASE, "-p", "-a"))
    plugin = Plugin({"identities": (str(path),), "ui": Person(PHRASE.encode())})
    assert plugin.vault_own_recipients() == (str(own.recipient),)
