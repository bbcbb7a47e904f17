"""What docs/podman.md says of compose, under the real docker and its compose."""

import json
from collections.abc import Iterator
from subprocess import CompletedProcess

import pytest

from support import documents
from support.containers import Engine, Login, served
from support.host import Host
from support.systemd import Machine

PAGE = "docs/podman.md"
AI, OLLAMA = "tailscale/ai-services-key", "tailscale/ollama-key"
UNIT = "ollama-project.service"
PROJECT = ("-f", "/srv/compose.yaml", "-f", "/srv/tailscale.yaml")
BEHIND = "srv-ollama-1"
STATE = "/var/lib/tailscale-ts-ollama"
MATERIALIZE = ("--vault", "/srv/vault", "materialize", "ts-ollama")
CLEAN_UP = "nft flush ruleset; ip link delete docker0; umount /var/lib/docker /var/lib/containerd"


@pytest.fixture(scope="module")
def host(trixie: Machine) -> Iterator[Host]:
    """Give the machine with docker, and the unit and the files of the page; none of them is there afterwards."""
    host = Host(trixie, PAGE, (AI, OLLAMA))
    docker = Engine(trixie, "docker")
    trixie.run("rm", "-rf", STATE)  # of podman's sidecar of that name, which has logged in
    (command,) = (text for text in documents.texts(PAGE, "sh") if "--for compose" in text)
    trixie.run("sh", "-euc", command)
    trixie.write("/srv/compose.yaml", "services: {ollama: {image: 'docker.io/ollama/ollama:latest'}}\n")
    docker.prepare({"docker.io/ollama/ollama:latest": 11434})
    trixie.unit(UNIT, documents.units(PAGE)[UNIT])
    yield host
    host.stop(UNIT, "docker.socket", "docker.service", "containerd.service")
    trixie.run("sh", "-euc", CLEAN_UP)
    trixie.run("rm", "-r", f"/etc/systemd/system/{UNIT}", "/srv/compose.yaml", "/srv/tailscale.yaml", STATE)


@pytest.fixture
def docker(host: Host) -> Iterator[Engine]:
    """Give docker; in the end all is stopped, nothing has seen a key, and nothing is left over."""
    docker = Engine(host.machine, "docker")
    yield docker
    host.stop(UNIT)
    assert docker.containers() == []
    assert not host.machine.path("/run/ts-ollama").exists()
    assert host.leaks() == []
    assert host.leftovers() == []


@pytest.fixture
def started(host: Host, docker: Engine) -> Engine:
    """Give docker with the project running."""
    outcome = host.machine.start(UNIT)
    assert outcome.ok, outcome.journal
    return docker


def compose(docker: Engine, *arguments: str, check: bool = True) -> CompletedProcess[str]:
    return docker.machine.run(docker.program, "compose", *PROJECT, *arguments, check=check)


def fresh(host: Host, docker: Engine) -> bool:
    """Tell whether the sidecar runs with the newest key, and serves what is behind it."""
    found = served(host.machine)
    return (docker.login("ts-ollama").sha256, docker.network(BEHIND), found) == (
        host.digest(OLLAMA), docker.network("ts-ollama"), "served\n",
    )  # fmt: skip


def test_the_unit_starts_the_sidecar_and_then_the_container_behind_it(host: Host, started: Engine) -> None:
    said = [
        line.split("Container ")[1].strip()
        for line in host.machine.journal(UNIT).splitlines()
        if "Started" in line and "Container" in line
    ]
    assert said[-2:] == ["ts-ollama  Started", f"{BEHIND}  Started"]
    assert started.login("ts-ollama") == Login(
        logs_in=True,
        hostname="ollama-server",
        userspace="false",
        state="/var/lib/tailscale",
        sha256=host.digest(OLLAMA),
        arguments="",
    )
    assert fresh(host, started)


def test_the_key_is_in_memory_and_nowhere_else(host: Host, started: Engine) -> None:
    seen = [host.machine.run("docker", "inspect", it).stdout for it in started.containers()]
    seen += [host.machine.run("docker", "logs", it).stdout for it in started.containers()]
    seen.append(compose(started, "config").stdout)
    found = host.machine.run("grep", "-rlF", host.mark, "/var/lib", "/etc", "/run", check=False).stdout
    assert host.mark not in "".join(seen)
    assert found.split() == ["/run/ts-ollama/tskey"]


def test_a_restart_of_the_unit_takes_the_new_key(host: Host, started: Engine) -> None:
    before = started.identity(BEHIND)
    host.insert(OLLAMA)
    host.machine.run("systemctl", "restart", UNIT)
    assert fresh(host, started)
    assert started.identity(BEHIND) != before


@pytest.mark.parametrize(
    "how", [("restart",), ("restart", "ts-ollama"), ("up", "--detach", "--force-recreate")]
)
def test_by_hand_the_container_follows_the_sidecar_to_the_new_key(
    host: Host, started: Engine, how: tuple[str, ...]
) -> None:
    host.insert(OLLAMA)
    host.vault(*MATERIALIZE)
    digest = host.machine.run(
        "docker", "exec", "ts-ollama", "sha256sum", "/run/secrets/tailscale/tskey"
    ).stdout
    assert digest.split()[0] == host.digest(OLLAMA)
    compose(started, *how)
    assert fresh(host, started)


def test_a_restart_of_the_sidecar_alone_leaves_the_container_without_a_network(
    host: Host, started: Engine
) -> None:
    host.machine.run("docker", "restart", "ts-ollama")
    assert started.network(BEHIND) != started.network("ts-ollama")


FAULTS = {
    "a missing secret": "rm secrets/{key}.age",
    "a damaged secret": "truncate -s -1 secrets/{key}.age",
    "an empty secret": "age -R secrets/.age-recipients -o secrets/{key}.age </dev/null",
    "a service that is gone": "sed -i s/services.ts-ollama/services.other/ vault.toml",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_started_with(host: Host, docker: Engine, fault: str) -> None:
    host.machine.run("sh", "-euc", f"cd /srv/vault; {FAULTS[fault].format(key=OLLAMA)}")
    try:
        assert not host.machine.start(UNIT).ok
        assert docker.containers() == []
        assert not host.machine.path("/run/ts-ollama").exists()
    finally:
        host.machine.run("git", "-c", "safe.directory=*", "-C", "/srv/vault", "checkout", "--quiet", ".")


def test_without_its_directory_docker_makes_none_and_starts_nothing(host: Host, docker: Engine) -> None:
    said = compose(docker, "up", "--detach", check=False).stderr
    compose(docker, "down")
    assert "bind source path does not exist: /run/ts-ollama" in said
    assert not host.machine.path("/run/ts-ollama").exists()


def test_a_container_that_docker_restarts_at_a_boot_has_no_key_and_is_not_tried_again(
    host: Host, docker: Engine
) -> None:
    host.machine.write("/srv/always.yaml", "services: {ts-ollama: {restart: always}}\n")
    host.machine.run("mkdir", "-p", "-m", "0700", "/run/ts-ollama", "/var/lib/tailscale-ts-ollama")
    try:
        host.vault(*MATERIALIZE)
        compose(docker, "-f", "/srv/always.yaml", "up", "--detach", "ts-ollama")
        host.machine.run("systemctl", "stop", "docker.service", "docker.socket")
        host.machine.run("rm", "-r", "/run/ts-ollama")  # as a boot leaves it
        host.machine.run("systemctl", "start", "docker.service")
        state = "{{.State.Running}} {{.RestartCount}} {{.State.Error}}"
        shown = host.machine.run("docker", "inspect", f"--format={state}", "ts-ollama").stdout
        assert shown.startswith("false 0 ")
        assert "/run/ts-ollama" in shown
    finally:
        compose(docker, "down")
        host.machine.run("rm", "-rf", "/srv/always.yaml", "/run/ts-ollama")


def test_compose_understands_all_that_is_printed(docker: Engine) -> None:
    services = json.loads(compose(docker, "config", "--format", "json").stdout)["services"]
    sidecar, behind = services["ts-ollama"], services["ollama"]
    assert [it["bind"].get("create_host_path", False) for it in sidecar["volumes"]] == [False, False]
    assert (sidecar["cap_add"], sidecar["ports"][0]["host_ip"]) == (["NET_ADMIN", "NET_RAW"], "127.0.0.1")
    assert behind["network_mode"] == "service:ts-ollama"
    assert behind["depends_on"]["ts-ollama"]["restart"] is True
