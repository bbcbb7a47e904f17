"""What is fuzzed: parsers that meet bytes from others, each with some good examples to start from.

A target takes any bytes. It returns, or raises a VaultError; any other exception is a finding, and so is a
successful result that breaks the promise it is asserted for.
"""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tskeyvault_age import armor, asking, bech32, file, header, recipients, scrypt, sshkey, sshwire
from tskeyvault_age.file import Identity, OwnIdentity
from tskeyvault_age.hybrid import HybridIdentity
from tskeyvault_age.identities import Identities
from tskeyvault_age.keys import FILE_KEY_LENGTH
from tskeyvault_age.scrypt import ScryptIdentity, ScryptRecipient
from tskeyvault_age.x25519 import X25519Identity

_NATIVE, _HYBRID = X25519Identity.generate(), HybridIdentity.generate()
_OPENSSH = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
_RSA = generate_private_key(65537, 2048).private_bytes(
    Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
)
_SSH = [sshkey.parse(data, "key", asking.asker(None)) for data in (_OPENSSH, _RSA)]
_KEYS: tuple[OwnIdentity, ...] = (_NATIVE, _HYBRID, *_SSH)
_LIMIT = 4  # log2 of the scrypt rounds that are worth the time


class Target(NamedTuple):
    """One parser."""

    run: Callable[[bytes], object]
    seeds: Sequence[bytes]


def _header(data: bytes) -> None:
    parsed = header.parse(data)
    again = header.serialise(parsed.stanzas, bytes(16))
    assert again.startswith(parsed.authenticated + b" ")
    assert data.startswith(parsed.authenticated)


def _armor(data: bytes) -> None:
    text = armor.encode(armor.decode(data))
    assert text.strip() == data.replace(b"\r\n", b"\n").strip()


def _bech32(data: bytes) -> None:
    text = data.decode("latin-1")
    assert bech32.encode(*bech32.decode(text)) == text


def _ssh_line(data: bytes) -> None:
    text = data.decode("latin-1")
    key = sshwire.parse_line(text)
    assert sshwire.parse_line(str(key)) == key


def _ssh_key(data: bytes) -> None:
    sshkey.parse(data, "f", asking.asker(None))


def _recipient(data: bytes) -> None:
    text = data.decode("latin-1")
    recipients.parse(text, None)


def _identity_file(data: bytes) -> None:
    found = Identities()
    found.add(data, "f", asking.asker(None), None)
    found.plugins  # noqa: B018 - opens what it can


def _stanzas(data: bytes) -> None:
    stanzas = header.parse(data).stanzas
    identities: tuple[Identity, ...] = (*_KEYS, ScryptIdentity(b"x"))
    for identity in identities:
        with patch.object(scrypt, "_MAX", _LIMIT):  # more would only take time
            key = identity.unwrap(stanzas)
        assert key is None or len(key) == FILE_KEY_LENGTH


def _whole(data: bytes) -> None:
    file.read_binding(data)
    file.decrypt(data, _KEYS)


def _sealed(size: int, *, bound: bool = True) -> list[bytes]:
    binding = b"tailscale/key 7" if bound else b""
    files = [file.encrypt(os.urandom(size), [key.recipient], binding) for key in _KEYS]
    return [*files, armor.encode(files[0])]


def _passphrase() -> bytes:
    with patch.object(scrypt, "_WRITTEN", _LIMIT):
        return file.encrypt(_NATIVE.export().encode(), [ScryptRecipient(b"x")], b"")


_RECIPIENTS = [str(key.recipient).encode() for key in _KEYS]
_IDENTITIES = [_NATIVE.export().encode(), _HYBRID.export().encode(), _OPENSSH, _RSA, _passphrase()]
_PLUGIN = [bech32.encode("age1demo", b"x").encode(), bech32.encode("AGE-PLUGIN-DEMO-", b"x").encode()]

TARGETS = {
    "header": Target(_header, _sealed(0)),
    "armor": Target(_armor, [armor.encode(bytes(size)) for size in (0, 1, 47, 48, 49, 200)]),
    "bech32": Target(_bech32, [*_RECIPIENTS[:2], *_IDENTITIES[:2], *_PLUGIN]),
    "ssh-line": Target(_ssh_line, _RECIPIENTS[2:]),
    "ssh-key": Target(_ssh_key, [_OPENSSH, _RSA]),
    "recipient": Target(_recipient, [*_RECIPIENTS, _PLUGIN[0]]),
    "identity-file": Target(_identity_file, [*_IDENTITIES, _PLUGIN[1], b"# x\n" + _IDENTITIES[0] + b"\r\n"]),
    "stanzas": Target(_stanzas, [*_sealed(0), _passphrase()]),
    "file": Target(_whole, [*_sealed(10), *_sealed(70_000, bound=False)]),
}
