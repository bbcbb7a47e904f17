"""The passphrase recipient and identity, used for identity files alone: no secret has a passphrase."""

import os
import re
from collections.abc import Sequence

from tskeyvault.errors import LockedError, UsageError
from tskeyvault.values import Stanza
from tskeyvault_age.faults import damaged
from tskeyvault_age.header import b64decode, b64encode
from tskeyvault_age.keys import check_body, open_file_key, seal_file_key

_TYPE = "scrypt"
_LABEL = b"age-encryption.org/v1/scrypt"
_SALT_LENGTH = 16
_WRITTEN = 18  # log2 of N: 256 MiB, about a second
_MAX = 22  # 4 GiB; age stops there too
_ARGUMENTS = 3
_DECIMAL = re.compile(r"[1-9][0-9]?")


class ScryptRecipient:
    """A passphrase to encrypt to, which nothing else can be combined with."""

    __slots__ = ("_passphrase", "labels")

    def __init__(self, passphrase: bytes):
        """Raise UsageError when *passphrase*, UTF-8, is empty."""
        if not passphrase:
            raise UsageError("the passphrase is empty")
        self._passphrase = passphrase
        self.labels = frozenset({os.urandom(16).hex()})

    def __str__(self) -> str:
        return "a passphrase"

    def wrap(self, file_key: bytes) -> Sequence[Stanza]:
        """Return the one new stanza from which the passphrase recovers *file_key* (16 bytes)."""
        salt = os.urandom(_SALT_LENGTH)
        body = seal_file_key(_stretch(self._passphrase, salt, _WRITTEN), file_key)
        return (Stanza((_TYPE, b64encode(salt).decode("ascii"), str(_WRITTEN)), body),)


class ScryptIdentity:
    """A passphrase that may open a file."""

    __slots__ = ("_passphrase",)

    def __init__(self, passphrase: bytes):
        self._passphrase = passphrase

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the 16-byte file key, None when the passphrase is another or there is none.

        Raises IntegrityError when the stanza is malformed, not alone, or asks for more than 4 GiB
        of memory. Source: C2SP age.md, section "scrypt recipient stanza".
        """
        for stanza in stanzas:
            if stanza.args[0] == _TYPE:
                return self._open(stanza, alone=len(stanzas) == 1)
        return None

    def _open(self, stanza: Stanza, *, alone: bool) -> bytes | None:
        if not alone or len(stanza.args) != _ARGUMENTS:
            raise damaged("header", "a passphrase stanza is malformed or not alone")
        salt = b64decode(stanza.args[1].encode("ascii"))
        if len(salt) != _SALT_LENGTH:
            raise damaged("header", "a passphrase stanza has a salt of a wrong length")
        if not _DECIMAL.fullmatch(stanza.args[2]) or int(stanza.args[2]) > _MAX:
            raise damaged("header", "a passphrase stanza has a work factor that is not allowed")
        check_body(stanza.body)
        return open_file_key(_stretch(self._passphrase, salt, int(stanza.args[2])), stanza.body)


def _stretch(passphrase: bytes, salt: bytes, work: int) -> bytes:
    """Return the 32-byte wrap key after 2**work rounds, which take 2**work KiB of memory."""
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    try:
        return Scrypt(salt=_LABEL + salt, length=32, n=1 << work, r=8, p=1).derive(passphrase)
    except MemoryError:
        raise LockedError(f"the passphrase needs {1 << work} KiB of memory, which are not there") from None
