"""X25519: wrapping, unwrapping, and the texts of its keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tskeyvault.errors import IntegrityError, UsageError, VaultError
from tskeyvault.spec import Stanza
from tskeyvault_age import bech32
from tskeyvault_age.header import b64encode
from tskeyvault_age.x25519 import X25519Identity, X25519Recipient

FILE_KEY = bytes(range(16))
# The points of order 1, 2, 4 and 8, and one of them in a form that is not canonical.
LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
]


def test_only_the_identity_unwraps_what_its_recipient_wrapped(identity: X25519Identity) -> None:
    other = X25519Identity.generate()
    stanzas = [*other.recipient.wrap(FILE_KEY[::-1]), *identity.recipient.wrap(FILE_KEY)]
    assert identity.unwrap(stanzas) == FILE_KEY
    assert other.unwrap(stanzas[1:]) is None


def test_wrapping_twice_gives_stanzas_that_cannot_be_linked(identity: X25519Identity) -> None:
    one, two = (identity.recipient.wrap(FILE_KEY)[0] for _ in range(2))
    assert one.args[1] != two.args[1]
    assert one.body != two.body


def test_texts_of_keys_round_trip(identity: X25519Identity) -> None:
    text = str(identity.recipient)
    assert str(X25519Recipient.parse(text)) == text
    assert X25519Identity.parse(identity.export()).export() == identity.export()
    assert str(X25519Identity.parse(identity.export()).recipient) == text


def test_repr_and_str_never_show_a_private_key(identity: X25519Identity) -> None:
    shown = f"{identity!r} {identity} {identity.recipient!r} {[identity]}"
    assert identity.export() not in shown
    assert str(identity.recipient) not in shown


def test_keys_in_the_wrong_case_or_of_the_other_kind_are_refused(identity: X25519Identity) -> None:
    private, public = identity.export(), str(identity.recipient)
    for text in (private.lower(), public, public.upper(), f"{private} ", f" {private}", ""):
        with pytest.raises(UsageError):
            X25519Identity.parse(text)
    for text in (public.upper(), private, f"{public}\n", f" {public}", ""):
        with pytest.raises(UsageError):
            X25519Recipient.parse(text)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_of_a_wrong_length_are_refused(length: int) -> None:
    with pytest.raises(UsageError):
        X25519Recipient.parse(bech32.encode("age", b"\x09" * length))
    with pytest.raises(UsageError):
        X25519Identity.parse(bech32.encode("AGE-SECRET-KEY-", b"\x09" * length))


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point[:4].hex())
def test_low_order_points_are_refused(point: bytes, identity: X25519Identity) -> None:
    with pytest.raises(UsageError, match="low-order"):
        X25519Recipient.parse(bech32.encode("age", point))
    with pytest.raises(IntegrityError, match="low-order"):
        identity.unwrap([Stanza(("X25519", b64encode(point).decode()), bytes(32))])


@pytest.mark.parametrize(
    "change", ["argument", "short share", "long share", "base64", "short", "long", "bare"]
)
def test_malformed_stanza_of_the_own_type_is_damage(change: str, identity: X25519Identity) -> None:
    (((kind, share), body),) = identity.recipient.wrap(FILE_KEY)
    stanza = {
        "argument": Stanza((kind, share, "x"), body),
        "short share": Stanza((kind, b64encode(bytes(31)).decode()), body),
        "long share": Stanza((kind, b64encode(bytes(33)).decode()), body),
        "base64": Stanza((kind, f"{share}="), body),
        "short": Stanza((kind, share), body[:-1]),
        "long": Stanza((kind, share), body + b"x"),
        "bare": Stanza((kind,), body),
    }[change]
    with pytest.raises(IntegrityError, match="header"):
        identity.unwrap([stanza])


def test_stanzas_of_other_types_are_ignored(identity: X25519Identity) -> None:
    (ours,) = identity.recipient.wrap(FILE_KEY)
    others = [Stanza(("x25519", "?"), b""), Stanza(("grease",), b"x" * 99), Stanza(("scrypt", "a", "b"), b"")]
    assert identity.unwrap(others) is None
    assert identity.unwrap([*others, ours]) == FILE_KEY


@given(st.lists(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)), st.binary())
def test_any_stanza_is_ignored_or_damage(arguments: list[str], body: bytes) -> None:
    identity = X25519Identity.generate()
    try:
        assert identity.unwrap([Stanza(("X25519", *arguments), body)]) is None
    except VaultError as error:
        assert isinstance(error, IntegrityError)  # noqa: PT017 - None is as good
