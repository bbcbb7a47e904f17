"""A machine with a credential server whose plugin writes down what it decrypts, and units that ask it."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from support import documents
from support.systemd import Machine, Outcome
from support.vaults import made_key

DOCUMENT = "docs/systemd.md"
HOME = "/srv/credentials"
SOCKET = "/run/spied/credentials.sock"
ENCRYPTED = "/run/spied/encrypted.sock"
SERVER = "spied.service"
LISTENER = "spied.socket"

_PROGRAM = "/opt/tskeyvault/bin/vault"
_STATE = "/var/lib/spied"
_LOG = f"{_STATE}/seen"
PLACES = f"Environment=XDG_CONFIG_HOME={HOME}/config XDG_STATE_HOME={_STATE}"
"""Where a unit finds the configuration and the memory of the server's host."""
_PACKAGE = Path(__file__).parents[1] / "third_party/tskeyvault_spy/tskeyvault_spy.py"
_ENTRY_POINTS = "[tskeyvault.plugins]\nspy = tskeyvault_spy:First\n"
_METADATA = "Metadata-Version: 2.1\nName: tskeyvault-spy\nVersion: 6.6.6\n"
_SECONDS = 40.0


class Served:
    """The machine, its vault, and the units of the test."""

    def __init__(self, machine: Machine):
        self.machine = machine
        self.values: dict[str, bytes] = {}
        self.mark = made_key()[-20:]
        """Ends every key, so that one search finds any of them."""
        self._install_spy()
        for folder in ("config/tskeyvault", "vault"):
            machine.path(f"{HOME}/{folder}").mkdir(parents=True)
        machine.write(
            f"{HOME}/config/tskeyvault/config.toml",
            f'vault = "{HOME}/vault"\ncommit = false\n[plugins.spy]\nlog = "{_LOG}"\n',
        )
        machine.path(_STATE).mkdir()
        machine.write("/usr/local/bin/asker", Path(__file__).with_name("asker.py").read_text())
        for name, text in documents.units(DOCUMENT).items():
            if name.startswith("tskeyvault-credentials."):
                self._add_server(name.replace("tskeyvault-credentials", "spied"), text)
        machine.run("systemd-creds", "setup")
        self.vault("init", f"{HOME}/vault")
        self.vault("recipients", "add", "whoever", "--plugin", "spy")

    def vault(self, *arguments: str, given: bytes = b"") -> None:
        """Run ``vault`` as somebody of the team."""
        places = (f"XDG_CONFIG_HOME={HOME}/config", f"XDG_STATE_HOME={HOME}/state")
        done = self.machine._run(("env", "-C", f"{HOME}/vault", *places, _PROGRAM, *arguments), given)
        assert done.returncode == 0, done.stderr

    def insert(self, name: str, value: bytes) -> None:
        """Put a value into the vault."""
        self.values[name] = value
        self.vault("insert", "--force", f"spy:{name}", given=value)

    def ciphertext(self, name: str) -> Path:
        """Return the file of a secret."""
        return self.machine.path(f"{HOME}/vault/secrets/{name}.spy")

    def describe(self, tables: str) -> None:
        """Add *tables* to vault.toml."""
        path = f"{HOME}/vault/vault.toml"
        self.machine.write(path, self.machine.path(path).read_text() + tables)

    def install(self, units: dict[str, str]) -> None:
        """Install units whose services tell the digests of their credentials, with what each has besides."""
        for name, more in units.items():
            self.machine.run("rm", "-rf", f"/etc/systemd/system/{name}.d")  # of another test on this machine
            text = f"[Service]\nType=oneshot\nRemainAfterExit=yes\n{more}\n"
            text = text.replace("SOCKET", SOCKET).replace("ENCRYPTED", ENCRYPTED)
            self.machine.write(f"/etc/systemd/system/{name}", text)
        self.machine.run("systemctl", "daemon-reload")

    def start(self, unit: str) -> Outcome:
        """Start a unit anew."""
        self.machine.run("systemctl", "stop", unit)
        return self.machine.start(unit)

    def told(self, unit: str, *ids: str) -> bool:
        """Tell whether a unit that runs has exactly the values of the secrets *ids* as its credentials of that name."""
        invocation = self.machine.run(
            "systemctl", "show", "--value", "-p", "InvocationID", unit
        ).stdout.strip()
        said = self.machine._journal(f"_SYSTEMD_INVOCATION_ID={invocation}", "--output=cat").split()
        return sorted(said) == sorted(f"{key}={hashlib.sha256(self.values[key]).hexdigest()}" for key in ids)

    def decrypted(self) -> list[str]:
        """Return the names of the secrets that were decrypted since this was asked last, sorted."""
        log = self.machine.path(_LOG)
        seen = [json.loads(line) for line in log.read_text().splitlines()]
        log.write_text("")
        return sorted(it[2]["secret"][0] for it in seen if it[1] == "decrypt")

    def hold(self) -> None:
        """Let whoever decrypts wait, until :meth:`let_go`."""
        self.machine.path(_LOG).unlink(missing_ok=True)
        os.mkfifo(self.machine.path(_LOG), 0o600)

    def let_go(self) -> None:
        """Let decryptions go on."""
        self.machine.path(_LOG).unlink()
        self.machine.path(_LOG).touch(0o600)

    def processes(self) -> list[str]:
        """Return the numbers of the processes of the server, as the machine counts them."""
        group = self.machine.path(f"/sys/fs/cgroup/system.slice/{SERVER}/cgroup.procs")
        return group.read_text().split() if group.exists() else []

    def said(self) -> str:
        """Return what the server has ever said."""
        return self.machine.journal(SERVER)

    def reset(self, units: Iterable[str] = ()) -> None:
        """End the server and *units*, and forget what failed."""
        self.machine.run("systemctl", "stop", SERVER, *units)
        self.machine.run("systemctl", "reset-failed")

    def _install_spy(self) -> None:
        (site,) = self.machine.path("/opt/tskeyvault/lib").glob("python3*/site-packages")
        shutil.copy(_PACKAGE, site)
        info = site / "tskeyvault_spy-6.6.6.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(_METADATA)
        (info / "entry_points.txt").write_text(_ENTRY_POINTS)

    def _add_server(self, name: str, text: str) -> None:
        for before, after in (
            ("/srv/vault", f"{HOME}/vault"),
            ("/run/vault/credentials.sock", SOCKET),
            ("/run/vault/encrypted.sock", ENCRYPTED),
            ("StateDirectory=tskeyvault", f"StateDirectory=spied\nEnvironment=XDG_CONFIG_HOME={HOME}/config"),
            ("UMask=", f"Environment=XDG_STATE_HOME={_STATE}\nUMask="),
        ):
            text = text.replace(before, after)
        self.machine.write(f"/etc/systemd/system/{name}", text)


def wait(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds, not for ever."""
    end = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)
