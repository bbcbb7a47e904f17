"""The agent: the PIN of a YubiKey is asked for once a login, and nobody else gets anything out of it."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pcsc import Pcscd, Plugged
from support.pivcard import PIN as PIN_REFERENCE
from support.pivcard import PivCard
from support.terminal import Terminal
from support.vaults import run_vault
from support.yubikeys import make

VALUE = b"a value that only a YubiKey opens"
SECONDS = 30
STRANGER = """
import os, socket, sys
os.setgid(65534), os.setuid(65534)
with socket.socket(socket.AF_UNIX) as peer:
    peer.connect(sys.argv[1])
    peer.settimeout(10)
    try:
        peer.sendall(b'\\x00\\x00\\x00\\x0e{"lock": true}')
        print(peer.recv(100))
    except ConnectionError:
        print(b"")
"""


@pytest.fixture
def where() -> Path:
    """Give the path of the agent's socket."""
    return Path(os.environ["XDG_RUNTIME_DIR"]) / "tskeyvault/yubikey"


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    """Give the place of a vault."""
    return tmp_path / "vault"


def plugged_in(
    desk: Pcscd, vault: Path, touch: str = "never", finger: Path | None = None, pin: str = "once"
) -> Plugged[PivCard]:
    """Plug in a YubiKey, the only key that opens the new *vault*."""
    card = PivCard()
    made = make(card, touch=touch, pin=pin)
    assert run_vault("init", vault).code == 0
    assert run_vault("recipients", "add", made.recipient, cwd=vault).code == 0
    for name in ("one", "two"):
        assert run_vault("insert", "--no-commit", name, input=VALUE, cwd=vault).code == 0
    (Path(os.environ["XDG_CONFIG_HOME"]) / "tskeyvault/identities").write_text(f"{made.identity}\n")
    return desk.plug_in(card, touch=finger)


@contextlib.contextmanager
def agent(desk: Pcscd, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the agent, once it listens."""
    with desk.start(sys.executable, "-m", "tskeyvault", "yubikey", "agent", *options) as process:
        try:
            assert process.stderr
            assert b"the agent listens at" in process.stderr.readline()
            yield process
        finally:
            process.terminate()
            process.wait(SECONDS)


def type_pin(desk: Pcscd, vault: Path, name: str, pin: bytes = b"123456\n") -> Terminal:
    """Show a secret at a terminal, where the PIN is asked for; return it when it has ended."""
    with Terminal("show", name, before=desk.inside(vault)) as terminal:
        terminal.expect("PIN of YubiKey 11111111")
        terminal.type(pin)
        terminal.end()
    return terminal


@pytest.mark.parametrize(("pin", "verifies"), [("once", 1), ("always", 3)])
def test_the_pin_is_asked_for_once(desk: Pcscd, vault: Path, pin: str, verifies: int) -> None:
    plugged = plugged_in(desk, vault, pin=pin)
    with agent(desk):
        assert type_pin(desk, vault, "one").seen.endswith(VALUE.decode())
        for name in ("two", "one"):
            done = desk.vault("show", name, cwd=vault)
            assert (done.code, done.out) == (0, VALUE), done.err
    assert plugged.verifies == verifies


def test_the_socket_is_for_its_user_alone(desk: Pcscd, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="tskeyvault-agent-") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        where = Path(folder, "tskeyvault/yubikey")
        with agent(desk):
            assert where.stat().st_mode & 0o777 == 0o600
            assert where.parent.stat().st_mode & 0o777 == 0o700
            refused = desk.run(sys.executable, "-c", STRANGER, str(where))
            assert "PermissionError" in refused.err
            where.chmod(0o777)  # as if nothing guarded it
            where.parent.chmod(0o777)
            done = desk.run(sys.executable, "-c", STRANGER, str(where))
            assert done.out == b"b''\n", done.err


def test_it_is_locked_by_a_command(desk: Pcscd, vault: Path) -> None:
    plugged = plugged_in(desk, vault)
    with agent(desk):
        type_pin(desk, vault, "one")
        done = desk.vault("yubikey", "lock")
        assert (done.code, done.err) == (0, "vault: the agent has forgotten all PINs\n")
        done = desk.vault("show", "two", cwd=vault)
        assert done.code == 4
        assert "YubiKey 11111111 needs its PIN, and none was given" in done.err
    assert plugged.verifies == 1


def test_it_is_locked_by_pulling_the_yubikey_out(desk: Pcscd, vault: Path) -> None:
    plugged = plugged_in(desk, vault, pin="always")
    with agent(desk):
        type_pin(desk, vault, "one")
        card = plugged.card(11111111)
        desk.pull(plugged)
        assert "is not connected" in desk.vault("show", "two", cwd=vault).err
        desk.plug_in(card)
        assert desk.vault("show", "two", cwd=vault).code == 4
        assert type_pin(desk, vault, "two").seen.endswith(VALUE.decode())


def test_a_wrong_pin_costs_one_try(desk: Pcscd, vault: Path) -> None:
    plugged = plugged_in(desk, vault)
    with agent(desk):
        terminal = type_pin(desk, vault, "one", b"654321\n")
        assert "the PIN of YubiKey 11111111 is wrong; 2 tries are left" in terminal.seen
        terminal = type_pin(desk, vault, "one", b"12345\n")
        assert "a PIN has 6 to 8 characters; no try was spent" in terminal.seen
        assert plugged.card(11111111).left[PIN_REFERENCE] == 2
        assert type_pin(desk, vault, "one").seen.endswith(VALUE.decode())


def test_a_touch_is_asked_for_where_the_command_runs(desk: Pcscd, vault: Path, tmp_path: Path) -> None:
    finger = tmp_path / "finger"
    plugged_in(desk, vault, "always", finger)
    with agent(desk), Terminal("show", "one", before=desk.inside(vault)) as terminal:
        terminal.expect("PIN of YubiKey 11111111")
        terminal.type(b"123456\n")
        terminal.expect("touch YubiKey 11111111 now")
        finger.touch()
        assert terminal.end() == 0
    assert terminal.seen.endswith(VALUE.decode())


def test_there_is_one_agent_and_it_leaves_nothing(desk: Pcscd, where: Path) -> None:
    with agent(desk) as process:
        second = desk.vault("yubikey", "agent")
        assert second.code == 2
        assert "an agent for YubiKeys runs already" in second.err
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    assert not where.exists()
    assert desk.vault("yubikey", "lock").code == 3


def test_one_that_was_killed_is_no_hindrance(desk: Pcscd, vault: Path, where: Path) -> None:
    plugged = plugged_in(desk, vault)
    with agent(desk) as process:
        process.kill()
        process.wait(SECONDS)
    assert where.exists()
    assert type_pin(desk, vault, "one").seen.endswith(VALUE.decode())
    desk.plug_in_anew(plugged, 11111111)
    with agent(desk):
        assert type_pin(desk, vault, "one").seen.endswith(VALUE.decode())


DEEP = (100_000).to_bytes(4, "big") + b"[" * 100_000
"""Of more brackets than Python follows."""


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xff\xff\xff", b"\0\0\0\2{}", b"\0\0\0\2[]", b"\0\0\0\5nope!", pytest.param(DEEP, id="deep")],
)
def test_what_makes_no_sense_does_not_end_it(desk: Pcscd, where: Path, data: bytes) -> None:
    code = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(where)!r}); s.sendall({data!r})"
    with agent(desk):
        desk.run(sys.executable, "-c", code)
        assert desk.vault("yubikey", "lock").code == 0
