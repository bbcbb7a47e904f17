"""Of several keys the one that is there is used, and nobody is asked for another."""

from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.yubikey.conftest import Host, Person
from support.pivcard import PivCard
from support.pivreaders import SoftReaders
from support.yubikeys import make
from tskeyvault.errors import IntegrityError, LockedError
from tskeyvault.values import Stanza
from tskeyvault_age.hybrid import HybridIdentity
from tskeyvault_age.x25519 import X25519Identity

MakeHost = Callable[..., Host]


def test_an_absent_key_is_never_asked_for_when_one_that_is_there_opens_the_file(host: MakeHost) -> None:
    absent, there = make(PivCard()), make(PivCard(22222222))
    ours = host(SoftReaders(there.card)).has(absent.identity, there.identity)
    assert ours.decrypt(ours.encrypt(b"value", absent.recipient, there.recipient)) == b"value"
    assert ours.person.messages == []
    assert [prompt.split()[3] for prompt in ours.person.prompts] == ["22222222"]


def test_each_file_is_opened_by_the_key_that_it_is_for(host: MakeHost) -> None:
    first, second = make(PivCard()), make(PivCard(22222222), slot=0x95)
    ours = host(SoftReaders(first.card, second.card)).has(first.identity, second.identity)
    files = [ours.encrypt(it.recipient.encode(), it.recipient) for it in (first, second, first)]
    assert ours.decrypt_all(files) == [it.recipient.encode() for it in (first, second, first)]
    assert (first.card.verifies, second.card.verifies) == (1, 1)
    assert (first.card.agreements, second.card.agreements) == (2, 1)


def test_the_second_key_has_nothing_to_do_when_the_first_opens_all(host: MakeHost) -> None:
    first, second = make(PivCard()), make(PivCard(22222222))
    ours = host(SoftReaders(first.card, second.card)).has(first.identity, second.identity)
    assert ours.decrypt(ours.encrypt(b"value", first.recipient, second.tagged)) == b"value"
    assert (second.card.verifies, second.card.agreements) == (0, 0)


def test_two_slots_of_one_key_take_one_pin(host: MakeHost) -> None:
    card = PivCard()
    first, second = make(card), make(card, slot=0x83)
    ours = host(SoftReaders(card)).has(first.identity, second.identity)
    files = [ours.encrypt(b"value", it.recipient) for it in (first, second)]
    assert ours.decrypt_all(files) == [b"value"] * 2
    assert len(ours.person.prompts) == 1


def test_an_identity_that_is_out_of_date_does_not_hide_another_slot(host: MakeHost) -> None:
    card = PivCard()
    old = make(card)
    make(card)
    good = make(card, slot=0x83)
    ours = host(SoftReaders(card)).has(old.identity, good.identity)
    assert ours.decrypt(ours.encrypt(b"value", old.recipient, good.recipient)) == b"value"


def test_a_software_key_leaves_the_yubikey_alone(host: MakeHost) -> None:
    made, soft = make(PivCard()), X25519Identity.generate()
    readers = SoftReaders(made.card)
    ours = host(readers).has(made.identity, soft.export())
    assert ours.decrypt(ours.encrypt(b"value", made.recipient, str(soft.recipient))) == b"value"
    assert readers.opened == 0


@pytest.mark.parametrize("who", ["first", "second", "soft"])
def test_everybody_opens_a_mixed_vault_with_what_they_have(host: MakeHost, who: str) -> None:
    first, second, soft = make(PivCard()), make(PivCard(22222222)), X25519Identity.generate()
    has = {"first": first.identity, "second": second.identity, "soft": soft.export()}
    ours = host(SoftReaders(first.card, second.card)).has(has[who])
    readers = (first.recipient, second.tagged, str(soft.recipient))
    assert ours.decrypt(ours.encrypt(b"value", *readers)) == b"value"


@pytest.mark.parametrize("who", ["yubikey", "soft"])
def test_everybody_opens_a_post_quantum_vault_with_what_they_have(host: MakeHost, who: str) -> None:
    made, soft = make(PivCard(), seed=bytes(range(64))), HybridIdentity.generate()
    ours = host(SoftReaders(made.card)).has({"yubikey": made.identity, "soft": soft.export()}[who])
    assert ours.decrypt(ours.encrypt(b"value", made.recipient, str(soft.recipient))) == b"value"


def test_the_reason_why_the_key_that_is_there_fails_is_told(host: MakeHost) -> None:
    absent, there = make(PivCard()), make(PivCard(22222222))
    ours = host(SoftReaders(there.card), Person(b"654321")).has(there.identity, absent.identity)
    with pytest.raises(LockedError, match="the PIN of YubiKey 22222222 is wrong; 2 tries are left"):
        ours.decrypt(ours.encrypt(b"value", absent.recipient, there.recipient))


def test_one_damaged_file_costs_the_others_nothing(host: MakeHost) -> None:
    made = make(PivCard())
    ours = host(SoftReaders(made.card)).has(made.identity)
    good = [ours.encrypt(b"value", made.recipient) for _ in range(4)]
    head, _, rest = good[1].partition(b"\n---")
    bad = head[:-8] + b"AAAAAAAA" + b"\n---" + rest
    ours.age.vault_prepare([*good, bad])
    assert [ours.decrypt(file) for file in good] == [b"value"] * 4
    with pytest.raises(IntegrityError):
        ours.decrypt(bad)
    assert (made.card.verifies, made.card.agreements) == (1, 5)


@pytest.mark.parametrize("kind", ["piv-p256", "p256tag", "mlkem768p256tag"])
@pytest.mark.parametrize("damage", ["arguments", "tag", "share", "point", "body", "base64"])
def test_a_malformed_stanza_of_its_kind_is_refused_without_the_key(
    host: MakeHost, kind: str, damage: str
) -> None:
    made = make(PivCard())
    readers = SoftReaders(made.card)
    ours = host(readers)
    share = {"piv-p256": "A" * 44, "p256tag": "A" * 87, "mlkem768p256tag": "A" * 1538}[kind]
    wrong = {
        "arguments": Stanza((kind, "AAAAAA"), bytes(32)),
        "tag": Stanza((kind, "AAAA", share), bytes(32)),
        "share": Stanza((kind, "AAAAAA", share[:-4]), bytes(32)),
        "point": Stanza((kind, "AAAAAA", share), bytes(32)),
        "body": Stanza((kind, "AAAAAA", share), bytes(33)),
        "base64": Stanza((kind, "AAAAA=", share), bytes(32)),
    }[damage]
    with pytest.raises(IntegrityError):
        ours.backend.unwrap(made.identity, [[wrong]])
    assert readers.opened == 0


@pytest.mark.parametrize("text", ["AGE-PLUGIN-YUBIKEY-1QQQSYQCYYM2VC3", "AGE-PLUGIN-YUBIKEY-1XXXX"])
def test_an_identity_of_another_form_is_refused(host: MakeHost, text: str) -> None:
    with pytest.raises(LockedError):
        host().backend.unwrap(text, [[Stanza(("piv-p256", "AAAAAA", "A" * 44), bytes(32))]])


def test_an_identity_file_may_carry_the_comments_of_age_plugin_yubikey(
    host: MakeHost, tmp_path: Path
) -> None:
    made = make(PivCard())
    ours = host(SoftReaders(made.card))
    comments = [
        "#       Serial: 11111111, Slot: 1",
        "#   PIN policy: Once   (A PIN is required once per session, if set)",
    ]
    ours.has(*comments, made.identity)
    assert tmp_path.exists()
    assert ours.decrypt(ours.encrypt(b"value", made.recipient)) == b"value"
