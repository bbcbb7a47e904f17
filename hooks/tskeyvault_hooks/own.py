"""The vault's own values: keyed fingerprints of them, and finding the values by these in any text.

Of a value the file keeps where four of its bytes stand, these bytes encrypted, and a keyed digest
of all. So a text is searched for four bytes at the speed of ``bytes.find``, and only what stands
around them is hashed. Without the key beside the file it says nothing but lengths and names.
"""

from _blake2 import blake2b  # hashlib would load OpenSSL first, which takes 4 ms

from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.kinds import entropy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KEY_LENGTH = 32
_CHUNK = 4
_DIGEST = 16
_SHORTEST = 12
"""Bytes of a value that can be told from a word."""
_SHORTEST_LINE = 24
_FEWEST_BITS = 40.0
_MANY = 16
"""Chunks that are looked for one by one; more go into one expression, which takes 4 ms to load."""
_LARGE = 64 << 10
_UPPER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOWER = _UPPER.lower()
_DIGITS = b"0123456789"


class _Row:
    """One value, or one line of a value of several."""

    __slots__ = ("digest", "length", "name", "offset")

    def __init__(self, name: str, offset: int, length: int, digest: bytes):
        self.name = name
        self.offset = offset
        self.length = length
        self.digest = digest


class Own:
    """The fingerprints of one file; *data* and *key* (32 bytes) as :func:`render` made them.

    Raises ScanError for a damaged file.
    """

    def __init__(self, data: bytes, key: bytes):
        self._key = key
        self._rows: dict[bytes, list[_Row]] = {}
        try:
            for line in data.split(b"\n")[:-1]:
                offset, length, sealed, digest, name = line.split(b" ", 4)
                row = _Row(name.decode(), int(offset), int(length), bytes.fromhex(digest.decode()))
                chunk = _mask(bytes.fromhex(sealed.decode()), row.digest, key)
                self._rows.setdefault(chunk, []).append(row)
        except ValueError:
            raise ScanError("the fingerprints of the vault's values are damaged", _REFRESH) from None

    def tells(self, text: bytes) -> bool:
        """Tell quickly whether one of the values may stand in *text*."""
        if len(self._rows) <= _MANY or len(text) < _LARGE:
            return any(chunk in text for chunk in self._rows)
        import re

        return re.compile(b"|".join(map(re.escape, sorted(self._rows)))).search(text) is not None

    def find(self, text: bytes) -> "Iterator[tuple[str, bytes, int]]":
        """Yield what each value in *text* is called, the value, and where it begins."""
        for chunk, rows in self._rows.items():
            place = text.find(chunk)
            while place >= 0:
                for row in rows:
                    start = place - row.offset
                    value = text[start : start + row.length] if start >= 0 else b""
                    if len(value) == row.length and _digest(value, self._key) == row.digest:
                        yield f"value of secret {row.name!r}", value, start
                place = text.find(chunk, place + 1)


def render(values: "Iterable[tuple[str, bytes]]", key: bytes) -> "tuple[bytes, list[str]]":
    """Return the file for *values*, name and value each, and the names of those that are left out.

    Left out is what could stand in any text by chance: below 12 bytes, or below 40 bits by its
    own frequencies. Of a value of several lines each line is kept that looks like a key.
    """
    lines, left_out = set(), []
    for name, value in values:
        parts = list(_parts(value))
        if not parts:
            left_out.append(name)
        for part in parts:
            offset = _place_of_chunk(part)
            digest = _digest(part, key)
            sealed = _mask(part[offset : offset + _CHUNK], digest, key)
            lines.add(f"{offset} {len(part)} {sealed.hex()} {digest.hex()} {name}\n")
    return "".join(sorted(lines)).encode(), left_out


def has_spaces(values: "Iterable[bytes]", run: int) -> bool:
    """Tell whether one of *values* has no *run* of that many bytes without white space."""
    return any(
        max((len(word) for word in part.split()), default=0) < run
        for value in values
        for part in _parts(value)
    )


def _parts(value: bytes) -> "Iterator[bytes]":
    """Yield the value without white space around it, and those of its lines that look like keys."""
    whole = value.strip()
    lines = [line.strip() for line in whole.split(b"\n")]
    if len(lines) == 1 and len(whole) >= _SHORTEST and entropy(whole) * len(whole) >= _FEWEST_BITS:
        yield whole
    if len(lines) > 1:
        for line in lines:
            _, _, tail = (
                line.rpartition(b"=") if line.count(b"=") == 1 and line[-1:] != b"=" else (b"", b"", line)
            )
            part = tail.strip(b"\"' ")
            if len(part) >= _SHORTEST_LINE and not part.count(b" ") and entropy(part) >= 3.5:  # noqa: PLR2004 - words have less
                yield part


def _place_of_chunk(value: bytes) -> int:
    """Return where four bytes of *value* stand that are rare in texts: in its second half, which is no prefix."""

    def rarity(place: int) -> int:
        chunk = value[place : place + _CHUNK]
        return sum(
            3 if byte in _UPPER else 2 if byte in _DIGITS else 1 if byte in _LOWER else 0 for byte in chunk
        )

    return max(range(len(value) // 2, len(value) - _CHUNK + 1), key=rarity)


def _digest(value: bytes, key: bytes) -> bytes:
    return blake2b(value, digest_size=_DIGEST, key=key, person=b"vault value").digest()


def _mask(chunk: bytes, digest: bytes, key: bytes) -> bytes:
    stream = blake2b(digest, digest_size=_CHUNK, key=key, person=b"vault chunk").digest()
    return bytes(a ^ b for a, b in zip(chunk, stream, strict=False))


_REFRESH = "vault hooks refresh"
