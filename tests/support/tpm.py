"""A machine with a TPM2, which is software, behind systemd's own libraries for one."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.systemd import Machine

DEVICE = "swtpm:host=127.0.0.1,port=2321"
"""How systemd finds it: what a machine of hardware has as /dev/tpmrm0, which only the kernel could make."""

_CHIP = "swtpm.service"
_CHIPS = "/var/lib/swtpm"
_SHUTDOWN = "80010000000c000001450000"
"""TPM2_Shutdown(CLEAR). Without it, a start counts as an attack, and the third is the last that it answers (TPM 2.0, part 1, 19.8)."""
_UNIT = f"""[Service]
Type=forking
ExecStartPre=/bin/mkdir -p {_CHIPS}/chip
ExecStart=/usr/bin/swtpm socket --tpm2 --tpmstate dir={_CHIPS}/chip --server type=tcp,port=2321 \
--ctrl type=tcp,port=2322 --flags not-need-init,startup-clear --daemon
ExecStop=/usr/bin/python3 -c 'import socket; it = socket.create_connection(("127.0.0.1", 2321)); \
it.sendall(bytes.fromhex("{_SHUTDOWN}")); it.recv(10)'
"""
_MANAGER = f"[Manager]\nManagerEnvironment=SYSTEMD_TPM2_DEVICE={DEVICE}\n"


class Chip:
    """The TPM of a machine; it is off until it is turned on."""

    def __init__(self, machine: Machine, tree: Path):
        """Give *machine*, which is nobody else's, the software TPM of *tree*."""
        self.machine = machine
        subprocess.run(["cp", "-R", "--preserve=mode,links", f"{tree}/usr", machine.path("/")], check=True)
        machine.write("/etc/systemd/system.conf.d/tpm.conf", _MANAGER)
        machine.unit(_CHIP, _UNIT)

    def turn_on(self) -> None:
        """Turn it on, or off and on again: it has no kernel before it that would end its sessions."""
        self.machine.run("systemctl", "restart", _CHIP)

    def turn_off(self) -> None:
        """Turn it off."""
        self.machine.run("systemctl", "stop", _CHIP)

    @contextmanager
    def another(self) -> Iterator[None]:
        """Let another chip, which is new, be in its place."""
        self.turn_off()
        self.machine.run("mv", f"{_CHIPS}/chip", f"{_CHIPS}/away")
        self.turn_on()
        try:
            yield
        finally:
            self.turn_off()
            self.machine.run("rm", "-r", f"{_CHIPS}/chip")
            self.machine.run("mv", f"{_CHIPS}/away", f"{_CHIPS}/chip")
            self.turn_on()
