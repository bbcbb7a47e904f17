"""Recipients in hardware, opened here by software keys, and the HPKE beneath them."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given
from hypothesis import strategies as st

from plugins.age.softkeys import TagIdentity, TagPQIdentity
from tskeyvault.errors import IntegrityError, UsageError
from tskeyvault_age import bech32, hpke, tag
from tskeyvault_age.header import b64decode
from tskeyvault_age.tag import TagPQRecipient, TagRecipient

FILE_KEY = bytes(range(16))
KINDS = [
    (TagIdentity, TagRecipient, "age1tag", 33, 65),
    (TagPQIdentity, TagPQRecipient, "age1tagpq", 1249, 1153),
]


@pytest.mark.parametrize(("identity", "recipient", "prefix", "length", "share"), KINDS)
def test_wrapping_texts_and_sizes(
    identity: type[TagIdentity], recipient: type[TagRecipient], prefix: str, length: int, share: int
) -> None:
    mine, other = identity(), identity()
    text = str(mine.recipient)
    assert bech32.decode(text)[0] == prefix
    assert len(bech32.decode(text)[1]) == length
    again = recipient.parse(text)
    assert str(again) == text
    (stanza,) = again.wrap(FILE_KEY)
    assert [len(b64decode(argument.encode())) for argument in stanza.args[1:]] == [4, share]
    assert len(stanza.body) == 32
    assert mine.unwrap([stanza]) == FILE_KEY
    assert other.unwrap([stanza]) is None
    assert again.wrap(FILE_KEY)[0].args[1] != stanza.args[1]


@pytest.mark.parametrize(("identity", "recipient", "prefix", "length", "share"), KINDS)
def test_what_is_no_key_is_refused(
    identity: type[TagIdentity], recipient: type[TagRecipient], prefix: str, length: int, share: int
) -> None:
    assert share
    data = bech32.decode(str(identity().recipient))[1]
    for bad in (data[:-1], data + b"x", bytes(length), data[:-32] + b"\xff" * 32, b"\xff" * length):
        with pytest.raises(UsageError):
            recipient.parse(bech32.encode(prefix, bad))
    for text in ("", bech32.encode(prefix, data).upper(), bech32.encode("age", data)):
        with pytest.raises(UsageError):
            recipient.parse(text)


def test_our_hpke_is_that_of_the_library() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (stanza,) = TagRecipient(key.public_key()).wrap(FILE_KEY)
    enc = b64decode(stanza.args[2].encode())
    suite = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    assert suite.decrypt(enc + stanza.body, key, info=tag.info(tag.P256TAG)) == FILE_KEY
    sealed = suite.encrypt(FILE_KEY, key.public_key(), info=b"info")
    dh = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sealed[:65]))
    secret = hpke.dhkem_shared_secret(dh, sealed[:65], tag.uncompressed(key.public_key()))
    assert hpke.open_base(secret, hpke.DHKEM_P256, b"info", sealed[65:]) == FILE_KEY
    assert hpke.open_base(secret, hpke.DHKEM_P256, b"other", sealed[65:]) is None


@given(st.binary().filter(lambda body: len(body) != 32))
def test_body_of_a_wrong_length_is_damage(body: bytes) -> None:
    with pytest.raises(IntegrityError, match="wrong length"):
        hpke.open_base(bytes(32), hpke.DHKEM_P256, b"", body)
