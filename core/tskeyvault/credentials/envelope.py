"""The envelope of a credential: encrypted for this host as systemd-creds does, so that systemd takes the whole or nothing.

An answer in plain text that ends too early is a shorter credential to systemd, an empty one at worst. This one
has a tag in the end: of what is not whole, systemd says so and does not start the unit.
The format is that of ``encrypt_credential_and_warn`` in systemd's creds-util.c, with the key of the host.
"""

import base64
import hashlib
import os
import struct
from collections.abc import Mapping

from tskeyvault import files
from tskeyvault.errors import DeliveryError, VaultError

SECRET = "/var/lib/systemd/credential.secret"  # noqa: S105 - the path of one
"""Where systemd keeps the key of the host: 16 bytes that name the host, and the key."""

MAX_SIZE = (1 << 20) + (128 << 10)
"""Bytes of an envelope that every systemd takes."""

_MAX_SECRET = 1 << 16
_NAMES_HOST = 16
_BY_HOST = bytes.fromhex("5a1c6a86df9d4096b1d5a65e0862f19a")
"""How systemd names AES-256-GCM by the key of the host."""
_KEY, _BLOCK, _IV, _TAG = 32, 1, 12, 16
_NEVER = (1 << 64) - 1


def sealed(values: Mapping[str, bytes], path: str = SECRET) -> Mapping[str, bytes]:
    """Return *values*, by ID, in envelopes that systemd opens for a credential of that ID alone.

    *path* is where the key of the host lies. Raises DeliveryError without it, and for what is too large.
    """
    key = hashlib.sha256(_secret(path)).digest()
    found = {name: _sealed(name, value, key) for name, value in values.items()}
    for name, text in found.items():
        if len(text) > MAX_SIZE:
            raise DeliveryError(f"credential '{name}' is too large: encrypted it has more than 1.125 MiB")
    return found


def _secret(path: str) -> bytes:
    folder, name = os.path.split(path)
    try:
        with files.directory(folder) as fd:
            found = files.read(fd, name, _MAX_SECRET)[_NAMES_HOST:]
    except VaultError:
        found = b""
    if not found:
        raise DeliveryError("systemd has no key of this host to encrypt with", "systemd-creds setup makes it")
    return found


def _sealed(name: str, value: bytes, key: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    iv = os.urandom(_IV)
    head = _padded(struct.pack("<16s4I", _BY_HOST, _KEY, _BLOCK, _IV, _TAG) + iv)
    about = _padded(struct.pack("<QQI", _NEVER, _NEVER, len(name)) + name.encode())
    return base64.b64encode(head + AESGCM(key).encrypt(iv, about + value, head))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)
