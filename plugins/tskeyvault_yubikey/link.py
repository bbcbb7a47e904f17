"""The way to a card: what a reader can do, and how it fails, whatever brings it."""

from collections.abc import Sequence
from enum import Enum
from typing import Protocol


class Trouble(Enum):
    """Why there is no answer from a card."""

    NO_SERVICE = "no-service"
    """pcscd does not run."""
    REFUSED = "refused"
    """pcscd does not let this user in."""
    HELD = "held"
    """Another program has the reader for itself."""
    NO_CARD = "no-card"
    """Nothing is in the reader, or it is gone."""
    RESET = "reset"
    """Another program reset the card; it answers again after :meth:`Link.reconnect`."""
    SILENT = "silent"
    """It did not answer in time, and must not be asked again."""
    OTHER = "other"


class LinkError(Exception):
    """A card did not answer; it never reaches the user as it is."""

    def __init__(self, trouble: Trouble):
        super().__init__(trouble.value)
        self.trouble = trouble


class Link(Protocol):
    """A shared connection with a card. Every call may raise LinkError, and may take its time."""

    contactless: bool

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """Return the answer to a command *apdu* and its status word."""

    def check(self) -> None:
        """Look whether the card is there, without a word to it."""

    def begin(self) -> None:
        """Make all other programs wait until :meth:`end`; waits for them first."""

    def end(self) -> None:
        """Let other programs go on; the card is left as it is."""

    def reconnect(self) -> None:
        """Take up the connection again after a reset by another program."""

    def close(self) -> None:
        """Let go of the card, which is left as it is, with power."""


class Readers(Protocol):
    """The readers of this host. Every call may raise LinkError."""

    def names(self) -> Sequence[str]:
        """Return the names of all readers, those of YubiKeys first."""

    def connect(self, name: str) -> Link:
        """Return a new connection with the card in the reader *name*, shared with other programs."""

    def close(self) -> None:
        """Let go of the readers."""
