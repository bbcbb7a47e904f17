"""SSH private key files: OpenSSH's own form, also behind a passphrase, and PEM without one."""

import binascii
import re
from typing import TYPE_CHECKING

from tskeyvault.errors import ConfigError, LockedError, UsageError
from tskeyvault_age import sshwire
from tskeyvault_age.asking import Ask
from tskeyvault_age.ssh import SSHIdentity

if TYPE_CHECKING:
    from tskeyvault_age.ssh import PrivateKey

MAX_FILE = 16 * 1024
"""Bytes that a private key file may have."""

_OPENSSH = re.compile(
    rb"-----BEGIN OPENSSH PRIVATE KEY-----\r?\n([A-Za-z0-9+/=\r\n]*)-----END OPENSSH PRIVATE KEY-----\s*"
)
_PEM = re.compile(
    rb"-----BEGIN (RSA )?PRIVATE KEY-----\r?\n[A-Za-z0-9+/=\r\n]*-----END (RSA )?PRIVATE KEY-----\s*"
)
_MAGIC = b"openssh-key-v1\0"
_ONE_KEY = (1).to_bytes(4, "big")
_MAX_ROUNDS = 1024  # ssh-keygen takes 24 unless told; a second has some hundred
_CONVERT = "ssh-keygen -p -f FILE writes it in a form that works"


def parse(data: bytes, origin: str, ask: Ask) -> SSHIdentity:
    """Return the identity in *data*, the content of the private key file named *origin*.

    The passphrase is asked for when the identity is first needed. Raises ConfigError when the file
    is malformed, too large, or holds a key that cannot decrypt.
    """
    if len(data) > MAX_FILE:
        raise ConfigError(f"identity file {origin!r} is too large for an SSH key")
    try:
        if match := _OPENSSH.fullmatch(data):
            return _openssh(data, match[1], origin, ask)
        if _PEM.fullmatch(data):
            return _identity(_load(data, None, openssh=False))
    except UsageError as error:
        raise ConfigError(f"identity file {origin!r}: {error.message}", error.hint) from None
    raise ConfigError(f"identity file {origin!r} is a private key of a form that is not known", _CONVERT)


def _openssh(data: bytes, text: bytes, origin: str, ask: Ask) -> SSHIdentity:
    """Return the identity in an OpenSSH file; *text* is the base64 in it. Source: OpenSSH, PROTOCOL.key."""
    try:
        content = binascii.a2b_base64(text)
    except binascii.Error:
        content = b""
    if not content.startswith(_MAGIC):
        raise UsageError("the private key is malformed")
    cipher, rest = sshwire.take_string(content[len(_MAGIC) :])
    _, rest = sshwire.take_string(rest)
    options, rest = sshwire.take_string(rest)
    if not rest.startswith(_ONE_KEY):
        raise UsageError("the file has not one private key")
    public = sshwire.parse(sshwire.take_string(rest[len(_ONE_KEY) :])[0])
    if cipher == b"none":
        identity = _identity(_load(data, None, openssh=True))
        if str(identity.recipient) != str(public):
            raise UsageError("the private key does not belong to the public key beside it")
        return identity
    if int.from_bytes(sshwire.take_string(options)[1], "big") > _MAX_ROUNDS:
        raise UsageError("the passphrase of the private key takes too long to check")
    return SSHIdentity(public, lambda: _unlock(data, public, origin, ask), asks=True)


def _unlock(data: bytes, public: sshwire.PublicKey, origin: str, ask: Ask) -> "PrivateKey":
    from importlib.util import find_spec

    if find_spec("bcrypt") is None:
        raise LockedError(f"SSH key {origin!r} has a passphrase", "install the Python package bcrypt")
    try:
        key = _load(data, ask(f"SSH key {origin!r}"), openssh=True)
    except UsageError:
        key = None
    if key is None or _public(key) != public:
        raise LockedError(f"the passphrase of SSH key {origin!r} is wrong, or the file is damaged")
    return key


def _identity(key: "PrivateKey") -> SSHIdentity:
    return SSHIdentity(_public(key), lambda: key, asks=False)


def _load(data: bytes, passphrase: bytes | None, *, openssh: bool) -> "PrivateKey":
    """Return the private key in *data*; raise UsageError, which holds nothing of it."""
    from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    try:
        key = (load_ssh_private_key if openssh else load_pem_private_key)(data, passphrase)
    except (ValueError, TypeError, InvalidTag, UnsupportedAlgorithm):
        key = None
    if key is None:  # raised here, as the error above may hold a part of the key and would be our context
        raise UsageError("the private key is malformed, or has a passphrase in an old form", _CONVERT)
    if not isinstance(key, (Ed25519PrivateKey, RSAPrivateKey)):
        raise UsageError("the private key is neither ssh-ed25519 nor ssh-rsa")
    return key


def _public(key: "PrivateKey") -> sshwire.PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if isinstance(key, Ed25519PrivateKey):
        point = key.public_key().public_bytes_raw()
        return sshwire.parse(sshwire.encode(sshwire.ED25519.encode(), point))
    numbers = key.public_key().public_numbers()
    return sshwire.parse(sshwire.encode(sshwire.RSA.encode(), numbers.e, numbers.n))
