"""A machine set up by the words of docs/systemd.md, and the team whose vault it reads."""

import hashlib
import json
import shlex
from pathlib import Path
from typing import NamedTuple

from support import documents
from support.systemd import Machine, Outcome
from support.vaults import made_key

DOCUMENT = "docs/systemd.md"
VAULT = "/srv/vault"
KEY = "tailscale/container-key"
RUNS = "the sidecar runs"
"""What the service says, first of all, when it is run."""

_TEAM = "/srv/team/infra"
_PROGRAM = "/opt/tskeyvault/bin/vault"
_SIDECAR = Path(__file__).with_name("sidecar.py")
_OTHERS = (
    "/srv/team",
    VAULT,
    "/etc/tskeyvault",
    "/etc/credstore.encrypted/tskeyvault-identity",
    "/var/lib/tskeyvault",
)
"""What another set-up of the same machine has left."""
_GIT = "[user]\n\tname = Team\n\temail = team@example.org\n[safe]\n\tdirectory = *\n"

# Services of the tests themselves, beside those of the documents.
_SERVICES = """
[services.three.files.first]
secret = "one"
[services.three.files.second]
secret = "two"
[services.three.files.third]
secret = "three"

[services.stranger.files.key]
secret = "one"
owner = "nosuchuser"

[services.left.files.key]
secret = "one"
[services.right]
reload = true
[services.right.files.key]
secret = "two"
[services.many]
units = ["many@.service"]
[services.many.files.key]
secret = "three"
[services.thief]
units = ["thief.service", "left.service"]
[services.thief.files.key]
secret = "three"
[services.lost]
units = ["nosuch.service", "nosuch@.service"]
[services.lost.files.key]
secret = "three"
"""


class Proof(NamedTuple):
    """What the service found; without a file, because it reads the environment, -1 stands for its facts."""

    sha256: str
    uid: int
    gid: int
    mode: int = -1
    owner: int = -1
    group: int = -1


class Host:
    """The machine, with the keys that it may read and the means to change them."""

    def __init__(self, machine: Machine, document: str = DOCUMENT, secrets: tuple[str, ...] = ()):
        """Set up the *machine*; the vault also has the services of *document*, which use these *secrets*."""
        self.machine = machine
        self._documents = dict.fromkeys(("README.md", DOCUMENT, document))
        self._secrets = (KEY, "one", "two", "three", *secrets)
        self.mark = made_key()[-20:].decode()
        """Ends every key, so that one search finds any of them."""
        self.keys: dict[str, str] = {}
        self.said: list[str] = []
        """What the commands of the document printed, in order."""
        machine.run("rm", "-rf", *_OTHERS)
        machine.write("/usr/local/bin/sidecar", "#!/usr/bin/python3\n" + _SIDECAR.read_text(), 0o755)
        machine.run("systemd-sysusers", "-", input="u sidecar - - -\n")
        self._make_team()
        self._follow_the_document()

    def insert(self, name: str) -> None:
        """Let the team put a new key into the secret *name*, and the host fetch it."""
        self._team_inserts(name)
        self._pull()

    def copy(self, name: str) -> str:
        """Return a copy of the host's vault, to be damaged."""
        target = f"/srv/{name}"
        self.machine.run("rm", "-rf", target)
        self.machine.run("cp", "-a", VAULT, target)
        return target

    def vault(self, *arguments: str) -> str:
        """Run ``vault`` as the host's root; return what it said."""
        done = self.machine.run(_PROGRAM, *arguments)
        return done.stdout + done.stderr

    def install(self, name: str, text: str) -> None:
        """Install a unit as it stands; that the service says when it is ready, as tailscaled does, is added."""
        self.machine.write(f"/etc/systemd/system/{name}.d/ready.conf", "[Service]\nType=notify\n")
        self.machine.unit(name, text)

    def start(self, name: str, text: str) -> Outcome:
        """Install and start a unit."""
        self.install(name, text)
        return self.machine.start(name)

    def stop(self, *names: str) -> None:
        """Stop units, and forget that they failed."""
        self.machine.run("systemctl", "stop", *names)
        self.machine.run("systemctl", "reset-failed", *names, check=False)

    def proof(self, name: str) -> Proof:
        """Return what the service in the unit *name* found."""
        shown = self.machine.run("systemctl", "show", "--value", "--property=StatusText", name).stdout
        return Proof(**json.loads(shown))

    def digest(self, name: str = KEY) -> str:
        """Return what a service proves with that has read the secret *name*."""
        return hashlib.sha256(self.keys[name].encode()).hexdigest()

    def leaks(self) -> list[str]:
        """Say where any key of this host can be seen."""
        return self.machine.leaks(self.mark.encode())

    def leftovers(self) -> list[str]:
        """Return what unfinished runs have left anywhere in memory or in the vaults."""
        found = self.machine.run("find", "/run", "/dev/shm", "/tmp", "/srv", "-name", ".vault-*")  # noqa: S108
        return found.stdout.splitlines()

    def _make_team(self) -> None:
        self.machine.write("/srv/team/gitconfig", _GIT)
        self._team("init", _TEAM)
        tables = [text for document in self._documents for text in documents.texts(document, "toml")]
        path = f"{_TEAM}/vault.toml"
        self.machine.write(path, "\n".join([self.machine.path(path).read_text(), *tables, _SERVICES]))
        for name in self._secrets:
            self._team_inserts(name)
        self.machine.run(*self._git("commit", "--quiet", "--all", "--message=Describe the services"))

    def _follow_the_document(self) -> None:
        for name, text in documents.units(DOCUMENT).items():
            if name.startswith("tskeyvault-"):
                self.machine.write(f"/etc/systemd/system/{name}", text)
        self.machine.run("systemctl", "daemon-reload")
        for block in documents.texts(DOCUMENT, "sh"):
            for line in block.splitlines():
                argv = ("env", f"VAULT_REPOSITORY={_TEAM}", "GIT_CONFIG_GLOBAL=/srv/team/gitconfig")
                done = self.machine.run(*argv, "sh", "-euc", line)
                self.said.append(done.stdout + done.stderr)
                if "keygen" in line:
                    # "after somebody has run", as the next line says.
                    name = "the host, encrypted" if "systemd-creds" in line else "the host"
                    self._team("recipients", "add", done.stdout.strip(), "--name", name)
        self._pull()

    def _team_inserts(self, name: str) -> None:
        self.keys[name] = made_key().decode() + self.mark
        self._team("insert", "--force", name, data=self.keys[name])

    def _team(self, command: str, *arguments: str, data: str = "") -> None:
        vault = () if command == "init" else ("--vault", _TEAM)
        places = (f"XDG_{kind}_HOME=/srv/team/{kind.lower()}" for kind in ("CONFIG", "STATE"))
        argv = (
            "env",
            *places,
            "GIT_CONFIG_GLOBAL=/srv/team/gitconfig",
            _PROGRAM,
            *vault,
            command,
            *arguments,
        )
        self.machine.run(*argv, input=data)

    def _pull(self) -> None:
        self.machine.run(*self._git("pull", "--quiet", "--ff-only", directory=VAULT))

    def _git(self, *arguments: str, directory: str = _TEAM) -> tuple[str, ...]:
        return ("env", "GIT_CONFIG_GLOBAL=/srv/team/gitconfig", "git", "-C", directory, *arguments)


def shell(machine: Machine, script: str) -> str:
    """Run a shell script as root inside; it stops at the first failure."""
    return machine.run("sh", "-euc", script).stdout


def quoted(*words: str) -> str:
    """Return *words* for a shell script."""
    return shlex.join(words)
