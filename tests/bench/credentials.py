"""Prints how long the starts of many units take that get their secrets from the vault, and what the server needs.

    .venv/bin/python tests/bench/credentials.py [STARTS]

It boots a systemd of its own (as root), with the program as a user has it and secrets of age. STARTS units
(default: 200) with 4 credentials each are started at once, then 50 with 4 files each by materialize. The
memory is the proportional set size of all processes of the server, at most. Nothing is asserted.
"""

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

sys.path.append(str(Path(__file__).parents[1]))
from bench.installed import install
from support import documents
from support.systemd import Machine

SERVER = "tskeyvault-credentials"
FILES = 50
KEYS = ("one", "two", "three", "four")
BY_SOCKET = "\n".join(f"LoadCredentialEncrypted={key}:/run/vault/encrypted.sock" for key in KEYS)
UNIT = """
[Service]
Type=oneshot
RemainAfterExit=yes
{more}
ExecStart=/usr/bin/test -s {place}/one
"""


def main() -> None:
    """Boot, start, print."""
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as work, Machine() as machine:
        install(Path(work))
        _set_up(machine, Path(work) / "installed")
        machine.run("systemd-creds", "setup")
        machine.run("systemctl", "start", f"{SERVER}.socket")
        with Memory(machine) as memory:
            seconds = _start(machine, (f"by-socket@{number}.service" for number in range(starts)))
        print(f"{starts} starts with {len(KEYS)} credentials each: {seconds:.1f} s (to reach for 200: 10 s)")
        print(f"memory of the server: {memory.most / 1024:.0f} MiB (to reach: below 100 MiB)")
        machine.run("systemctl", "stop", "by-socket@*.service")  # whose mounts make every start slow
        seconds = _start(machine, (f"by-file-{number}.service" for number in range(FILES)))
        print(f"{FILES} starts with {len(KEYS)} files each by materialize: {seconds:.1f} s")


class Memory:
    """Measures the server while the body runs."""

    def __init__(self, machine: Machine):
        self.most = 0
        """KiB"""
        self._machine, self._over = machine, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        group = self._machine.path(f"/sys/fs/cgroup/system.slice/{SERVER}.service/cgroup.procs")
        while not self._over.wait(0.05):
            with contextlib.suppress(OSError):  # it does not run yet
                self.most = max(self.most, sum(map(self._size, group.read_text().split())))

    @staticmethod
    def _size(process: str) -> int:
        with contextlib.suppress(OSError):  # it has just ended
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            return int(text.partition("\nPss:")[2].split()[0])
        return 0


def _start(machine: Machine, units: Iterable[str]) -> float:
    begin = time.perf_counter()
    done = machine.run("systemctl", "start", *units, check=False)
    seconds = time.perf_counter() - begin
    if done.returncode:
        print(done.stderr, machine.journal(f"{SERVER}.service"), sep="\n")
    return seconds


def _set_up(machine: Machine, tree: Path) -> None:
    machine.path("/opt").mkdir(exist_ok=True)
    machine.run("rm", "-rf", "/opt/tskeyvault", "/etc/tskeyvault", "/var/lib/tskeyvault", "/srv/vault")
    subprocess.run(
        [
            "cp",
            "-R",
            "--preserve=mode,links,timestamps",
            "--no-dereference",
            tree,
            machine.path("/opt/tskeyvault"),
        ],
        check=True,
    )
    vault = ("env", "-C", "/srv", "/opt/tskeyvault/bin/vault")
    machine.run(*vault, "init", "--no-commit", "/srv/vault")
    for key in KEYS:
        machine.run(*vault, "--vault", "/srv/vault", "insert", "--no-commit", key, input="value of " + key)
    table = f'["by-socket@"]\ncredentials = {{ {", ".join(f"{key} = {key!r}" for key in KEYS)} }}\n'
    tables = [f"[services.{table[1:]}"]
    for number in range(FILES):
        tables += [f'[services.by-file-{number}.files.{key}]\nsecret = "{key}"\n' for key in KEYS]
    path = "/srv/vault/vault.toml"
    machine.write(path, machine.path(path).read_text() + "".join(tables))
    units = {
        name: text for name, text in documents.units("docs/systemd.md").items() if name.startswith(SERVER)
    }
    units["by-socket@.service"] = UNIT.format(more=BY_SOCKET, place="${CREDENTIALS_DIRECTORY}")
    for number in range(FILES):
        name = f"by-file-{number}"
        line = f"ExecStartPre=+/opt/tskeyvault/bin/vault --vault /srv/vault materialize {name}"
        more = f"DynamicUser=yes\nRuntimeDirectory={name}\nRuntimeDirectoryMode=0700\n{line}"
        units[f"{name}.service"] = UNIT.format(more=more, place=f"/run/{name}")
    for name, text in units.items():
        machine.write(f"/etc/systemd/system/{name}", text)
    machine.run("systemctl", "daemon-reload")


if __name__ == "__main__":
    main()
