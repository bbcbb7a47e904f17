"""``vault yubikey``: what its user does and gets, with a software card in place of the YubiKey."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plugins.yubikey.conftest import Host
from support.piv_wire import parts
from support.pivcard import AES192, DEFAULT_MANAGEMENT, PUK, TDES, PivCard
from support.pivcard import PIN as PIN_REFERENCE
from support.pivreaders import SoftReaders
from support.vaults import run_vault
from support.yubikeys import POLICY_OID, SEED_OID, make
from tskeyvault import cli
from tskeyvault.cli import terminal
from tskeyvault_yubikey import plugin

FIRMWARE = [(4, 3, 5), (5, 2, 4), (5, 4, 3), (5, 7, 1)]
NEW_PIN, NEW_PUK = b"135791", b"24682468"
SET = {PIN_REFERENCE: NEW_PIN + b"\xff\xff", PUK: NEW_PUK}


class User:
    """A user whose answers stand in a list, and who keeps what was asked and told."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.prompts: list[str] = []
        self.messages: list[str] = []
        self.agrees: Callable[[], bool | None] = lambda: None

    def message(self, text: str) -> None:
        """Keep *text*."""
        self.messages.append(text)

    def confirm(self, question: str, yes: str, no: str) -> bool | None:  # noqa: ARG002 - as the contract has it
        """Do what is asked for, or nothing."""
        self.prompts.append(question)
        return self.agrees()

    def public(self, prompt: str) -> str | None:
        """Say nothing."""

    def secret(self, prompt: str) -> bytes | None:
        """Type the next answer."""
        self.prompts.append(prompt)
        return self.answers.pop(0) if self.answers else None

    def progress(self, done: int, total: int) -> None:
        """See nothing."""


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Desk:
    """A user at a host with readers."""

    def __init__(self, user: User, capfd: pytest.CaptureFixture[str]):
        self.user = user
        self.readers = SoftReaders()
        self._capfd = capfd

    def with_cards(self, *cards: PivCard | None) -> "Desk":
        """Put *cards* into readers."""
        self.readers = SoftReaders(*cards)
        return self

    def types(self, *answers: bytes) -> "Desk":
        """Let the user type *answers*, in this order."""
        self.user.answers = list(answers)
        return self

    def run(self, *arguments: str) -> Ran:
        """Run ``vault`` here."""
        self._capfd.readouterr()
        code = cli.main([*arguments])
        seen = self._capfd.readouterr()
        return Ran(code, seen.out, seen.err)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Desk:
    """Give a user at a host whose readers are in the process."""
    from tskeyvault import limits

    made = Desk(User(), capfd)
    monkeypatch.setattr(terminal, "USER", made.user)
    monkeypatch.setattr(plugin, "_pcsc", lambda: made.readers())  # noqa: PLW0108 - they change
    monkeypatch.setattr(limits, "protect_memory", lambda: None)  # of the process that runs the tests
    return made


def own(card: PivCard) -> PivCard:
    """Set the codes of *card* to what is not the default, and let it keep a management key under its PIN."""
    card.references = dict(SET)
    card.management = bytes(range(24))
    card.objects[0x5FFF00] = b"\x80\x03\x81\x01\x02"
    card.objects[0x5FC109] = b"\x88\x1a\x89\x18" + card.management
    return card


def certificate(card: PivCard, slot: int) -> x509.Certificate:
    """Return the certificate in *slot*, from 1."""
    return x509.load_der_x509_certificate(parts(card.objects[0x5FC10D + slot - 1])[0x70])


@pytest.mark.parametrize("firmware", FIRMWARE)
def test_setup_makes_a_key_that_opens_files(
    desk: Desk, host: Callable[..., Host], firmware: tuple[int, int, int]
) -> None:
    card = own(PivCard(firmware=firmware))
    done = desk.with_cards(card).types(NEW_PIN).run("yubikey", "setup")
    assert done.code == 0, done.err
    identity = done.out.splitlines()[-1]
    recipient = done.out.splitlines()[-2].partition("Recipient: ")[2]
    ours = host(SoftReaders(card)).has(identity)
    ours.person.pin = NEW_PIN
    assert ours.decrypt(ours.encrypt(b"value", recipient)) == b"value"
    assert (card.keys[0x82].pin, card.keys[0x82].touch) == (2, 3)
    assert recipient.startswith("age1tag1")


def test_the_identity_is_printed_as_age_plugin_yubikey_does(desk: Desk) -> None:
    card = own(PivCard())
    done = desk.with_cards(card).types(NEW_PIN).run("yubikey", "setup", "--name", "mine", "--slot", "20")
    lines = done.out.splitlines()
    created = certificate(card, 20).not_valid_before_utc
    assert lines[:5] == [
        "#       Serial: 11111111, Slot: 20",
        "#         Name: mine",
        f"#      Created: {created:%a, %d %b %Y %H:%M:%S} +0000",
        "#   PIN policy: Once   (A PIN is required once per session, if set)",
        "# Touch policy: Cached (A physical touch is required for decryption, and is cached for 15 seconds)",
    ]
    assert lines[5].startswith("#    Recipient: age1tag1")
    assert lines[6].startswith("AGE-PLUGIN-YUBIKEY-1")
    assert len(lines) == 7


@pytest.mark.parametrize(("option", "unit"), [((), "0.6.0"), (("--classic",), "0.5.1")])
def test_the_certificate_is_as_age_plugin_yubikey_writes_it(
    desk: Desk, option: tuple[str, ...], unit: str
) -> None:
    card = own(PivCard())
    assert desk.with_cards(card).types(NEW_PIN).run("yubikey", "setup", *option).code == 0
    made = certificate(card, 1)
    key = made.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(made.signature, made.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
    names = [(it.oid, it.value) for it in made.subject]
    assert names[:2] == [
        (NameOID.ORGANIZATION_NAME, "age-plugin-yubikey"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
    ]
    assert str(names[2][1]).startswith("age identity ")
    (extension,) = made.extensions
    assert (extension.oid.dotted_string, extension.critical) == (POLICY_OID, False)
    assert extension.value.public_bytes() == b"\x02\x03"
    assert made.not_valid_after_utc.year == 9999


@pytest.mark.parametrize(
    ("pin", "touch", "codes"), [("always", "never", b"\x03\x01"), ("never", "always", b"\x01\x02")]
)
def test_the_policies_are_those_that_were_chosen(desk: Desk, pin: str, touch: str, codes: bytes) -> None:
    card = own(PivCard())
    desk.with_cards(card).types(NEW_PIN)
    assert desk.run("yubikey", "setup", "--pin", pin, "--touch", touch).code == 0
    assert bytes([card.keys[0x82].pin, card.keys[0x82].touch]) == codes
    assert next(iter(certificate(card, 1).extensions)).value.public_bytes() == codes


def test_a_post_quantum_key_has_its_seed_in_the_certificate(desk: Desk, host: Callable[..., Host]) -> None:
    card = own(PivCard())
    done = desk.with_cards(card).types(NEW_PIN).run("yubikey", "setup", "--pq")
    assert done.code == 0, done.err
    seed = next(it for it in certificate(card, 1).extensions if it.oid.dotted_string == SEED_OID)
    assert seed.critical
    assert seed.value.public_bytes()[:2] == b"\x04\x40"
    lines = done.out.splitlines()
    ours = host(SoftReaders(card)).has(lines[-1])
    ours.person.pin = NEW_PIN
    assert ours.decrypt(ours.encrypt(b"value", lines[-2].partition("Recipient: ")[2])) == b"value"


def test_setup_takes_the_first_free_slot_and_keeps_what_is_there(desk: Desk) -> None:
    card = own(PivCard())
    before = make(card)
    card.keys[0x83] = card.keys[0x82]  # a key without a certificate is one too
    kept = dict(card.objects), dict(card.keys)
    done = desk.with_cards(card).types(NEW_PIN).run("yubikey", "setup")
    assert "Slot: 3" in done.out
    assert {k: card.objects[k] for k in kept[0] if k != 0x5FFF00} == {
        k: v for k, v in kept[0].items() if k != 0x5FFF00
    }
    assert {k: card.keys[k] for k in kept[1]} == kept[1]
    assert before.identity not in done.out


@pytest.mark.parametrize("firmware", FIRMWARE)
@pytest.mark.parametrize("what", ["certificate", "key"])
def test_setup_refuses_to_overwrite(desk: Desk, what: str, firmware: tuple[int, int, int]) -> None:
    card = own(PivCard(firmware=firmware))
    make(card)
    if what == "key":
        del card.objects[0x5FC10D]
    before = dict(card.keys)
    done = desk.with_cards(card).types(NEW_PIN).run("yubikey", "setup", "--slot", "1")
    assert done.code == 2
    assert "slot 1 of YubiKey 11111111 is in use, and what is there is kept" in done.err
    assert (card.keys, card.verifies) == (before, 0)


@pytest.mark.parametrize("slot", ["0x82", "21", "-1"])
def test_a_slot_that_is_none_is_refused(desk: Desk, slot: str) -> None:
    card = own(PivCard())
    assert desk.with_cards(card).types(NEW_PIN).run("yubikey", "setup", f"--slot={slot}").code == 2
    assert not card.keys


# Default codes.


@pytest.mark.parametrize("firmware", [(5, 4, 3), (5, 7, 1)])
def test_setup_insists_on_changing_the_defaults(desk: Desk, firmware: tuple[int, int, int]) -> None:
    card = PivCard(firmware=firmware)
    kind = card.management_type
    done = desk.with_cards(card).types(NEW_PIN, NEW_PIN, NEW_PUK, NEW_PUK).run("yubikey", "setup")
    assert done.code == 0, done.err
    assert card.references == SET
    assert card.management_type == kind
    assert card.management != DEFAULT_MANAGEMENT
    assert card.management in card.objects[0x5FC109]
    assert card.objects[0x5FFF00] == b"\x80\x03\x81\x01\x02"
    status = desk.run("yubikey", "status")
    assert status.code == 0, status.err


def test_on_old_firmware_a_default_pin_is_known_when_it_is_typed(desk: Desk) -> None:
    card = PivCard(firmware=(5, 2, 4))
    assert desk.with_cards(card).types(b"123456", NEW_PIN, NEW_PIN).run("yubikey", "setup").code == 0
    assert card.references[PIN_REFERENCE] == SET[PIN_REFERENCE]
    assert (
        "whether the PUK of YubiKey 11111111 is the default one is not known: ykman piv access change-puk"
        in desk.user.messages
    )


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ((), "YubiKey 11111111 has the default PIN, and no new one was given"),
        ((b"123456",), "that is the default PIN, which everybody knows; nothing was changed"),
        ((b"12345",), "a PIN has 6 to 8 characters; no try was spent"),
        ((NEW_PIN, b"135790"), "the two are not the same; nothing was changed"),
        (
            (NEW_PIN, NEW_PIN, b"12345678"),
            "that is the default PUK, which everybody knows; nothing was changed",
        ),
        ((NEW_PIN, NEW_PIN), "YubiKey 11111111 has the default PUK, and no new one was given"),
    ],
)
def test_without_good_codes_nothing_is_changed(desk: Desk, answers: tuple[bytes, ...], message: str) -> None:
    card = PivCard()
    done = desk.with_cards(card).types(*answers).run("yubikey", "setup")
    assert done.code == 4
    assert message in done.err
    assert card.references == PivCard().references
    assert (card.keys, card.management, card.left) == ({}, DEFAULT_MANAGEMENT, card.totals)


def test_defaults_are_kept_when_the_user_says_so_and_what_stays_weak_is_told(desk: Desk) -> None:
    card = PivCard()
    done = desk.with_cards(card).run("yubikey", "setup", "--keep-defaults")
    assert done.code == 0, done.err
    assert (card.references, card.management) == (PivCard().references, DEFAULT_MANAGEMENT)
    assert [text for text in desk.user.messages if text.startswith("weak")] == [
        "weak: the PIN is the default one",
        "weak: the PUK is the default one",
        "weak: the management key is the default one: anybody can put other keys into it",
    ]


@pytest.mark.parametrize(("firmware", "kind"), [((5, 4, 3), TDES), ((5, 7, 1), AES192)])
def test_a_management_key_that_only_the_user_knows_is_asked_for(
    desk: Desk, firmware: tuple[int, int, int], kind: int
) -> None:
    card = PivCard(firmware=firmware)
    card.references, card.management = dict(SET), bytes(range(1, 25))
    assert card.management_type == kind
    done = desk.with_cards(card).types(NEW_PIN, bytes(range(1, 25)).hex().encode()).run("yubikey", "setup")
    assert done.code == 0, done.err
    assert card.management == bytes(range(1, 25))


@pytest.mark.parametrize("typed", [b"", b"00" * 24, b"no hexadecimal", b"00"])
def test_a_wrong_management_key_changes_nothing(desk: Desk, typed: bytes) -> None:
    card = PivCard()
    card.references, card.management = dict(SET), bytes(range(1, 25))
    done = desk.with_cards(card).types(NEW_PIN, typed).run("yubikey", "setup")
    assert done.code == 4
    assert "has another management key, and nothing was changed" in done.err
    assert not card.keys


def test_a_wrong_pin_changes_nothing_and_costs_one_try(desk: Desk) -> None:
    card = own(PivCard())
    done = desk.with_cards(card).types(b"000000").run("yubikey", "setup")
    assert done.code == 4
    assert "the PIN of YubiKey 11111111 is wrong; 2 tries are left" in done.err
    assert (card.keys, card.verifies) == ({}, 1)


@pytest.mark.parametrize("firmware", [(5, 2, 4), (5, 7, 1)])
@pytest.mark.parametrize("at", range(1, 110, 3))
def test_setup_that_is_cut_off_anywhere_loses_nothing(
    desk: Desk, at: int, firmware: tuple[int, int, int]
) -> None:
    card = PivCard(firmware=firmware)
    typed = (NEW_PIN, NEW_PIN, NEW_PUK, NEW_PUK) if firmware >= (5, 3, 0) else (b"123456", NEW_PIN, NEW_PIN)
    desk.with_cards(card).types(*typed).readers.only.plan[at] = lambda reader: reader.pull()
    first = desk.run("yubikey", "setup")
    if desk.readers.only.plan:
        assert first.code == 0, first.err
        return
    assert first.code in {4, 6}, first.err
    changed = card.references[PIN_REFERENCE] == SET[PIN_REFERENCE]
    puk_left = firmware >= (5, 3, 0) and card.references[PUK] != NEW_PUK
    again = [NEW_PIN] if changed else list(typed)
    if changed and puk_left:
        again += [NEW_PUK, NEW_PUK]
    elif not changed and firmware >= (5, 3, 0) and not puk_left:
        again = [NEW_PIN, NEW_PIN]
    second = desk.with_cards(card).types(*again).run("yubikey", "setup")
    assert second.code == 0, second.err
    assert card.left == card.totals


@pytest.mark.parametrize(
    ("firmware", "options"), [((4, 4, 5), ("--pin", "never")), ((4, 2, 7), ("--touch", "cached"))]
)
def test_what_the_firmware_does_not_do_is_refused(
    desk: Desk, firmware: tuple[int, int, int], options: tuple[str, ...]
) -> None:
    card = own(PivCard(firmware=firmware))
    done = desk.with_cards(card).types(NEW_PIN).run("yubikey", "setup", *options)
    assert done.code == 6
    assert "the firmware of YubiKey 11111111 does not do this" in done.err
    assert not card.keys


# Several YubiKeys.


def test_of_several_the_user_names_one(desk: Desk) -> None:
    first, second = own(PivCard()), own(PivCard(22222222))
    desk.with_cards(first, second).types(NEW_PIN)
    done = desk.run("yubikey", "setup")
    assert done.code == 2
    assert "--serial says which: 11111111, 22222222" in done.err
    assert desk.run("yubikey", "setup", "--serial", "22222222").code == 0
    assert (len(first.keys), len(second.keys)) == (0, 1)
    assert desk.run("yubikey", "setup", "--serial", "33333333").code == 4


@pytest.mark.parametrize("same_port", [True, False])
def test_a_backup_is_set_up_after_the_first(desk: Desk, same_port: bool) -> None:
    first, second = own(PivCard()), own(PivCard(22222222))
    desk.with_cards(first, None).types(NEW_PIN, NEW_PIN)

    def plug_in() -> bool:
        readers = list(desk.readers.readers.values())
        if same_port:
            readers[0].pull()
            readers[0].card = second
        else:
            readers[1].card = second
        return True

    desk.user.agrees = plug_in
    done = desk.run("yubikey", "setup", "--backup", "--add-identity")
    assert done.code == 0, done.err
    assert (len(first.keys), len(second.keys)) == (1, 1)
    kept = Path.home() / ".config/tskeyvault/identities"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_text().count("AGE-PLUGIN-YUBIKEY-1") == 2
    assert [line for line in done.out.splitlines() if line] == [
        line for line in kept.read_text().splitlines() if line
    ]


def test_without_a_second_key_there_is_no_backup(desk: Desk) -> None:
    desk.with_cards(own(PivCard())).types(NEW_PIN)
    done = desk.run("yubikey", "setup", "--backup")
    assert done.code == 2
    assert "no backup key was set up" in done.err
    desk.user.agrees = lambda: True
    done = desk.types(NEW_PIN).run("yubikey", "setup", "--backup")
    assert done.code == 3
    assert "no other YubiKey is connected" in done.err


def test_the_key_is_added_to_the_vault_and_to_the_identities(desk: Desk, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    assert run_vault("init", vault).code == 0
    assert run_vault("insert", "a/key", input=b"value", cwd=vault).code == 0
    identities = Path.home() / ".config/tskeyvault/identities"
    software = identities.read_bytes()
    card = own(PivCard())
    desk.with_cards(card).types(NEW_PIN)
    done = desk.run(
        "yubikey", "setup", "--vault", str(vault), "--add-identity", "--add-recipient", "--name", "mine"
    )
    assert done.code == 0, done.err
    assert identities.read_bytes().startswith(software)
    recipients = (vault / "secrets/.age-recipients").read_text()
    assert "# mine\nage1tag1" in recipients
    head, _, rest = identities.read_text().partition("\n#       Serial")
    identities.write_text(f"#       Serial{rest}")  # as if the software key were lost
    assert "AGE-SECRET-KEY" in head
    shown = desk.types(NEW_PIN).run("--vault", str(vault), "show", "a/key")
    assert (shown.code, shown.out) == (0, "value")


def test_without_a_vault_to_add_it_to_no_key_is_made(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    card = own(PivCard())
    done = desk.with_cards(card).types(NEW_PIN).run("yubikey", "setup", "--add-recipient")
    assert (done.code, card.keys, card.verifies) == (3, {}, 0)


# Looking.


def test_list_is_an_identity_file(desk: Desk) -> None:
    first, second = PivCard(), PivCard(22222222)
    keys = [make(first), make(first, slot=0x84, pin="always", touch="cached"), make(second, seed=bytes(64))]
    done = desk.with_cards(first, second).run("yubikey", "list")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == [it.identity for it in keys]
    assert [line.partition("Recipient: ")[2] for line in lines if "Recipient" in line] == [
        it.recipient for it in keys
    ]
    assert (first.verifies, first.touches, desk.user.prompts) == (0, 0, [])


def test_list_as_json(desk: Desk) -> None:
    card = PivCard()
    made = make(card)
    (row,) = json.loads(desk.with_cards(card).run("yubikey", "list", "--json").out)
    assert row["recipients"] == [made.recipient, made.tagged]
    assert (row["serial"], row["slot"], row["pin"], row["touch"]) == (11111111, 1, "once", "never")
    assert row["identity"] == made.identity


def test_a_key_that_is_none_for_age_is_listed_as_such(desk: Desk) -> None:
    card = PivCard()
    make(card, oids=("1.2.3.4",))
    make(card, slot=0x83)
    del card.objects[0x5FC10E]
    out = desk.with_cards(card).run("yubikey", "list").out
    assert "#         Note: holds a key whose certificate demands something that is not known here" in out
    assert "#         Note: holds a key without a certificate" in out
    assert "AGE-PLUGIN" not in out


def test_a_name_cannot_add_a_line(desk: Desk) -> None:
    card = own(PivCard())
    desk.with_cards(card).types(NEW_PIN)
    done = desk.run("yubikey", "setup", "--name", "x\nAGE-SECRET-KEY-1QQQ")
    assert not [line for line in done.out.splitlines() if line.startswith("AGE-SECRET")]


def test_status_says_what_is_weak_and_what_to_do(desk: Desk) -> None:
    card = PivCard(firmware=(5, 4, 3))
    card.left[PIN_REFERENCE] = 1
    done = desk.with_cards(card).run("yubikey", "status")
    assert done.code == 1
    assert done.out.splitlines() == [
        "YubiKey 11111111, firmware 5.4.3",
        "  keys for age: 0, free slots: 20",
        "  tries left: PIN 1, PUK 3",
        "  management key: TDES",
    ]
    for text in ("the PIN is the default one", "the PUK is the default one", "for the PIN 1 try is left"):
        assert f"warning: YubiKey 11111111: {text}" in done.err
    assert "EUCLEAK (CVE-2024-45678)" in done.err
    assert card.verifies == 0


@pytest.mark.parametrize(
    ("firmware", "advisories"),
    [((4, 3, 4), ["ROCA"]), ((4, 3, 5), []), ((5, 6, 9), ["EUCLEAK"]), ((5, 7, 0), [])],
)
def test_status_knows_the_advisories(
    desk: Desk, firmware: tuple[int, int, int], advisories: list[str]
) -> None:
    (row,) = json.loads(
        desk.with_cards(own(PivCard(firmware=firmware))).run("yubikey", "status", "--json").out
    )
    assert [it["problem"].split()[0] for it in row["advisories"]] == advisories


@pytest.mark.parametrize("verb", ["list", "status", "setup"])
def test_without_a_yubikey_each_command_says_so(desk: Desk, verb: str) -> None:
    done = desk.with_cards().run("yubikey", verb)
    assert done.code == 4
    assert "a YubiKey is not connected" in done.err
