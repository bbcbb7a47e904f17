"""What is read of OpenPGP without gpg: recipients of a message, the one key of a file, and nothing else."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tskeyvault.errors import IntegrityError
from tskeyvault_gpg import packets

ID = bytes.fromhex("0123456789ABCDEF")
OTHER = bytes.fromhex("FEDCBA9876543210")


def packet(tag: int, body: bytes) -> bytes:
    """Return a packet in the new format, of one length."""
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4) + body


def old(tag: int, body: bytes, kind: int = 1) -> bytes:
    """Return a packet in the old format, whose length takes ``1 << kind`` bytes."""
    return bytes([0x80 | tag << 2 | kind]) + len(body).to_bytes(1 << kind) + body


def session(key: bytes = ID, version: int = 3) -> bytes:
    return packet(1, bytes([version]) + key + b"\x12rest")


DATA = packet(18, b"\x01ciphertext")
PUBLIC = b"\x04\x00\x00\x00\x00\x16key material"


def armored(data: bytes, kind: str = "MESSAGE", check: str = "") -> bytes:
    text = base64.b64encode(data).decode()
    return f"-----BEGIN PGP {kind}-----\n\n{text}\n{check}-----END PGP {kind}-----\n".encode()


@pytest.mark.parametrize(
    "message",
    [
        session() + session(OTHER) + DATA,
        old(1, b"\x03" + ID + b"\x01rest") + old(1, b"\x03" + OTHER + b"\x01rest", 2) + DATA,
        session() + session(OTHER) + packet(20, b"\x01aead"),
        session() + session(OTHER) + b"\xd2" + b"\xe1\x01x" + b"\x03abc",
        armored(session() + session(OTHER) + DATA),
        armored(session() + session(OTHER) + DATA, check="=AbCd\n"),
        armored(session() + session(OTHER) + DATA).replace(b"\n", b"\r\n"),
        armored(session() + session(OTHER) + DATA).replace(b"-----\n\n", b"-----\nVersion: x\n\n", 1),
    ],
    ids=range(8),
)
def test_the_recipients_of_a_message_are_read(message: bytes) -> None:
    assert packets.key_ids(message) == (ID.hex().upper(), OTHER.hex().upper())


@pytest.mark.parametrize(
    "message",
    [
        b"",
        DATA,
        session(),
        DATA + session(),
        session() + DATA + DATA,
        session() + DATA + b"\x00",
        session() + DATA[:-1],
        session(version=2) + DATA,
        packet(1, b"\x03" + ID) + DATA,
        packet(3, b"\x04\x09\x03\x08") + DATA,
        session() + packet(3, b"\x04\x09\x03\x08") + DATA,
        session() + packet(9, b"unprotected"),
        session() + packet(18, b"\x02later"),
        session() + packet(11, b"b\x00\x00\x00\x00\x00literal"),
        packet(8, b"\x00compressed"),
        packet(10, b"PGP") + session() + DATA,
        b"\x87" + session()[6:] + DATA,
        b"text",
        armored(session() + DATA) + b"x",
        armored(session() + DATA) * 2,
        armored(session() + DATA, "SIGNED MESSAGE"),
        armored(session() + DATA).replace(b"\n\n", b"\n", 1),
        session() * 10_001 + DATA,
    ],
    ids=range(23),
)
def test_what_is_no_encrypted_message_is_refused(message: bytes) -> None:
    with pytest.raises(IntegrityError):
        packets.key_ids(message)


def test_a_key_is_named_by_its_fingerprint() -> None:
    whole = (
        packet(6, PUBLIC) + packet(13, b"user") + packet(2, b"sig") + packet(14, PUBLIC) + packet(2, b"sig")
    )
    expected = hashlib.sha1(b"\x99" + len(PUBLIC).to_bytes(2) + PUBLIC, usedforsecurity=False).hexdigest()
    assert packets.one_key(whole) == (expected.upper(), whole)
    assert packets.one_key(armored(whole, "PUBLIC KEY BLOCK")) == (expected.upper(), whole)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (packet(6, PUBLIC) * 2, "several keys"),
        (packet(5, PUBLIC), "not a public key"),
        (packet(6, PUBLIC) + packet(7, PUBLIC), "not a public key"),
        (packet(13, b"user") + packet(6, PUBLIC), "not a public key"),
        (packet(6, b"\x03" + PUBLIC[1:]), "version 4"),
        (packet(6, b""), "version 4"),
        (packet(6, PUBLIC) + b"\xff", "too early"),
        (armored(packet(5, PUBLIC), "PRIVATE KEY BLOCK"), "holds a private key"),
        (armored(packet(6, PUBLIC), "PUBLIC KEY BLOCK") * 2, "something beside it"),
        (b"", "not a public key"),
    ],
)
def test_what_is_not_one_public_key_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(IntegrityError, match=reason):
        packets.one_key(data)


@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda tail: session() + tail))
def test_nothing_is_worse_than_refused(data: bytes) -> None:
    for read in (packets.key_ids, packets.one_key):
        try:
            read(data)
        except IntegrityError:
            continue
