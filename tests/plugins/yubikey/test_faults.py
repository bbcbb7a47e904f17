"""Whatever goes wrong with a YubiKey has a message and an exit code of its own, and never costs a try of the PIN."""

from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.yubikey.conftest import Host, Person
from support.pivcard import PIN as PIN_REFERENCE
from support.pivcard import PivCard
from support.pivreaders import SoftReaders
from support.yubikeys import make
from tskeyvault.errors import IntegrityError, LockedError, PluginError, VaultError
from tskeyvault.values import Stanza
from tskeyvault_yubikey.link import Trouble

MakeHost = Callable[..., Host]
WHO = "YubiKey 11111111"


@pytest.fixture
def card() -> PivCard:
    """Give a YubiKey."""
    return PivCard()


def failure(ours: Host, *files: bytes) -> VaultError:
    """Return why the last of *files* does not open."""
    ours.age.vault_prepare(files)
    with pytest.raises(VaultError) as caught:
        ours.decrypt(files[-1])
    return caught.value


def said(error: VaultError) -> tuple[int, str]:
    """Return the exit code and the message, without the name of the secret."""
    return error.exit_code, error.message.removeprefix("secret 'tailscale/key': ")


@pytest.mark.parametrize(
    ("trouble", "code", "message"),
    [
        (Trouble.NO_SERVICE, 6, "pcscd does not run, and no YubiKey is reached without it"),
        (Trouble.REFUSED, 6, "pcscd does not let this user in"),
        (Trouble.OTHER, 6, f"{WHO} cannot be reached"),
    ],
)
def test_without_pcscd(host: MakeHost, card: PivCard, trouble: Trouble, code: int, message: str) -> None:
    made = make(card)
    readers = SoftReaders(card)
    readers.trouble = trouble
    ours = host(readers).has(made.identity)
    error = failure(ours, ours.encrypt(b"value", made.recipient))
    assert said(error) == (code, message)
    assert error.hint
    assert (card.trace, ours.person.prompts) == ([], [])


def test_absent(host: MakeHost, card: PivCard) -> None:
    made = make(card)
    ours = host(SoftReaders(None)).has(made.identity)
    error = failure(ours, ours.encrypt(b"value", made.recipient))
    assert said(error) == (4, f"{WHO} is not connected")
    assert ours.person.prompts == []


def test_another_one_is_connected(host: MakeHost, card: PivCard) -> None:
    made, other = make(card), PivCard(22222222)
    ours = host(SoftReaders(other)).has(made.identity)
    assert said(failure(ours, ours.encrypt(b"value", made.recipient))) == (4, f"{WHO} is not connected")
    assert (ours.person.prompts, other.verifies) == ([], 0)


def test_held_by_another_program(host: MakeHost, card: PivCard) -> None:
    made = make(card)
    readers = SoftReaders(card)
    readers.only.held = True
    ours = host(readers).has(made.identity)
    error = failure(ours, ours.encrypt(b"value", made.recipient))
    assert error.exit_code == 6
    assert f"holds the reader 'YubiKey 00', so that {WHO} is not reached" in error.message
    assert "gpgconf --kill scdaemon" in error.hint
    assert "--free-reader" in error.hint


def test_a_card_without_piv(host: MakeHost, card: PivCard, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make(card)
    monkeypatch.setattr(card, "transmit", lambda _apdu: (b"", 0x6A82))
    ours = host(SoftReaders(card)).has(made.identity)
    error = failure(ours, ours.encrypt(b"value", made.recipient))
    assert said(error) == (6, f"{WHO} is not connected, and the card in 'YubiKey 00' has no PIV application")


@pytest.mark.parametrize("left", [2, 1])
def test_a_wrong_pin_costs_one_try_and_is_not_asked_for_again(
    host: MakeHost, card: PivCard, left: int
) -> None:
    made = make(card)
    card.left[PIN_REFERENCE] = left + 1
    ours = host(SoftReaders(card), Person(b"654321")).has(made.identity)
    files = [ours.encrypt(b"value", made.recipient) for _ in range(3)]
    tries = f"{left} tries are left" if left > 1 else "1 try is left"
    assert said(failure(ours, *files)) == (4, f"the PIN of {WHO} is wrong; {tries}")
    for file in files:  # as a command does that goes on without what it cannot open
        failure(ours, file)
    assert (card.verifies, len(ours.person.prompts), card.left[PIN_REFERENCE]) == (1, 1, left)


def test_the_last_try_is_only_spent_when_the_user_says_so(host: MakeHost, card: PivCard) -> None:
    made = make(card)
    card.left[PIN_REFERENCE] = 1
    ours = host(SoftReaders(card)).has(made.identity)
    file = ours.encrypt(b"value", made.recipient)
    error = failure(ours, file)
    assert said(error) == (4, f"one try is left for the PIN of {WHO}, and it was not spent")
    assert "--last-try" in error.hint
    assert (card.verifies, ours.person.prompts) == (0, [])
    willing = host(SoftReaders(card), consents=["last-try"]).has(made.identity)
    assert willing.decrypt(file) == b"value"
    assert willing.person.prompts == [f"PIN of {WHO} (1 try is left):"]


def test_the_last_try_that_is_wrong_blocks_the_pin(host: MakeHost, card: PivCard) -> None:
    made = make(card)
    card.left[PIN_REFERENCE] = 1
    ours = host(SoftReaders(card), Person(b"654321"), ["last-try"]).has(made.identity)
    assert said(failure(ours, ours.encrypt(b"value", made.recipient))) == (4, f"the PIN of {WHO} is blocked")


def test_a_blocked_pin_is_not_asked_for(host: MakeHost, card: PivCard) -> None:
    made = make(card)
    card.left[PIN_REFERENCE] = 0
    ours = host(SoftReaders(card), consents=["last-try"]).has(made.identity)
    error = failure(ours, ours.encrypt(b"value", made.recipient))
    assert said(error) == (4, f"the PIN of {WHO} is blocked")
    assert "unblock-pin" in error.hint
    assert (card.verifies, ours.person.prompts) == (0, [])


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (b"12345", "a PIN has 6 to 8 characters; no try was spent"),
        (b"123456789", "a PIN has 6 to 8 characters; no try was spent"),
        ("pässwor".encode("latin-1"), "a PIN has letters, digits and signs of ASCII; no try was spent"),
        (b"ccccccknkjkj" + b"b" * 32, "a PIN has 6 to 8 characters; no try was spent"),
        (
            b"cccc" + b"cclkjlri" + b"b" * 32,  # 11111111 is 00a98ac7 in hexadecimal
            "that was a one-time password, which the YubiKey types when it is touched too early; no try was spent",
        ),
        (None, f"{WHO} needs its PIN, and none was given"),
        (b"", f"{WHO} needs its PIN, and none was given"),
    ],
)
def test_what_cannot_be_a_pin_costs_no_try(
    host: MakeHost, card: PivCard, typed: bytes | None, message: str
) -> None:
    made = make(card)
    ours = host(SoftReaders(card), Person(typed)).has(made.identity)
    error = failure(ours, *(ours.encrypt(b"value", made.recipient) for _ in range(2)))
    assert said(error) == (4, message)
    assert (card.verifies, len(ours.person.prompts)) == (0, 1)


def test_a_missed_touch(host: MakeHost) -> None:
    card = PivCard(touch=lambda _slot: False)
    made = make(card, touch="always")
    ours = host(SoftReaders(card)).has(made.identity)
    assert said(failure(ours, ours.encrypt(b"value", made.recipient))) == (
        4,
        f"{WHO} was not touched in time",
    )
    assert card.verifies == 1


@pytest.mark.parametrize("pin", ["never", "always"])
def test_a_missed_touch_under_other_pin_policies(host: MakeHost, pin: str) -> None:
    card = PivCard(touch=lambda _slot: False)
    made = make(card, pin=pin, touch="cached")
    ours = host(SoftReaders(card)).has(made.identity)
    assert said(failure(ours, ours.encrypt(b"value", made.recipient))) == (
        4,
        f"{WHO} was not touched in time",
    )


def test_a_pin_that_is_needed_where_the_certificate_says_none_is(host: MakeHost) -> None:
    card = PivCard(firmware=(5, 2, 4))
    made = make(card, pin="never")
    card.keys[made.slot] = card.keys[made.slot]._replace(pin=2)
    ours = host(SoftReaders(card)).has(made.identity)
    error = failure(ours, ours.encrypt(b"value", made.recipient))
    assert said(error) == (4, f"{WHO} wants its PIN again")
    assert card.verifies == 0


def test_an_empty_slot(host: MakeHost, card: PivCard) -> None:
    made = make(card)
    ours = host(SoftReaders(PivCard())).has(made.identity)
    assert said(failure(ours, ours.encrypt(b"value", made.recipient))) == (4, f"slot 1 of {WHO} is empty")
    assert ours.person.prompts == []


def test_another_key_in_the_slot(host: MakeHost, card: PivCard) -> None:
    made = make(card)
    make(card)
    ours = host(SoftReaders(card)).has(made.identity)
    error = failure(ours, ours.encrypt(b"value", made.recipient))
    assert said(error) == (4, f"slot 1 of {WHO} holds another key than the identity says")
    assert (card.verifies, ours.person.prompts) == (0, [])


def test_a_certificate_that_demands_what_is_not_known_here(host: MakeHost, card: PivCard) -> None:
    made = make(card, oids=("1.2.3.4.5",))
    ours = host(SoftReaders(card)).has(made.identity)
    code, message = said(failure(ours, ours.encrypt(b"value", made.recipient)))
    assert code == 4
    assert (
        message == f"slot 1 of {WHO} holds a key whose certificate demands something that is not known here"
    )
    assert card.verifies == 0


def test_a_certificate_without_a_key_behind_it(host: MakeHost, card: PivCard) -> None:
    made = make(card)
    del card.keys[made.slot]
    ours = host(SoftReaders(card)).has(made.identity)
    assert said(failure(ours, ours.encrypt(b"value", made.recipient))) == (
        6,
        f"{WHO} answered with the error 6A80",
    )


def test_a_file_that_carries_the_tag_of_a_key_it_was_not_wrapped_for(host: MakeHost, card: PivCard) -> None:
    made, other = make(card), make(PivCard(22222222))
    ours = host(SoftReaders(card)).has(made.identity)
    good = ours.encrypt(b"value", made.recipient)
    mine, theirs = (ours.plugin.vault_wrap(it.recipient, bytes(16)) for it in (made, other))
    forged = Stanza((mine.args[0], mine.args[1], theirs.args[2]), theirs.body)
    with pytest.raises(IntegrityError, match="does not open by the key that it names"):
        ours.plugin.vault_unwrap(made.identity, [[forged]])
    before = card.agreements
    with pytest.raises(IntegrityError):
        ours.plugin.vault_unwrap(made.identity, [[forged]])
    assert card.agreements == before
    assert ours.decrypt(good) == b"value"


# Another program, or a hand, at every command.


COMMANDS = 12
"""Commands that opening three files takes at most; a plan behind the last one changes nothing."""


@pytest.mark.parametrize("policy", ["once", "always", "never"])
@pytest.mark.parametrize("at", range(1, COMMANDS + 8))
def test_a_yubikey_that_is_pulled_out_at_any_command(host: MakeHost, at: int, policy: str) -> None:
    card = PivCard()
    made = make(card, pin=policy)
    readers = SoftReaders(card)
    readers.only.plan[at] = lambda reader: reader.pull()
    ours = host(readers).has(made.identity)
    files = [ours.encrypt(b"value", made.recipient) for _ in range(3)]
    ours.age.vault_prepare(files)
    if readers.only.plan:
        assert [ours.decrypt(file) for file in files] == [b"value"] * 3
    else:
        for file in files:
            with pytest.raises((PluginError, LockedError), match=r"was pulled out$|is not connected$"):
                ours.decrypt(file)
    assert card.left[PIN_REFERENCE] == 3


@pytest.mark.parametrize("policy", ["once", "always"])
@pytest.mark.parametrize("how", ["reset", "take_away"])
@pytest.mark.parametrize("at", range(1, COMMANDS + 8))
def test_a_yubikey_that_another_program_resets_or_uses_at_any_command(
    host: MakeHost, at: int, how: str, policy: str
) -> None:
    card = PivCard()
    made = make(card, pin=policy)
    readers = SoftReaders(card)
    readers.only.plan[at] = lambda reader: getattr(reader, how)()
    ours = host(readers).has(made.identity)
    files = [ours.encrypt(b"value", made.recipient) for _ in range(3)]
    ours.age.vault_prepare(files)
    assert [ours.decrypt(file) for file in files] == [b"value"] * 3
    assert len(ours.person.prompts) <= 1
    assert card.left[PIN_REFERENCE] == 3


def test_a_yubikey_that_never_comes_to_rest(host: MakeHost, card: PivCard) -> None:
    made = make(card)
    readers = SoftReaders(card)
    readers.only.plan = {at: lambda reader: reader.reset() for at in range(1, 200)}
    ours = host(readers).has(made.identity)
    error = failure(ours, ours.encrypt(b"value", made.recipient))
    assert said(error) == (6, f"another program keeps taking {WHO} away")
    assert card.left[PIN_REFERENCE] == 3


def test_no_message_holds_the_pin(host: MakeHost, card: PivCard, tmp_path: Path) -> None:
    made = make(card)
    ours = host(SoftReaders(card), Person(b"246813")).has(made.identity)
    error = failure(ours, ours.encrypt(b"value", made.recipient))
    seen = [error.message, error.hint, repr(error), *ours.person.messages, repr(ours.plugin.__dict__)]
    assert not [text for text in seen if "246813" in text]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"246813" in path.read_bytes()]
