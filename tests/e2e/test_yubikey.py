"""The real command with a YubiKey: the real pcscd and pyscard, and a software card in a virtual reader."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support import needs
from support.pcsc import Pcscd, Plugged
from support.pivcard import PIN as PIN_REFERENCE
from support.pivcard import PivCard
from support.terminal import Terminal
from support.vaults import run_vault
from support.yubikeys import Made, make

VALUE = b"a value that only a YubiKey opens"
SECRETS = 10
OTHER_PROGRAM = """
import sys
from smartcard import scard as s
context = s.SCardEstablishContext(0)[1]
name = s.SCardListReaders(context, [])[1][0]
mode = s.SCARD_SHARE_EXCLUSIVE if sys.argv[1] == "exclusive" else s.SCARD_SHARE_SHARED
status, card, protocol = s.SCardConnect(context, name, mode, 3)
assert status == 0, hex(status)
if sys.argv[1] == "reset":
    assert s.SCardDisconnect(card, s.SCARD_RESET_CARD) == 0
if sys.argv[1] == "select":
    assert s.SCardTransmit(card, s.SCARD_PCI_T1, list(bytes.fromhex("00A4040007A0000005272001")))[0] == 0
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def card() -> PivCard:
    """Give a YubiKey that nobody has plugged in."""
    return PivCard()


def a_vault(folder: Path, *made: Made, secrets: int = 2) -> Path:
    """Make a vault that *made* read, with their identities for its user, and the software key lost."""
    assert run_vault("init", folder).code == 0
    for it in made:
        assert (
            run_vault("recipients", "add", it.recipient, "--name", str(it.card.serial), cwd=folder).code == 0
        )
    for number in range(1, secrets + 1):
        assert run_vault("insert", "--no-commit", f"a/{number}", input=VALUE, cwd=folder).code == 0
    identities = Path(os.environ["XDG_CONFIG_HOME"]) / "tskeyvault/identities"
    identities.write_text("".join(f"{it.identity}\n" for it in made))
    return folder


@pytest.fixture
def credentials(tmp_path: Path) -> Mapping[str, str]:
    """Give the environment of a unit that has the PIN as a credential."""
    folder = tmp_path / "credentials"
    folder.mkdir(mode=0o700)
    (folder / "yubikey-pin").write_bytes(b"123456")
    return {"CREDENTIALS_DIRECTORY": str(folder)}


def commands(plugged: Plugged[PivCard], ins: str) -> int:
    """Return how many commands *ins* (hexadecimal) the card saw."""
    return sum(line.startswith(f"{ins} ") for line in plugged.trace)


def test_a_secret_is_shown_after_a_pin_and_a_touch(desk: Pcscd, card: PivCard, tmp_path: Path) -> None:
    vault = a_vault(tmp_path / "vault", make(card, touch="cached"))
    finger = tmp_path / "finger"
    plugged = desk.plug_in(card, touch=finger)
    with Terminal("show", "a/1", before=desk.inside(vault)) as terminal:
        terminal.expect("PIN of YubiKey 11111111 (3 tries are left): ")
        terminal.type(b"123456\n")
        terminal.expect("vault: touch YubiKey 11111111 now")
        finger.touch()
        assert terminal.end() == 0
    assert terminal.seen.endswith(VALUE.decode())
    assert "123456" not in terminal.seen
    assert plugged.verifies == 1


def test_many_secrets_take_one_pin(
    desk: Pcscd, card: PivCard, tmp_path: Path, credentials: Mapping[str, str]
) -> None:
    vault = a_vault(tmp_path / "vault", make(card), secrets=SECRETS)
    plugged = desk.plug_in(card)
    done = desk.vault("grep", "only", env=credentials, cwd=vault)
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == SECRETS
    assert plugged.verifies == 1
    assert commands(plugged, "87") == SECRETS


def test_the_yubikey_is_left_with_its_pin_and_its_power(
    desk: Pcscd, card: PivCard, tmp_path: Path, credentials: Mapping[str, str]
) -> None:
    vault = a_vault(tmp_path / "vault", make(card))
    plugged = desk.plug_in(card)
    with desk.start(sys.executable, "-c", OTHER_PROGRAM, "hold") as other:  # or pcscd would power it off
        assert other.stdout
        assert other.stdin
        assert other.stdout.readline() == b"ready\n"
        before = plugged.trace.count("power")
        assert desk.vault("show", "a/1", env=credentials, cwd=vault).out == VALUE
        assert desk.vault("show", "a/2", cwd=vault).out == VALUE
        assert plugged.trace.count("power") == before
        other.stdin.close()
    assert plugged.verifies == 1


@pytest.mark.parametrize("how", ["reset", "select"])
def test_another_program_that_uses_it_meanwhile_is_put_up_with(
    desk: Pcscd, card: PivCard, tmp_path: Path, how: str
) -> None:
    vault = a_vault(tmp_path / "vault", make(card))
    plugged = desk.plug_in(card)
    with Terminal("show", "a/1", before=desk.inside(vault)) as terminal:
        terminal.expect("PIN of YubiKey 11111111")
        assert desk.run(sys.executable, "-c", OTHER_PROGRAM, how).code == 0
        terminal.type(b"123456\n")
        assert terminal.end() == 0
    assert terminal.seen.endswith(VALUE.decode())
    assert terminal.seen.count("PIN of") == 1
    assert plugged.verifies == 1


def test_a_program_that_has_the_reader_for_itself_is_told_of(
    desk: Pcscd, card: PivCard, tmp_path: Path, credentials: Mapping[str, str]
) -> None:
    vault = a_vault(tmp_path / "vault", make(card))
    plugged = desk.plug_in(card)
    with desk.start(sys.executable, "-c", OTHER_PROGRAM, "exclusive") as other:
        assert other.stdout
        assert other.stdin
        assert other.stdout.readline() == b"ready\n"
        done = desk.vault("show", "a/1", env=credentials, cwd=vault)
        other.stdin.close()
    assert done.code == 6
    assert (
        "holds the reader 'Yubico YubiKey OTP+FIDO+CCID 00 00', so that YubiKey 11111111 is not reached"
        in done.err
    )
    assert "hint: gpgconf --kill scdaemon, or --free-reader" in done.err
    assert plugged.verifies == 0


def test_a_yubikey_that_is_pulled_out_while_it_waits_for_a_touch(
    desk: Pcscd, card: PivCard, tmp_path: Path
) -> None:
    vault = a_vault(tmp_path / "vault", make(card, touch="always"))
    plugged = desk.plug_in(card, touch=tmp_path / "never")
    with Terminal("show", "a/1", before=desk.inside(vault)) as terminal:
        terminal.expect("PIN of YubiKey 11111111")
        terminal.type(b"123456\n")
        terminal.expect("touch YubiKey 11111111 now")
        plugged.pull()
        assert terminal.end() == 6
    assert "YubiKey 11111111 was pulled out" in terminal.seen


def test_a_wrong_pin_costs_one_try_and_the_prompt_counts_them(
    desk: Pcscd, card: PivCard, tmp_path: Path
) -> None:
    vault = a_vault(tmp_path / "vault", make(card))
    plugged = desk.plug_in(card)
    for left, said in ((2, "(3 tries are left)"), (1, "(2 tries are left)")):
        with Terminal("show", "a/1", before=desk.inside(vault)) as terminal:
            terminal.expect(said)
            terminal.type(b"654321\n")
            assert terminal.end() == 4
        assert plugged.card(11111111).left[PIN_REFERENCE] == left
    done = desk.vault("show", "a/1", cwd=vault)
    assert (done.code, plugged.verifies) == (4, 2)
    assert "hint: --last-try spends it" in done.err
    with Terminal("show", "--last-try", "a/1", before=desk.inside(vault)) as terminal:
        terminal.expect("(1 try is left)")
        terminal.type(b"123456\n")
        assert terminal.end() == 0
    assert plugged.card(11111111).left[PIN_REFERENCE] == 3


def test_without_a_terminal_nothing_is_asked(desk: Pcscd, card: PivCard, tmp_path: Path) -> None:
    vault = a_vault(tmp_path / "vault", make(card))
    plugged = desk.plug_in(card)
    done = desk.vault("show", "a/1", cwd=vault)
    assert done.code == 4
    assert "YubiKey 11111111 needs its PIN, and none was given" in done.err
    assert plugged.verifies == 0


def test_an_empty_reader(desk: Pcscd, card: PivCard, tmp_path: Path) -> None:
    vault = a_vault(tmp_path / "vault", make(card))
    done = desk.vault("show", "a/1", cwd=vault)
    assert done.code == 4
    assert "YubiKey 11111111 is not connected" in done.err


def test_no_pcscd(card: PivCard, tmp_path: Path) -> None:
    needs.pcscd()
    vault = a_vault(tmp_path / "vault", make(card))
    hidden = 'mount -t tmpfs tmpfs /run && exec "$@"'
    argv = ["unshare", "-m", "sh", "-c", hidden, "sh"]
    with Terminal("show", "a/1", cwd=vault, before=argv) as terminal:
        assert terminal.end() == 6
    assert "pcscd does not run, and no YubiKey is reached without it" in terminal.seen


def test_the_backup_opens_what_the_lost_key_opened(
    desk: Pcscd, card: PivCard, tmp_path: Path, credentials: Mapping[str, str]
) -> None:
    backup = PivCard(22222222, firmware=(5, 4, 3))
    vault = a_vault(tmp_path / "vault", make(card), make(backup))
    desk.plug_in(backup, reader=1)
    done = desk.vault("show", "a/1", env=credentials, cwd=vault)
    assert (done.code, done.out) == (0, VALUE), done.err


def test_setup_at_the_real_reader(desk: Pcscd, card: PivCard, credentials: Mapping[str, str]) -> None:
    plugged = desk.plug_in(card)
    done = desk.vault("yubikey", "setup", "--keep-defaults", env=credentials)
    assert done.code == 0, done.err
    assert plugged.card(11111111).keys[0x82].touch == 3
    listed = desk.vault("yubikey", "list")
    assert listed.out == done.out


@pytest.fixture
def gnupg(tmp_path: Path, desk: Pcscd) -> Iterator[Mapping[str, str]]:
    """Give the environment of a GnuPG whose scdaemon uses pcscd."""
    needs.scdaemon()
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    (home / "scdaemon.conf").write_text("disable-ccid\n")
    yield {"GNUPGHOME": str(home)}
    desk.run("gpgconf", "--kill", "all", env={"GNUPGHOME": str(home)})


def test_scdaemon_is_named_and_ended_only_when_that_is_wanted(
    desk: Pcscd, card: PivCard, tmp_path: Path, gnupg: Mapping[str, str], credentials: Mapping[str, str]
) -> None:
    vault = a_vault(tmp_path / "vault", make(card))
    desk.plug_in(card)
    env = {**gnupg, **credentials}
    taken = desk.run("gpg-connect-agent", "scd serialno", "/bye", env=env)
    assert taken.out.startswith(b"S SERIALNO "), taken.err
    for _ in range(2):  # it is still there
        done = desk.vault("show", "a/1", env=env, cwd=vault)
        assert done.code == 6
        assert "GnuPG's scdaemon holds the reader 'Yubico YubiKey OTP+FIDO+CCID 00 00'" in done.err
    done = desk.vault("show", "--free-reader", "a/1", env=env, cwd=vault)
    assert (done.code, done.out) == (0, VALUE), done.err
    # gpg-agent says "Broken pipe" until it has noticed that its scdaemon ended.
    desk.until(lambda: b"S SERIALNO" in desk.run("gpg-connect-agent", "scd serialno", "/bye", env=env).out)


def test_scdaemon_that_shares_lets_both_go_on(
    desk: Pcscd, card: PivCard, tmp_path: Path, gnupg: Mapping[str, str], credentials: Mapping[str, str]
) -> None:
    Path(gnupg["GNUPGHOME"], "scdaemon.conf").write_text("pcsc-shared\ndisable-ccid\n")
    vault = a_vault(tmp_path / "vault", make(card))
    desk.plug_in(card)
    env = {**gnupg, **credentials}
    for _ in range(2):
        taken = desk.run("gpg-connect-agent", "scd serialno", "/bye", env=env)
        assert taken.out.startswith(b"S SERIALNO "), taken.err
        done = desk.vault("show", "a/1", env=env, cwd=vault)
        assert (done.code, done.out) == (0, VALUE), done.err


# age-plugin-yubikey itself, at the same reader.


@pytest.fixture
def age_env() -> Mapping[str, str]:
    """Give the environment in which age finds age-plugin-yubikey."""
    needs.program("age")
    folder = os.path.dirname(needs.age_plugin_yubikey())
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_age_plugin_yubikey_lists_our_key_as_we_do(
    desk: Pcscd, card: PivCard, age_env: Mapping[str, str]
) -> None:
    desk.plug_in(card)
    ours = desk.vault("yubikey", "setup", "--keep-defaults", "--classic", "--name", "mine", "--pin", "always")
    assert ours.code == 0, ours.err
    theirs = desk.run("age-plugin-yubikey", "--identity", env=age_env)
    assert theirs.code == 0, theirs.err
    assert theirs.out.strip() == ours.out.strip()


def test_age_opens_with_our_key_what_we_wrote(
    desk: Pcscd, card: PivCard, tmp_path: Path, age_env: Mapping[str, str]
) -> None:
    desk.plug_in(card)
    done = desk.vault(
        "yubikey", "setup", "--keep-defaults", "--classic", "--pin", "never", "--touch", "never"
    )
    assert done.code == 0, done.err
    (tmp_path / "identity").write_bytes(done.out)
    lines = done.out.decode().splitlines()
    vault = tmp_path / "vault"
    assert run_vault("init", vault).code == 0
    assert run_vault("recipients", "add", lines[-2].partition("Recipient: ")[2], cwd=vault).code == 0
    assert run_vault("insert", "a/1", input=VALUE, cwd=vault).code == 0
    path = str(vault / "secrets/a/1.age")
    opened = desk.run("age", "-d", "-i", str(tmp_path / "identity"), path, env=age_env)
    assert (opened.code, opened.out) == (0, VALUE), opened.err


def test_we_open_with_a_key_of_age_plugin_yubikey_what_age_wrote(
    desk: Pcscd, tmp_path: Path, age_env: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # With TDES: it cannot manage the AES keys that firmware 5.7 begins with.
    plugged = desk.plug_in(PivCard(firmware=(5, 4, 3)))
    monkeypatch.setenv("PATH", age_env["PATH"])
    options = (
        "--generate",
        "--slot",
        "2",
        "--name",
        "theirs",
        "--pin-policy",
        "once",
        "--touch-policy",
        "never",
    )
    with Terminal(*options, before=desk.inside(), program=["age-plugin-yubikey"]) as terminal:
        terminal.expect_hidden("Enter PIN")
        terminal.type(b"123456\n")
        terminal.expect_hidden("Enter current PUK")
        terminal.type(b"12345678\n")
        terminal.expect_hidden("Choose a new PIN/PUK")
        terminal.type(b"135791\n")
        terminal.expect_hidden("Repeat")
        terminal.type(b"135791\n")
        assert terminal.end() == 0, terminal.seen
    listed = desk.vault("yubikey", "list").out.decode()
    assert "#         Name: theirs" in listed
    recipient = next(line.partition("Recipient: ")[2] for line in listed.splitlines() if "Recipient" in line)
    written = desk.run("age", "-r", recipient, given=VALUE)
    assert written.code == 0, written.err
    vault = tmp_path / "vault"
    assert run_vault("init", vault).code == 0
    (vault / "secrets/theirs.age").write_bytes(written.out)
    identities = Path(os.environ["XDG_CONFIG_HOME"]) / "tskeyvault/identities"
    identities.write_text(listed)
    plugged = desk.plug_in_anew(plugged, 11111111)
    with Terminal("show", "theirs", before=desk.inside(vault)) as terminal:
        terminal.expect("PIN of YubiKey 11111111")
        terminal.type(b"135791\n")
        assert terminal.end() == 0, terminal.seen
    assert terminal.seen.endswith(VALUE.decode())
    # Its management key is under the PIN, where we find it to make another key.
    with Terminal("yubikey", "setup", "--touch", "never", before=desk.inside()) as terminal:
        terminal.expect("PIN of YubiKey 11111111")
        terminal.type(b"135791\n")
        assert terminal.end() == 0, terminal.seen
    assert set(plugged.card(11111111).keys) == {0x82, 0x83}
