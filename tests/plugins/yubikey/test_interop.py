"""What other implementations of age write to a YubiKey's recipients opens here, by the YubiKey."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from plugins.age import oracles
from plugins.age.oracles import Oracle
from plugins.yubikey.conftest import Host
from support.pivcard import PivCard
from support.pivreaders import SoftReaders
from support.yubikeys import make
from tskeyvault_age.x25519 import X25519Identity

PLAINTEXT = b"plain text" * 10_000  # two chunks


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("kind", ["tag", "tagpq"])
@pytest.mark.parametrize("name", ["go", "rage", "typage"])
def test_we_open_theirs(host: Callable[..., Host], tmp_path: Path, name: str, kind: str, alone: bool) -> None:
    makers: dict[str, Callable[[], Oracle]] = {
        "go": lambda: oracles.go_age(tmp_path),
        "rage": oracles.Rage,
        "typage": oracles.typage,
    }
    card = PivCard()
    made = make(card, seed=bytes(range(64)) if kind == "tagpq" else b"")
    others: Sequence[str] = ()
    if not alone:
        soft, backup = X25519Identity.generate(), make(PivCard(22222222), seed=bytes(64))
        others = [backup.recipient] if kind == "tagpq" else [backup.tagged, str(soft.recipient)]
    recipient = made.recipient if kind == "tagpq" else made.tagged
    file = makers[name]().encrypt(PLAINTEXT, [*others, recipient])
    ours = host(SoftReaders(card)).has(made.identity)
    assert ours.decrypt(file) == PLAINTEXT
    assert (card.verifies, card.agreements) == (1, 1)
