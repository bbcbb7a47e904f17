"""The units of docs/systemd.md about credentials: the server, what it serves, and the key that systemd encrypts."""

import json
import re
from collections.abc import Iterator

import pytest

from support import documents
from support.host import DOCUMENT, KEY, VAULT, Host

SERVER = "tskeyvault-credentials"
SERVED = "sidecar-credential.service"
SEALED = "sidecar-encrypted.service"
PATH = "/etc/credstore.encrypted/tskeyvault-identity"
KEYGEN = ("/opt/tskeyvault/bin/vault", "keygen", "--systemd-creds")
HOST_KEY = "/var/lib/systemd/credential.secret"
CREDENTIALS = 243


@pytest.fixture
def unit(host: Host, request: pytest.FixtureRequest) -> Iterator[str]:
    """Start the documented unit, and stop it in the end; nothing may have seen the key."""
    name = str(request.param)
    outcome = host.start(name, documents.units(DOCUMENT)[name])
    assert outcome.ok, outcome.journal + host.machine.journal(f"{SERVER}.service")
    yield name
    assert host.leaks() == []
    host.stop(name)


@pytest.mark.parametrize("unit", [SERVED, SEALED], indirect=True)
def test_the_service_reads_exactly_its_key_and_a_restart_brings_the_new_one(host: Host, unit: str) -> None:
    proof = host.proof(unit)
    assert proof.sha256 == host.digest()
    assert 61184 <= proof.uid <= 65519
    host.insert(KEY)
    host.machine.run("systemctl", "restart", unit)
    assert host.proof(unit).sha256 == host.digest() != proof.sha256


def test_a_unit_that_is_there_gets_its_credential_by_a_drop_in(host: Host) -> None:
    argv = ("/opt/tskeyvault/bin/vault", "--vault", VAULT, "unit", "sidecar-credential", "--for", "systemd")
    text = documents.units(DOCUMENT)[SERVED].replace("LoadCredential=tskey:/run/vault/credentials.sock\n", "")
    host.install(SERVED, text)
    host.machine.run(*argv, "--install", "--yes")
    outcome = host.machine.start(SERVED)
    assert outcome.ok, outcome.journal
    assert host.proof(SERVED).sha256 == host.digest()
    host.stop(SERVED)
    host.machine.run(*argv, "--uninstall", "--yes")


@pytest.mark.parametrize("name", [f"{SERVER}.socket", f"{SERVER}.service", SERVED, SEALED])
def test_systemd_finds_nothing_wrong_with_a_documented_unit(host: Host, name: str) -> None:
    host.machine.unit(name, documents.units(DOCUMENT)[name])
    done = host.machine.run("systemd-analyze", "verify", f"/etc/systemd/system/{name}", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", [SERVED], indirect=True)
def test_the_server_is_exposed_to_little_and_its_socket_is_roots_alone(host: Host, unit: str) -> None:
    assert unit
    said = host.machine.run(
        "systemd-analyze", "--no-pager", "security", f"{SERVER}.service", check=False
    ).stdout
    exposure = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", said)
    assert exposure, said
    assert float(exposure[1]) < 3.0
    shown = host.machine.run("stat", "--format=%a %U", "/run/vault", "/run/vault/credentials.sock").stdout
    assert shown.splitlines() == ["700 root", "600 root"]


def test_the_server_itself_can_have_its_key_encrypted(host: Host) -> None:
    place = f"/run/systemd/system/{SERVER}.service.d/key.conf"
    host.machine.write(place, f"[Service]\nLoadCredentialEncrypted=tskeyvault-identity:{PATH}\n")
    host.machine.run("mv", "/etc/tskeyvault/identities", "/etc/tskeyvault/away")
    host.machine.run("systemctl", "stop", f"{SERVER}.service")
    try:
        outcome = host.start(SERVED, documents.units(DOCUMENT)[SERVED])
        assert outcome.ok, outcome.journal + host.machine.journal(f"{SERVER}.service")
        assert host.proof(SERVED).sha256 == host.digest()
    finally:
        host.machine.run("mv", "/etc/tskeyvault/away", "/etc/tskeyvault/identities")
        host.machine.run("rm", place)
        host.machine.run("systemctl", "daemon-reload")
        host.stop(SERVED, f"{SERVER}.service")


BREAKS = {
    "does not listen": f"systemctl disable --now {SERVER}.socket",
    "no socket unit listens": (
        f"systemctl stop {SERVER}.socket {SERVER}.service; cd /etc/systemd/system; "
        f"sed -i /encrypted.sock/d {SERVER}.socket; systemctl daemon-reload; systemctl start {SERVER}.socket"
    ),
    "mode 0666": "chmod 0666 /run/vault/encrypted.sock",
}


def test_the_doctor_finds_a_server_that_cannot_be_asked_and_its_repair_repairs_it(host: Host) -> None:
    host.install(SERVED, documents.units(DOCUMENT)[SERVED])
    assert doctor(host) == []
    try:
        for message, broken in BREAKS.items():
            host.machine.run("sh", "-euc", broken)
            (finding,) = doctor(host)
            assert message in finding["message"]
            host.machine.run("sh", "-euc", finding["repair"])
            assert doctor(host) == []
        assert host.machine.start(SERVED).ok
    finally:
        host.stop(SERVED)
        host.machine.run(
            "rm", "-rf", f"/etc/systemd/system/{SERVER}.socket.d", f"/etc/systemd/system/{SERVED}"
        )
        host.machine.unit(f"{SERVER}.socket", documents.units(DOCUMENT)[f"{SERVER}.socket"])


def doctor(host: Host) -> list[dict[str, str]]:
    checks = ("credential-server", "credential-units")
    program = ("/opt/tskeyvault/bin/vault", "--vault", VAULT, "doctor")
    said = json.loads(host.machine.run(*program, *checks, "--json", check=False).stdout)
    assert said["not_checked"] == {}
    return list(said["findings"])


def test_the_hosts_key_lies_there_encrypted_and_is_never_written_over(host: Host) -> None:
    path = host.machine.path(PATH)
    before = path.read_bytes()
    assert path.stat().st_mode & 0o7777 == 0o600
    assert b"AGE-SECRET" not in before
    done = host.machine.run(*KEYGEN, check=False)
    assert done.returncode == 2
    assert f"'{PATH}' exists and is kept" in done.stderr
    assert path.read_bytes() == before
    (said,) = [said for said in host.said if "LoadCredentialEncrypted=" in said]
    assert "(key: host)" in said
    assert f"LoadCredentialEncrypted=tskeyvault-identity:{PATH}" in said


def test_a_key_that_would_encrypt_nothing_is_refused(host: Host) -> None:
    done = host.machine.run(*KEYGEN, "--with-key", "null", "--output", "/root/null", check=False)
    assert done.returncode == 2
    assert not host.machine.path("/root/null").exists()


def test_without_a_tpm2_that_key_makes_nothing(host: Host) -> None:
    done = host.machine.run(*KEYGEN, "--with-key", "tpm2", "--output", "/root/tpm", check=False)
    assert done.returncode == 6
    assert "systemd-creds cannot encrypt with key 'tpm2'" in done.stderr
    assert not host.machine.path("/root/tpm").exists()


def test_an_encrypted_key_under_another_name_fails_the_unit(host: Host) -> None:
    host.machine.run("cp", PATH, "/etc/credstore.encrypted/another")
    text = documents.units(DOCUMENT)[SEALED].replace(
        f"tskeyvault-identity:{PATH}",
        "another:/etc/credstore.encrypted/another\nEnvironment=TSKEYVAULT_IDENTITY=%d/another",
    )
    fails(host, text.replace("=sidecar-encrypted", "=renamed"), "renamed")


def test_an_encrypted_key_on_another_host_fails_the_unit(host: Host) -> None:
    host.machine.run("mv", HOST_KEY, f"{HOST_KEY}.away")
    try:
        fails(
            host, documents.units(DOCUMENT)[SEALED].replace("=sidecar-encrypted", "=elsewhere"), "elsewhere"
        )
    finally:
        host.machine.run("mv", f"{HOST_KEY}.away", HOST_KEY)


def fails(host: Host, text: str, name: str) -> None:
    outcome = host.start(f"{name}.service", text)
    assert not outcome.ok
    assert f"status={CREDENTIALS}/CREDENTIALS" in outcome.journal
    assert list(host.machine.path("/run").glob(f"{name}/*")) == []
    host.stop(f"{name}.service")
