"""The real podman and docker in the machine of Debian 13, with images made of what is there: nothing is fetched."""

import re
from typing import NamedTuple

from support.systemd import Machine

TAILSCALE = "docker.io/tailscale/tailscale:stable"

# podman has not the right to raise limits here.
_CONFIGURATION = """\
[containers]
pids_limit = 0
default_ulimits = ["nofile=1024:1024"]
[engine]
runtime = "crun"
"""

_ENTRY = r"""#!/bin/sh
# Takes what Tailscale's containerboot takes, and says what it would log in with, but not the key.
trap 'exit 0' TERM
case $TS_AUTHKEY in file:*) key=$(cat "${TS_AUTHKEY#file:}") || exit 1 ;; *) echo "no file"; exit 1 ;; esac
[ -n "$key" ] || { echo "an empty key"; exit 1; }
login=yes
if [ "$TS_AUTH_ONCE" = true ] && [ -e "$TS_STATE_DIR/node" ]; then login=no; fi
[ -z "$TS_STATE_DIR" ] || echo node >"$TS_STATE_DIR/node"
echo "sidecar: login=$login host=$TS_HOSTNAME userspace=$TS_USERSPACE state=$TS_STATE_DIR" \
  "sha256=$(printf %s "$key" | sha256sum | cut -d" " -f1) arguments=$TS_EXTRA_ARGS."
while :; do sleep 1000 & wait $!; done
"""
_SERVER = """#!/bin/sh
trap 'exit 0' TERM
httpd -f -p "$1" -h /www &
wait $!
"""
_LOGIN = re.compile(
    r"sidecar: login=(\w+) host=(\S*) userspace=(\w+) state=(\S*) sha256=(\w+) arguments=(.*)\.$",
    re.MULTILINE,
)
_IMAGE = "/root/image"
_STORES = {"podman": ("/var/lib/containers",), "docker": ("/var/lib/docker", "/var/lib/containerd")}
_PROGRAMS = ("cat", "cut", "echo", "httpd", "sh", "sha256sum", "sleep")


def served(machine: Machine) -> str:
    """Return what the port that the sidecar publishes gives, as soon as the server behind it listens."""
    fetch = "until busybox wget -qO- http://127.0.0.1:11434/; do sleep 0.05; done"
    return machine.run("timeout", "30", "sh", "-c", fetch).stdout


class Login(NamedTuple):
    """What the stand-in for a Tailscale sidecar was given."""

    logs_in: bool
    hostname: str
    userspace: str
    state: str
    sha256: str
    """Of the key."""
    arguments: str


class Engine(NamedTuple):
    """A program that runs containers: podman and docker take the same commands."""

    machine: Machine
    program: str

    def prepare(self, servers: dict[str, int]) -> None:
        """Make the images: of Tailscale, and of a web server on a port for each name in *servers*."""
        machine = self.machine
        for store in _STORES[self.program]:
            # The machine's root is an overlay, which cannot carry another one.
            machine.run("mkdir", "-p", store)
            machine.run("mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", store)
        if self.program == "docker":
            machine.run("systemctl", "start", "docker.service")
        machine.run("mkdir", "-p", "/dev/net", f"{_IMAGE}/bin")
        # Handed on, and never opened.
        machine.run("sh", "-euc", "[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200")
        machine.write("/etc/containers/containers.conf.d/tests.conf", _CONFIGURATION)
        machine.run("cp", "/bin/busybox", f"{_IMAGE}/bin")
        for program in _PROGRAMS:
            machine.run("ln", "-sf", "busybox", f"{_IMAGE}/bin/{program}")
        machine.write(f"{_IMAGE}/bin/containerboot", _ENTRY, 0o755)
        machine.write(f"{_IMAGE}/bin/server", _SERVER, 0o755)
        machine.write(f"{_IMAGE}/www/index.html", "served\n")
        self._load(TAILSCALE, '["/bin/containerboot"]')
        for image, port in servers.items():
            self._load(image, f'["/bin/server", "{port}"]')

    def _load(self, image: str, command: str) -> None:
        script = f"tar -C {_IMAGE} -c . | {self.program} import -c 'CMD {command}' - {image}"
        self.machine.run("sh", "-euc", script)

    def login(self, sidecar: str) -> Login:
        """Return what the running *sidecar* was given at its last start."""
        logs_in, *rest = _LOGIN.findall(self._say("logs", sidecar))[-1]
        return Login(logs_in == "yes", *rest)

    def identity(self, container: str) -> str:
        """Return the id of a container: each one that is made has another."""
        return self._say("inspect", "--format={{.Id}}", container)

    def network(self, container: str) -> str:
        """Return the identity of the network that a running *container* is in."""
        shown = self._say("inspect", "--format={{.State.Pid}}", container).strip()
        return self.machine.run("readlink", f"/proc/{shown}/ns/net").stdout

    def containers(self) -> list[str]:
        """Return the names of all containers, running or not."""
        return sorted(self._say("ps", "--all", "--format={{.Names}}").split())

    def _say(self, *arguments: str) -> str:
        return self.machine.run(self.program, *arguments).stdout
