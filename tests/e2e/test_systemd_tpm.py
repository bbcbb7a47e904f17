"""The host's key, encrypted by systemd with a TPM2: a unit gets its secret with this chip, and with no other."""

import hashlib
import subprocess
from collections.abc import Iterator

import pytest

from support import needs
from support.systemd import Machine, Outcome
from support.tpm import DEVICE, Chip
from support.vaults import made_key

PROGRAM = "/opt/tskeyvault/bin/vault"
VAULT = "/srv/sealed"
SERVICE = '\n[services.sealed.files.tskey]\nsecret = "key"\n'
CREDENTIALS = 243
RUNS = "the service runs"


@pytest.fixture(scope="module")
def chip(request: pytest.FixtureRequest) -> Iterator[Chip]:
    """Give a machine with a TPM, of systemd 252 and of 257: its own, since its systemd is told of the TPM for good."""
    tree = needs.swtpm()
    installed: Machine = request.getfixturevalue(request.param)
    with Machine(installed.tree) as machine:
        program = installed.path("/opt/tskeyvault")
        machine.run("rm", "-rf", "/opt/tskeyvault", "/etc/tskeyvault", "/var/lib/tskeyvault")
        subprocess.run(["cp", "-a", program, machine.path("/opt/tskeyvault")], check=True)
        machine.write("/etc/tskeyvault/config.toml", "commit = false\n")
        yield Chip(machine, tree)


def vault(chip: Chip, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    device = f"SYSTEMD_TPM2_DEVICE={DEVICE}"
    return chip.machine.run("env", device, "HOME=/root", PROGRAM, *arguments, check=False, input=given)


def started(chip: Chip, sealed: str) -> Outcome:
    """Start a service anew that reads its secret with the key *sealed*."""
    lines = (
        "[Service]",
        "Type=oneshot",
        "RemainAfterExit=yes",
        "DynamicUser=yes",
        "RuntimeDirectory=sealed",
        "StateDirectory=sealed",
        f"LoadCredentialEncrypted=tskeyvault-identity:{sealed}",
        f"ExecStartPre={PROGRAM} --vault {VAULT} materialize sealed",
        f"ExecStart=/bin/sh -ec 'echo {RUNS}; sha256sum <$RUNTIME_DIRECTORY/tskey'",
    )
    chip.machine.run("systemctl", "stop", "sealed.service", check=False)
    chip.machine.unit("sealed.service", "\n".join([*lines, ""]))
    return chip.machine.start("sealed.service")


def assert_not_run(chip: Chip, outcome: Outcome) -> None:
    assert (outcome.ok, outcome.start_pre_status) == (False, CREDENTIALS), outcome.journal
    assert f"status={CREDENTIALS}/CREDENTIALS" in outcome.journal
    assert RUNS not in outcome.journal
    assert not chip.machine.path("/run/sealed").exists()


@pytest.mark.parametrize(
    ("chip", "key"),
    [("machine", "tpm2"), ("trixie", "host+tpm2")],
    indirect=["chip"],
)
def test_a_unit_gets_its_secret_by_this_tpm_and_with_no_other(chip: Chip, key: str) -> None:
    sealed, value = f"/etc/credstore.encrypted/{key}", made_key().decode()
    chip.turn_on()
    made = vault(chip, "keygen", "--systemd-creds", "--with-key", key, "--output", sealed)
    assert made.returncode == 0, made.stderr
    assert f"wrote '{sealed}', which this host alone can decrypt (key: {key})" in made.stderr
    assert chip.machine.path(sealed).stat().st_mode & 0o7777 == 0o600
    for words in (("init", VAULT), ("--vault", VAULT, "recipients", "add", made.stdout.strip())):
        assert vault(chip, *words).returncode == 0
    assert vault(chip, "--vault", VAULT, "insert", "key", given=value).returncode == 0
    with chip.machine.path(f"{VAULT}/vault.toml").open("a") as file:
        file.write(SERVICE)

    outcome = started(chip, sealed)
    assert outcome.ok, outcome.journal
    assert hashlib.sha256(value.encode()).hexdigest() in outcome.journal
    with chip.another():
        assert_not_run(chip, started(chip, sealed))
    assert started(chip, sealed).ok
    chip.turn_off()
    assert_not_run(chip, started(chip, sealed))
    assert chip.machine.leaks(value.encode()) == []
    done = vault(chip, "keygen", "--systemd-creds", "--with-key", key, "--output", "/root/key")
    assert done.returncode == 6
    assert f"systemd-creds cannot encrypt with key '{key}': Failed to " in done.stderr
    assert not chip.machine.path("/root/key").exists()
