"""Services whose host has a YubiKey for its identity, under a real systemd: they start with their key, or say why not."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import documents, needs, pcsc
from support.systemd import Machine, Outcome
from support.vaults import made_key

VAULT = "/opt/tskeyvault/bin/vault"
HOME = "/srv/yubikey"
DELIVERED = "/run/yubikey-web"
UNIT = "yubikey-web.service"
CARD = "yubikey-card.service"
SECONDS = 40.0
SUPPORT = Path(__file__).parents[1] / "support"

PCSCD = f"""
[Service]
ExecStart=/usr/sbin/pcscd --foreground --config {HOME}/readers
"""
PLUGGED_IN = f"""
[Service]
Environment=PYTHONPATH=/opt/card
ExecStart=/opt/tskeyvault/bin/python -m support.vpcdcard {HOME}/card {pcsc.PORT} 11111111 5.7.1 {HOME}/finger
"""
SERVICE = f"""
[Service]
Type=oneshot
RemainAfterExit=yes
Environment=XDG_CONFIG_HOME={HOME}/config XDG_STATE_HOME={HOME}/state
RuntimeDirectory=yubikey-web
{{more}}
ExecStart={VAULT} --vault {HOME}/vault materialize web --directory {DELIVERED} --timeout 20
"""
WITH_PIN = "SetCredential=yubikey-pin:123456"
SERVER = "yubikey-served"
SOCKET = f"/run/{SERVER}/encrypted.sock"
ASKING = f"""
[Service]
Type=oneshot
RemainAfterExit=yes
LoadCredentialEncrypted=one:{SOCKET}
LoadCredentialEncrypted=two:{SOCKET}
ExecStartPre=/bin/true
ExecStartPre=/bin/true
ExecStart=/usr/bin/test -s ${{CREDENTIALS_DIRECTORY}}/one -a -s ${{CREDENTIALS_DIRECTORY}}/two
"""
ANSWER = """
while ! ask=$(ls /run/systemd/ask-password/ask.* 2>/dev/null); do sleep 0.05; done
sed -n 's/^Message=//p' $ask >%s/asked
printf 123456 | /usr/lib/systemd/systemd-reply-password 1 "$(sed -n 's/^Socket=//p' $ask)"
"""


@pytest.fixture(scope="module")
def ready(machine: Machine) -> Iterator[Machine]:
    """Give a machine whose vault a YubiKey opens, which is plugged in; touching it takes the file ``finger``."""
    needs.pcscd()
    modules = machine.path("/opt/card/support")
    modules.mkdir(parents=True, mode=0o755)
    for name in ("vpcdcard", "pivcard", "piv_wire", "piv_attest"):
        shutil.copy(SUPPORT / f"{name}.py", modules)
    machine.write(f"{HOME}/readers/vpcd", pcsc.READER.format(port=pcsc.PORT, driver=pcsc.DRIVER))
    machine.write(f"{HOME}/finger", "")
    machine.unit("yubikey-pcscd.service", PCSCD)
    machine.unit(CARD, PLUGGED_IN)
    machine.run("systemctl", "start", "yubikey-pcscd.service", CARD)
    _vault(machine, "init", f"{HOME}/vault")
    table = (
        '[services.web.files.first]\nsecret = "a/first"\n[services.web.files.second]\nsecret = "a/second"\n'
        '[services.yubikey-web]\ncredentials = { one = "a/first", two = "a/second" }\n'
    )
    path = f"{HOME}/vault/vault.toml"
    machine.write(path, machine.path(path).read_text() + table)
    for name in ("first", "second"):
        _vault(machine, "insert", f"a/{name}", given=made_key().decode())
    wait(lambda: is_there(machine))
    _vault(
        machine,
        "yubikey",
        "setup",
        "--keep-defaults",
        "--touch",
        "always",
        "--add-identity",
        "--add-recipient",
    )
    identities = machine.path(f"{HOME}/config/tskeyvault/identities")
    kept = [line for line in identities.read_text().splitlines() if line.startswith("AGE-PLUGIN-")]
    identities.write_text("\n".join(kept) + "\n")
    yield machine
    machine.run("systemctl", "stop", "yubikey-pcscd.service", CARD)


@pytest.fixture(autouse=True)
def anew(ready: Machine) -> Iterator[None]:
    """Begin with the YubiKey plugged in anew, and a finger on it."""
    ready.write(f"{HOME}/finger", "")
    ready.run("systemctl", "stop", CARD)
    wait(lambda: not is_there(ready))
    ready.run("systemctl", "start", CARD)
    wait(lambda: is_there(ready))
    yield
    ready.run("systemctl", "stop", UNIT, CARD, check=False)
    ready.run("systemctl", "reset-failed", check=False)


def is_there(machine: Machine) -> bool:
    """Tell whether the YubiKey is seen."""
    return "11111111" in machine.run(*_command("yubikey", "status"), check=False).stdout


def wait(happened: object) -> None:
    """Wait until *happened* returns true."""
    assert callable(happened)
    end = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def _command(*arguments: str) -> list[str]:
    places = [f"XDG_CONFIG_HOME={HOME}/config", f"XDG_STATE_HOME={HOME}/state"]
    return ["env", "--chdir=/", *places, VAULT, *_where(arguments), *arguments]


def _where(arguments: tuple[str, ...]) -> list[str]:
    return [] if arguments[0] == "init" else ["--vault", f"{HOME}/vault"]


def _vault(machine: Machine, *arguments: str, given: str = "") -> None:
    machine.run(*_command(*arguments), input=given)


def started(machine: Machine, more: str) -> Outcome:
    """Start the service with *more* in its unit."""
    machine.unit(UNIT, SERVICE.format(more=more))
    return machine.start(UNIT)


def delivered(machine: Machine) -> list[str]:
    """Return the names of the files that were delivered."""
    folder = machine.path(DELIVERED)
    return sorted(path.name for path in folder.iterdir() if path.name[0] != ".") if folder.exists() else []


def verifies(machine: Machine) -> int:
    """Return how often a PIN was sent."""
    lines = machine.path(f"{HOME}/card.trace").read_text().splitlines()
    return sum(line.startswith("20 ") and line.split()[3] != "0" for line in lines)


def touches(machine: Machine) -> int:
    """Return how often the key in it was used, which takes a touch each time."""
    lines = machine.path(f"{HOME}/card.trace").read_text().splitlines()
    return sum(line.startswith("87 ") for line in lines)


def test_the_pin_comes_from_a_credential(ready: Machine) -> None:
    before = verifies(ready)
    outcome = started(ready, WITH_PIN)
    assert outcome.ok, outcome.journal
    assert delivered(ready) == ["first", "second"]
    assert verifies(ready) == before + 1
    assert "123456" not in outcome.journal


def test_the_pin_is_asked_for_by_systemd(ready: Machine) -> None:
    ready.run("systemd-run", "--unit=yubikey-answer", "sh", "-c", ANSWER % HOME)
    before = verifies(ready)
    outcome = started(ready, "")
    assert outcome.ok, outcome.journal
    assert delivered(ready) == ["first", "second"]
    assert ready.path(f"{HOME}/asked").read_text().startswith("PIN of YubiKey 11111111 (")
    assert verifies(ready) == before + 1


def test_nobody_who_answers_is_not_waited_for_longer_than_allowed(ready: Machine) -> None:
    before = verifies(ready)
    ready.unit(UNIT, SERVICE.format(more="").replace("--timeout 20", "--timeout 2"))
    outcome = ready.start(UNIT)
    assert not outcome.ok
    assert outcome.exec_main_status == 7
    assert delivered(ready) == []
    assert verifies(ready) == before


def test_a_yubikey_that_is_not_there(ready: Machine) -> None:
    ready.run("systemctl", "stop", CARD)
    outcome = started(ready, WITH_PIN)
    assert not outcome.ok
    assert outcome.exec_main_status in {4, 6}
    assert "YubiKey 11111111" in outcome.journal
    assert delivered(ready) == []


def test_a_yubikey_that_is_pulled_out_half_way(ready: Machine) -> None:
    ready.path(f"{HOME}/finger").unlink()
    ready.unit(UNIT, SERVICE.format(more=WITH_PIN))
    cursor = ready.run("journalctl", "--quiet", "--lines=0", "--show-cursor").stdout.strip()
    since = "--after-cursor=" + cursor.removeprefix("-- cursor: ")
    ready.run("systemctl", "start", "--no-block", UNIT)
    wait(lambda: "touch YubiKey 11111111 now" in ready._journal(f"--unit={UNIT}", since))
    ready.run("systemctl", "stop", CARD)
    wait(lambda: ready.run("systemctl", "is-failed", UNIT, check=False).stdout.strip() == "failed")
    shown = ready.run("systemctl", "show", "--value", "--property=ExecMainStatus", UNIT).stdout.strip()
    assert shown == "6"
    assert "YubiKey 11111111 was pulled out" in ready._journal(f"--unit={UNIT}", since)
    assert delivered(ready) == []


def test_one_start_takes_one_pin_and_one_touch_a_secret_however_often_systemd_asks(ready: Machine) -> None:
    units = documents.units("docs/systemd.md")
    for kind in ("socket", "service"):
        text = units[f"tskeyvault-credentials.{kind}"].replace("/srv/vault", f"{HOME}/vault")
        text = text.replace("/run/vault/", f"/run/{SERVER}/")
        text = text.replace("StateDirectory=tskeyvault", f"StateDirectory={SERVER}\n{WITH_PIN}")
        text = text.replace(
            "UMask=", f"Environment=XDG_CONFIG_HOME={HOME}/config XDG_STATE_HOME=/var/lib/{SERVER}\nUMask="
        )
        ready.unit(f"{SERVER}.{kind}", text)
    ready.unit(UNIT, ASKING)
    ready.run("systemd-creds", "setup")
    ready.run("systemctl", "start", f"{SERVER}.socket")
    before = verifies(ready), touches(ready)
    outcome = ready.start(UNIT)
    ready.run("systemctl", "stop", f"{SERVER}.socket", f"{SERVER}.service")
    assert outcome.ok, outcome.journal + ready.journal(f"{SERVER}.service")
    assert (verifies(ready), touches(ready)) == (before[0] + 1, before[1] + 2)
