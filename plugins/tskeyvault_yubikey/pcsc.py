"""Readers by PC/SC: pcscd through pyscard, always shared, and the card is never reset or powered down.

ykman's own connection does both, and ends other people's scdaemon. Source: pcsclite's winscard.c and its
documentation of the SCard functions.
"""

from collections.abc import Sequence
from typing import Any

from tskeyvault_yubikey.link import LinkError, Trouble

_TROUBLES = {
    0x8010001D: Trouble.NO_SERVICE,  # SCARD_E_NO_SERVICE
    0x8010001E: Trouble.NO_SERVICE,  # SCARD_E_SERVICE_STOPPED
    0x8010006A: Trouble.REFUSED,  # SCARD_W_SECURITY_VIOLATION: polkit says no
    0x80100027: Trouble.REFUSED,  # SCARD_E_NO_ACCESS
    0x8010000B: Trouble.HELD,  # SCARD_E_SHARING_VIOLATION
    0x80100068: Trouble.RESET,  # SCARD_W_RESET_CARD
    0x80100009: Trouble.NO_CARD,  # SCARD_E_UNKNOWN_READER
    0x8010000C: Trouble.NO_CARD,  # SCARD_E_NO_SMARTCARD
    0x80100016: Trouble.NO_CARD,  # SCARD_E_NOT_TRANSACTED: pulled out during a command
    0x80100017: Trouble.NO_CARD,  # SCARD_E_READER_UNAVAILABLE
    0x80100066: Trouble.NO_CARD,  # SCARD_W_UNRESPONSIVE_CARD
    0x80100067: Trouble.NO_CARD,  # SCARD_W_UNPOWERED_CARD
    0x80100069: Trouble.NO_CARD,  # SCARD_W_REMOVED_CARD
}
_NO_READERS = 0x8010002E
_CONTACT = 0xF0
"""The high half of a YubiKey's second ATR byte on USB; over NFC it is another."""


class PcscReaders:
    """The readers that pcscd has. Raises LinkError when pcscd does not answer."""

    def __init__(self) -> None:
        from smartcard import scard

        self._scard: Any = scard
        self._context = _checked(scard.SCardEstablishContext(scard.SCARD_SCOPE_USER))[0]

    def names(self) -> Sequence[str]:
        """Return the names of all readers, those of YubiKeys first."""
        status, found = self._scard.SCardListReaders(self._context, [])
        if status & 0xFFFFFFFF == _NO_READERS:
            return ()
        _checked((status, found))
        return sorted(found, key=lambda name: "yubikey" not in name.lower())

    def connect(self, name: str) -> "PcscLink":
        """Return a new connection with the card in the reader *name*, shared with other programs."""
        card = self._scard
        protocols = card.SCARD_PROTOCOL_T0 | card.SCARD_PROTOCOL_T1
        handle, protocol = _checked(
            card.SCardConnect(self._context, name, card.SCARD_SHARE_SHARED, protocols)
        )
        return PcscLink(card, handle, protocol)

    def close(self) -> None:
        """Let go of the readers."""
        self._scard.SCardReleaseContext(self._context)


class PcscLink:
    """A connection with one card."""

    def __init__(self, scard: Any, handle: object, protocol: int):
        self._scard = scard
        self._handle = handle
        self._protocol = protocol
        atr = _checked(scard.SCardStatus(handle))[3]
        self.contactless = len(atr) > 1 and atr[1] & _CONTACT != _CONTACT

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """Return the answer to a command *apdu* and its status word."""
        t1 = self._protocol == self._scard.SCARD_PROTOCOL_T1
        kind = self._scard.SCARD_PCI_T1 if t1 else self._scard.SCARD_PCI_T0
        (answer,) = _checked(self._scard.SCardTransmit(self._handle, kind, list(apdu)))
        if len(answer) < 2:  # noqa: PLR2004 - a status word
            raise LinkError(Trouble.NO_CARD)
        return bytes(answer[:-2]), answer[-2] << 8 | answer[-1]

    def check(self) -> None:
        """Look whether the card is there."""
        _checked(self._scard.SCardStatus(self._handle))

    def begin(self) -> None:
        """Make all other programs wait."""
        _checked((self._scard.SCardBeginTransaction(self._handle),))

    def end(self) -> None:
        """Let other programs go on."""
        _checked((self._scard.SCardEndTransaction(self._handle, self._scard.SCARD_LEAVE_CARD),))

    def reconnect(self) -> None:
        """Take up the connection again."""
        card = self._scard
        protocols = card.SCARD_PROTOCOL_T0 | card.SCARD_PROTOCOL_T1
        (self._protocol,) = _checked(
            card.SCardReconnect(self._handle, card.SCARD_SHARE_SHARED, protocols, card.SCARD_LEAVE_CARD)
        )

    def close(self) -> None:
        """Let go of the card."""
        self._scard.SCardDisconnect(self._handle, self._scard.SCARD_LEAVE_CARD)


def _checked(result: Sequence[Any]) -> Sequence[Any]:
    """Return what follows the status in *result*; raise LinkError unless it says success."""
    status = result[0] & 0xFFFFFFFF
    if status:
        raise LinkError(_TROUBLES.get(status, Trouble.OTHER))
    return result[1:]
