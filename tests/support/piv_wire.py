"""The wire format of smart cards: command APDUs, TLVs and what becomes of long answers, for the software cards."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

OK = 0x9000
WRONG_LENGTH = 0x6700
CLASS_UNKNOWN = 0x6E00
BAD_DATA = 0x6A80

CHAINED = 0x10
_SHORT = 256


class Command(NamedTuple):
    """A command APDU."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes
    extended: bool
    """In the extended form, whose answers are never cut."""


class Refused(Exception):  # noqa: N818 - a card refuses
    """The card answers with a status word other than 9000, and no data."""

    def __init__(self, sw: int):
        super().__init__(f"{sw:04X}")
        self.sw = sw


def command(apdu: bytes) -> Command:
    """Return the parsed *apdu* (ISO 7816-4, 5.1); raise Refused when it is malformed."""
    if len(apdu) < 4:
        raise Refused(WRONG_LENGTH)
    if apdu[0] not in {0, CHAINED}:
        raise Refused(CLASS_UNKNOWN)
    rest = apdu[4:]
    if len(rest) >= 3 and rest[0] == 0:
        length = int.from_bytes(rest[1:3], "big") if len(rest) > 3 else 0
        data, extended, rest = rest[3 : 3 + length], True, rest[3:]
    else:
        length = rest[0] if len(rest) > 1 else 0
        data, extended, rest = rest[1 : 1 + length], False, rest[1:]
    if len(data) < length:
        raise Refused(WRONG_LENGTH)
    return Command(apdu[0], apdu[1], apdu[2], apdu[3], data, extended)


def tlv(tag: int, value: bytes) -> bytes:
    """Return *value* with *tag* (one or two bytes) and its length in front of it."""
    size = len(value)
    length = (
        bytes([size])
        if size < 0x80
        else b"\x81" + bytes([size])
        if size < 0x100
        else b"\x82" + size.to_bytes(2, "big")
    )
    return tag.to_bytes(2 if tag > 0xFF else 1, "big") + length + value


def parts(data: bytes) -> dict[int, bytes]:
    """Return the TLVs in *data* by tag; raise Refused when one is cut."""
    return dict(_parts(data))


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        tag, at = data[at], at + 1
        try:
            if tag & 0x1F == 0x1F:
                tag, at = tag << 8 | data[at], at + 1
            length, at = data[at], at + 1
            if length > 0x80:
                count = length & 0x7F
                length, at = int.from_bytes(data[at : at + count], "big"), at + count
        except IndexError:
            raise Refused(BAD_DATA) from None
        if at + length > len(data):
            raise Refused(BAD_DATA)
        yield tag, data[at : at + length]
        at += length


def cut(answer: bytes) -> tuple[bytes, bytes, int]:
    """Return what goes out first of a long *answer* to a short command, what is left, and the status word."""
    first, rest = answer[:_SHORT], answer[_SHORT:]
    return first, rest, 0x6100 | min(len(rest), 0xFF) if rest else OK


class Exchange(NamedTuple):
    """One command that a card saw, without its data, and its answer's status word."""

    ins: int
    p1: int
    p2: int
    length: int
    sw: int


class Card(ABC):
    """A card in software, as its reader has it."""

    module: str
    """The program that is this card behind a virtual reader; it is told the state's file, the port and :attr:`arguments`."""

    def __init__(self, serial: int):
        self.serial = serial
        self.trace: list[Exchange] = []
        self._chained = self._rest = b""

    @property
    @abstractmethod
    def arguments(self) -> list[str]:
        """What its program is told of it."""

    @abstractmethod
    def another(self, serial: int) -> Self:
        """Return a new card of this kind."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write what is not volatile to *path*, whole or not at all."""

    @abstractmethod
    def load(self, path: Path) -> None:
        """Take what :meth:`save` wrote to *path*."""

    @abstractmethod
    def answer(self, seen: Command) -> bytes:
        """Return the answer to a whole command; raise Refused."""

    def power_off(self) -> None:
        """Lose all that is volatile, as by pulling it out or by a reset."""
        self._chained = self._rest = b""

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """Return the answer to *apdu* and its status word."""
        data, sw, seen = b"", OK, Command(0, 0, 0, 0, b"", extended=False)
        try:
            seen = command(apdu)
            if seen.cla == CHAINED:
                self._chained += seen.data
                return b"", OK
            if seen.ins == 0xC0:
                data, self._rest, sw = cut(self._rest)
                return data, sw
            seen = seen._replace(data=self._chained + seen.data)
            self._chained = b""
            data = self.answer(seen)
            if not seen.extended:
                data, self._rest, sw = cut(data)
        except Refused as error:
            self._chained = b""
            sw = error.sw
        self.trace.append(Exchange(seen.ins, seen.p1, seen.p2, len(seen.data), sw))
        return data, sw
