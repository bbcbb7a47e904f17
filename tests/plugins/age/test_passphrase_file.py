"""Identity files that are encrypted themselves: asked for once, only when nothing else opens a secret."""

from pathlib import Path

import pytest

from plugins.age.softkeys import FakePlugins, Person, plugin_identity, plugin_recipient
from tskeyvault.errors import ConfigError, LockedError
from tskeyvault.spec import Secret
from tskeyvault_age import armor, file, scrypt
from tskeyvault_age.plugin import Plugin
from tskeyvault_age.scrypt import ScryptRecipient
from tskeyvault_age.x25519 import X25519Identity


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrypt, "_WRITTEN", 4)


def _plugin(tmp_path: Path, data: bytes, person: Person, *more: Path) -> Plugin:
    path = tmp_path / "identity.age"
    path.write_bytes(data)
    return Plugin({"identities": (str(path), *map(str, more)), "ui": person, "key_plugins": FakePlugins()})


@pytest.mark.parametrize("armored", [False, True])
def test_passphrase_is_asked_for_once(
    tmp_path: Path, identity: X25519Identity, secret: Secret, *, armored: bool
) -> None:
    data = file.encrypt(identity.export().encode(), [ScryptRecipient(b"pass")], b"")
    person = Person(b"pass")
    plugin = _plugin(tmp_path, armor.encode(data) if armored else data, person)
    assert person.prompts == []
    for content in (b"one", b"two"):
        assert plugin.vault_decrypt(secret, file.encrypt(content, [identity.recipient], b"")) == content
    assert plugin.vault_own_recipients() == (str(identity.recipient),)
    assert person.prompts == [f"passphrase of identity file {str(tmp_path / 'identity.age')!r}"]


def test_it_is_not_asked_for_when_another_identity_does(
    tmp_path: Path, identity: X25519Identity, identity_file: Path, secret: Secret
) -> None:
    inner = X25519Identity.generate().export().encode()
    person = Person(b"pass")
    data = file.encrypt(inner, [ScryptRecipient(b"pass")], b"")
    plugin = _plugin(tmp_path, data, person, identity_file)
    assert plugin.vault_decrypt(secret, file.encrypt(b"x", [identity.recipient], b"")) == b"x"
    assert person.prompts == []


@pytest.mark.parametrize(
    ("answer", "message"), [(b"wrong", "is wrong"), (None, "none was given"), (b"", "none was")]
)
def test_wrong_or_no_passphrase_is_locked_and_not_asked_for_again(
    tmp_path: Path, answer: bytes | None, message: str, identity: X25519Identity, secret: Secret
) -> None:
    data = file.encrypt(identity.export().encode(), [ScryptRecipient(b"pass")], b"")
    person = Person(answer)
    plugin = _plugin(tmp_path, data, person)
    for _ in range(2):
        with pytest.raises(LockedError, match=message):
            plugin.vault_decrypt(secret, file.encrypt(b"x", [identity.recipient], b""))
    assert len(person.prompts) == 1


def test_it_may_hold_identities_of_plugins(tmp_path: Path, secret: Secret) -> None:
    content = plugin_identity("demo").encode()
    plugin = _plugin(tmp_path, file.encrypt(content, [ScryptRecipient(b"p")], b""), Person(b"p"))
    assert plugin.vault_decrypt(secret, plugin.vault_encrypt(b"x", [plugin_recipient("demo")], b"")) == b"x"


@pytest.mark.parametrize("kind", ["damaged", "twice", "not a passphrase", "no identity"])
def test_malformed_one_is_an_error_of_configuration(
    kind: str, tmp_path: Path, identity: X25519Identity, secret: Secret
) -> None:
    passphrase = [ScryptRecipient(b"p")]
    good = file.encrypt(identity.export().encode(), passphrase, b"")
    data = {
        "damaged": good[:-1] + bytes([good[-1] ^ 1]),
        "twice": file.encrypt(good, passphrase, b""),
        "not a passphrase": file.encrypt(b"", [identity.recipient], b""),
        "no identity": file.encrypt(b"#", passphrase, b""),
    }[kind]
    plugin = _plugin(tmp_path, data, Person(b"p"))
    with pytest.raises((ConfigError, LockedError), match="identity file"):
        plugin.vault_decrypt(secret, file.encrypt(b"x", [identity.recipient], b""))
