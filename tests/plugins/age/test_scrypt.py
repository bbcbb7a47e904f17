"""Passphrases: cost limits before any cost, and never beside another recipient."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tskeyvault.errors import IntegrityError, LockedError, UsageError
from tskeyvault.spec import Stanza
from tskeyvault_age import file, scrypt
from tskeyvault_age.header import b64encode
from tskeyvault_age.scrypt import ScryptIdentity, ScryptRecipient
from tskeyvault_age.x25519 import X25519Identity

SALT = b64encode(bytes(16)).decode()


def _stanza(work: str = "1", salt: str = SALT, body: bytes = bytes(32)) -> Stanza:
    return Stanza(("scrypt", salt, work), body)


@pytest.fixture
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrypt, "_WRITTEN", 4)


@pytest.mark.usefixtures("_cheap")
def test_only_the_passphrase_opens() -> None:
    data = file.encrypt(b"plain", [ScryptRecipient(b"correct horse")], b"")
    assert file.decrypt(data, [ScryptIdentity(b"correct horse")]) == b"plain"
    for passphrase in (b"", b"correct horses"):
        with pytest.raises(LockedError):
            file.decrypt(data, [ScryptIdentity(passphrase)])


def test_work_factor_that_is_written_is_18() -> None:
    (stanza,) = ScryptRecipient(b"x").wrap(bytes(16))
    assert stanza.args[2] == "18"


@pytest.mark.usefixtures("_cheap")
def test_passphrase_stands_alone_in_writing_and_reading() -> None:
    with pytest.raises(UsageError, match="cannot be mixed"):
        file.encrypt(b"", [ScryptRecipient(b"x"), X25519Identity.generate().recipient], b"")
    with pytest.raises(UsageError, match="cannot be mixed"):
        file.encrypt(b"", [ScryptRecipient(b"x"), ScryptRecipient(b"x")], b"")
    with pytest.raises(IntegrityError, match="not alone"):
        ScryptIdentity(b"x").unwrap([_stanza(), Stanza(("grease",), b"")])


def test_empty_passphrase_is_refused() -> None:
    with pytest.raises(UsageError, match="empty"):
        ScryptRecipient(b"")


@pytest.mark.parametrize(
    "work", ["23", "30", "64", "99", "100", "0", "01", "+1", "-1", "0x1", "1 ", "\u0661", "1\n"]
)
def test_work_factors_that_are_too_large_or_not_decimal_cost_nothing(work: str) -> None:
    with pytest.raises(IntegrityError, match="work factor"):
        ScryptIdentity(b"x").unwrap([_stanza(work)])


@pytest.mark.parametrize(
    "stanza",
    [
        Stanza(("scrypt",), bytes(32)),
        Stanza(("scrypt", SALT), bytes(32)),
        Stanza(("scrypt", SALT, "1", "1"), bytes(32)),
        _stanza(salt=b64encode(bytes(15)).decode()),
        _stanza(salt=f"{SALT}=="),
        _stanza(work="22", body=bytes(33)),
    ],
)
def test_malformed_stanza_is_damage_and_costs_nothing(stanza: Stanza) -> None:
    with pytest.raises(IntegrityError, match="header"):
        ScryptIdentity(b"x").unwrap([stanza])


@given(st.lists(st.text(st.characters(min_codepoint=0x3A, max_codepoint=0x7E), min_size=1)), st.binary())
def test_any_stanza_is_damage(arguments: list[str], body: bytes) -> None:
    with pytest.raises(IntegrityError):
        ScryptIdentity(b"x").unwrap([Stanza(("scrypt", *arguments), body)])
