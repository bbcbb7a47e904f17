"""A file for a YubiKey is opened by it: whoever wrote it, on every firmware, with one PIN for all that a command opens."""

from collections.abc import Callable

import pytest

from plugins.yubikey.conftest import Host, Person
from support.pivcard import PivCard
from support.pivreaders import SoftReaders
from support.yubikeys import by_hand, make

FIRMWARE = [(4, 3, 5), (5, 2, 4), (5, 4, 3), (5, 7, 1)]

MakeHost = Callable[..., Host]


@pytest.mark.parametrize("firmware", FIRMWARE)
@pytest.mark.parametrize("kind", ["age1yubikey", "age1tag", "by hand"])
def test_a_file_for_a_yubikey_is_opened_by_it(
    host: MakeHost, firmware: tuple[int, int, int], kind: str
) -> None:
    card = PivCard(firmware=firmware)
    made = make(card)
    ours = host(SoftReaders(card)).has(made.identity)
    recipient = made.tagged if kind == "age1tag" else made.recipient
    file = by_hand(made, b"value") if kind == "by hand" else ours.encrypt(b"value", recipient)
    assert ours.decrypt(file) == b"value"
    assert (card.verifies, card.agreements) == (1, 1)
    assert ours.person.prompts == ["PIN of YubiKey 11111111 (3 tries are left):"]


@pytest.mark.parametrize("firmware", FIRMWARE)
def test_a_post_quantum_file_is_opened_by_the_seed_in_the_certificate(
    host: MakeHost, firmware: tuple[int, int, int]
) -> None:
    card = PivCard(firmware=firmware)
    made = make(card, seed=bytes(range(64)))
    ours = host(SoftReaders(card)).has(made.identity)
    assert ours.decrypt(ours.encrypt(b"value", made.recipient)) == b"value"


def test_encryption_needs_no_yubikey(host: MakeHost) -> None:
    made = make(PivCard())
    readers = SoftReaders()
    ours = host(readers)
    for recipient in (made.recipient, made.tagged):
        assert ours.encrypt(b"value", recipient).startswith(b"age-encryption.org/v1\n")
    assert readers.opened == 0


def test_100_secrets_take_one_pin_and_100_agreements(host: MakeHost) -> None:
    card = PivCard()
    made = make(card, touch="cached")
    ours = host(SoftReaders(card)).has(made.identity)
    files = [ours.encrypt(str(number).encode(), made.recipient) for number in range(100)]
    assert ours.decrypt_all(files) == [str(number).encode() for number in range(100)]
    assert (card.verifies, card.agreements, card.touches) == (1, 100, 1)
    assert len(ours.person.prompts) == 1
    assert ours.person.steps == [(done, 100) for done in range(1, 101)]


def test_a_pin_that_the_yubikey_still_knows_is_not_asked_for(host: MakeHost) -> None:
    card = PivCard()
    made = make(card)
    readers = SoftReaders(card)
    first = host(readers).has(made.identity)
    file = first.encrypt(b"value", made.recipient)
    assert first.decrypt(file) == b"value"
    first.plugin.close()
    second = host(readers, Person(None)).has(made.identity)
    assert second.decrypt(file) == b"value"
    assert card.verifies == 1


def test_a_key_that_never_asks_for_a_pin_is_used_without_one(host: MakeHost) -> None:
    card = PivCard()
    made = make(card, pin="never")
    ours = host(SoftReaders(card), Person(None)).has(made.identity)
    assert ours.decrypt(ours.encrypt(b"value", made.recipient)) == b"value"
    assert card.verifies == 0


def test_a_key_that_always_asks_gets_the_pin_before_each_use_and_its_user_is_asked_once(
    host: MakeHost,
) -> None:
    card = PivCard()
    made = make(card, pin="always")
    ours = host(SoftReaders(card)).has(made.identity)
    files = [ours.encrypt(b"value", made.recipient) for _ in range(3)]
    assert ours.decrypt_all(files) == [b"value"] * 3
    assert (card.verifies, card.agreements, len(ours.person.prompts)) == (3, 3, 1)


def test_a_file_for_others_leaves_the_yubikey_alone(host: MakeHost) -> None:
    card, other = PivCard(), PivCard(22222222)
    mine, theirs = make(card), make(other)
    readers = SoftReaders(card)
    ours = host(readers).has(mine.identity)
    with pytest.raises(Exception, match="no identity opens it"):
        ours.decrypt(ours.encrypt(b"value", theirs.recipient, theirs.tagged))
    assert readers.opened == 0
