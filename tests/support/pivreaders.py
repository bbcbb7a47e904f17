"""Readers in the process, with software cards in them, and other programs that use them at the worst moment."""

from collections.abc import Callable, Sequence

from support.pivcard import PivCard
from tskeyvault_yubikey.link import LinkError, Trouble

OTHER_APPLET = bytes.fromhex("00A4040007A0000005272001")


class SoftReader:
    """A reader. What happens before a command is in ``plan``, by the command's number, from 1, of those to come."""

    def __init__(self, card: PivCard | None):
        self.card = card
        self.plan: dict[int, Callable[[SoftReader], None]] = {}
        self.commands = 0
        self.held = False
        self.was_reset = False
        self.links = 0
        self.alone = False

    def pull(self) -> None:
        """Pull the card out."""
        if self.card:
            self.card.power_off()
        self.card = None

    def reset(self) -> None:
        """Reset the card, as another program does that lets go of it so."""
        if self.card:
            self.card.power_off()
        self.was_reset = True

    def take_away(self) -> None:
        """Select another application, as another program does."""
        if self.card:
            self.card.transmit(OTHER_APPLET)

    def next(self) -> PivCard:
        """Return the card for the next command, after what is planned has happened."""
        self.commands += 1
        if happens := self.plan.pop(self.commands, None):
            happens(self)
        if self.card is None:
            raise LinkError(Trouble.NO_CARD)
        if self.was_reset:
            raise LinkError(Trouble.RESET)
        return self.card


class SoftLink:
    """A connection with the card in one reader."""

    contactless = False

    def __init__(self, reader: SoftReader):
        if reader.held:
            raise LinkError(Trouble.HELD)
        if reader.card is None:
            raise LinkError(Trouble.NO_CARD)
        self._reader = reader
        reader.links += 1

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """Let the card answer."""
        return self._reader.next().transmit(apdu)

    def check(self) -> None:
        """Look whether the card is there."""
        if self._reader.card is None:
            raise LinkError(Trouble.NO_CARD)

    def begin(self) -> None:
        """Begin a transaction."""
        if self._reader.was_reset:
            raise LinkError(Trouble.RESET)
        self._reader.alone = True

    def end(self) -> None:
        """End it."""
        self._reader.alone = False

    def reconnect(self) -> None:
        """Take notice of a reset."""
        self._reader.was_reset = False

    def close(self) -> None:
        """Let go of the card, which stays as it is."""
        self._reader.links -= 1


class SoftReaders:
    """All readers; call it as the plugin calls what brings its readers."""

    def __init__(self, *cards: PivCard | None):
        self.readers: dict[str, SoftReader] = {
            f"YubiKey {at:02}": SoftReader(card) for at, card in enumerate(cards)
        }
        self.trouble: Trouble | None = None
        self.opened = 0

    def __call__(self) -> "SoftReaders":
        """Connect with the service."""
        if self.trouble:
            raise LinkError(self.trouble)
        self.opened += 1
        return self

    @property
    def only(self) -> SoftReader:
        """The first reader."""
        return next(iter(self.readers.values()))

    def names(self) -> Sequence[str]:
        """Return the names of all."""
        return list(self.readers)

    def connect(self, name: str) -> SoftLink:
        """Return a connection."""
        return SoftLink(self.readers[name])

    def close(self) -> None:
        """Disconnect from the service."""
