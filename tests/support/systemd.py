"""A machine with a real systemd, in namespaces of its own, that tests start units on."""

import contextlib
import itertools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from support.needs import SANDBOX

_numbers = itertools.count(1)


class Outcome(NamedTuple):
    """What became of a unit that was started."""

    ok: bool
    """``systemctl start`` succeeded. A unit that is gone again shows its defaults, so only this is the verdict."""
    result: str
    """systemd's Result: ``success``, ``exit-code``, ``timeout``, …; ``not-started`` when it did not even try."""
    exec_main_status: int
    start_pre_status: int | None
    """The first failure among the ExecStartPre= lines, else 0; None without such a line, or when none was run."""
    journal: str
    """What the unit logged, and systemd about it, during this start."""


class Machine:
    """One booted machine; as a context manager it is shut down in any case, even when the tests are killed."""

    def __init__(self, tree: str = "/") -> None:
        """Boot *tree*, which is not written to; the default is what the host itself has."""
        self.name = f"vault-{os.getpid()}-{next(_numbers)}"
        self.tree = tree
        self.leader = 0
        self._holder: subprocess.Popen[str] | None = None
        self._state = ""

    def __enter__(self) -> Self:
        self.boot()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    def boot(self) -> None:
        """Boot, and wait until units can be started."""
        self._state = tempfile.mkdtemp(prefix="tskeyvault-machine-")
        # A session of its own: Ctrl-C must reach the tests only, which then close the pipe.
        self._holder = subprocess.Popen(
            ["bash", SANDBOX, "hold", self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=self._environment(),
        )
        assert self._holder.stdout
        try:
            self.leader = int(self._holder.stdout.readline() or 0)
        finally:
            if not self.leader:
                self.shutdown()
        if not self.leader:
            raise RuntimeError("the machine did not boot; its console is above")

    def shutdown(self) -> None:
        """Power off, and wait until no process, mount or cgroup is left."""
        holder, self._holder = self._holder, None
        if holder and holder.stdin and holder.stdout:
            holder.stdin.close()
            holder.wait(timeout=60)
            holder.stdout.close()
        shutil.rmtree(self._state, ignore_errors=True)
        self.leader = 0

    def run(
        self,
        *argv: str,
        check: bool = True,
        input: str | None = None,  # noqa: A002 - the name that subprocess.run has
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside as root; its output must be text."""
        done = self._run(argv, None if input is None else input.encode())
        text = subprocess.CompletedProcess(argv, done.returncode, done.stdout.decode(), done.stderr.decode())
        if check and text.returncode:
            raise AssertionError(
                f"{argv[0]} failed inside with {text.returncode}: {text.stdout}{text.stderr}"
            )
        return text

    def start(self, unit: str) -> Outcome:
        """Start a unit and wait for it, as ``systemctl start`` does."""
        cursor = self.run("journalctl", "--quiet", "--lines=0", "--show-cursor").stdout.strip()
        ok = self.run("systemctl", "start", unit, check=False).returncode == 0
        properties = "Result,ExecMainStatus,ExecStartPre"
        shown = self.run("systemctl", "show", unit, "--property", properties).stdout
        fields = [line.partition("=")[::2] for line in shown.splitlines()]
        result = dict(fields)["Result"]
        if not ok and result == "success":
            result = "not-started"
        return Outcome(
            ok=ok,
            result=result,
            exec_main_status=int(dict(fields).get("ExecMainStatus", "0")),
            start_pre_status=_start_pre_status(
                [value for key, value in fields if key == "ExecStartPre"], ok=ok
            ),
            journal=self._journal(f"--unit={unit}", "--after-cursor=" + cursor.removeprefix("-- cursor: ")),
        )

    def journal(self, unit: str | None = None) -> str:
        """Return the messages of one unit, or of all, since the boot."""
        return self._journal(*([f"--unit={unit}"] if unit else []))

    def path(self, inside: str) -> Path:
        """Return the path by which the host reaches a file inside; an absolute link on the way leads astray."""
        return Path(f"/proc/{self.leader}/root") / inside.lstrip("/")

    def write(self, inside: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside, owned by root, and the directories that it needs."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            os.fchmod(descriptor, mode)

    def unit(self, name: str, text: str) -> None:
        """Install a unit file under /etc, or replace it; a ``%`` in it is a specifier."""
        self.write(f"/etc/systemd/system/{name}", text)
        self.run("systemctl", "daemon-reload")

    def leaks(self, value: bytes) -> list[str]:
        """Say where the value can be seen: journal, properties of units and of systemd, running processes."""
        assert value
        self.run("journalctl", "--sync")
        looks: dict[str, tuple[str, ...]] = {
            "journal": ("journalctl", "--all", "--output=export"),
            "systemctl show": ("systemctl", "show", "--all", "*"),
            "systemctl show (manager)": ("systemctl", "show", "--all"),
            "systemctl show-environment": ("systemctl", "show-environment"),
        }
        found = [place for place, argv in looks.items() if value in self._output(argv)]
        return found + list(self._leaking_processes(value))

    def _leaking_processes(self, value: bytes) -> Iterator[str]:
        for process in self.path("/proc").glob("[0-9]*"):
            # A process may end while it is looked at.
            with contextlib.suppress(OSError):
                name = (process / "comm").read_text().strip()
                for file in ("cmdline", "environ"):
                    if value in (process / file).read_bytes():
                        yield f"/proc/{process.name}/{file} ({name})"

    def _journal(self, *options: str) -> str:
        self.run("journalctl", "--sync")
        argv = (
            "journalctl",
            "--quiet",
            "--all",
            "--no-pager",
            "--no-hostname",
            "--output=short-monotonic",
            *options,
        )
        return self._output(argv).decode(errors="replace")

    def _output(self, argv: tuple[str, ...]) -> bytes:
        done = self._run(argv, None)
        assert done.returncode == 0, f"{argv[0]} failed inside: {done.stderr.decode(errors='replace')}"
        return done.stdout

    def _run(self, argv: tuple[str, ...], data: bytes | None) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["bash", SANDBOX, "run", self.name, *argv],
            check=False,
            capture_output=True,
            input=data or b"",
            env=self._environment(),
            timeout=180,
        )

    def _environment(self) -> dict[str, str]:
        own = {"SBX_DIR": self._state, "SBX_ROOT": self.tree, "SBX_SIZE": "2g"}
        return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **own}


def _start_pre_status(lines: list[str], *, ok: bool) -> int | None:
    """Read the ``ExecStartPre`` properties: ``{ path=… ; code=exited ; status=7 }``, ``status=0/0`` when not run."""
    ran = [match for line in lines if (match := re.search(r"code=(?!\(null\))\S+ ; status=(\d+)", line))]
    statuses = [int(match[1]) for match in ran]
    if not statuses:
        return 0 if ok and lines else None
    return next((status for status in statuses if status), 0)
