"""Whoever has only a YubiKey can make a vault and be its reader, also while it is not plugged in."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.yubikey.conftest import Host
from support.pivcard import PivCard
from support.pivreaders import SoftReaders
from support.vaults import run_vault
from support.yubikeys import Made, make
from tskeyvault_yubikey import own


def identity_file(folder: Path, *pairs: tuple[str, str]) -> Path:
    """Write an identity file of recipients and identities, as age-plugin-yubikey does."""
    path = folder / "identities"
    blocks = [f"#       Serial: 1, Slot: 1\n#    Recipient: {text}\n{identity}\n" for text, identity in pairs]
    path.write_text("\n".join(blocks))
    return path


@pytest.mark.parametrize("seed", [b"", bytes(64)], ids=["classic", "post-quantum"])
def test_a_vault_is_made_for_a_yubikey_alone(tmp_path: Path, seed: bytes) -> None:
    made = make(PivCard(), seed=seed)
    folder = Path(os.environ["XDG_CONFIG_HOME"]) / "tskeyvault"
    folder.mkdir(mode=0o700)
    identity_file(folder, (made.recipient, made.identity))
    done = run_vault("init", tmp_path / "vault")
    assert done.code == 0, done.err
    assert made.recipient in (tmp_path / "vault/secrets/.age-recipients").read_text()
    assert run_vault("insert", "a/key", input=b"value", cwd=tmp_path / "vault").code == 0


def test_both_recipients_of_a_key_are_known_by_its_tag(tmp_path: Path) -> None:
    made = make(PivCard())
    path = identity_file(tmp_path, (made.tagged, made.identity), (made.recipient, made.identity))
    assert own.recipients([str(path)]) == (made.tagged, made.recipient)


@pytest.mark.parametrize("wrong", ["another key's", "no recipient", "none", "a line between"])
def test_a_recipient_that_is_not_the_identitys_is_not_believed(tmp_path: Path, wrong: str) -> None:
    made, other = make(PivCard()), make(PivCard(22222222))
    path = identity_file(tmp_path, (made.recipient, made.identity))
    text = path.read_text()
    changed = {
        "another key's": text.replace(made.recipient, other.recipient),
        "no recipient": text.replace(made.recipient, "age1yubikey1qqq"),
        "none": text.replace("Recipient", "Resident"),
        "a line between": text.replace(made.identity, f"{other.identity}\n{made.identity}"),
    }[wrong]
    path.write_text(changed)
    assert own.recipients([str(path), str(tmp_path / "missing")]) == ()


def test_what_setup_writes_tells_the_recipient(host: Callable[..., Host], tmp_path: Path) -> None:
    card = PivCard()
    made: Made = make(card)
    ours = host(SoftReaders(card))
    rows = ours.plugin.keys()
    lines = rows[0]["lines"]
    assert isinstance(lines, list)
    path = tmp_path / "identities"
    path.write_text("\n".join(lines) + "\n")
    assert own.recipients([str(path)]) == (made.recipient,)
