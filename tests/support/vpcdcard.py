"""A software card behind the real pcscd: it connects to the virtual reader of vsmartcard-vpcd, until it is ended.

    python vpcdcard.py STATE PORT SERIAL FIRMWARE [TOUCH]

STATE is read and written; every command is noted in STATE.trace. TOUCH is a file without which nobody touches it.
"""

import contextlib
import socket
import sys
import time
from pathlib import Path

from support.piv_wire import Card
from support.pivcard import PivCard

ATR = bytes.fromhex("3BFD1300008131FE158073C021C057597562694B657940")
POWER_OFF, RESET, GIVE_ATR = 0, 2, 4
SECONDS = 20


def main(state: str, port: str, serial: str, firmware: str, touch: str = "") -> None:
    """Be the card."""
    major, minor, patch = map(int, firmware.split("."))
    card = PivCard(int(serial), (major, minor, patch), lambda _slot: not touch or appears(Path(touch)))
    be(card, ATR, Path(state), int(port))


def be(card: Card, atr: bytes, state: Path, port: int) -> None:
    """Be *card*, which answers a reset with *atr*, in the reader behind *port*."""
    if state.exists():
        card.load(state)
    with _reader(port) as reader:
        while True:
            message = _received(reader)
            if message == bytes([GIVE_ATR]):
                answer: bytes | None = atr
            else:
                answer = _serve(card, message, state)
            if answer is not None:
                reader.sendall(len(answer).to_bytes(2, "big") + answer)


def _serve(card: Card, message: bytes, state: Path) -> bytes | None:
    if len(message) == 1:
        if message[0] in {POWER_OFF, RESET}:
            card.power_off()
            _note(state, "power")
        return None
    seen = len(card.trace)
    data, sw = card.transmit(message)
    for exchange in card.trace[seen:]:
        _note(
            state,
            f"{exchange.ins:02X} {exchange.p1:02X} {exchange.p2:02X} {exchange.length} {exchange.sw:04X}",
        )
    card.save(state)
    return data + sw.to_bytes(2, "big")


def _note(state: Path, line: str) -> None:
    with state.with_name(f"{state.name}.trace").open("a") as file:
        file.write(f"{line}\n")


def appears(path: Path) -> bool:
    """Wait until the file is there, as long as a YubiKey waits for a touch."""
    end = time.monotonic() + 15
    while time.monotonic() < end:
        if path.exists():
            return True
        time.sleep(0.01)
    return False


def _reader(port: int) -> socket.socket:
    """Return a connection with the virtual reader, which listens only once pcscd has loaded it."""
    end = time.monotonic() + SECONDS
    while True:
        with contextlib.suppress(OSError):
            made = socket.create_connection(("127.0.0.1", port), timeout=None)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return made
        if time.monotonic() > end:
            sys.exit(f"nothing listens on port {port}")
        time.sleep(0.02)


def _received(reader: socket.socket) -> bytes:
    length = int.from_bytes(_exactly(reader, 2), "big")
    return _exactly(reader, length)


def _exactly(reader: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = reader.recv(count - len(data))
        if not more:
            sys.exit(0)
        # The driver sends length and body apart; without this each of them waits 40 ms for our acknowledgement.
        reader.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        data += more
    return data


if __name__ == "__main__":
    main(*sys.argv[1:])
