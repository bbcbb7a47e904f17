"""A gpg key on an OpenPGP card, by the real gpg, gpg-agent, scdaemon and pcscd: what opens, what is said, and what a PIN costs."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from support import gpg, needs, passes, pcsc
from support.gpg import Person, with_file
from support.openpgpcard import ADMIN_PIN, PIN, USER, OpenPGPCard
from support.pcsc import SECONDS, Pcscd, Plugged
from support.vaults import Result, run_vault, services

RIGHT, WRONG = PIN.decode(), "654321"
SECRETS = [f"web/{number}" for number in range(6)]
VALUE = b"the value"


class Desk(NamedTuple):
    """A reader, a person whose key for encryption is on a card alone, and their vault and pass store."""

    pcscd: Pcscd
    who: Person
    state: Path
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return what tells gpg and pass where things are."""
        return {"GNUPGHOME": str(self.who.home), "PASSWORD_STORE_DIR": str(self.folder / "store")}

    def card(self, left: int = 3) -> OpenPGPCard:
        """Return the card, whose PIN may be tried *left* times."""
        card = OpenPGPCard(1)
        card.load(self.state)
        card.left[USER] = left
        return card

    def vault(self, *arguments: str | Path, env: dict[str, str]) -> Result:
        """Run ``vault`` beside pcscd; whatever it was told, no PIN is said, and nothing is left running."""
        words = map(str, arguments)
        done = self.pcscd.vault(*words, env={**self.environment, **env}, cwd=self.folder / "vault")
        self.check(done)
        return done

    def check(self, done: Result) -> None:
        """See that no PIN was said, and that no agent with one is left."""
        assert not any(pin in done.err or pin.encode() in done.out for pin in (RIGHT, WRONG)), done
        assert "Traceback" not in done.err
        assert gpg.agents(self.who.home) == gpg.agents(self.who.home, "scdaemon") == 0


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give the desk. The key was made by gpg, and moved to the card as people do that."""
    needs.pcscd()
    needs.scdaemon()
    needs.program("pass")
    folder = tmp_path_factory.mktemp("card")
    with gpg.homes() as homes, pcsc.pcscd(folder / "pcscd") as pcscd:
        who = gpg.person(homes, "Alice")
        (who.home / "scdaemon.conf").write_text("disable-ccid\n")
        assert (
            run_vault("init", "--backend", "gpg", folder / "vault", env={"GNUPGHOME": str(who.home)}).code
            == 0
        )
        store = passes.made(folder / "store", who)
        store.run_pass("insert", "--multiline", "entry", input=VALUE)
        soft = gpg.another(who, "Software", passphrase=WRONG)
        hidden = ("--hidden-recipient", soft.fingerprint, "--hidden-recipient", who.fingerprint)
        readers: dict[str, Sequence[str]] = dict.fromkeys(SECRETS, ("--recipient", who.fingerprint))
        readers |= {name.replace("web/", "mixed/k"): options for name, options in readers.items()}
        readers |= {"mixed/a": ("--recipient", soft.fingerprint), "hidden/a": hidden, "hidden/b": hidden}
        readers |= {f"both/{name}": (*readers["mixed/a"], *readers[SECRETS[0]]) for name in "ab"}
        readers["hostile"] = hidden[2:]
        for name, options in readers.items():
            path = folder / f"vault/secrets/{name}.gpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(gpg.run(who.home, *options, "--encrypt", input=VALUE))
        hostile = path.read_bytes()
        path.write_bytes(hostile[: 2 + hostile[1]] * 4 + hostile[2 + hostile[1] :])
        wrapping = ("--no-literal", "--compress-algo", "none", "--recipient", soft.fingerprint, "--encrypt")
        path.with_name("nested.gpg").write_bytes(gpg.run(who.home, *wrapping, input=path.read_bytes()))
        damaged = bytearray((path.parent / "both/b.gpg").read_bytes())
        damaged[damaged[1]] ^= 1
        for name in "bcd":
            path.with_name("both").joinpath(f"{name}.gpg").write_bytes(damaged)
        files = "".join(f'[services.web.files.f{at}]\nsecret = "{name}"\n' for at, name in enumerate(SECRETS))
        services(folder / "vault", files)
        subprocess.run(["gpgconf", "--homedir", who.home, "--kill", "all"], check=True)
        plugged = pcscd.plug_in(OpenPGPCard(1))
        argv = (
            "gpg",
            "--homedir",
            str(who.home),
            "--batch",
            "--pinentry-mode",
            "loopback",
            "--command-fd",
            "0",
        )
        pin = ("--passphrase", ADMIN_PIN.decode(), "--edit-key", who.fingerprint)
        done = pcscd.run(*argv, *pin, given=b"key 1\nkeytocard\n2\nsave\n")
        assert done.code == 0, done.err
        pcscd.run("gpgconf", "--homedir", str(who.home), "--kill", "all")
        pcscd.pull(plugged)
        state = plugged.state.rename(folder / "state")
        plugged.state.with_name(f"{plugged.state.name}.trace").unlink()
        yield Desk(pcscd, who, state, folder)


@pytest.fixture
def plugged(desk: Desk) -> Iterator[Plugged[OpenPGPCard]]:
    """Give the card in its reader."""
    made = desk.pcscd.plug_in(desk.card())
    yield made
    pulled(desk, made)


def pulled(desk: Desk, plugged: Plugged[OpenPGPCard]) -> None:
    desk.pcscd.pull(plugged)
    plugged.state.with_name(f"{plugged.state.name}.trace").unlink(missing_ok=True)


def out(folder: Path) -> Path:
    made = folder / "out"
    made.mkdir()
    return made


def materialize(desk: Desk, folder: Path, env: dict[str, str]) -> Result:
    return desk.vault("materialize", "web", "--directory", folder, "--allow-disk", env=env)


# What opens.


def test_a_pin_from_a_file_is_given_once_for_all_secrets(
    desk: Desk, plugged: Plugged[OpenPGPCard], tmp_path: Path
) -> None:
    folder = out(tmp_path)
    done = materialize(desk, folder, with_file(tmp_path, f"{RIGHT}\n"))
    assert done.code == 0, done.err
    assert [path.read_bytes() for path in sorted(folder.glob("f*"))] == [VALUE] * len(SECRETS)
    assert plugged.verifies == 1


def test_a_pin_from_a_credential_opens_a_secret_and_an_entry_of_pass(
    desk: Desk, plugged: Plugged[OpenPGPCard], tmp_path: Path
) -> None:
    (tmp_path / "gpg-passphrase").write_text(RIGHT)
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    for name in (SECRETS[0], "pass:entry"):
        done = desk.vault("show", name, env=env)
        assert (done.code, done.out, done.err) == (0, VALUE, "")
    assert plugged.verifies == 2


# What a wrong PIN costs.


def test_a_wrong_pin_costs_one_try_however_many_secrets_there_are(
    desk: Desk, plugged: Plugged[OpenPGPCard], tmp_path: Path
) -> None:
    folder = out(tmp_path)
    done = materialize(desk, folder, with_file(tmp_path, WRONG))
    assert done.code == 4
    assert "the PIN of the card is wrong, and 2 tries are left" in done.err
    assert (
        "hint: correct passphrase_file in [plugins.gpg], or the credential gpg-passphrase, before it is tried again"
        in done.err
    )
    assert (list(folder.iterdir()), plugged.verifies, plugged.card(1).left[USER]) == ([], 1, 2)


@pytest.mark.parametrize("folder", ["web", "mixed", "hidden", "both"])
def test_a_command_that_goes_on_with_what_opens_tries_a_wrong_pin_once(
    desk: Desk, plugged: Plugged[OpenPGPCard], tmp_path: Path, folder: str
) -> None:
    """Elsewhere than in web, the passphrase is right for a key in software; in both, that opens only the first secret."""
    done = desk.vault("grep", "value", folder, env=with_file(tmp_path, WRONG))
    opened = b"mixed/a\n" if folder == "mixed" else b""
    assert (done.code, done.out, plugged.verifies) == (4, opened, 1), done.err
    assert "the PIN of the card was wrong, and is not tried again" in done.err


def test_a_message_to_many_hidden_recipients_cannot_block_a_card(
    desk: Desk, plugged: Plugged[OpenPGPCard], tmp_path: Path
) -> None:
    done = desk.vault("show", "hostile", env=with_file(tmp_path, WRONG))
    assert done.code == 4
    assert (
        "a wrong PIN would cost 4 tries, as its recipients are hidden, and the card has 3\nhint: --last-try"
        in done.err
    )
    assert plugged.verifies == 0
    done = desk.vault("--last-try", "show", "hostile", env=with_file(tmp_path, RIGHT))
    assert (done.code, done.out, plugged.verifies) == (0, VALUE, 1)


def test_a_message_within_a_message_gets_no_pin(
    desk: Desk, plugged: Plugged[OpenPGPCard], tmp_path: Path
) -> None:
    """The outer one is for a key in software, of which this is the passphrase; nobody sees whom the inner one is for."""
    done = desk.vault("--last-try", "show", "nested", env=with_file(tmp_path, WRONG))
    assert (done.code, done.out, plugged.verifies) == (5, b"", 0)
    assert done.err == "vault: secret 'nested': holds something else than one plaintext\n"


def test_the_last_try_is_only_spent_when_the_user_says_so(desk: Desk, tmp_path: Path) -> None:
    plugged = desk.pcscd.plug_in(desk.card(left=1))
    try:
        env = with_file(tmp_path, WRONG)
        done = desk.vault("show", SECRETS[0], env=env)
        assert done.code == 4
        assert "one try is left for the PIN of the card, and it was not spent\nhint: --last-try" in done.err
        assert (plugged.verifies, desk.vault("show", "mixed/a", env=env).out) == (0, VALUE)
        done = desk.vault("--last-try", "show", "pass:entry", env=env)
        assert done.code == 4
        assert "the PIN of the card is wrong, and now it is blocked\nhint: gpg --change-pin" in done.err
        done = desk.vault("show", SECRETS[0], env=with_file(tmp_path, RIGHT))
        assert done.code == 4
        assert "the PIN of the card is blocked\nhint: gpg --change-pin unblocks it" in done.err
    finally:
        pulled(desk, plugged)


# What is missing.


NOT_INSERTED = "the card with the key is not inserted, or another program uses it\nhint: insert the card FFFE 00000001, or"


def test_a_card_that_is_not_inserted_is_named_and_another_gets_no_pin(desk: Desk, tmp_path: Path) -> None:
    env = with_file(tmp_path, RIGHT)
    done = desk.vault("show", SECRETS[0], env=env)
    assert done.code == 4
    assert NOT_INSERTED in done.err
    other = desk.pcscd.plug_in(OpenPGPCard(2))
    try:
        done = desk.vault("show", "pass:entry", env=env)
    finally:
        pulled(desk, other)
    assert done.code == 4
    assert NOT_INSERTED in done.err
    assert other.verifies == 0


def test_a_reader_that_another_program_holds_is_told(
    desk: Desk, plugged: Plugged[OpenPGPCard], tmp_path: Path
) -> None:
    code = "from smartcard import scard as s; c = s.SCardEstablishContext(0)[1]; import sys\n"
    code += "print(s.SCardConnect(c, s.SCardListReaders(c, [])[1][0], s.SCARD_SHARE_SHARED, 3)[0]); sys.stdin.read()"
    holding = desk.pcscd.start(sys.executable, "-uc", code)
    assert holding.stdout
    assert holding.stdout.readline() == b"0\n"
    done = desk.vault("show", SECRETS[0], env=with_file(tmp_path, RIGHT))
    holding.communicate(timeout=SECONDS)
    assert (done.code, plugged.verifies) == (4, 0)
    assert NOT_INSERTED in done.err


def test_without_pcscd_the_card_is_what_is_missing(desk: Desk, tmp_path: Path) -> None:
    env = {**desk.environment, **with_file(tmp_path, RIGHT)}
    done = run_vault("--vault", desk.folder / "vault", "show", SECRETS[0], env=env)
    desk.check(done)
    assert done.code == 4
    assert NOT_INSERTED in done.err


def test_without_scdaemon_that_is_what_is_missing(desk: Desk, tmp_path: Path) -> None:
    who = gpg.clone(desk.who, desk.who.home.with_name("without"))
    (who.home / "gpg-agent.conf").write_text("scdaemon-program /nonexistent\n")
    done = desk._replace(who=who).vault("show", SECRETS[0], env=with_file(tmp_path, RIGHT))
    assert done.code == 6
    assert "scdaemon is missing, so no card can be used\nhint: apt install scdaemon" in done.err


@pytest.fixture
def touched(desk: Desk, tmp_path: Path) -> Iterator[tuple[Plugged[OpenPGPCard], subprocess.Popen[bytes]]]:
    """Give a card that waits to be touched, which nobody does, and the ``vault show`` that waits for it."""
    plugged = desk.pcscd.plug_in(desk.card(), touch=tmp_path / "never")
    waits = plugged.state.with_name("card-1.waits")
    env = {**desk.environment, **with_file(tmp_path, RIGHT)}
    argv = (sys.executable, "-m", "tskeyvault", "show", SECRETS[0])
    running = desk.pcscd.start(*argv, env=env, cwd=desk.folder / "vault")
    desk.pcscd.until(lambda: waits.exists() or running.poll() is not None)
    yield plugged, running
    waits.unlink()
    pulled(desk, plugged)


def ended(desk: Desk, running: subprocess.Popen[bytes]) -> Result:
    out, err = running.communicate(timeout=SECONDS)
    done = Result(running.returncode, out, err.decode())
    desk.check(done)
    return done


def test_a_command_that_is_stopped_does_not_leave_the_card_unlocked(
    desk: Desk, touched: tuple[Plugged[OpenPGPCard], subprocess.Popen[bytes]]
) -> None:
    _, running = touched
    running.send_signal(signal.SIGTERM)
    assert ended(desk, running).code == 7


def test_a_card_that_is_pulled_out_while_it_decrypts_is_named(
    desk: Desk, touched: tuple[Plugged[OpenPGPCard], subprocess.Popen[bytes]]
) -> None:
    plugged, running = touched
    plugged.pull()
    done = ended(desk, running)
    assert (done.code, done.out) == (6, b"")
    assert "the card was pulled out, or does not answer\nhint: insert it again" in done.err
