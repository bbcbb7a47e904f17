"""docs/podman.md under the real podman 5 and systemd 257: sidecars by name, and containers behind them."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator

import pytest

from support import documents
from support.containers import TAILSCALE, Engine, Login, served
from support.host import KEY, RUNS, Host, shell
from support.systemd import Machine

PAGE = "docs/podman.md"
AI, OLLAMA = "tailscale/ai-services-key", "tailscale/ollama-key"
IMAGES = {"registry.example.org/comfyui:latest": 8188, "docker.io/ollama/ollama:latest": 11434}
QUADLET = "/usr/libexec/podman/quadlet"
SIDECARS = ("ts-comfyui", "ts-ai", "ts-ollama")
VAULT = ("/opt/tskeyvault/bin/vault", "--vault", "/srv/vault")
TO_JSON = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"
FILE = re.compile(r"# (/etc/\S+)\n")


@pytest.fixture(scope="module")
def host(trixie: Machine) -> Host:
    """Give the machine after all that the page says has been done, in its order."""
    host = Host(trixie, PAGE, (AI, OLLAMA))
    podman(host).prepare(IMAGES)
    for block in documents.blocks(PAGE):
        if block.language == "ini" and (match := FILE.match(block.text)):
            trixie.write(match[1], block.text)
        elif block.language == "sh":
            trixie.run("systemctl", "daemon-reload")
            done = trixie.run("sh", "-euc", block.text)
            host.said.append(done.stdout + done.stderr)
    return host


@pytest.fixture(autouse=True)
def stopped(host: Host) -> Iterator[None]:
    """Stop everything in the end; nothing may have seen a key, or be left over."""
    yield
    host.stop("comfyui.service", *(f"{sidecar}.service" for sidecar in SIDECARS))
    assert podman(host).containers() == []
    assert left(host) == ""
    assert host.leaks() == []
    assert host.leftovers() == []


def podman(host: Host) -> Engine:
    return Engine(host.machine, "podman")


def left(host: Host) -> str:
    """Return what is left of sidecars under /run."""
    return host.machine.run("find", "/run", "-maxdepth", "1", "-name", "ts-*").stdout


def started(host: Host, unit: str) -> None:
    outcome = host.machine.start(unit)
    assert outcome.ok, outcome.journal + host.machine.journal()


def active(host: Host, *units: str) -> list[str]:
    return host.machine.run("systemctl", "is-active", *units, check=False).stdout.split()


def test_the_page_starts_a_container_and_its_sidecar(host: Host) -> None:
    started(host, "comfyui.service")
    assert podman(host).containers() == ["comfyui", "ts-comfyui"]
    assert podman(host).network("comfyui") == podman(host).network("ts-comfyui")
    assert podman(host).login("ts-comfyui") == Login(
        logs_in=True,
        hostname="comfyui-server",
        userspace="false",
        state="/var/lib/tailscale",
        sha256=host.digest(KEY),
        arguments="--advertise-tags=tag:ai-containers",
    )


def test_the_key_is_in_memory_and_nowhere_else(host: Host) -> None:
    started(host, "comfyui.service")
    info = host.machine.path("/run/ts-comfyui/tskey").stat()
    assert (info.st_mode, info.st_uid) == (0o100400, 0)
    assert host.machine.path("/run/ts-comfyui").stat().st_mode & 0o7777 == 0o700
    inspected = host.machine.run("podman", "inspect", "ts-comfyui").stdout
    found = host.machine.run("grep", "-rlF", host.mark, "/var/lib", "/etc", "/run", check=False).stdout
    assert host.mark not in inspected
    assert found.split() == ["/run/ts-comfyui/tskey"]


def test_a_port_is_published_by_the_sidecar_and_served_by_the_container_behind_it(host: Host) -> None:
    started(host, "ollama.service")
    assert served(host.machine) == "served\n"
    look = "nsenter -n -t $(podman inspect -f '{{.State.Pid}}' ts-ollama) ss -tln"
    assert ":11434" in host.machine.run("sh", "-euc", look).stdout


def test_podman_discards_what_a_container_behind_a_sidecar_publishes(host: Host) -> None:
    started(host, "ts-comfyui.service")
    argv = (
        "podman",
        "run",
        "--rm",
        "--network=container:ts-comfyui",
        "-p",
        "127.0.0.1:1:1",
        TAILSCALE,
        "echo",
    )
    done = host.machine.run(*argv)
    assert "Port mappings have been discarded" in done.stderr


def test_a_stop_stops_the_container_first_and_leaves_nothing(host: Host) -> None:
    started(host, "comfyui.service")
    host.machine.run("systemctl", "stop", "ts-comfyui.service")
    said = [line for line in host.machine.journal().splitlines() if "Stopped" in line]
    assert ["Stopped comfyui" in said[-2], "Stopped ts-comfyui" in said[-1]] == [True, True]
    assert active(host, "comfyui", "ts-comfyui") == ["inactive", "inactive"]
    assert podman(host).containers() == []
    assert left(host) == ""


def test_several_sidecars_with_keys_of_their_own_run_at_once(host: Host) -> None:
    host.machine.run("systemctl", "start", *SIDECARS)
    logins = {it: podman(host).login(it) for it in SIDECARS}
    assert {it: login.sha256 for it, login in logins.items()} == {
        "ts-comfyui": host.digest(KEY),
        "ts-ai": host.digest(AI),
        "ts-ollama": host.digest(OLLAMA),
    }
    assert {login.hostname for login in logins.values()} == {"comfyui-server", "ai-services", "ollama-server"}
    assert len({podman(host).network(it) for it in SIDECARS}) == len(SIDECARS)


def test_a_sidecar_logs_in_once_and_an_ephemeral_one_at_each_start(host: Host) -> None:
    host.machine.run("rm", "-rf", "/var/lib/tailscale-ts-ollama")
    logins: dict[str, list[bool]] = {}
    for _ in range(2):
        for sidecar in ("ts-ollama", "ts-ai"):
            host.machine.run("systemctl", "restart", sidecar)
            logins.setdefault(sidecar, []).append(podman(host).login(sidecar).logs_in)
    assert logins == {"ts-ollama": [True, False], "ts-ai": [True, True]}
    assert podman(host).login("ts-ai").state == ""
    assert host.machine.path("/var/lib/tailscale-ts-ollama").stat().st_mode & 0o7777 == 0o700
    assert not host.machine.path("/var/lib/tailscale-ts-ai").exists()


def test_a_restart_brings_the_new_key_and_the_container_too(host: Host) -> None:
    started(host, "comfyui.service")
    before = podman(host).identity("comfyui")
    host.insert(KEY)
    host.machine.run("systemctl", "restart", "ts-comfyui.service")
    assert podman(host).login("ts-comfyui").sha256 == host.digest(KEY)
    assert podman(host).identity("comfyui") != before
    assert podman(host).network("comfyui") == podman(host).network("ts-comfyui")


def test_a_container_sees_a_new_file_because_the_directory_is_bound(host: Host) -> None:
    started(host, "ts-comfyui.service")
    host.insert(KEY)
    host.vault(*VAULT[1:], "materialize", "ts-comfyui")
    seen = host.machine.run(
        "podman", "exec", "ts-comfyui", "sha256sum", "/run/secrets/tailscale/tskey"
    ).stdout
    assert seen.split()[0] == host.digest(KEY)


def test_a_file_or_a_link_that_is_bound_stays_the_old_one(host: Host) -> None:
    host.machine.run(
        "sh", "-euc", "mkdir -p /run/bound/1 /run/bound/2; cd /run/bound; ln -s 1 current; echo old >file"
    )
    try:
        binds = ("-v", "/run/bound/file:/file", "-v", "/run/bound/current:/current", "-v", "/run/bound:/all")
        host.machine.run("podman", "run", "-d", "--name=bound", *binds, TAILSCALE, "sh", "-c", "sleep 1000")
        host.machine.run("sh", "-euc", "cd /run/bound; echo new >x; cp x 2/x; mv x file; ln -sfn 2 current")
        look = "cat /file /all/file; echo /current/* /all/current/*"
        seen = host.machine.run("podman", "exec", "bound", "sh", "-c", look).stdout
        assert seen == "old\nnew\n/current/* /all/current/x\n"
    finally:
        host.machine.run("podman", "rm", "-f", "-t", "0", "bound")
        host.machine.run("rm", "-r", "/run/bound")


def test_a_secret_of_podman_lies_on_a_disk(host: Host) -> None:
    host.machine.run("podman", "secret", "create", "claim", "-", input="a secret of podman")
    try:
        found = host.machine.run(
            "grep", "-rlF", b64encode(b"a secret of podman").decode(), "/var/lib/containers"
        )
        assert "/secrets/" in found.stdout
    finally:
        host.machine.run("podman", "secret", "rm", "claim")


def test_when_a_sidecar_ends_by_itself_so_does_what_is_behind_it(host: Host) -> None:
    started(host, "comfyui.service")
    crash(host, "ts-comfyui")
    until(
        host,
        "systemctl is-failed --quiet ts-comfyui && systemctl is-active comfyui | grep -qx 'inactive\\|failed'",
    )
    assert podman(host).containers() == []
    assert left(host) == ""


def test_a_container_that_is_restarted_brings_its_sidecar_back(host: Host) -> None:
    host.machine.write(
        "/etc/containers/systemd/comfyui.container.d/restart.conf", "[Service]\nRestart=always\n"
    )
    host.machine.run("systemctl", "daemon-reload")
    try:
        started(host, "comfyui.service")
        before = podman(host).identity("ts-comfyui")
        crash(host, "ts-comfyui")
        until(host, "systemctl is-active --quiet comfyui && systemctl show -p NRestarts comfyui | grep -q =1")
        assert podman(host).identity("ts-comfyui") != before
        assert podman(host).network("comfyui") == podman(host).network("ts-comfyui")
    finally:
        host.machine.path("/etc/containers/systemd/comfyui.container.d/restart.conf").unlink()
        host.machine.run("systemctl", "daemon-reload")


def until(host: Host, condition: str) -> None:
    """Wait until a command inside succeeds."""
    host.machine.run("timeout", "30", "sh", "-c", f"until {condition}; do :; done")


def crash(host: Host, sidecar: str) -> None:
    """End the process of a sidecar, as a fault in it would."""
    pid = host.machine.run("podman", "inspect", "--format={{.State.Pid}}", sidecar).stdout.strip()
    host.machine.run("kill", "-9", pid)


FAULTS = {
    "a missing secret": "rm secrets/{key}.age",
    "a damaged secret": "truncate -s -1 secrets/{key}.age",
    "an empty secret": "age -R secrets/.age-recipients -o secrets/{key}.age </dev/null",
    "a service that is gone": "sed -i s/services.ts-comfyui/services.other/ vault.toml",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_neither_the_sidecar_nor_what_is_behind_it_starts_with(host: Host, fault: str) -> None:
    host.machine.run("sh", "-euc", f"cd /srv/vault; {FAULTS[fault].format(key=KEY)}")
    try:
        outcome = host.machine.start("comfyui.service")
        assert not outcome.ok
        assert active(host, "comfyui", "ts-comfyui") == ["inactive", "failed"]
        assert podman(host).containers() == []
        assert left(host) == ""
        assert "container create" not in host.machine.start("ts-comfyui.service").journal
    finally:
        host.machine.run("git", "-c", "safe.directory=*", "-C", "/srv/vault", "checkout", "--quiet", ".")


def test_a_missing_directory_starts_no_container(host: Host) -> None:
    done = host.machine.run("podman", "run", "--rm", "-v", "/run/ts-none:/x:ro", TAILSCALE, check=False)
    assert (done.returncode, "statfs /run/ts-none" in done.stderr) == (125, True)


def test_quadlet_and_systemd_find_nothing_wrong(host: Host) -> None:
    dry = host.machine.run(QUADLET, "-dryrun")
    assert "error" not in dry.stderr.lower()
    assert "Requires=ts-comfyui.service" in dry.stdout
    assert "After=ts-comfyui.service" in dry.stdout
    assert "ts-comfyui.service" in host.machine.run("systemctl", "list-dependencies", "comfyui").stdout
    for unit in (*SIDECARS, "comfyui", "ollama"):
        path = f"/run/systemd/generator/{unit}.service"
        done = host.machine.run("systemd-analyze", "verify", path, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_second_install_does_nothing_and_uninstall_takes_all(host: Host) -> None:
    unit = (*VAULT, "unit", "ts-ollama", "--for", "quadlet", "--yes")
    assert host.machine.run(*unit, "--install").stderr == "vault: nothing to do: it is installed so\n"
    paths = [
        "/etc/containers/systemd/ollama.container.d/50-tskeyvault.conf",
        "/etc/containers/systemd/ts-ollama.container",
    ]
    done = host.machine.run(*unit, "--uninstall")
    assert re.findall(r"removed: (\S+)", done.stderr) == paths
    assert not any(host.machine.path(path).exists() for path in paths)
    assert host.machine.path("/etc/containers/systemd/ollama.container").exists()
    host.machine.run(*unit, "--install")


QUADLETS = "/etc/containers/systemd"
OWN = "ollama.container.d/own.conf"


@pytest.mark.parametrize(("place", "line", "said"), [
    (OWN, "PublishPort=127.0.0.1:1:1", "publishes ports, which podman discards"),
    (OWN, "Network=host", "has a network of its own"),
    (f"apps/web/{OWN}", "Network=host", "has a network of its own"),
    ("container.d/all.conf", "Network=host", "has a network of its own"),
])  # fmt: skip
def test_a_container_that_cannot_be_behind_a_sidecar_is_refused(
    host: Host, place: str, line: str, said: str
) -> None:
    drop_in = f"{QUADLETS}/{place}"
    host.machine.write(drop_in, f"[Container]\n{line}\n")
    try:
        seen = host.machine.run(QUADLET, "-dryrun", check=False)
        done = host.machine.run(*VAULT, "unit", "ts-ollama", "--for", "quadlet", check=False)
    finally:
        host.machine.run("rm", drop_in)
        host.machine.run("find", QUADLETS, "-type", "d", "-empty", "-delete")
    assert f"Loading source drop-in file {drop_in}" in seen.stderr
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert line in done.stderr


def test_a_quadlet_in_a_folder_is_found(host: Host) -> None:
    unit = (*VAULT, "unit", "ts-ollama", "--for", "quadlet")
    shell(host.machine, f"mkdir -p {QUADLETS}/apps/web && mv {QUADLETS}/ollama.container {QUADLETS}/apps/web")
    try:
        done = host.machine.run(*unit)
        host.machine.write(f"{QUADLETS}/apps/ts-ollama.container", "[Container]\nImage=x\n")
        refused = host.machine.run(*unit, check=False)
    finally:
        shell(host.machine, f"mv {QUADLETS}/apps/web/ollama.container {QUADLETS} && rm -r {QUADLETS}/apps")
    assert done.stderr == ""
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"'{QUADLETS}/apps/ts-ollama.container' is a quadlet of that name" in refused.stderr


def test_a_sidecar_takes_no_name_of_another_unit_or_directory(host: Host) -> None:
    toml = "/srv/vault/vault.toml"
    before = host.machine.path(toml).read_text()
    host.machine.write(toml, before.replace("services.ts-ollama", "services.dbus"))
    try:
        done = host.machine.run(*VAULT, "unit", "dbus", "--for", "quadlet", "--install", "--yes", check=False)
    finally:
        host.machine.write(toml, before)
    assert done.returncode == 2
    assert "there is a unit 'dbus.service' that no quadlet made" in done.stderr
    assert not host.machine.path("/etc/containers/systemd/dbus.container").exists()


def test_podman_compose_understands_the_fragment_and_starts_it(host: Host) -> None:
    text = host.machine.path("/srv/tailscale.yaml").read_text()
    shown = host.machine.run("podman-compose", "-f", "/srv/tailscale.yaml", "config").stdout
    assert host.machine.run("python3", "-c", TO_JSON, input=shown).stdout
    services = json.loads(host.machine.run("python3", "-c", TO_JSON, input=text).stdout)["services"]
    assert set(services) == {"ts-ollama", "ollama"}
    assert services["ollama"] == {
        "network_mode": "service:ts-ollama",
        "depends_on": {"ts-ollama": {"condition": "service_started", "restart": True}},
    }
    assert services["ts-ollama"]["ports"] == ["127.0.0.1:11434:11434"]
    host.machine.write("/srv/compose.yaml", "services: {ollama: {image: 'docker.io/ollama/ollama:latest'}}\n")
    compose = ("podman-compose", "-f", "/srv/compose.yaml", "-f", "/srv/tailscale.yaml")
    before, after = (
        "\n".join(re.findall(r"^#   (.*)", part, re.MULTILINE)) for part in text.split("# After each stop")
    )
    host.machine.run("sh", "-euc", before)
    try:
        host.machine.run(*compose, "up", "--detach")
        assert podman(host).login("ts-ollama").sha256 == host.digest(OLLAMA)
        assert served(host.machine) == "served\n"
        host.insert(OLLAMA)
        host.machine.run("sh", "-euc", before)
        host.machine.run(*compose, "up", "--detach", "--force-recreate")
        assert podman(host).login("ts-ollama").sha256 == host.digest(OLLAMA)
        assert podman(host).network("srv_ollama_1") == podman(host).network("ts-ollama")
        host.machine.run(*compose, "down")
        host.machine.run("sh", "-euc", after)
        assert list(host.machine.path("/run/ts-ollama").iterdir()) == []
        host.machine.run("rmdir", "/run/ts-ollama")
        # It makes the missing directory, whatever create_host_path says.
        host.machine.run(*compose, "up", "--detach", "ts-ollama")
        assert host.machine.run("podman", "wait", "ts-ollama").stdout == "1\n"
        assert "/run/secrets/tailscale/tskey" in host.machine.run("podman", "logs", "ts-ollama").stderr
    finally:
        host.machine.run(*compose, "down")
        host.machine.run("rm", "-rf", "/run/ts-ollama")


def test_the_unit_of_ones_own_gets_its_key(host: Host) -> None:
    outcome = host.start(
        "sidecar-plain.service", host.machine.path("/etc/systemd/system/sidecar-plain.service").read_text()
    )
    assert outcome.ok, outcome.journal
    assert RUNS in outcome.journal
    assert host.proof("sidecar-plain.service").sha256 == host.digest()
    host.stop("sidecar-plain.service")
    assert not host.machine.path("/run/sidecar-plain").exists()
