"""Finds keys in bytes: as they are, in UTF-16 and UTF-32, and in base64, however large the input is."""

from tskeyvault_hooks import encoded
from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.kinds import FOLDS, KINDS, STEMS, Kind, looks_random

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tskeyvault_hooks.own import Own

    Found = tuple[str, bytes, int]
    """Kind, secret, and where it begins."""

PIECE = 1 << 20
"""Bytes that are looked at in one go."""
_BEHIND = 32 << 10
"""Bytes behind the start of a key that decide about it: 3 KiB of it and 4 KiB of its line, in UTF-32."""
_AHEAD = 16 << 10
"""Bytes before it that do: 4 KiB of its line."""
_LINE = 4 << 10
_NEEDLE_BEHIND = 128
_KEY = 4 << 10
_SECRET = 512
"""Bytes of a folded secret that tell it from others, however it is folded."""
_MOST = 10_000
_SHORTEST_OF_MORE = 12
"""Bytes of the shortest key of a plugin that is found in base64."""
_INLINE = b"vault:allow "
_UTF_8, _UTF_16_LE, _UTF_16_BE = b"\n", b"\n\0", b"\0\n"
"""How a line ends; UTF-32 ends with those of UTF-16."""


class Hit:
    """A key that was found. It has no text of itself that would show it."""

    __slots__ = ("allowed", "kind", "line", "secret")

    def __init__(self, kind: str, secret: bytes, line: int, *, allowed: bool):
        self.kind = kind
        self.secret = secret
        """What makes it that key; of an armored block without its line breaks."""
        self.line = line
        """From 1."""
        self.allowed = allowed
        """Its line says ``vault:allow`` and why."""


class Finder:
    """Knows what to look for: the kinds that all know, those of plugins, and the vault's own values."""

    def __init__(self, more: "Iterable[Kind]" = (), own: "Own | None" = None):
        self._kinds = (*KINDS, *more)
        more_kinds = len(self._kinds) > len(KINDS)
        self._any_shape = more_kinds or own is not None
        self._needles = tuple(dict.fromkeys(needle for kind in self._kinds for needle in kind.needles))
        self._by_stem: dict[bytes, list[bytes]] = {}
        for needle in self._needles:
            stem = next((stem for stem in STEMS if stem in needle), needle)
            self._by_stem.setdefault(stem, []).append(needle)
        self._own = own
        shortest = min(own.shortest if own else encoded.RUN, _SHORTEST_OF_MORE if more_kinds else encoded.RUN)
        self._run = min(encoded.RUN, shortest * 4 // 3)
        self._in_base64: tuple[bytes, ...] = ()

    def may_hold(self, data: bytes) -> bool:
        """Tell quickly whether *data* has to be looked at closely; it may span several objects."""
        if self._tells(data):
            return True
        shaped = encoded.shapes(data)
        if self._tells_in_base64(data, shaped):
            return True
        if not self._is_wide(shaped):
            return False
        text = encoded.narrowed(data)
        return self._tells(text) or self._tells_in_base64(text, encoded.shapes(text))

    def find(self, data: bytes) -> "list[Hit]":
        """Return the keys in *data*, each once. Raises ScanError when there are too many to tell."""
        return self.find_in(data[start : start + PIECE] for start in range(0, len(data), PIECE))

    def find_in(self, pieces: "Iterable[bytes]") -> "list[Hit]":
        """Return the keys in what *pieces* are together, each once: the first, or the first that is not allowed.

        Raises ScanError when there are too many to tell.
        """
        found: dict[tuple[str, bytes], Hit] = {}
        lines, judged = _Lines(), 0
        for data, begin, end in _windows(pieces):
            lines.move_to(data, judged - begin)
            judged = end
            if self.may_hold(data):
                for hit in self._look(data, begin, end, lines):
                    known = found.setdefault((hit.kind, hit.secret), hit)
                    if (hit.allowed, hit.line) < (known.allowed, known.line):
                        found[hit.kind, hit.secret] = hit
                    if len(found) > _MOST:
                        raise ScanError(f"more than {_MOST} keys in one object")
        return sorted(found.values(), key=lambda hit: hit.line)

    def _tells(self, text: bytes) -> bool:
        return self._has_needle(text) or bool(self._own and self._own.tells(text))

    def _has_needle(self, text: bytes) -> bool:
        return any(
            stem in text and any(needle in text for needle in needles)
            for stem, needles in self._by_stem.items()
        )

    def _tells_in_base64(self, data: bytes, shaped: bytes) -> bool:
        text = encoded.joined(
            encoded.unfolded(part) for _, part in encoded.stretches(data, shaped, self._run)
        )
        if not text:
            return False
        if not self._in_base64:
            words = (*self._needles, *map(encoded.widened, self._needles))
            self._in_base64 = tuple(part for word in words for part in encoded.in_base64(word))
        if any(needle in text for needle in self._in_base64):
            return True
        own = self._own
        return own is not None and any(own.tells(inner) for _, _, inner in _inner_texts(text))

    def _is_wide(self, shaped: bytes) -> bool:
        return encoded.is_wide(shaped) or (self._any_shape and encoded.alternates(shaped))

    def _look(self, data: bytes, begin: int, end: int, lines: "_Lines") -> "Iterator[Hit]":
        """Yield the keys in *data* that begin from *begin* to *end*."""
        for kind, secret, place in self._in_view(data):
            if begin <= place < end:
                yield Hit(kind, secret, lines.at(place, _UTF_8), allowed=_is_allowed(data, place))
        if not self._is_wide(encoded.shapes(data)):
            return
        text = encoded.narrowed(data)
        places = encoded.Places(data, encoded.past_nuls)
        for kind, secret, index in self._in_view(text):
            place = places.of(index)
            is_wide = data.count(b"\0", place, place + len(secret)) * 8 > len(secret)  # or it was found above
            if begin <= place < end and is_wide:
                ending = _UTF_16_BE if place % 2 else _UTF_16_LE
                yield Hit(kind, secret, lines.at(place, ending), allowed=_is_allowed(text, index))

    def _in_view(self, text: bytes) -> "Iterator[Found]":
        """Yield all that stands in *text* as it is, or in base64."""
        yield from self._in_text(text)
        shaped = encoded.shapes(text)
        if self._tells_in_base64(text, shaped):
            for start, stretch in encoded.stretches(text, shaped, self._run):
                for kind, secret, place in self._in_stretch(stretch):
                    yield kind, secret, start + place

    def _in_stretch(self, stretch: bytes) -> "Iterator[Found]":
        """Yield all that the base64 in *stretch* says."""
        places = encoded.Places(stretch, encoded.past_folds)
        for shift, said, text in _inner_texts(encoded.unfolded(stretch)):
            if self._tells(text):
                within = encoded.Places(said, encoded.past_nuls)
                for kind, secret, index in self._in_text(text):
                    byte = index if text is said else within.of(index)
                    yield kind, secret, places.of(shift + byte * 4 // 3)

    def _in_text(self, text: bytes) -> "Iterator[Found]":
        """Yield all that stands in *text* as it is."""
        places: set[tuple[str, int]] = set()
        for kind in self._kinds:
            for secret, place in _of_kind(kind, text):
                if (kind.name, place) not in places:
                    places.add((kind.name, place))
                    yield kind.name, secret, place
        if self._own:
            yield from self._own.find(text)


def _inner_texts(text: bytes) -> "Iterator[tuple[int, bytes, bytes]]":
    """Yield where base64 in *text* begins, what it says then, and that again, or without its NULs."""
    for shift, said in encoded.decoded(text):
        yield shift, said, said
        if encoded.alternates(said):
            yield shift, said, encoded.narrowed(said)


class _Lines:
    """Counts the lines of one input, of which it sees a window at a time."""

    def __init__(self) -> None:
        self._data = b""
        self._before = dict.fromkeys((_UTF_8, _UTF_16_LE, _UTF_16_BE), 0)
        self._known: dict[bytes, tuple[int, int]] = {}

    def move_to(self, data: bytes, passed: int) -> None:
        """Take the next window, *data*, which begins *passed* bytes behind the one before."""
        if passed:
            self._before = {ending: self.at(passed, ending) - 1 for ending in self._before}
        self._data = data
        self._known = {ending: (0, lines) for ending, lines in self._before.items()}

    def at(self, place: int, ending: bytes) -> int:
        """Return the line of *place* where lines end so: fast where what is asked for ascends."""
        known, lines = self._known[ending]
        if place < known:
            known, lines = 0, self._before[ending]
        first = ending.index(b"\n")  # its NUL may stand on the other side of a border
        lines += self._data.count(ending, max(0, known - first), place - first + len(ending) - 1)
        self._known[ending] = (place, lines)
        return lines + 1


def _windows(pieces: "Iterable[bytes]") -> "Iterator[tuple[bytes, int, int]]":
    """Yield bytes of *pieces*, and from where to where keys begin that are to be told of now.

    Around these are enough bytes to tell of each the same as if it were one piece.
    """
    parts: list[bytes] = []
    size = begin = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size >= PIECE:
            data = b"".join(parts)
            end = len(data) - _BEHIND
            yield data, begin, end
            start = max(0, end - _AHEAD) & ~3  # where a character begins, in UTF-32 too
            parts, size, begin = [data[start:]], 0, end - start
    data = b"".join(parts)
    if data:
        yield data, begin, len(data)


def _of_kind(kind: Kind, text: bytes) -> "Iterator[tuple[bytes, int]]":
    """Yield what is secret of each key of *kind* in *text*, and where the key begins."""
    if not any(needle in text for needle in kind.needles):
        return
    import re

    expression = re.compile(kind.expression)
    for begin, end in _surroundings(text, kind.needles):
        start = begin
        while match := expression.search(text, start, end):
            secret = match[1]
            if kind.folded:
                secret = re.sub(FOLDS, b"", secret)[:_SECRET]
            if len(secret) >= kind.folded and (looks_random(secret) or _begins_random(secret, kind.issued)):
                yield secret, match.start()
                start = match.end()
            else:
                start = match.start() + 1  # a key may begin within what is none


def _begins_random(secret: bytes, issued: int) -> bool:
    """Tell whether *secret* is a key of so many bytes with something glued to it."""
    return 0 < issued < len(secret) and looks_random(secret[:issued])


def _surroundings(text: bytes, needles: "Iterable[bytes]") -> "Iterator[tuple[int, int]]":
    """Yield from where to where keys may stand in *text*: each byte once, however many needles it has."""
    places = []
    for needle in needles:
        place = text.find(needle)
        while place >= 0:
            places.append(place)
            place = text.find(needle, place + 1)
    start = end = 0
    for place in sorted(places):
        if place - _NEEDLE_BEHIND > end:
            if end:
                yield start, end
            start = place - _NEEDLE_BEHIND
        end = place + _KEY
    yield start, end


def is_reason(text: bytes) -> bool:
    """Tell whether *text* may say why something is allowed: it has a word of three letters, of any alphabet."""
    import re

    return re.search(rb"[A-Za-z\x80-\xff]{3}", text) is not None


def _is_allowed(text: bytes, place: int) -> bool:
    """Tell whether the line of *place*, where a key begins, says that it is allowed, and why."""
    start = text.rfind(b"\n", max(0, place - _LINE), place) + 1 or max(0, place - _LINE)
    end = text.find(b"\n", place, place + _LINE)
    said = text.find(_INLINE, start, end if end >= 0 else place + _LINE)
    if said < 0:
        return False
    # The key itself is no reason.
    return is_reason(
        text[said + len(_INLINE) : place if said < place else end if end >= 0 else place + _LINE]
    )
