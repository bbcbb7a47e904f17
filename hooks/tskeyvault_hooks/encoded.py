"""Other shapes of text: which may stand in bytes, told by one translation, and how to undo them."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

RUN = 32
"""Characters of base64 in a row that may hold a key."""
_LETTER, _NUL, _OTHER = b"a", b"\0", b" "
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BLANKS = b" \t\r\n"
_BREAKS = _BLANKS + b"\"',\\"
"""What folds base64 into lines, also in source code and JSON."""
_FOLD = rb"(?:\\[nrt]|\"\s{0,80}\+\s{0,80}\"|'\s{0,80}\+\s{0,80}'|[\s\"',\\])"
_LONGEST_FOLD = 163
_SHAPES = bytes(
    _LETTER[0] if byte in _ALPHABET else _NUL[0] if byte == 0 else _OTHER[0] for byte in range(256)
)
_STRETCHES = bytes(_LETTER[0] if byte in _ALPHABET + _BREAKS else _OTHER[0] for byte in range(256))
_UTF_16 = b"a\0" * 7  # of eight letters or more, in both byte orders: every key has them
_UTF_32 = b"a\0\0\0" * 7
_FIRST_LOOK = 256
_FEW_NULS = 200
"""Of more it takes longer to look at each than to search."""


def shapes(data: bytes) -> bytes:
    """Return *data* with one byte for all characters of base64, NUL, and one for all others."""
    return data.translate(_SHAPES)


def is_wide(shaped: bytes) -> bool:
    """Tell whether a long word in UTF-16 or UTF-32 stands in what was *shaped*."""
    return alternates(shaped) and (_UTF_16 in shaped or _UTF_32 in shaped)


def alternates(shaped: bytes) -> bool:
    """Tell quickly whether every other byte may be NUL somewhere, as in all of UTF-16 and UTF-32, but in few trees of git."""
    place = shaped.find(b"\0")
    for _ in range(_FEW_NULS):
        if place < 0:
            return False
        if shaped[place : place + 5 : 2] == b"\0\0\0":
            return True
        place = shaped.find(b"\0", place + 1)
    return True


def narrowed(data: bytes) -> bytes:
    """Return *data* without NULs, as which UTF-16 and UTF-32 of either byte order are like Latin-1."""
    return data.replace(b"\0", b"")


def widened(text: bytes) -> bytes:
    """Return what UTF-16 of both byte orders have in common for *text*."""
    return b"\0".join(text[place : place + 1] for place in range(len(text)))


class Places:
    """Tells where in *data* the bytes stand that another shape of it has: fast where what is asked for ascends."""

    def __init__(self, data: bytes, advance: "Callable[[bytes, int, int], int]"):
        """Take :func:`past_nuls` or :func:`past_folds`, whichever made the other shape."""
        self._data = data
        self._advance = advance
        self._index = self._place = 0

    def of(self, index: int) -> int:
        """Return where the byte stands that has *index* there."""
        if index < self._index:
            self._index = self._place = 0
        self._place = self._advance(self._data, self._place, index - self._index)
        self._index = index
        return self._place


def past_nuls(data: bytes, place: int, count: int) -> int:
    """Return where the byte stands that is *count* behind *place* in :func:`narrowed`."""
    while count:
        place, count = place + count, data.count(b"\0", place, place + count)
    while data[place] == 0:
        place += 1
    return place


def past_folds(stretch: bytes, place: int, count: int) -> int:
    """Return where the character stands that is *count* behind *place* in :func:`unfolded`."""
    import re

    expression = re.compile(_FOLD)
    while fold := expression.search(stretch, place, place + count + _LONGEST_FOLD):
        if fold.start() - place > count:
            break
        count -= fold.start() - place
        place = fold.end()
    return place + count


def stretches(data: bytes, shaped: bytes, run: int) -> "Iterator[tuple[int, bytes]]":
    """Yield where base64 of at least *run* characters may begin in *data*, folded or not, and all that may belong to it."""
    needle = _LETTER * run
    start = shaped.find(needle)
    while start >= 0:
        end = _end_of_stretch(data, start)
        yield start, data[start:end]
        start = shaped.find(needle, end)


def _end_of_stretch(data: bytes, place: int) -> int:
    size = _FIRST_LOOK
    while place < len(data):
        end = data[place : place + size].translate(_STRETCHES).find(_OTHER)
        if end >= 0:
            return place + end
        place += size
        size *= 2  # most are short, and what is behind them need not be looked at
    return len(data)


def unfolded(stretch: bytes) -> bytes:
    """Return the characters of base64 in *stretch*, without the module re, which takes 4 ms to load."""
    text = stretch.translate(None, _BLANKS)
    if b"\\" in text:
        text = text.replace(b"\\n", b"").replace(b"\\r", b"").replace(b"\\t", b"")
    if b"+" in text:
        text = text.replace(b'"+"', b"").replace(b"'+'", b"")
    return text.translate(None, _BREAKS)


def joined(texts: "Iterable[bytes]") -> bytes:
    """Return *texts* of base64 as one in which each begins where four characters begin."""
    return b"".join(map(_filled, texts))


def _filled(text: bytes) -> bytes:
    return text + b"A" * (-len(text) % 4)  # what it says ends with NUL then


def decoded(text: bytes) -> "Iterator[tuple[int, bytes]]":
    """Yield what base64 *text* says if it begins at its first, second, third and fourth character."""
    from binascii import a2b_base64

    for shift in range(4):
        yield shift, a2b_base64(_filled(text[shift:]))


def in_base64(text: bytes) -> "Iterator[bytes]":
    """Yield what base64 has in it for sure where it says *text*, for each of the three alignments."""
    from binascii import b2a_base64

    for shift in range(3):
        characters = b2a_base64(bytes(shift) + text, newline=False)
        # A character has six bits; those that have others beside the text's are left out.
        yield characters[-(-8 * shift // 6) : 8 * (shift + len(text)) // 6]
