"""One run of ``vault materialize`` under strace, which can kill it, stop it or fail it at any system call."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

CALLS = "?open,openat,write,fchown,fchmod,fsync,?rename,?renameat,?renameat2,?unlink,unlinkat,flock"
SECONDS = 60

_LINE = re.compile(r"^\d+ +")


class Call(NamedTuple):
    """A system call of a run that repeats itself."""

    name: str
    when: int
    """The how-manieth of that name it is, from 1: what strace counts by."""
    text: str
    """The call itself, without what differs between runs."""


class Run(NamedTuple):
    """How a traced run ended."""

    code: int
    err: str
    calls: list[Call]
    hit: str
    """The call at which strace did what it was told, or ``""``."""


def run(trace: Path, env: Mapping[str, str], arguments: list[str], *inject: str) -> Run:
    """Run ``vault`` with *arguments*, with strace's *inject* expressions; *trace* is written, without contents."""
    options = [f"--inject={expression}" for expression in inject]
    if not any(":signal=" in expression for expression in inject):
        # Much faster; but where it stops a process, the kernel takes no signal from a tracer.
        options.append("--seccomp-bpf")
    strace = ["strace", "-f", "-s0", "-o", str(trace), f"--trace={CALLS}", *options]
    done = subprocess.run(
        [*strace, sys.executable, "-m", "tskeyvault", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=env,
        timeout=SECONDS,
    )
    lines = [_LINE.sub("", line) for line in trace.read_text().splitlines()]
    return Run(done.returncode, done.stderr, _calls(lines), _hit(lines))


def at_each(places: Iterable[tuple[int, Call]], attempt: Callable[[int, Call], None]) -> None:
    """Make the *attempt* at every one of *places*, two at a time, and report all that went wrong."""

    def safely(at: tuple[int, Call]) -> str:
        try:
            attempt(*at)
        except AssertionError as error:
            return f"at {at[0]}, {at[1].text}: {error}"
        return ""

    with ThreadPoolExecutor(2) as pool:
        problems = [problem for problem in pool.map(safely, places) if problem]
    assert not problems, "\n\n".join(problems)


def _calls(lines: list[str]) -> list[Call]:
    counts: dict[str, int] = {}
    found = []
    for line in lines:
        if line[0] in "+-":
            continue
        name = line.partition("(")[0]
        counts[name] = counts.get(name, 0) + 1
        found.append(Call(name, counts[name], _plain(line)))
    return found


def _hit(lines: list[str]) -> str:
    for before, line in zip(["", *lines], lines, strict=False):
        if "(INJECTED)" in line:
            return _plain(line)
        if line.startswith(("+++ killed", "--- SIG")):
            return _plain(before)
    return ""


def _plain(line: str) -> str:
    call = line.rpartition(" = ")[0].rstrip()
    return re.sub(r"\d+", "#", re.sub(r"\.vault-[0-9a-f]{16}", ".vault-*", call))
