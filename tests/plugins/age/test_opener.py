"""Key plugins: asked last, once for all files, and the failure of one file costs no other."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from plugins.age.softkeys import FakePlugins, Person, plugin_identity, plugin_recipient
from tskeyvault.errors import IntegrityError, LockedError, PluginError, UsageError, VaultError
from tskeyvault.spec import Secret, Stanza
from tskeyvault_age import bech32, header
from tskeyvault_age.keyplugins import PluginIdentity, PluginRecipient, check_name
from tskeyvault_age.plugin import Plugin
from tskeyvault_age.x25519 import X25519Identity

DEMO = plugin_recipient("demo")


@pytest.fixture
def fake() -> FakePlugins:
    return FakePlugins()


def _plugin(tmp_path: Path, fake: FakePlugins | None, *lines: str) -> Plugin:
    path = tmp_path / "identities.txt"
    path.write_text("\n".join(lines or [plugin_identity("demo")]))
    return Plugin({"identities": (str(path),), "key_plugins": fake, "ui": Person()})


def _broken(data: bytes) -> bytes:
    """Return a file whose stanza makes the plugin fail."""
    parsed = header.parse(data)
    stanzas = [
        Stanza((args[0], "broken"), body) if args[0] == "demo" else Stanza(args, body)
        for args, body in parsed.stanzas
    ]
    return header.serialise(stanzas, bytes(16)) + data[parsed.payload_start :]


def test_files_are_prepared_in_one_call_and_keys_forgotten_at_close(
    tmp_path: Path, fake: FakePlugins, secret: Secret
) -> None:
    plugin = _plugin(tmp_path, fake)
    files = [plugin.vault_encrypt(bytes([at]), [DEMO], b"") for at in range(5)]
    assert plugin.vault_prepare([*files, files[0], b"not an age file"])
    assert fake.calls == [5]
    assert [plugin.vault_decrypt(secret, data) for data in files] == [bytes([at]) for at in range(5)]
    assert fake.calls == [5]
    plugin.close()
    assert plugin.vault_decrypt(secret, files[0]) == b"\0"
    assert fake.calls == [5, 1]


def test_native_identities_go_first(tmp_path: Path, fake: FakePlugins, secret: Secret) -> None:
    native = X25519Identity.generate()
    plugin = _plugin(tmp_path, fake, plugin_identity("demo"), native.export())
    both = plugin.vault_encrypt(b"both", [DEMO, str(native.recipient)], b"")
    only = plugin.vault_encrypt(b"only", [DEMO], b"")
    plugin.vault_prepare([both, only])
    assert fake.calls == [1]
    assert plugin.vault_decrypt(secret, both) == b"both"
    assert plugin.vault_decrypt(secret, only) == b"only"


def test_one_bad_file_costs_no_other(tmp_path: Path, fake: FakePlugins, secret: Secret) -> None:
    plugin = _plugin(tmp_path, fake)
    files = [plugin.vault_encrypt(bytes([at]), [DEMO], b"") for at in range(8)]
    files[5] = _broken(files[5])
    plugin.vault_prepare(files)
    calls = len(fake.calls)
    assert calls <= 1 + 2 * 3
    for at, data in enumerate(files):
        if at == 5:
            with pytest.raises(IntegrityError, match="secret 'tailscale/key': a stanza is broken"):
                plugin.vault_decrypt(secret, data)
        else:
            assert plugin.vault_decrypt(secret, data) == bytes([at])
    assert len(fake.calls) == calls


@pytest.mark.parametrize("failure", [LockedError("no device", "plug it in"), PluginError("it crashed")])
def test_plugin_that_fails_for_all_is_asked_once_and_explains(
    failure: VaultError, tmp_path: Path, secret: Secret
) -> None:
    fake = FakePlugins(failure)
    native = X25519Identity.generate()
    plugin = _plugin(tmp_path, fake, plugin_identity("demo"), native.export())
    files = [plugin.vault_encrypt(b"x", [DEMO], b"") for _ in range(4)]
    mine = plugin.vault_encrypt(b"mine", [str(native.recipient)], b"")
    plugin.vault_prepare([*files, mine])
    assert fake.calls == [4]
    assert plugin.vault_decrypt(secret, mine) == b"mine"
    with pytest.raises(type(failure), match=failure.message) as caught:
        plugin.vault_decrypt(secret, files[0])
    assert caught.value.hint == failure.hint
    assert fake.calls == [4]


def test_file_for_nobody_is_locked(tmp_path: Path, fake: FakePlugins, secret: Secret) -> None:
    plugin = _plugin(tmp_path, fake)
    foreign = plugin.vault_encrypt(b"x", [str(X25519Identity.generate().recipient)], b"")
    with pytest.raises(LockedError, match="no identity opens it"):
        plugin.vault_decrypt(secret, foreign)


def test_without_plugins_the_kind_is_named(tmp_path: Path, fake: FakePlugins, secret: Secret) -> None:
    data = _plugin(tmp_path, fake).vault_encrypt(b"x", [DEMO], b"")
    bare = _plugin(tmp_path, None)
    with pytest.raises(PluginError, match="kind 'demo'"):
        bare.vault_encrypt(b"x", [DEMO], b"")
    with pytest.raises(PluginError, match="kind 'demo'"):
        bare.vault_decrypt(secret, data)


def test_labels_of_plugins_are_respected(tmp_path: Path) -> None:
    plugin = _plugin(tmp_path, FakePlugins(labels=frozenset({"postquantum"})))
    with pytest.raises(
        UsageError, match=r"cannot be mixed in one file: age1demo\S+ \(post-quantum\) and age1\S+ \(classic\)"
    ):
        plugin.vault_encrypt(b"x", [DEMO, str(X25519Identity.generate().recipient)], b"")
    assert plugin.vault_encrypt(b"x", [DEMO], b"")


def test_own_recipients_leave_plugins_out_and_say_so(tmp_path: Path, fake: FakePlugins) -> None:
    native, person = X25519Identity.generate(), Person()
    (tmp_path / "i").write_text(f"{plugin_identity('demo')}\n{native.export()}\n")
    plugin = Plugin({"identities": (str(tmp_path / "i"),), "key_plugins": fake, "ui": person})
    assert plugin.vault_own_recipients() == (str(native.recipient),)
    assert len(person.messages) == 1
    assert "'demo'" in person.messages[0]


class _Hostile(FakePlugins):
    """Returns whatever it was made with."""

    def __init__(self, stanzas: Sequence[Stanza] = (), keys: dict[int, bytes] | None = None):
        super().__init__()
        self._stanzas = stanzas
        self._keys = keys or {}

    def wrap(self, name: str, recipient: str, file_key: bytes) -> tuple[Sequence[Stanza], frozenset[str]]:  # noqa: ARG002
        return self._stanzas, frozenset()

    def unwrap(self, name: str, identity: str, files: Sequence[Sequence[Stanza]]) -> dict[int, bytes]:  # noqa: ARG002
        return self._keys


@pytest.mark.parametrize(
    "stanzas",
    [(), [Stanza((), b"")], [Stanza(("a b",), b"")], [Stanza(("a", ""), b"")], [Stanza(("a\n",), b"")],
     [Stanza(("tskeyvault", "v1"), b"forged")], [Stanza(("scrypt", "a", "1"), b"")]],
)  # fmt: skip
def test_stanzas_that_would_change_the_header_are_refused(stanzas: Sequence[Stanza]) -> None:
    with pytest.raises(PluginError, match="not allowed"):
        PluginRecipient.parse(DEMO, _Hostile(stanzas)).wrap(bytes(16))


@pytest.mark.parametrize("keys", [{0: b"short"}, {1: bytes(16)}, {-1: bytes(16)}, {0: bytes(17)}])
def test_file_keys_that_are_none_are_refused(keys: dict[int, bytes]) -> None:
    identity = PluginIdentity.parse(plugin_identity("demo"), _Hostile(keys=keys))
    with pytest.raises(PluginError, match="no file key"):
        identity.unwrap_all([[Stanza(("demo",), b"")]])


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../x", ".x", "a..b", "A", "a b", "a\n", "\u00e9", "x" * 65, "a\0"]
)
def test_names_that_could_be_more_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        check_name(name)
    if name.isascii() and name.isprintable() and " " not in name and name == name.lower():
        with pytest.raises(UsageError):
            PluginRecipient.parse(bech32.encode(f"age1{name}", b""), None)
        with pytest.raises(UsageError):
            PluginIdentity.parse(bech32.encode(f"AGE-PLUGIN-{name.upper()}-", b""), None)


@pytest.mark.parametrize("name", ["yubikey", "a", "a-b", "a_b", "a.b", "a+b", "x1"])
def test_names_of_plugins_are_read_from_their_keys(name: str) -> None:
    assert PluginIdentity.parse(plugin_identity(name), None).name == name
    assert str(PluginRecipient.parse(plugin_recipient(name), None)) == plugin_recipient(name)
