"""docs/yubikey.md does what it says: its commands are run, in order, by somebody with two new YubiKeys."""

import os
import sys
from pathlib import Path

from support import documents
from support.pcsc import Pcscd
from support.pivcard import PivCard
from support.terminal import Terminal
from support.vaults import PATH, made_key, run_vault

PAGE = "docs/yubikey.md"
SERIALS = (11111111, 22222222)
PIN, PUK = b"135791\n", b"24682468\n"


def at_the_terminal(desk: Pcscd, vault: Path, script: str) -> Terminal:
    """Start a script of the page, with the checkout's ``vault`` on PATH."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = [f"PYTHONPATH={PATH}", f"PATH={programs}"]
    return Terminal(script, before=[*desk.inside(vault), *variables], program=["sh", "-euc"])


def test_the_page_is_followed_from_the_set_up_to_the_loss(desk: Pcscd, tmp_path: Path) -> None:
    set_up, listing, showing, losing = documents.texts(PAGE, "sh")
    vault, key = tmp_path / "vault", made_key()
    assert run_vault("init", vault).code == 0
    assert run_vault("insert", "tailscale/container-key", input=key, cwd=vault).code == 0
    first = desk.plug_in(PivCard(SERIALS[0]))
    with at_the_terminal(desk, vault, set_up) as terminal:
        for serial in SERIALS:
            for what, code in (("PIN", PIN), ("PUK", PUK)):
                terminal.expect(f"YubiKey {serial} has the default {what}; its new one:")
                terminal.type(code)
                terminal.expect(f"the new {what} again:")
                terminal.type(code)
            if serial == SERIALS[0]:
                terminal.expect("plug in the backup key")
                terminal.expect("[y/N] ")
                second = desk.plug_in(PivCard(SERIALS[1]), reader=1)
                terminal.type(b"y\n")
        assert terminal.end() == 0, terminal.seen
    assert terminal.seen.count("keys for age: 1, free slots: 19") == 2

    identities = Path(os.environ["XDG_CONFIG_HOME"]) / "tskeyvault/identities"
    kept = [line for line in identities.read_text().splitlines() if line.startswith("AGE-PLUGIN-YUBIKEY-1")]
    with at_the_terminal(desk, vault, listing) as terminal:
        assert terminal.end() == 0
    assert all(terminal.seen.count(line) == 2 for line in kept)
    whole = identities.read_text()
    identities.write_text(whole[whole.index("#       Serial") :])  # nothing but the YubiKeys from here on

    first = desk.plug_in_anew(first, SERIALS[0])
    desk.plug_in_anew(second, SERIALS[1], reader=1)
    with at_the_terminal(desk, vault, showing) as terminal:
        terminal.expect(f"PIN of YubiKey {SERIALS[0]}")
        terminal.type(PIN)
        assert terminal.end() == 0, terminal.seen
    assert terminal.seen.endswith(key.decode())

    first.pull()
    with at_the_terminal(desk, vault, losing) as terminal:
        terminal.expect(f"PIN of YubiKey {SERIALS[1]}")
        terminal.type(PIN)
        assert terminal.end() == 0, terminal.seen
    assert "rotate 1 secret" in terminal.seen
    readers = (vault / "secrets/.age-recipients").read_text()
    assert str(SERIALS[0]) not in readers
    assert str(SERIALS[1]) in readers


def test_every_message_of_the_page_is_one() -> None:
    sources = Path(documents.CHECKOUT / "plugins/tskeyvault_yubikey/faults.py").read_text()
    table = (documents.CHECKOUT / PAGE).read_text().partition("## What went wrong")[2]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 12
    for row in rows:
        words = row.replace("YubiKey N", "{who}").replace("slot N", "slot {number} of {who}")
        words = words.replace("GnuPG's scdaemon holds", "holds")
        assert words in sources, row
