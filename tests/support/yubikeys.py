"""YubiKeys for tests: software cards with keys in them, as age-plugin-yubikey leaves them, by code of their own."""

import base64
import datetime as dt
import hashlib
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, mlkem
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from support.piv_wire import tlv
from support.pivcard import Key, PivCard
from tskeyvault_age import bech32

PIN = b"123456"
POLICIES = {"never": 1, "once": 2, "always": 3}
TOUCHES = {"never": 1, "always": 2, "cached": 3}
POLICY_OID = "1.3.6.1.4.1.41482.3.8"
SEED_OID = "1.3.6.1.4.1.64829.1.1"


class Made(NamedTuple):
    """A key in a slot of a card."""

    card: PivCard
    slot: int
    public: ec.EllipticCurvePublicKey
    identity: str
    recipient: str
    """``age1yubikey1...``, or ``age1tagpq1...`` for a post-quantum key."""
    tagged: str
    """``age1tag1...``"""


def make(
    card: PivCard,
    slot: int = 0x82,
    pin: str = "once",
    touch: str = "never",
    *,
    seed: bytes = b"",
    oids: tuple[str, ...] = (),
) -> Made:
    """Put a new key and its certificate into *slot*; *oids* are critical extensions more."""
    key = Key(ec.generate_private_key(ec.SECP256R1()), POLICIES[pin], TOUCHES[touch])
    public = key.private.public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    tag = hashlib.sha256(key.point if seed else point).digest()[:4]
    card.keys[slot] = key
    card.objects[0x5FC10D + slot - 0x82] = (
        tlv(0x70, _certificate(key, tag, seed, oids)) + tlv(0x71, b"\0") + tlv(0xFE, b"")
    )
    stub = card.serial.to_bytes(4, "little") + bytes([slot]) + tag
    recipient = bech32.encode("age1yubikey", point)
    if seed:
        lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()
        recipient = bech32.encode("age1tagpq", lattice + key.point)
    identity = bech32.encode("AGE-PLUGIN-YUBIKEY-", stub)
    return Made(card, slot, public, identity, recipient, bech32.encode("age1tag", point))


def _certificate(key: Key, tag: bytes, seed: bytes, oids: tuple[str, ...]) -> bytes:
    """Return a certificate as age-plugin-yubikey 0.5.1 writes it (src/builder.rs), DER."""
    texts = {
        NameOID.ORGANIZATION_NAME: "age-plugin-yubikey",
        NameOID.ORGANIZATIONAL_UNIT_NAME: "0.5.1",
        NameOID.COMMON_NAME: f"age identity {tag.hex()}",
    }
    name = x509.Name([x509.NameAttribute(oid, text) for oid, text in texts.items()])
    start = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    policies = x509.UnrecognizedExtension(x509.ObjectIdentifier(POLICY_OID), bytes([key.pin, key.touch]))
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC))
        .add_extension(policies, critical=False)
    )
    more = {SEED_OID: b"\x04\x40" + seed} if seed else {}
    for oid, value in {**more, **dict.fromkeys(oids, b"\x05\x00")}.items():
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical=True
        )
    return builder.sign(key.private, hashes.SHA256()).public_bytes(Encoding.DER)


def by_hand(made: Made, plaintext: bytes) -> bytes:
    """Return an age file of *plaintext* for *made*, written by the specification alone: stanza, header and payload.

    Source: age-plugin-yubikey, src/format.rs; C2SP age.md.
    """
    file_key, nonce = bytes(range(16)), bytes(16)
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    share = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    point = made.public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    wrap = _hkdf(ephemeral.exchange(ec.ECDH(), made.public), share + point, b"piv-p256")
    body = ChaCha20Poly1305(wrap).encrypt(bytes(12), file_key, None)
    tag = hashlib.sha256(point).digest()[:4]
    head = (
        b"age-encryption.org/v1\n-> piv-p256 "
        + _b64(tag)
        + b" "
        + _b64(share)
        + b"\n"
        + _b64(body)
        + b"\n---"
    )
    mac = hmac.HMAC(_hkdf(file_key, b"", b"header"), hashes.SHA256())
    mac.update(head)
    payload = ChaCha20Poly1305(_hkdf(file_key, nonce, b"payload")).encrypt(
        bytes(11) + b"\x01", plaintext, None
    )
    return head + b" " + _b64(mac.finalize()) + b"\n" + nonce + payload


def _hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(secret)


def _b64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")
