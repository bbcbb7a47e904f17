"""The server: one loop over the connections of systemd and the processes that decrypt for it.

To whom asks by ``LoadCredentialEncrypted=``, an answer is whole or none (:mod:`.envelope`). For ``LoadCredential=``
systemd has no word for "there is none": a connection that ends without a byte is an empty credential,
and the unit starts with it (systemd issue 27373). So every refusal is more than systemd takes, which
fails the unit; and PID 1 holds a second descriptor of each connection (``FDSTORE=1``, sd_notify(3)),
so that the kernel does not end it when we are killed, and the next of us can refuse it.
"""

import contextlib
import math
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from tskeyvault.errors import DeliveryError

from . import peer
from .activation import Listener
from .peer import Peer
from .worker import KILLED, LATE, MAX_CREDENTIALS, Answer, Worker

REFUSAL = bytes(MAX_CREDENTIALS + 1)
"""More than systemd takes."""

KEEP = 10.0
"""Seconds that values are kept after they were last asked for: a unit asks anew for each of its Exec lines."""
MAX_KEPT = 32 << 20
"""Bytes of values that are kept; the oldest go first, and are decrypted anew when they are asked for."""
MAX_CONNECTIONS = 512
"""More wait in the socket's queue."""
MAX_OF_UNIT = 16
"""Connections of one unit; systemd has one for each process that it starts for the unit just then."""
MAX_WORKERS = 4
"""Processes that decrypt at the same time."""
IDLE = 2.0
"""Seconds after which a process that decrypts and has nothing to do is ended."""

_READING = 2.0
"""Seconds that a peer which is not systemd may take to read its refusal."""
_STOPPING = 20.0
"""Seconds that peers get to read what is theirs when the server is told to stop."""
_MOMENT = 1.0
"""Seconds after which what has a time limit is looked at again."""

Say = Callable[[str], None]


class _Connection:
    """One connection: from whom, what is left to send, and until when."""

    def __init__(self, peer_socket: socket.socket, who: Peer | None):
        self.socket = peer_socket
        self.peer = who
        self.rest = memoryview(b"")
        # What half was read must not end: for systemd that would be the whole. Its unit's own time limit ends it.
        self.end = math.inf if who else time.monotonic() + _READING


class _Start:
    """One start of a unit: who waits for its credentials, and what came of it."""

    def __init__(self, unit: str, *, encrypted: bool):
        self.unit, self.encrypted = unit, encrypted
        self.waiting: list[_Connection] = []
        self.answer: Answer | None = None
        self.used = time.monotonic()

    def size(self) -> int:
        """Return the bytes of its values."""
        return sum(map(len, self.answer.values.values())) if self.answer else 0


class Server:
    """Serves until there is nothing to do any more, or it is told to stop."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        hire: Callable[[], Worker],
        store: Callable[[int], None],
        say: Say,
    ):
        """Serve on *listeners* what the workers give that *hire* starts.

        *store* gives a descriptor to PID 1, or raises DeliveryError; *say* tells the journal.
        """
        for listener in listeners:
            listener.socket.setblocking(False)
        self._listeners, self._hire, self._store, self._say = listeners, hire, store, say
        self._selector = selectors.DefaultSelector()
        self._connections: dict[int, _Connection] = {}
        self._starts: dict[tuple[str, str, bool], _Start] = {}
        self._workers: dict[Worker, _Start | None] = {}
        self._accepting = self._stopping = False
        self._active = self._tidied = time.monotonic()

    def run(self, left: Iterable[socket.socket]) -> None:
        """Serve; return when nothing was asked for and nothing is kept any more, or at SIGTERM.

        The connections *left* by a server that was killed are refused: they may have half an answer.
        """
        signal.signal(signal.SIGTERM, self._stop)
        for connection in left:
            self._say("a connection is left from a server that was killed: its unit fails")
            self._reply(self._opened(connection, None), REFUSAL)
        while not self._stopping and not self._is_idle():
            self._accept_or_not(wanted=len(self._connections) < MAX_CONNECTIONS)
            self._turn()
            self._decrypt_next()
        self._finish()

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _is_idle(self) -> bool:
        return not self._starts and not self._connections and time.monotonic() > self._active + KEEP

    def _turn(self) -> None:
        for key, _events in self._selector.select(_MOMENT):
            key.data()
        now = time.monotonic()
        if now > self._tidied + _MOMENT:
            self._tidied = now
            self._tidy(now)

    def _tidy(self, now: float) -> None:
        """End what has had its time."""
        for connection in [it for it in self._connections.values() if now > it.end]:
            self._close(connection)
        for worker, start in list(self._workers.items()):
            if start and worker.is_late(now):
                self._decrypted(start, LATE)
                self._dismiss(worker)
            elif not start and now > worker.free_since + IDLE:
                self._dismiss(worker)
        self._forget(now)

    def _finish(self) -> None:
        """Refuse whoever waits, and let those read on who have begun; whoever comes now is for the next of us."""
        self._accept_or_not(wanted=False)
        for worker in list(self._workers):
            self._dismiss(worker)
        for start in self._starts.values():
            self._decrypted(start, Answer({}, "the server is told to stop"))
        self._starts = {}
        end = time.monotonic() + _STOPPING
        while self._connections and time.monotonic() < end:
            self._turn()

    def _accept_or_not(self, *, wanted: bool) -> None:
        for listener in self._listeners if wanted != self._accepting else ():
            if wanted:
                self._selector.register(
                    listener.socket, selectors.EVENT_READ, partial(self._accept, listener)
                )
            else:
                self._selector.unregister(listener.socket)
        self._accepting = wanted

    def _accept(self, listener: Listener) -> None:
        try:
            accepted, _address = listener.socket.accept()
        except OSError:
            return  # it has gone again
        try:
            self._store(accepted.fileno())
            who = self._admitted(accepted)
        except DeliveryError as error:
            self._say(f"refused: {error.message}")
            self._reply(self._opened(accepted, None), REFUSAL)
        else:
            self._ask(self._opened(accepted, who), who, encrypted=listener.encrypted)

    def _admitted(self, accepted: socket.socket) -> Peer:
        who = peer.identify(accepted)
        others = [it for it in self._connections.values() if it.peer and it.peer.unit == who.unit]
        if len(others) >= MAX_OF_UNIT:
            raise DeliveryError(f"{who.unit} has more than {MAX_OF_UNIT} connections")
        return who

    def _opened(self, accepted: socket.socket, who: Peer | None) -> _Connection:
        accepted.setblocking(False)
        connection = self._connections[accepted.fileno()] = _Connection(accepted, who)
        return connection

    def _ask(self, connection: _Connection, who: Peer, *, encrypted: bool) -> None:
        start = self._starts.setdefault(
            (who.unit, who.start, encrypted), _Start(who.unit, encrypted=encrypted)
        )
        start.used = time.monotonic()
        start.waiting.append(connection)
        if start.answer:
            self._answer(start, start.answer)

    def _decrypt_next(self) -> None:
        """Begin with the starts that wait for it, in their order, as far as there may be more at once."""
        begun = list(self._workers.values())
        for start in [it for it in self._starts.values() if not it.answer and it not in begun]:
            worker = next((worker for worker, busy in self._workers.items() if not busy), None)
            if worker is None and len(self._workers) == MAX_WORKERS:
                return
            if worker is None:
                worker = self._hire()
                self._selector.register(worker, selectors.EVENT_READ, partial(self._hear, worker))
            self._workers[worker] = start
            worker.begin(start.unit, encrypted=start.encrypted)

    def _hear(self, worker: Worker) -> None:
        answer, start = worker.hear(), self._workers[worker]
        if answer and start:
            self._workers[worker] = None
            self._decrypted(start, answer)
        if answer is KILLED or not start:
            self._dismiss(worker)

    def _dismiss(self, worker: Worker) -> None:
        self._selector.unregister(worker)
        del self._workers[worker]
        worker.stop()

    def _decrypted(self, start: _Start, answer: Answer) -> None:
        start.answer, start.used = answer, time.monotonic()
        self._answer(start, answer)

    def _answer(self, start: _Start, answer: Answer) -> None:
        """Give everybody who waits for *start* the value, or more than systemd takes."""
        waiting, start.waiting = start.waiting, []
        for connection in waiting:
            key = connection.peer.credential if connection.peer else ""
            reason = answer.reason or (
                "" if key in answer.values else "vault.toml does not give it to this unit"
            )
            if reason:
                self._say(f"{start.unit}: credential '{key}' is refused: {reason}")
            self._reply(connection, REFUSAL if reason else answer.values[key])

    def _reply(self, connection: _Connection, data: bytes) -> None:
        connection.rest = memoryview(data)
        self._selector.register(connection.socket, selectors.EVENT_WRITE, partial(self._send, connection))

    def _send(self, connection: _Connection) -> None:
        try:
            connection.rest = connection.rest[connection.socket.send(connection.rest) :]
        except BlockingIOError:
            return
        except OSError:
            connection.rest = memoryview(b"")  # it has gone
        if not connection.rest:
            self._close(connection)

    def _close(self, connection: _Connection) -> None:
        self._selector.unregister(connection.socket)
        del self._connections[connection.socket.fileno()]
        with contextlib.suppress(OSError):
            connection.socket.shutdown(socket.SHUT_RDWR)  # closing is not enough: PID 1 holds it too
        connection.socket.close()
        self._active = time.monotonic()

    def _forget(self, now: float) -> None:
        """Drop values that nobody has asked for lately, and the oldest when they are many."""
        kept = 0
        for key, start in sorted(self._starts.items(), key=lambda item: -item[1].used):
            kept += start.size()
            if start.answer and (now > start.used + KEEP or kept > MAX_KEPT):
                del self._starts[key]
