"""The post-quantum kind: wrapping, texts, and everything malformed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tskeyvault.errors import IntegrityError, UsageError
from tskeyvault.spec import Stanza
from tskeyvault_age import bech32
from tskeyvault_age.header import b64decode, b64encode
from tskeyvault_age.hybrid import HybridIdentity, HybridRecipient

FILE_KEY = bytes(range(16))
IDENTITY = HybridIdentity.generate()


def test_only_the_identity_unwraps_what_its_recipient_wrapped() -> None:
    other = HybridIdentity.generate()
    stanzas = [*other.recipient.wrap(FILE_KEY[::-1]), *IDENTITY.recipient.wrap(FILE_KEY)]
    assert IDENTITY.unwrap(stanzas) == FILE_KEY
    assert other.unwrap(stanzas[1:]) is None


def test_texts_round_trip_and_show_no_private_key() -> None:
    text = str(IDENTITY.recipient)
    assert text.startswith("age1pq1")
    assert str(HybridRecipient.parse(text)) == text
    assert str(HybridIdentity.parse(IDENTITY.export()).recipient) == text
    assert IDENTITY.export() not in f"{IDENTITY!r} {IDENTITY} {[IDENTITY]}"


def test_texts_of_other_kinds_cases_and_lengths_are_refused() -> None:
    private, public = IDENTITY.export(), str(IDENTITY.recipient)
    for text in (private.lower(), public, f"{private} ", bech32.encode("AGE-SECRET-KEY-PQ-", bytes(31)), ""):
        with pytest.raises(UsageError):
            HybridIdentity.parse(text)
    for text in (public.upper(), private, f" {public}", bech32.encode("age1pq", bytes(1215)), ""):
        with pytest.raises(UsageError):
            HybridRecipient.parse(text)


def test_recipients_that_are_nobodys_are_refused() -> None:
    data = bech32.decode(str(IDENTITY.recipient))[1]
    with pytest.raises(UsageError, match="low-order"):
        HybridRecipient.parse(bech32.encode("age1pq", data[:1184] + bytes(32)))
    with pytest.raises(UsageError, match="post-quantum half"):
        HybridRecipient.parse(bech32.encode("age1pq", b"\xff" * 1184 + data[1184:]))


@pytest.mark.parametrize("change", ["argument", "short", "long", "base64", "body", "low order", "bare"])
def test_malformed_stanza_of_the_own_type_is_damage(change: str) -> None:
    ((args, body),) = IDENTITY.recipient.wrap(FILE_KEY)
    kind, share = args
    enc = b64decode(share.encode())
    stanza = {
        "argument": Stanza((kind, share, "x"), body),
        "short": Stanza((kind, b64encode(enc[:-1]).decode()), body),
        "long": Stanza((kind, b64encode(enc + b"x").decode()), body),
        "base64": Stanza((kind, f"{share}="), body),
        "body": Stanza((kind, share), body + b"x"),
        "low order": Stanza((kind, b64encode(enc[:-32] + bytes(32)).decode()), body),
        "bare": Stanza((kind,), body),
    }[change]
    with pytest.raises(IntegrityError, match="header"):
        IDENTITY.unwrap([stanza])


@given(st.integers(0, 1119), st.integers(1, 255))
def test_changed_share_is_no_match_or_damage(place: int, flip: int) -> None:
    ((args, body),) = IDENTITY.recipient.wrap(FILE_KEY)
    enc = bytearray(b64decode(args[1].encode()))
    enc[place] ^= flip
    try:
        opened = IDENTITY.unwrap([Stanza((args[0], b64encode(bytes(enc)).decode()), body)])
    except IntegrityError:
        return
    assert opened is None


@given(st.lists(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)), st.binary())
def test_any_stanza_is_damage_and_others_are_ignored(arguments: list[str], body: bytes) -> None:
    assert IDENTITY.unwrap([Stanza(("MLKEM768X25519", *arguments), body)]) is None
    with pytest.raises(IntegrityError):
        IDENTITY.unwrap([Stanza(("mlkem768x25519", *arguments), body)])
