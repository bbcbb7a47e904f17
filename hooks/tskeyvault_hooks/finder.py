"""Finds keys in bytes: as they are, in UTF-16 and UTF-32, and in base64, however large the input is."""

from tskeyvault_hooks.kinds import KINDS, Kind, looks_random

TYPE_CHECKING = False
if TYPE_CHECKING:  # which this way costs no import of typing
    from collections.abc import Callable, Iterable, Iterator

    from tskeyvault_hooks.own import Own

PIECE = 1 << 20
"""Bytes that are looked at in one go."""
_OVERLAP = 8 << 10
"""Bytes of a piece that are looked at again with the next one: more than any key has."""
_BEFORE = 128
_AFTER = 4 << 10
_RUN = 32
"""Characters of base64 in a row that may hold a key."""
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_IN_ALPHABET = bytes(0x61 if byte in _ALPHABET else 0x20 for byte in range(256))
_LONG_RUN = b"a" * _RUN
_INLINE = b"vault:allow "


class Hit:
    """A key that was found. It has no text of itself that would show it."""

    __slots__ = ("allowed", "kind", "line", "secret")

    def __init__(self, kind: str, secret: bytes, line: int, *, allowed: bool):
        self.kind = kind
        self.secret = secret
        """What makes it that key; of an armored block without its line breaks."""
        self.line = line
        """From 1; of base64, where that begins."""
        self.allowed = allowed
        """Its line says ``vault:allow`` and why."""


class Finder:
    """Knows what to look for: the kinds that all know, those of plugins, and the vault's own values."""

    def __init__(self, more: "Iterable[Kind]" = (), own: "Own | None" = None):
        self._kinds = (*KINDS, *more)
        self._needles = tuple(dict.fromkeys(needle for kind in self._kinds for needle in kind.needles))
        self._own = own

    def may_hold(self, data: bytes) -> bool:
        """Tell quickly whether *data* has to be looked at closely; it may span several objects."""
        return (
            self._tells(data)
            or (b"\0" in data and self._tells(data.replace(b"\0", b"")))
            or _LONG_RUN in data.translate(_IN_ALPHABET)
        )

    def find(self, data: bytes) -> "list[Hit]":
        """Return the keys in *data*, each once."""
        return self.find_in(iter((data,)))

    def find_in(self, pieces: "Iterator[bytes]") -> "list[Hit]":
        """Return the keys in what *pieces* are together, each once."""
        found: dict[tuple[str, bytes], Hit] = {}
        lines, tail = 0, b""
        piece = next(pieces, b"")
        while piece:
            following = next(pieces, b"")
            data = tail + piece
            settled = len(data) - _OVERLAP if following else len(data)
            if self.may_hold(data):
                for hit in self._look(data, settled, lines):
                    before = found.setdefault((hit.kind, hit.secret), hit)
                    if before.allowed and not hit.allowed:  # what one line says holds for no other
                        found[hit.kind, hit.secret] = hit
            tail = data[max(0, settled) :] if following else b""
            lines += data.count(b"\n", 0, len(data) - len(tail))
            piece = following
        return list(found.values())

    def _tells(self, text: bytes) -> bool:
        return any(needle in text for needle in self._needles) or bool(self._own and self._own.tells(text))

    def _look(self, data: bytes, settled: int, lines: int) -> "Iterator[Hit]":
        """Yield the keys in *data* that begin before *settled*, with *lines* before it."""

        def at(text: bytes, place: int) -> int:
            return lines + text.count(b"\n", 0, place) + 1

        for kind, secret, start in self._in_text(data):
            if start < settled:
                yield Hit(kind, secret, at(data, start), allowed=_is_allowed(data, start))
        if b"\0" in data:
            text = data.replace(b"\0", b"")
            tail = len(data[settled:].replace(b"\0", b""))
            for kind, secret, start in self._in_text(text):
                if start < len(text) - tail:
                    yield Hit(kind, secret, at(text, start), allowed=_is_allowed(text, start))
        if _LONG_RUN in data.translate(_IN_ALPHABET):
            yield from self._in_base64(data, at)

    def _in_text(self, text: bytes) -> "Iterator[tuple[str, bytes, int]]":
        """Yield kind, secret and place of all that stands in *text* as it is."""
        if any(needle in text for needle in self._needles):
            for kind in self._kinds:
                yield from _of_kind(kind, text)
        if self._own:
            yield from self._own.find(text)

    def _in_base64(self, data: bytes, at: "Callable[[bytes, int], int]") -> "Iterator[Hit]":
        import re
        from binascii import a2b_base64

        # White space is what folds base64 into lines.
        for run in re.finditer(rb"[0-9A-Za-z+/]{%d,}(?:[\r\n]+[ \t]*[0-9A-Za-z+/]{4,})*" % _RUN, data):
            joined = b"".join(run[0].split())
            for shift in range(4):  # it may begin anywhere in the run
                length = (len(joined) - shift) // 4 * 4
                text = a2b_base64(joined[shift : shift + length])
                for inner in (text, text.replace(b"\0", b"")) if b"\0" in text else (text,):
                    if self._tells(inner):
                        for kind, secret, _ in self._in_text(inner):
                            line = at(data, run.start())
                            yield Hit(kind, secret, line, allowed=_is_allowed(data, run.start()))


def _of_kind(kind: Kind, text: bytes) -> "Iterator[tuple[str, bytes, int]]":
    import re

    expression = re.compile(kind.expression)
    end = 0
    for needle in kind.needles:
        place = text.find(needle)
        while place >= 0:
            for match in expression.finditer(text, max(end, place - _BEFORE), place + _AFTER):
                if match.start() > place:
                    break
                if match.end() > place:
                    end = match.end()
                    secret = re.sub(rb"\\[nrt]|[\s\"'+,`]", b"", match[1]) if b"\n" in match[1] else match[1]
                    if not kind.random or looks_random(secret):
                        yield kind.name, secret, match.start()
            place = text.find(needle, max(place + 1, end))


def _is_allowed(text: bytes, place: int) -> bool:
    """Tell whether the line of *place* says that it is allowed, and why."""
    start, end = text.rfind(b"\n", 0, place) + 1, text.find(b"\n", place)
    _, said, reason = text[start : end if end >= 0 else len(text)].partition(_INLINE)
    return bool(said and reason.strip(b" \t\r#*/->"))
