"""A YubiKey's PIV application in software, for tests alone: what the host sees of it, firmware 4.3 to 5.7.

Source: NIST SP 800-73-4 and Yubico's extensions as yubikit speaks them.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support.piv_attest import attestation
from support.piv_wire import BAD_DATA, Card, Command, Refused, parts, tlv

PIV = bytes.fromhex("A000000308")
OTP = bytes.fromhex("A0000005272001")
MANAGEMENT = bytes.fromhex("A000000527471117")
OPENPGP = bytes.fromhex("D27600012401")

NOT_VERIFIED, BLOCKED, CONDITIONS, NOT_FOUND = 0x6982, 0x6983, 0x6985, 0x6A82
NO_REFERENCE, BAD_P1P2, NO_INSTRUCTION = 0x6A88, 0x6B00, 0x6D00

PIN, PUK, MANAGEMENT_SLOT = 0x80, 0x81, 0x9B
SLOTS = {*range(0x82, 0x96), 0x9A, 0x9C, 0x9D, 0x9E}
PRINTED = 0x5FC109
P256 = 0x11
TDES, AES192 = 0x03, 0x0A
KEY_SIZES = {TDES: 24, 0x08: 16, AES192: 24, 0x0C: 32}
DEFAULT_PIN, DEFAULT_PUK = b"123456\xff\xff", b"12345678"
DEFAULT_MANAGEMENT = bytes.fromhex("0102030405060708" * 3)
NEVER, ONCE, ALWAYS = 1, 2, 3
TOUCH_NEVER, TOUCH_ALWAYS, TOUCH_CACHED = 1, 2, 3
CACHED_SECONDS = 15.0

DEFAULT_PIN_POLICIES = {0x9C: ALWAYS, 0x9E: NEVER}


class Key(NamedTuple):
    """A private key in a slot, and the policies it is used by."""

    private: ec.EllipticCurvePrivateKey
    pin: int
    touch: int
    generated: bool = True

    @property
    def point(self) -> bytes:
        """The public key, uncompressed."""
        return self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


class PivCard(Card):
    """A card. What its user does is *touch*, which is told the slot and returns whether they touched it in time."""

    module = "support.vpcdcard"

    def __init__(
        self,
        serial: int = 11111111,
        firmware: tuple[int, int, int] = (5, 7, 1),
        touch: Callable[[int], bool] = lambda _slot: True,
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__(serial)
        self.firmware = firmware
        self.touch, self.clock = touch, clock
        self.touches = self.agreements = 0
        self._reset()
        self.power_off()

    @property
    def arguments(self) -> list[str]:
        """Serial and firmware."""
        return [str(self.serial), ".".join(map(str, self.firmware))]

    def another(self, serial: int) -> "PivCard":
        """Return a new one of the same firmware."""
        return PivCard(serial, self.firmware)

    def _reset(self) -> None:
        self.references = {PIN: DEFAULT_PIN, PUK: DEFAULT_PUK}
        self.totals = {PIN: 3, PUK: 3}
        self.left = dict(self.totals)
        self.management = DEFAULT_MANAGEMENT
        self.management_type = AES192 if self.firmware >= (5, 7, 0) else TDES
        self.keys: dict[int, Key] = {}
        self.objects: dict[int, bytes] = {}

    def power_off(self) -> None:
        """Lose all that is volatile, as by pulling it out or by a reset."""
        super().power_off()
        self.applet = b""
        self._leave()

    def _leave(self) -> None:
        self.verified = self.fresh = self.managed = False
        self._witness = b""
        self._touched: dict[int, float] = {}

    @property
    def verifies(self) -> int:
        """How often a PIN was sent, right or wrong."""
        return sum(seen.ins == 0x20 and seen.length > 0 for seen in self.trace)

    def answer(self, seen: Command) -> bytes:
        """Return what the selected application answers."""
        if seen.ins == 0xA4:
            return self._select(seen.data)
        if self.applet == OTP and (seen.ins, seen.p1) == (0x01, 0x10):
            return self.serial.to_bytes(4, "big")
        if self.applet == MANAGEMENT and seen.ins == 0x1D:
            return self._configuration(seen.p1)
        if self.applet == OPENPGP and seen.ins == 0xCA:
            return self._openpgp(seen.p1 << 8 | seen.p2)
        handler = _HANDLERS.get(seen.ins)
        if self.applet != PIV or handler is None or self.firmware < handler[0]:
            raise Refused(NO_INSTRUCTION)
        fresh, self.fresh = self.fresh, False
        return handler[1](self, seen, fresh)

    def _select(self, name: bytes) -> bytes:
        known = next((it for it in (PIV, OTP, MANAGEMENT, OPENPGP) if name.startswith(it)), b"")
        if not known:
            raise Refused(NOT_FOUND)
        if known != self.applet:
            self._leave()
        self.applet = known
        version = ".".join(map(str, self.firmware))
        return {
            PIV: tlv(0x61, tlv(0x4F, bytes.fromhex("000010000100")) + tlv(0x79, tlv(0x4F, PIV))),
            OTP: bytes([*self.firmware, 0, 0, 0]),
            OPENPGP: b"",
            MANAGEMENT: f"Virtual mgr - FW version {version}".encode(),
        }[known]

    def _openpgp(self, name: int) -> bytes:
        """Return a data object: as much as GnuPG needs to take it for an empty OpenPGP card, and to hold it."""
        aid = OPENPGP + bytes.fromhex("0201 0006") + self.serial.to_bytes(4, "big") + b"\0\0"
        history, empty = bytes.fromhex("00730000E005900000"), bytes(60)
        capabilities = bytes.fromhex("7F000800080008000800")
        status = bytes.fromhex("007F7F7F030303")
        rsa = bytes.fromhex("010800001100")
        own = (
            tlv(0xC0, capabilities)
            + tlv(0xC1, rsa)
            + tlv(0xC2, rsa)
            + tlv(0xC3, rsa)
            + tlv(0xC4, status)
            + tlv(0xC5, empty)
            + tlv(0xC6, empty)
            + tlv(0xCD, bytes(12))
        )
        found = {
            0x4F: aid,
            0x5F52: history,
            0xC4: status,
            0x6E: tlv(0x4F, aid) + tlv(0x5F52, history) + tlv(0x73, own),
        }
        if name not in found:
            raise Refused(NO_REFERENCE)
        return found[name]

    def _configuration(self, page: int) -> bytes:
        if page:
            return b"\x00"
        serial, firmware = self.serial.to_bytes(4, "big"), bytes(self.firmware)
        usb = b"\x02\x3f"
        fields = (
            tlv(1, usb) + tlv(2, serial) + tlv(3, usb) + tlv(4, b"\x01") + tlv(5, firmware) + tlv(0x0A, b"\0")
        )
        return bytes([len(fields)]) + fields

    def _version(self, _seen: Command, _fresh: bool) -> bytes:
        return bytes(self.firmware)

    def _serial(self, _seen: Command, _fresh: bool) -> bytes:
        return self.serial.to_bytes(4, "big")

    def _verify(self, seen: Command, _fresh: bool) -> bytes:
        if seen.p2 != PIN:
            raise Refused(NO_REFERENCE)
        if seen.p1 == 0xFF:
            self.verified = False
            return b""
        if not seen.data:
            if not self.verified:
                raise Refused(self._tries(PIN))
            return b""
        if len(seen.data) != 8:
            raise Refused(BAD_DATA)
        self.verified = False
        self._compare(PIN, seen.data)
        self.verified = self.fresh = True
        return b""

    def _tries(self, which: int) -> int:
        return 0x63C0 | min(self.left[which], 15) if self.left[which] else BLOCKED

    def _compare(self, which: int, given: bytes) -> None:
        if not self.left[which]:
            raise Refused(BLOCKED)
        if given != self.references[which]:
            self.left[which] -= 1
            raise Refused(0x63C0 | self.left[which])
        self.left[which] = self.totals[which]

    def _change(self, seen: Command, _fresh: bool) -> bytes:
        if len(seen.data) != 16:
            raise Refused(BAD_DATA)
        self._compare(seen.p2, seen.data[:8])
        self.references[seen.p2] = seen.data[8:]
        return b""

    def _unblock(self, seen: Command, _fresh: bool) -> bytes:
        if len(seen.data) != 16:
            raise Refused(BAD_DATA)
        self._compare(PUK, seen.data[:8])
        self.references[PIN], self.left[PIN] = seen.data[8:], self.totals[PIN]
        return b""

    def _managed(self) -> None:
        if not self.managed:
            raise Refused(NOT_VERIFIED)

    def _generate(self, seen: Command, _fresh: bool) -> bytes:
        self._managed()
        wanted = parts(parts(seen.data).get(0xAC, b""))
        if seen.p2 not in SLOTS:
            raise Refused(BAD_P1P2)
        if wanted.get(0x80) != bytes([P256]):
            raise Refused(BAD_DATA)
        self.keys[seen.p2] = self._key(
            seen.p2, ec.generate_private_key(ec.SECP256R1()), wanted, generated=True
        )
        return tlv(0x7F49, tlv(0x86, self.keys[seen.p2].point))

    def _import(self, seen: Command, _fresh: bool) -> bytes:
        self._managed()
        given = parts(seen.data)
        private = ec.derive_private_key(int.from_bytes(given[0x06], "big"), ec.SECP256R1())
        self.keys[seen.p2] = self._key(seen.p2, private, given, generated=False)
        return b""

    def _key(
        self, slot: int, private: ec.EllipticCurvePrivateKey, given: dict[int, bytes], *, generated: bool
    ) -> Key:
        pin = given.get(0xAA, b"\0")[0] or DEFAULT_PIN_POLICIES.get(slot, ONCE)
        self._touched.pop(slot, None)
        return Key(private, pin, given.get(0xAB, b"\0")[0] or TOUCH_NEVER, generated)

    def _authenticate(self, seen: Command, fresh: bool) -> bytes:
        given = parts(parts(seen.data).get(0x7C, b""))
        if seen.p2 == MANAGEMENT_SLOT:
            return tlv(0x7C, self._manage(seen.p1, given))
        key = self.keys.get(seen.p2)
        if key is None or seen.p1 != P256:
            raise Refused(BAD_DATA)
        if (key.pin == ONCE and not self.verified) or (key.pin == ALWAYS and not fresh):
            raise Refused(NOT_VERIFIED)
        self._wait_for_touch(seen.p2, key.touch)
        return tlv(0x7C, tlv(0x82, self._use(key, given)))

    def _wait_for_touch(self, slot: int, policy: int) -> None:
        last = self._touched.get(slot)
        if policy == TOUCH_NEVER or (
            policy == TOUCH_CACHED and last is not None and self.clock() - last < CACHED_SECONDS
        ):
            return
        if not self.touch(slot):
            raise Refused(NOT_VERIFIED)
        self.touches += 1
        self._touched[slot] = self.clock()

    def _use(self, key: Key, given: dict[int, bytes]) -> bytes:
        if 0x85 in given:
            try:
                if given[0x85][:1] != b"\x04":
                    raise Refused(BAD_DATA)
                peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), given[0x85])
            except ValueError:
                raise Refused(BAD_DATA) from None
            self.agreements += 1
            return key.private.exchange(ec.ECDH(), peer)
        digest = given[0x81].rjust(32, b"\0")
        return key.private.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))

    def _manage(self, kind: int, given: dict[int, bytes]) -> bytes:
        if kind != self.management_type:
            raise Refused(BAD_DATA)
        algorithm = TripleDES(self.management) if kind == TDES else algorithms.AES(self.management)
        encryptor = Cipher(algorithm, modes.ECB()).encryptor()  # noqa: S305 - one block, as the standard has it
        if given.get(0x80) == b"":
            self._witness = os.urandom(8 if kind == TDES else 16)
            return tlv(0x80, encryptor.update(self._witness))
        witness, self._witness = self._witness, b""
        if not witness or given.get(0x80) != witness:
            raise Refused(NOT_VERIFIED)
        self.managed = True
        return tlv(0x82, encryptor.update(given[0x81]))

    def _set_management(self, seen: Command, _fresh: bool) -> bytes:
        self._managed()
        kind, key = seen.data[0], parts(seen.data[1:]).get(MANAGEMENT_SLOT, b"")
        if KEY_SIZES.get(kind) != len(key) or (kind != TDES and self.firmware < (5, 4, 0)):
            raise Refused(BAD_DATA)
        self.management, self.management_type = key, kind
        return b""

    def _get(self, seen: Command, _fresh: bool) -> bytes:
        name = int.from_bytes(parts(seen.data).get(0x5C, b""), "big")
        if name == 0x7E:
            return tlv(0x7E, tlv(0x4F, PIV + bytes.fromhex("000010000100")) + tlv(0x5F2F, b"\x40\x00"))
        if name == PRINTED and not self.verified:
            raise Refused(NOT_VERIFIED)
        if name not in self.objects:
            raise Refused(NOT_FOUND)
        return tlv(0x53, self.objects[name])

    def _put(self, seen: Command, _fresh: bool) -> bytes:
        self._managed()
        given = parts(seen.data)
        name = int.from_bytes(given.get(0x5C, b""), "big")
        if content := given.get(0x53, b""):
            self.objects[name] = content
        else:
            self.objects.pop(name, None)
        return b""

    def _metadata(self, seen: Command, _fresh: bool) -> bytes:
        if seen.p2 in self.references:
            default = {PIN: DEFAULT_PIN, PUK: DEFAULT_PUK}[seen.p2] == self.references[seen.p2]
            counts = bytes([self.totals[seen.p2], self.left[seen.p2]])
            return tlv(1, b"\xff") + tlv(5, bytes([default])) + tlv(6, counts)
        if seen.p2 == MANAGEMENT_SLOT:
            default = self.management == DEFAULT_MANAGEMENT
            return tlv(1, bytes([self.management_type])) + tlv(2, b"\0\1") + tlv(5, bytes([default]))
        key = self.keys.get(seen.p2)
        if key is None:
            raise Refused(NO_REFERENCE)
        origin = b"\1" if key.generated else b"\2"
        return (
            tlv(1, bytes([P256]))
            + tlv(2, bytes([key.pin, key.touch]))
            + tlv(3, origin)
            + tlv(4, tlv(0x86, key.point))
        )

    def _attest(self, seen: Command, _fresh: bool) -> bytes:
        key = self.keys.get(seen.p1)
        if key is None or not key.generated:
            raise Refused(BAD_DATA)
        return attestation(
            seen.p1, key.private.public_key(), self.firmware, self.serial, bytes([key.pin, key.touch])
        )

    def _retries(self, seen: Command, _fresh: bool) -> bytes:
        self._managed()
        if not self.verified:
            raise Refused(NOT_VERIFIED)
        self.references = {PIN: DEFAULT_PIN, PUK: DEFAULT_PUK}
        self.totals = {PIN: seen.p1, PUK: seen.p2}
        self.left = dict(self.totals)
        return b""

    def _factory(self, _seen: Command, _fresh: bool) -> bytes:
        if any(self.left.values()):
            raise Refused(CONDITIONS)
        self._reset()
        self._leave()
        return b""

    def save(self, path: Path) -> None:
        """Write what is not volatile to *path*, whole or not at all."""
        state = {
            "references": {k: v.hex() for k, v in self.references.items()},
            "totals": self.totals,
            "left": self.left,
            "management": self.management.hex(),
            "management_type": self.management_type,
            "keys": {
                slot: [key.private.private_numbers().private_value, key.pin, key.touch, key.generated]
                for slot, key in self.keys.items()
            },
            "objects": {k: v.hex() for k, v in self.objects.items()},
        }
        part = path.with_name(f"{path.name}.part")
        part.write_text(json.dumps(state))
        part.rename(path)

    def load(self, path: Path) -> None:
        """Take what :meth:`save` wrote to *path*."""
        state = json.loads(path.read_text())
        self.references = {int(k): bytes.fromhex(v) for k, v in state["references"].items()}
        self.totals = {int(k): v for k, v in state["totals"].items()}
        self.left = {int(k): v for k, v in state["left"].items()}
        self.management, self.management_type = bytes.fromhex(state["management"]), state["management_type"]
        self.keys = {
            int(slot): Key(ec.derive_private_key(value, ec.SECP256R1()), pin, touch, generated)
            for slot, (value, pin, touch, generated) in state["keys"].items()
        }
        self.objects = {int(k): bytes.fromhex(v) for k, v in state["objects"].items()}


_Handler = Callable[[PivCard, Command, bool], bytes]
_ANY = (0, 0, 0)
_HANDLERS: dict[int, tuple[tuple[int, int, int], _Handler]] = {
    0x20: (_ANY, PivCard._verify),
    0x24: (_ANY, PivCard._change),
    0x2C: (_ANY, PivCard._unblock),
    0x47: (_ANY, PivCard._generate),
    0x87: (_ANY, PivCard._authenticate),
    0xCB: (_ANY, PivCard._get),
    0xDB: (_ANY, PivCard._put),
    0xF7: ((5, 3, 0), PivCard._metadata),
    0xF8: ((5, 0, 3), PivCard._serial),
    0xF9: ((4, 3, 0), PivCard._attest),
    0xFA: (_ANY, PivCard._retries),
    0xFB: (_ANY, PivCard._factory),
    0xFD: (_ANY, PivCard._version),
    0xFE: (_ANY, PivCard._import),
    0xFF: (_ANY, PivCard._set_management),
}
