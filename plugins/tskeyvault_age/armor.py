"""Armor: an age file as text, strict PEM, which mail and paste keep whole."""

import binascii
import io
from collections.abc import Iterator
from itertools import chain

from tskeyvault_age.faults import damaged
from tskeyvault_age.relay import Reader, Writer, write_all

BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----"
END = b"-----END AGE ENCRYPTED FILE-----"
MAX_SPACE = 1024
"""Bytes of white space that may stand before, and after, the armor."""

_COLUMNS = 64
_LINE_BYTES = 48
_BLOCK = 64 * 1024


def decode(text: bytes) -> bytes:
    """Return the binary age file that *text* holds; raise IntegrityError. Source: C2SP age.md, "ASCII armor"."""
    return b"".join(_decoded(io.BytesIO(text)))


def encode(data: bytes) -> bytes:
    """Return *data*, a binary age file, as armor with LF line ends."""
    target = io.BytesIO()
    writer = ArmorWriter(target)
    writer.write(memoryview(data))
    writer.close()
    return target.getvalue()


class ArmorReader:
    """The binary file that lies in armor; reading raises IntegrityError where the armor is wrong."""

    def __init__(self, reader: Reader):
        self._blocks = _decoded(reader)
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview) -> int:
        """Fill the start of *buffer*; return how many bytes, 0 at the end alone."""
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class ArmorWriter:
    """Takes a binary file and writes it as armor; :meth:`close` ends it."""

    def __init__(self, writer: Writer):
        self._writer = writer
        self._rest = b""
        write_all(writer, memoryview(BEGIN + b"\n"))

    def write(self, data: memoryview) -> int:
        """Take all of *data*; return its length in bytes."""
        pending = self._rest + data
        whole = len(pending) - len(pending) % _LINE_BYTES
        self._put(pending[:whole])
        self._rest = pending[whole:]
        return len(data)

    def close(self) -> None:
        """Write what is left and the last line; the file beneath stays open."""
        self._put(self._rest)
        write_all(self._writer, memoryview(END + b"\n"))

    def _put(self, data: bytes) -> None:
        text = binascii.b2a_base64(data, newline=False)
        lines = [text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)]
        write_all(self._writer, memoryview(b"".join(line + b"\n" for line in lines)))


def _decoded(reader: Reader) -> Iterator[bytes]:
    """Yield the content of *reader* without its armor; nothing is yielded that is not canonical."""
    blocks = _blocks(reader)
    ended = False  # by a line that is not full
    for block in chain([_after_begin(blocks)], blocks):
        end = block.find(b"-")
        if text := block if end < 0 else block[:end]:
            if ended:
                raise _armor("a line follows the last one")
            data = _content(text)
            ended = len(data) < len(text) // (_COLUMNS + 1) * _LINE_BYTES or len(text) % (_COLUMNS + 1) > 0
            yield data
        if end >= 0:
            _finish(block[end:], blocks)
            return
    raise _armor("the last line is missing")


def _content(text: bytes) -> bytes:
    """Return what *text* encodes: lines of 64 columns, but for the last, which may have fewer."""
    lines = -(-len(text) // (_COLUMNS + 1))
    joined = text.replace(b"\n", b"")
    if (
        len(text) - len(joined) != lines
        or text[_COLUMNS :: _COLUMNS + 1].strip(b"\n")
        or not text.endswith(b"\n")
        or text[-2:] in (b"\n", b"\n\n")
    ):
        raise _armor("a line has a wrong length")
    try:
        data = binascii.a2b_base64(joined, strict_mode=True)
    except binascii.Error:
        raise _armor("not canonical base64") from None
    # Beside the padding there may be bits that the decoder ignores: only the same text again will do.
    if b"=" in joined and binascii.b2a_base64(data, newline=False) != joined:
        raise _armor("not canonical base64")
    return data


def _after_begin(blocks: Iterator[bytes]) -> bytes:
    """Return what follows the first line of the armor in its block."""
    space = 0
    for block in blocks:
        start = 0
        for line in block[:-1].split(b"\n"):
            start += len(line) + 1
            if line == BEGIN:
                return block[start:]
            space += len(line) + 1
            if line.strip() or space > MAX_SPACE:
                raise _armor("it does not begin as armor does")
    raise _armor("it does not begin as armor does")


def _finish(block: bytes, blocks: Iterator[bytes]) -> None:
    """Raise IntegrityError unless *block* and all that follow are the last line and some white space."""
    if not block.startswith(END + b"\n"):
        raise _armor("the last line is wrong")
    space = 0
    for following in chain([block[len(END) + 1 :]], blocks):
        space += len(following)
        if space > MAX_SPACE or following.strip():
            raise _armor("something follows it")


def _blocks(reader: Reader) -> Iterator[bytes]:
    """Yield whole lines of *reader*, some at a time; each ends with LF, whatever it ended with."""
    buffer = memoryview(bytearray(_BLOCK))
    rest = b""
    while count := reader.readinto(buffer):
        text = rest + buffer[:count]
        end = text.rfind(b"\n") + 1
        rest = text[end:]
        if len(rest) > MAX_SPACE:
            raise _armor("a line is too long")
        if end:
            text = text[:end]
            yield text.replace(b"\r\n", b"\n") if b"\r" in text else text
    if rest:
        yield rest.removesuffix(b"\r") + b"\n"


def _armor(reason: str) -> Exception:
    return damaged("armor", reason)
