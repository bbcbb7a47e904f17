"""An OpenPGP card in software, for tests alone: what GnuPG's scdaemon sees of it, with a decryption key for X25519.

    python -m support.openpgpcard STATE PORT SERIAL [TOUCH]

TOUCH is a file without which nobody touches it when its key is to be used; STATE.waits is there once it waits for that.
Source: OpenPGP application on ISO smart card systems, 3.4.1; the byte order of keys as scdaemon sends them.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support import vpcdcard
from support.piv_wire import BAD_DATA, Card, Command, Refused, parts, tlv

APPLICATION = bytes.fromhex("D27600012401")
ATR = bytes.fromhex("3BDA18FF81B1FE751F030031F573C001600090001C")
HISTORY = bytes.fromhex("0031F573C00160009000")

NOT_VERIFIED, BLOCKED, NO_REFERENCE, NOT_FOUND = 0x6982, 0x6983, 0x6A88, 0x6A82
NO_INSTRUCTION, BAD_P1P2 = 0x6D00, 0x6B00

USER, ADMIN = 0x82, 0x83
SIGNING = 0x81
"""The same PIN as USER, good for signatures."""
PIN, ADMIN_PIN = b"123456", b"12345678"
TRIES = 3
DECRYPTION = 0xB8

CAPABILITIES = bytes.fromhex("24000000080000FF0000")
"""Keys can be imported, and the algorithm changed; no secure messaging, no KDF."""
RSA = bytes.fromhex("010800001100")
CV25519 = bytes.fromhex("122B060104019755010501")


class OpenPGPCard(Card):
    """A card; a PIN is verified until it is pulled out or reset."""

    module = "support.openpgpcard"

    def __init__(self, serial: int = 1, touch: Callable[[], bool] = lambda: True):
        super().__init__(serial)
        self.touch = touch
        self.references = {USER: PIN, ADMIN: ADMIN_PIN}
        self.left = {USER: TRIES, ADMIN: TRIES}
        self.key: X25519PrivateKey | None = None
        self.objects: dict[int, bytes] = {}
        self.power_off()

    @property
    def arguments(self) -> list[str]:
        """The serial."""
        return [str(self.serial)]

    def another(self, serial: int) -> "OpenPGPCard":
        """Return a new one."""
        return OpenPGPCard(serial)

    def power_off(self) -> None:
        """Lose all that is volatile."""
        super().power_off()
        self.verified: set[int] = set()
        self._is_selected = False

    def answer(self, seen: Command) -> bytes:
        """Return what the application answers."""
        if seen.ins == 0xA4:
            return self._select(seen.data)
        handler = _HANDLERS.get(seen.ins)
        if handler is None or not self._is_selected:
            raise Refused(NO_INSTRUCTION)
        return handler(self, seen)

    def _select(self, name: bytes) -> bytes:
        if not APPLICATION.startswith(name[: len(APPLICATION)]) or len(name) < len(APPLICATION):
            raise Refused(NOT_FOUND)
        self._is_selected = True
        return b""

    def _get(self, seen: Command) -> bytes:
        name = seen.p1 << 8 | seen.p2
        found = self._objects()
        if name not in found:
            raise Refused(NO_REFERENCE)
        return found[name]

    def _objects(self) -> dict[int, bytes]:
        aid = APPLICATION + bytes.fromhex("0304 FFFE") + self.serial.to_bytes(4, "big") + b"\0\0"
        status = bytes([0, 0x7F, 0x7F, 0x7F, self.left[USER], 0, self.left[ADMIN]])
        own = self.objects
        prints = b"".join(own.get(tag, bytes(20)) for tag in (0xC7, 0xC8, 0xC9))
        times = b"".join(own.get(tag, bytes(4)) for tag in (0xCE, 0xCF, 0xD0))
        inner = {
            0xC0: CAPABILITIES, 0xC1: RSA, 0xC2: CV25519, 0xC3: RSA, 0xC4: status,
            0xC5: prints, 0xC6: bytes(60), 0xCD: times,
        }  # fmt: skip
        discretionary = b"".join(tlv(tag, value) for tag, value in inner.items())
        return inner | {
            0x4F: aid,
            0x5E: b"",
            0x5F50: b"",
            0x5F52: HISTORY,
            0x65: tlv(0x5B, b"") + tlv(0x5F2D, b"en") + tlv(0x5F35, b"9"),
            0x6E: tlv(0x4F, aid) + tlv(0x5F52, HISTORY) + tlv(0x73, discretionary),
            0x7A: tlv(0x93, bytes(3)),
        }

    def _verify(self, seen: Command) -> bytes:
        which = USER if seen.p2 == SIGNING else seen.p2
        if which not in self.left or seen.p1:
            raise Refused(BAD_P1P2)
        if not seen.data:
            if which not in self.verified:
                raise Refused(0x63C0 | self.left[which] if self.left[which] else BLOCKED)
            return b""
        self.verified.discard(which)
        if not self.left[which]:
            raise Refused(BLOCKED)
        if seen.data != self.references[which]:
            self.left[which] -= 1
            raise Refused(NOT_VERIFIED)
        self.left[which] = TRIES
        self.verified.add(which)
        return b""

    def _need(self, which: int) -> None:
        if which not in self.verified:
            raise Refused(NOT_VERIFIED)

    def _put(self, seen: Command) -> bytes:
        self._need(ADMIN)
        self.objects[seen.p1 << 8 | seen.p2] = seen.data
        return b""

    def _import(self, seen: Command) -> bytes:
        """Take a private key (4.4.3.12): what comes where is told in one object, the numbers stand in another."""
        self._need(ADMIN)
        given = parts(parts(seen.data).get(0x4D, b""))
        if DECRYPTION not in given or not given.get(0x5F48):
            raise Refused(BAD_DATA)
        scalar = given[0x5F48][: given[0x7F48][1]]
        self.key = X25519PrivateKey.from_private_bytes(scalar.rjust(32, b"\0")[::-1])
        return b""

    def _public(self, seen: Command) -> bytes:
        if seen.p1 != 0x81 or seen.data[:1] != bytes([DECRYPTION]) or not self.key:
            raise Refused(NO_REFERENCE)
        point = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return tlv(0x7F49, tlv(0x86, point))

    def _decipher(self, seen: Command) -> bytes:
        if (seen.p1, seen.p2) != (0x80, 0x86):
            raise Refused(BAD_P1P2)
        self._need(USER)
        if not self.touch():
            raise Refused(NOT_VERIFIED)
        point = parts(parts(parts(seen.data).get(0xA6, b"")).get(0x7F49, b"")).get(0x86, b"")
        if not self.key or len(point) < 32:
            raise Refused(BAD_DATA)
        return self.key.exchange(X25519PublicKey.from_public_bytes(point[-32:]))

    def save(self, path: Path) -> None:
        """Write what is not volatile to *path*, whole or not at all."""
        state = {
            "references": {k: v.hex() for k, v in self.references.items()},
            "left": self.left,
            "key": self.key.private_bytes_raw().hex() if self.key else "",
            "objects": {k: v.hex() for k, v in self.objects.items()},
        }
        part = path.with_name(f"{path.name}.part")
        part.write_text(json.dumps(state))
        part.rename(path)

    def load(self, path: Path) -> None:
        """Take what :meth:`save` wrote to *path*."""
        state = json.loads(path.read_text())
        self.references = {int(k): bytes.fromhex(v) for k, v in state["references"].items()}
        self.left = {int(k): v for k, v in state["left"].items()}
        self.key = X25519PrivateKey.from_private_bytes(bytes.fromhex(state["key"])) if state["key"] else None
        self.objects = {int(k): bytes.fromhex(v) for k, v in state["objects"].items()}


_HANDLERS: dict[int, Callable[[OpenPGPCard, Command], bytes]] = {
    0x20: OpenPGPCard._verify,
    0x2A: OpenPGPCard._decipher,
    0x47: OpenPGPCard._public,
    0xCA: OpenPGPCard._get,
    0xDA: OpenPGPCard._put,
    0xDB: OpenPGPCard._import,
}


def main(state: str, port: str, serial: str, touch: str = "") -> None:
    """Be the card."""

    def is_touched() -> bool:
        Path(f"{state}.waits").touch()
        return vpcdcard.appears(Path(touch))

    card = OpenPGPCard(int(serial), is_touched) if touch else OpenPGPCard(int(serial))
    vpcdcard.be(card, ATR, Path(state), int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
