"""Where the PIN comes from, and what is told about it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.yubikey.conftest import Host, Person
from support.pivcard import PivCard
from support.pivreaders import SoftLink, SoftReaders
from support.yubikeys import make
from tskeyvault.errors import ConfigError, LockedError

MakeHost = Callable[..., Host]

ASKING = """#!/bin/sh
printf '%s\\n' "$@" >'{folder}/asked'
printf '%s\\n' '{answer}'
exit {status}
"""


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the directory of a unit's credentials."""
    folder = tmp_path / "credentials"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def give(folder: Path, name: str, data: bytes, mode: int = 0o400) -> None:
    """Put a credential into *folder*."""
    (folder / name).write_bytes(data)
    (folder / name).chmod(mode)


@pytest.mark.parametrize("name", ["yubikey-pin", "yubikey-pin-11111111"])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_pin_comes_from_a_credential(host: MakeHost, credentials: Path, name: str, end: bytes) -> None:
    made = make(PivCard())
    give(credentials, name, b"123456" + end)
    ours = host(SoftReaders(made.card)).has(made.identity)
    assert ours.decrypt(ours.encrypt(b"value", made.recipient)) == b"value"
    assert ours.person.prompts == []


def test_a_pin_for_one_key_is_never_tried_at_another(host: MakeHost, credentials: Path) -> None:
    first, second = make(PivCard()), make(PivCard(22222222))
    give(credentials, "yubikey-pin", b"654321")
    ours = host(SoftReaders(first.card, second.card), Person(None)).has(first.identity, second.identity)
    with pytest.raises(LockedError, match="the PIN of YubiKey 11111111 is wrong"):
        ours.decrypt(ours.encrypt(b"value", first.recipient, second.recipient))
    assert (first.card.verifies, second.card.verifies) == (1, 0)


def test_a_credential_that_others_may_change_is_refused(host: MakeHost, credentials: Path) -> None:
    made = make(PivCard())
    give(credentials, "yubikey-pin", b"123456", 0o666)
    ours = host(SoftReaders(made.card)).has(made.identity)
    with pytest.raises(ConfigError):
        ours.decrypt(ours.encrypt(b"value", made.recipient))
    assert made.card.verifies == 0


def asking(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int = 0) -> Path:
    """Put a systemd-ask-password that gives *answer* on PATH; return where it writes what it was asked."""
    program = folder / "systemd-ask-password"
    program.write_text(ASKING.format(folder=folder, answer=answer, status=status))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder / "asked"


def test_in_a_unit_systemd_is_asked(host: MakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOCATION_ID", "0" * 32)
    asked = asking(tmp_path, monkeypatch, "123456")
    made = make(PivCard())
    ours = host(SoftReaders(made.card), Person(None)).has(made.identity)
    assert ours.decrypt(ours.encrypt(b"value", made.recipient)) == b"value"
    assert "PIN of YubiKey 11111111 (3 tries are left):" in asked.read_text().splitlines()


@pytest.mark.parametrize("status", [1, 0])
def test_systemd_that_has_nobody_to_ask(
    host: MakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("INVOCATION_ID", "0" * 32)
    asking(tmp_path, monkeypatch, "", status)
    made = make(PivCard())
    ours = host(SoftReaders(made.card), Person(None)).has(made.identity)
    with pytest.raises(LockedError, match="needs its PIN, and none was given"):
        ours.decrypt(ours.encrypt(b"value", made.recipient))
    assert made.card.verifies == 0


def test_outside_a_unit_systemd_is_not_asked(
    host: MakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asking(tmp_path, monkeypatch, "123456")
    made = make(PivCard())
    ours = host(SoftReaders(made.card), Person(None)).has(made.identity)
    with pytest.raises(LockedError):
        ours.decrypt(ours.encrypt(b"value", made.recipient))
    assert not asked.exists()


@pytest.mark.parametrize("name", ["scdaemon", ""])
def test_the_reader_is_freed_by_gpgconf_when_the_user_allows_it(
    host: MakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made = make(PivCard())
    readers = SoftReaders(made.card)
    readers.only.held = True
    ran = tmp_path / "ran"
    program = tmp_path / "gpgconf"
    program.write_text(f"#!/bin/sh\necho \"$@\" >>'{ran}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    before = readers.connect

    def connect(reader: str) -> SoftLink:
        readers.only.held = not (name and ran.exists())
        return before(reader)

    monkeypatch.setattr(readers, "connect", connect)
    ours = host(readers, consents=["free-reader"]).has(made.identity)
    file = ours.encrypt(b"value", made.recipient)
    if name:
        assert ours.decrypt(file) == b"value"
    else:
        with pytest.raises(Exception, match="holds the reader"):
            ours.decrypt(file)
    assert ran.read_text() == "--kill scdaemon\n"
