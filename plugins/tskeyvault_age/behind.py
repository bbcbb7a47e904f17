"""Writing in a thread, while the next pieces are computed: the kernel copies without holding the interpreter."""

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import threading
    from queue import SimpleQueue

    from tskeyvault_age.stream import Writer

_PIECES = 4
_BUFFERS = 3


class Behind:
    """Collects pieces in buffers, which a thread writes when they are full; all are written in order.

    Used in a ``with`` statement: its end writes what is left, waits for it, and raises what writing
    raised. Where all fits into one buffer there is no thread.
    """

    def __init__(self, writer: "Writer", size: int):
        """Take what is written to, and the most bytes that a piece has."""
        self._writer = writer
        self._size = size
        self._buffer = memoryview(bytearray(size * _PIECES))
        self._filled = 0
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None
        self._free: SimpleQueue[memoryview]
        self._full: SimpleQueue[memoryview | None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._thread is not None:
            self._full.put(None)
            self._thread.join()
        if self._error is None:
            self._write(self._buffer[: self._filled])
        elif kind is None:
            raise self._error

    def take(self) -> memoryview:
        """Return where the next piece is to be put; waits when the thread is behind by all buffers."""
        if self._filled + self._size > len(self._buffer):
            self._flush()
        return self._buffer[self._filled : self._filled + self._size]

    def put(self, length: int) -> None:
        """Have the first *length* bytes of what :meth:`take` gave written."""
        self._filled += length

    def _flush(self) -> None:
        if self._error is not None:
            raise self._error
        if self._thread is None:
            self._start()
        self._full.put(self._buffer[: self._filled])
        self._buffer, self._filled = self._free.get(), 0

    def _start(self) -> None:
        import threading
        from queue import SimpleQueue

        self._free, self._full = SimpleQueue(), SimpleQueue()
        for _ in range(_BUFFERS - 1):
            self._free.put(memoryview(bytearray(len(self._buffer))))
        self._thread = threading.Thread(target=self._run, name="behind")
        self._thread.start()

    def _run(self) -> None:
        while (data := self._full.get()) is not None:
            if self._error is None:
                try:
                    self._write(data)
                except Exception as error:  # noqa: BLE001 - whatever it is, the other thread raises it
                    self._error = error
            self._free.put(memoryview(data.obj))

    def _write(self, data: memoryview) -> None:
        while data:
            data = data[self._writer.write(data) or 0 :]
