"""The units that NixOS gets of docs/nixos.md, started by a real systemd, with a stand-in for podman."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from support import documents, needs
from support.host import RUNS, VAULT, Host, shell
from support.nixos import Evaluated, Nix, unit_file

AFTER = [text for text in documents.texts("docs/nixos.md", "nix") if text.startswith("# after\n")]
KEYS = ("tailscale/web-key", "db/password", "tailscale/ai-services-key", "tailscale/ollama-key")
SIDECAR, OTHER = "podman-tailscale-ai-services.service", "podman-tailscale-ollama.service"
BEHIND = ["podman-comfyui.service", "podman-invokeai.service"]
MISSING = """{
  universe.tailscale-sidecars.lost = { secret = "no/such/key"; };
  universe.serviceContainers.late = { image = "i"; useTailscaleSidecar = "lost"; };
  services.vault-materialize.units.partly.secrets = { a.secret = "one"; b.secret = "no/such/key"; };
  systemd.services.partly.serviceConfig.ExecStart = "/usr/local/bin/sidecar /run/partly/a";
}"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Evaluated]:
    """Give what NixOS gets of the configurations here."""
    needs.program("nix-instantiate")
    nix = Nix(tmp_path_factory.mktemp("nix"))
    return nix.evaluate({"web": AFTER[0], "several": AFTER[4], "sealed": AFTER[6], "missing": MISSING})


@pytest.fixture(scope="module")
def nixos(host: Host, found: Mapping[str, Evaluated]) -> Iterator[Host]:
    """Give the host with all units of the configurations, as a NixOS would have them, and the keys that they name."""
    stand_in = Path(__file__).parents[1] / "support/podman_stand_in.py"
    host.machine.write("/usr/local/bin/podman", "#!/usr/bin/python3\n" + stand_in.read_text(), 0o755)
    for name in KEYS:
        host.insert(name)
    services = {name: service for it in found.values() for name, service in it.services.items()}
    for name, service in services.items():
        _install(host, f"{name}.service", service)
    host.machine.run("systemd-tmpfiles", "--create", "-", input="\n".join(found["several"].tmpfiles) + "\n")
    host.machine.run("systemctl", "daemon-reload")
    yield host
    host.stop(*(f"{name}.service" for name in services))
    assert host.leftovers() == []


def _install(host: Host, unit: str, service: Mapping[str, Any]) -> None:
    text = unit_file(service)
    for line in text.splitlines():
        if " --manifest " in line:
            path = line.split(" --manifest ")[1].split()[0]
            host.machine.write(path, Path(path).read_text())
    host.machine.write(f"/etc/systemd/system/{unit}", text)
    host.machine.write(f"/etc/systemd/system/{unit}.d/ready.conf", "[Service]\nType=notify\n")
    for wanting in service["wantedBy"]:
        links = f"/etc/systemd/system/{wanting}.wants"
        host.machine.run("mkdir", "-p", links)
        host.machine.run("ln", "-sfn", f"../{unit}", f"{links}/{unit}")


def is_active(host: Host, unit: str) -> bool:
    return host.machine.run("systemctl", "is-active", "--quiet", unit, check=False).returncode == 0


def settled(host: Host, *units: str) -> None:
    """Wait until all jobs are done, and *units* are up, for ten seconds at most."""
    names = " ".join(units)
    shell(
        host.machine,
        f"for _ in $(seq 100); do systemctl is-active --quiet {names} && exit 0; sleep 0.1; done; exit 1",
    )


def test_systemd_finds_nothing_wrong_with_the_units(nixos: Host, found: Mapping[str, Evaluated]) -> None:
    names = sorted(name for it in found.values() for name in it.services)
    assert len(names) >= 12
    paths = [f"/etc/systemd/system/{name}.service" for name in names]
    done = nixos.machine.run("systemd-analyze", "verify", *paths, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_service_gets_its_keys_and_whoever_reads_them_too_restarts_with_it(nixos: Host) -> None:
    outcome = nixos.machine.start("web.service")
    assert outcome.ok, outcome.journal
    assert nixos.proof("web.service").sha256 == nixos.digest("tailscale/web-key")
    assert nixos.proof("web.service").mode == 0o400
    variables = nixos.machine.path("/run/web/web.env").read_text().splitlines()
    assert variables == [
        f"DB_PASSWORD={nixos.keys['db/password']}",
        f"TS_AUTHKEY={nixos.keys['tailscale/web-key']}",
    ]
    assert nixos.machine.start("web-worker.service").ok
    before = nixos.digest("tailscale/web-key")
    nixos.insert("tailscale/web-key")
    nixos.machine.run("systemctl", "restart", "web.service")
    settled(nixos, "web-worker.service")
    for unit in ("web.service", "web-worker.service"):
        assert nixos.proof(unit).sha256 == nixos.digest("tailscale/web-key") != before
    nixos.insert("tailscale/web-key")
    applied = nixos.vault("--vault", VAULT, "apply", "--restart")
    wrote = "".join(f"vault: wrote: /run/web/{name}\n" for name in ("tskey", "web.env"))
    assert applied == f"{wrote}vault: restarted: web.service\n"
    settled(nixos, "web-worker.service")
    assert nixos.proof("web-worker.service").sha256 == nixos.digest("tailscale/web-key")
    assert nixos.vault("--vault", VAULT, "apply", "--restart") == ""
    nixos.machine.run("systemctl", "stop", "web.service")
    assert not is_active(nixos, "web-worker.service")
    assert not nixos.machine.path("/run/web").exists()


def test_a_container_brings_its_sidecar_which_has_the_key_first(nixos: Host) -> None:
    outcome = nixos.machine.start(BEHIND[0])
    assert outcome.ok, outcome.journal
    settled(nixos, SIDECAR, *BEHIND)
    proof = nixos.proof(SIDECAR)
    assert proof.sha256 == nixos.digest("tailscale/ai-services-key")
    assert (proof.uid, proof.owner, proof.mode) == (0, 0, 0o400)
    assert nixos.machine.path("/run/tailscale-ai-services").stat().st_mode & 0o7777 == 0o700
    assert not is_active(nixos, OTHER)
    assert nixos.leaks() == []
    nixos.stop(SIDECAR)


def test_two_sidecars_have_a_key_each(nixos: Host) -> None:
    nixos.machine.run("systemctl", "start", SIDECAR, OTHER)
    assert nixos.proof(SIDECAR).sha256 == nixos.digest("tailscale/ai-services-key")
    assert nixos.proof(OTHER).sha256 == nixos.digest("tailscale/ollama-key")
    nixos.stop(SIDECAR, OTHER)


def test_what_is_behind_a_sidecar_stops_with_it_and_nothing_is_left(nixos: Host) -> None:
    nixos.machine.run("systemctl", "start", SIDECAR)
    settled(nixos, *BEHIND)
    nixos.machine.run("systemctl", "stop", SIDECAR)
    assert [unit for unit in BEHIND if is_active(nixos, unit)] == []
    assert not nixos.machine.path("/run/tailscale-ai-services").exists()


def test_a_sidecar_that_dies_comes_back_with_what_is_behind_it(nixos: Host) -> None:
    nixos.machine.run("systemctl", "start", SIDECAR)
    settled(nixos, *BEHIND)
    before = [_started(nixos, unit) for unit in (SIDECAR, *BEHIND)]
    nixos.machine.run("systemctl", "kill", "--signal=KILL", SIDECAR)
    shell(
        nixos.machine,
        f"for _ in $(seq 100); do test $(systemctl show --value -p NRestarts {SIDECAR}) = 1 && exit 0; sleep 0.1; done; exit 1",
    )
    settled(nixos, SIDECAR, *BEHIND)
    assert not set(before) & {_started(nixos, unit) for unit in (SIDECAR, *BEHIND)}
    assert nixos.proof(SIDECAR).sha256 == nixos.digest("tailscale/ai-services-key")
    nixos.stop(SIDECAR)


def _started(host: Host, unit: str) -> str:
    return host.machine.run("systemctl", "show", "--value", "--property=InvocationID", unit).stdout


def test_a_restart_brings_the_sidecar_a_new_key(nixos: Host) -> None:
    nixos.machine.run("systemctl", "start", OTHER)
    before = nixos.digest("tailscale/ollama-key")
    nixos.insert("tailscale/ollama-key")
    nixos.machine.run("systemctl", "restart", OTHER)
    assert nixos.proof(OTHER).sha256 == nixos.digest("tailscale/ollama-key") != before
    nixos.stop(OTHER)


def test_no_sidecar_and_nothing_behind_it_starts_without_its_key(nixos: Host) -> None:
    outcome = nixos.machine.start("podman-late.service")
    journal = nixos.machine.journal("podman-tailscale-lost.service")
    nixos.stop("podman-late.service", "podman-tailscale-lost.service")
    assert not outcome.ok
    assert "secret 'no/such/key'" in journal
    assert RUNS not in journal
    assert RUNS not in nixos.machine.journal("podman-late.service")


def test_a_service_gets_all_its_keys_or_does_not_start(nixos: Host) -> None:
    outcome = nixos.machine.start("partly.service")
    assert (outcome.ok, outcome.start_pre_status) == (False, 3)
    assert RUNS not in outcome.journal
    assert not nixos.machine.path("/run/partly").exists()


def test_the_identity_can_be_an_encrypted_credential(nixos: Host) -> None:
    encrypted = "/etc/credstore.encrypted/tskeyvault-identity"
    shell(
        nixos.machine,
        f"mkdir -p -m 0700 {encrypted.rpartition('/')[0]}\n"
        f"mv {encrypted} {encrypted}.away\n"
        f"systemd-creds encrypt --name=tskeyvault-identity /etc/tskeyvault/identities {encrypted} 2>/dev/null\n"
        "mv /etc/tskeyvault/identities /etc/tskeyvault/away",
    )
    try:
        outcome = nixos.machine.start("sealed.service")
    finally:
        nixos.machine.run("mv", "/etc/tskeyvault/away", "/etc/tskeyvault/identities")
        nixos.machine.run("mv", f"{encrypted}.away", encrypted)
    assert outcome.ok, outcome.journal
    assert nixos.proof("sealed.service").sha256 == nixos.digest("tailscale/web-key")
    nixos.stop("sealed.service")
