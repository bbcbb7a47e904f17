"""Blocks from a reader, through a function, to a writer: two threads take turns, so that both have work to do."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading

_CHUNKS = 16
"""How many chunks a thread takes at a time: with 64 KiB each, two threads hold 4 MiB."""

Compute = Callable[[memoryview, int, bool, memoryview], tuple[int, Exception | None]]
"""Takes a block, the number of its first chunk, whether it ends the file, and where the result goes.

Returns how many bytes are the result, and the error that ends all behind them.
"""


class Reader(Protocol):
    """A blocking binary file, buffered or not."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the start of *buffer*; return how many bytes, 0 at the end alone."""


class Writer(Protocol):
    """A blocking binary file, buffered or not."""

    def write(self, data: memoryview, /) -> int | None:
        """Write the start of *data*; return how many bytes."""


class Relay:
    """Reads and writes in order, one thread at a time, and computes in both; one chunk needs no thread."""

    def __init__(self, reader: Reader, writer: Writer, compute: Compute, chunk: int, room: int):
        """Take what is read and written, and how many bytes a chunk has before and after *compute*."""
        self._reader = reader
        self._writer = writer
        self._compute = compute
        self._chunk = chunk
        self._room = room
        self._ahead = b""  # one byte, which tells that the block before it was not the last
        self._chunks = 0  # that were read
        self._turns = 0  # that were given
        self._turn = 0  # who may write now
        self._ended = False
        self._error: BaseException | None = None
        self._reading: threading.Lock
        self._order: threading.Condition

    def run(self) -> None:
        """Pass everything on, at least one block; raise what reading, writing or computing raised."""
        block, target = memoryview(bytearray(self._chunk + 1)), memoryview(bytearray(self._room))
        self._write(target, *self._compute(*self._read(block), target))
        if not self._ended:
            self._share()

    def _share(self) -> None:
        import threading

        self._reading, self._order = threading.Lock(), threading.Condition()
        other = threading.Thread(target=self._work, name="relay")
        other.start()
        self._work()
        other.join()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        from mmap import mmap

        # Pages: the kernel copies three times slower to where malloc puts large buffers, 16 bytes into a page.
        block, target = mmap(-1, _CHUNKS * self._chunk + 1), mmap(-1, _CHUNKS * self._room)
        try:
            self._pass_on(memoryview(block)[: _CHUNKS * self._chunk + 1], memoryview(target))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the first thread raises it, and the other ends
            with self._order:
                self._error = self._error or error
                self._order.notify_all()

    def _pass_on(self, block: memoryview, target: memoryview) -> None:
        """Pass blocks on until none is left or the other thread has failed."""
        while True:
            with self._reading:
                if self._ended or self._error is not None:
                    return
                read = self._read(block)
                mine = self._turns
                self._turns += 1
            computed = self._compute(*read, target)
            if not self._may_write(mine):
                return
            self._write(target, *computed)
            with self._order:
                self._turn += 1
                self._order.notify_all()

    def _may_write(self, turn: int) -> bool:
        """Wait for *turn*; return False when the other thread has failed."""
        with self._order:
            self._order.wait_for(lambda: self._turn == turn or self._error is not None)
            return self._error is None

    def _read(self, buffer: memoryview) -> tuple[memoryview, int, bool]:
        """Return the next block, in *buffer*, the number of its first chunk, and whether it is the last."""
        start = len(self._ahead)
        buffer[:start] = self._ahead
        count = start + fill(self._reader, buffer[start:])
        self._ended = count < len(buffer)
        if not self._ended:
            count -= 1
            self._ahead = bytes(buffer[count:])
        number = self._chunks
        self._chunks += count // self._chunk
        return buffer[:count], number, self._ended

    def _write(self, target: memoryview, length: int, error: Exception | None) -> None:
        write_all(self._writer, target[:length])
        if error is not None:
            raise error


def fill(reader: Reader, buffer: memoryview) -> int:
    """Read into *buffer* until it is full or *reader* ends; return how many bytes."""
    count = 0
    while count < len(buffer) and (more := reader.readinto(buffer[count:])):
        count += more
    return count


def write_all(writer: Writer, data: memoryview) -> None:
    """Write *data*, however much *writer* takes at a time."""
    while data:
        data = data[writer.write(data) or 0 :]
