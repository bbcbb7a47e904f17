"""The vault's own values: keyed fingerprints of them, and finding the values by these in any text.

Of a value the file keeps where a few of its bytes stand, these bytes encrypted, and a keyed digest
of all. So a text is searched for a few bytes at the speed of ``bytes.find``, and only what stands
around them is hashed. Without the key beside the file it says nothing but lengths and names.
"""

import sys
from _blake2 import blake2b  # hashlib would load OpenSSL first, which takes 4 ms

from tskeyvault_hooks.faults import ScanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

KEY_LENGTH = 32
LONGEST = 1024
"""Bytes of a value that are looked at: in UTF-32 or base64 no more than the finder sees at once."""
PIECE = 11
"""So many, that a whole word stands in them wherever every eighth byte of a text begins one."""
_WORD, _STRIDE = 4, 8
_DIGEST = 16
_FEW = 12
"""Pieces that are looked for one by one; of more the words are looked up, which does not depend on how many."""


class _Row:
    """One value, or a part of it."""

    __slots__ = ("digest", "length", "name", "offset", "piece")

    def __init__(self, line: bytes, key: bytes):
        """Take a line of the file; raise ValueError for what is none."""
        offset, length, sealed, digest, name = line.split(b" ", 4)
        self.offset, self.length = int(offset), int(length)
        self.digest = bytes.fromhex(digest.decode())
        self.name = name.decode()
        self.piece = _masked(bytes.fromhex(sealed.decode()), self.digest, key)


class Own:
    """The fingerprints of one file; *data* and *key* (32 bytes) as :func:`fingerprints.render` made them.

    Raises ScanError for a damaged file, and for one that belongs to another key.
    """

    def __init__(self, data: bytes, key: bytes):
        self._key = key
        self._rows: dict[bytes, list[_Row]] = {}
        seal, _, body = data.partition(b"\n")
        try:
            if bytes.fromhex(seal.decode()) != sealed(body, key):
                raise ValueError  # noqa: TRY301 - the same answer as to all that is damaged
            for line in body.split(b"\n")[:-1]:
                row = _Row(line, key)
                self._rows.setdefault(row.piece, []).append(row)
        except ValueError:
            raise ScanError(
                "the fingerprints of the vault's values are damaged", "vault hooks refresh"
            ) from None
        self.shortest = min((row.length for rows in self._rows.values() for row in rows), default=LONGEST)
        """Bytes that the shortest value has."""
        self._words: dict[int, list[bytes]] = {}
        if len(self._rows) > _FEW:
            for piece in self._rows:
                for start in range(_STRIDE):
                    word = int.from_bytes(piece[start : start + _WORD], sys.byteorder)
                    self._words.setdefault(word, []).append(piece)
        self._known = frozenset(self._words)

    def tells(self, text: bytes) -> bool:
        """Tell quickly whether one of the values may stand in *text*."""
        return any(piece in text for piece in self._pieces(text))

    def find(self, text: bytes) -> "Iterator[tuple[str, bytes, int]]":
        """Yield what each value in *text* is called, the value, and where it begins."""
        for piece in self._pieces(text):
            place = text.find(piece)
            while place >= 0:
                for row in self._rows[piece]:
                    start = place - row.offset
                    value = text[start : start + row.length] if start >= 0 else b""
                    if len(value) == row.length and digest(row.name, value, self._key) == row.digest:
                        yield f"value of secret {row.name!r}", value, start
                place = text.find(piece, place + 1)

    def _pieces(self, text: bytes) -> "Iterator[bytes]":
        """Yield the pieces that may stand in *text*."""
        if not self._words:
            yield from self._rows
            return
        words = memoryview(text + bytes(-len(text) % _STRIDE)).cast("I")[:: _STRIDE // _WORD]
        for word in self._known.intersection(words):
            yield from self._words[word]


def digest(name: str, value: bytes, key: bytes) -> bytes:
    """Return what says of *value* that it is the one of the secret *name*, to who has *key*."""
    data = b"%s\0%s" % (name.encode(), value)
    return blake2b(data, digest_size=_DIGEST, key=key, person=b"vault value").digest()


def row(name: str, value: bytes, offset: int, key: bytes) -> bytes:
    """Return the line for *value* of the secret *name*, which is found by the bytes at *offset*."""
    digested = digest(name, value, key)
    piece = _masked(value[offset : offset + PIECE], digested, key)
    return f"{offset} {len(value)} {piece.hex()} {digested.hex()} {name}\n".encode()


def sealed(body: bytes, key: bytes) -> bytes:
    """Return what says of a file's *body* that it is whole, and was made with *key*."""
    return blake2b(body, digest_size=_DIGEST, key=key, person=b"vault values").digest()


def _masked(piece: bytes, digested: bytes, key: bytes) -> bytes:
    stream = blake2b(digested, digest_size=PIECE, key=key, person=b"vault piece").digest()
    return bytes(a ^ b for a, b in zip(piece, stream, strict=True))
