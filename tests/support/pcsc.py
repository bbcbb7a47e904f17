"""The real pcscd with virtual readers, in namespaces of its own: nobody outside sees its readers, socket or ports."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from support.piv_wire import Card
from support.vaults import PATH, SOURCES, Result

DRIVER = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
PORT = 0x8C7B
SECONDS = 60

CardT = TypeVar("CardT", bound=Card)

READER = """\
FRIENDLYNAME "Yubico YubiKey OTP+FIDO+CCID"
DEVICENAME /dev/null:0x{port:X}
LIBPATH {driver}
CHANNELID 0x{port:X}
"""
INSIDE = """\
set -e
mount -t tmpfs -o mode=755 tmpfs /run
python3 - <<'END'
import fcntl, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 1))
END
exec pcscd --foreground --config "$1"
"""


class Plugged(NamedTuple, Generic[CardT]):
    """A card in a reader."""

    process: subprocess.Popen[bytes]
    state: Path
    before: CardT

    @property
    def trace(self) -> list[str]:
        """What the card saw: INS, P1, P2, length and status word of each command, or ``power``."""
        path = self.state.with_name(f"{self.state.name}.trace")
        return path.read_text().splitlines() if path.exists() else []

    @property
    def verifies(self) -> int:
        """How often a PIN was sent."""
        return sum(line.startswith("20 ") and line.split()[3] != "0" for line in self.trace)

    def card(self, serial: int) -> CardT:
        """Return the card as it is now."""
        card = self.before.another(serial)
        card.load(self.state)
        return card

    def pull(self) -> None:
        """Pull it out."""
        self.process.terminate()
        self.process.wait(SECONDS)


class Pcscd:
    """A pcscd that runs, with two readers."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path):
        self._process = process
        self._folder = folder
        self._plugged: list[Plugged[Any]] = []

    def plug_in(self, card: CardT, reader: int = 0, touch: Path | None = None) -> Plugged[CardT]:
        """Put *card* into a reader, and wait until pcscd has seen it."""
        state = self._folder / f"card-{card.serial}"
        card.save(state)
        program = [sys.executable, "-m", card.module, str(state), str(PORT + reader), *card.arguments]
        made = Plugged(self._start([*program, *([str(touch)] if touch else [])]), state, card)
        self._plugged.append(made)
        self.until(lambda: f"{reader:02}:True" in self._seen())
        return made

    def plug_in_anew(self, plugged: Plugged[CardT], serial: int, reader: int = 0) -> Plugged[CardT]:
        """Pull a card out and put it in again, so that its PIN is to be verified anew; pcscd takes its time for that."""
        card = plugged.card(serial)
        self.pull(plugged, reader)
        return self.plug_in(card, reader)

    def pull(self, plugged: Plugged[Any], reader: int = 0) -> None:
        """Pull a card out, and wait until pcscd has seen that."""
        plugged.pull()
        self.until(lambda: f"{reader:02}:False" in self._seen())

    def vault(self, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Result:
        """Run ``vault`` beside it."""
        return self.run(sys.executable, "-m", "tskeyvault", *arguments, env=env, cwd=cwd)

    def run(
        self,
        *argv: str,
        given: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Result:
        """Run a program beside it."""
        done = subprocess.run(
            [*self.inside(cwd), *argv],
            input=given,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env=_environ(env),
        )
        return Result(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def start(
        self, *argv: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program beside it, with pipes."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*self.inside(cwd), *argv], stdin=pipe, stdout=pipe, stderr=pipe, env=_environ(env)
        )

    def inside(self, cwd: Path | None = None) -> list[str]:
        """Return the words before a command line by which it runs beside it, in *cwd*."""
        namespaces = ["nsenter", "-t", str(self._process.pid), "-m", "-n", "--"]
        return [*namespaces, "env", f"--chdir={cwd or Path.cwd()}"]

    def close(self) -> None:
        """Pull out all cards, and end it."""
        for plugged in self._plugged:
            plugged.pull()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(SECONDS)

    def _start(self, argv: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*self.inside(), *argv], stdin=subprocess.DEVNULL, env=_environ(None))

    def _seen(self) -> str:
        code = (
            "from smartcard import scard as s; c = s.SCardEstablishContext(0)[1]\n"
            "for name in s.SCardListReaders(c, [])[1]:\n"
            "  print(f'{name[-2:]}:{s.SCardConnect(c, name, s.SCARD_SHARE_SHARED, 3)[0] == 0}')"
        )
        return self.run(sys.executable, "-c", code).out.decode()

    def wait_until_up(self) -> None:
        """Wait until it has loaded its readers."""
        self.until(lambda: "00:" in self._seen())

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait until *happened* returns true."""
        end = time.monotonic() + SECONDS
        while not happened():
            assert self._process.poll() is None, "pcscd ended"
            assert time.monotonic() < end, self._seen()
            time.sleep(0.05)


@contextlib.contextmanager
def pcscd(folder: Path) -> Iterator[Pcscd]:
    """Run pcscd, with its files in *folder*."""
    configuration = folder / "readers"
    configuration.mkdir(parents=True)
    (configuration / "vpcd").write_text(READER.format(port=PORT, driver=DRIVER))
    command = ["unshare", "-m", "-n", "sh", "-c", INSIDE, "sh", str(configuration)]
    with (folder / "pcscd.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    made = Pcscd(process, folder)
    try:
        made.wait_until_up()
        yield made
    finally:
        made.close()


def why_not() -> str:
    """Return why it cannot run here, or ``""``."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in ("pcscd", "unshare", "nsenter") if shutil.which(name) is None]
    if missing:
        return f"needs the program {missing[0]}"
    return "" if DRIVER.exists() else "needs vsmartcard-vpcd"


def _environ(env: Mapping[str, str] | None) -> dict[str, str]:
    path = os.pathsep.join([PATH, str(SOURCES / "tests")])
    return {**os.environ, **(env or {}), "PYTHONPATH": path}
