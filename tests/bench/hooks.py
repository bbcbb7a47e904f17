"""Prints what the hooks cost, beside git without them and beside other scanners, in one run.

    .venv/bin/python tests/bench/hooks.py CACHE [ROUNDS]

One-file commits with the hooks of each scanner that can be installed; `vault scan --history` and
`vault scan --staged` beside the plumbing of git that reads the same; and the memory for one huge file.
The program is measured as a user has it: a wheel in an environment of the system's Python, byte-compiled.
Medians of interleaved rounds; where a machine is busy, the seconds of CPU say more. Other scanners,
source distributions of Python packages and a repository made of them are kept in the folder CACHE.
Nothing is asserted.
"""

import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).parents[1]))
from bench import corpora, others, releases
from bench.installed import install
from support import needs, vaults

VALUES = 20
EXTRA, MOST = 25, 1.5
"""Targets: milliseconds that a commit may take longer, and how many times as long as git's a scan may take."""
HISTORY = ("django", "sympy", "pandas", "numpy")
FILES, SMALLEST, LARGEST = 5000, 10_000, 120_000
STAGED = "git diff-index --cached --raw --no-abbrev HEAD | cut -d ' ' -f 4 | git cat-file --batch --buffer"
EVERY = "git cat-file --batch-all-objects --batch --buffer --unordered"
HUGE, HIGHEST = 2 << 30, 100 << 20
MEASURED = """
import sys
sys.path.append(sys.argv.pop(1))
from tskeyvault_hooks import hook
status = hook.main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(status, int(peak.split()[1]) << 10)
"""


class Bench(NamedTuple):
    """Where things are, and how often each is measured."""

    cache: Path
    work: Path
    environment: dict[str, str]
    rounds: int

    def run(self, *argv: str | Path, cwd: Path, data: bytes = b"") -> str:
        """Run *argv*, which has to succeed, and return its standard output."""
        done = subprocess.run(
            argv, cwd=cwd, env=self.environment, input=data, capture_output=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{argv}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode(errors="replace")

    def repository(self, name: str) -> Path:
        """Return a new repository with a first commit."""
        place = self.work / name
        self.run("git", "init", "--quiet", place, cwd=self.work)
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", "First", cwd=place)
        return place

    @property
    def vault(self) -> Path:
        """Return the program."""
        return self.work / "installed/bin/vault"


class Cost(NamedTuple):
    """How long something took, and how much of it all processors together worked."""

    seconds: float
    processor: float


def main() -> None:
    """Measure all, print the tables."""
    cache = Path(sys.argv[1] if len(sys.argv) > 1 else sys.exit(__doc__)).resolve()
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 9
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(cache, Path(work), _environment(Path(work)), rounds)
        install(bench.work)
        _machine()
        _commits(bench)
        _history(bench)
        _staged(bench)
        _memory(bench)
        _machine()


def _machine() -> None:
    model = next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ": ?")
    version = subprocess.run(["git", "version"], check=True, capture_output=True, text=True).stdout.strip()
    python = subprocess.run([needs.SYSTEM_PYTHON, "-V"], check=True, capture_output=True, text=True).stdout
    load = "/".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{len(os.sched_getaffinity(0))} x {model.split(': ')[1]}, Linux {platform.release()}, {version},")
    print(f"{python.strip()}, load {load}\n", flush=True)


def _commits(bench: Bench) -> None:
    """Print what a commit of one changed file costs with each scanner's hooks."""
    places = {"no hooks": bench.repository("none"), "vault": _guarded(bench)}
    for other in others.installed(bench.cache):
        place = places[f"{other.name} {other.version}"] = bench.repository(other.name)
        hook = place / ".git/hooks/pre-commit"
        hook.write_text(f"#!/bin/sh\n{other.command}\n")
        hook.chmod(0o755)
    costs = _measured({name: _committing(bench, place) for name, place in places.items()}, bench.rounds)
    blocks = {name: _blocks(bench, place) for name, place in places.items()}
    none, ours = (statistics.median(cost.seconds for cost in costs[name]) for name in ("no hooks", "vault"))
    print(
        f"{'git commit of one file':28} {'median':>9} {'more':>9} {'CPU':>9} {'vault is':>9}  a Tailscale key"
    )
    for name, taken in costs.items():
        median = statistics.median(cost.seconds for cost in taken)
        more = f"{(median - none) * 1000:6.1f} ms" if name != "no hooks" else ""
        processor = statistics.median(cost.processor for cost in taken) * 1000
        found = "blocked" if blocks[name] else "passes"
        print(
            f"{name:28} {median * 1000:6.1f} ms {more:>9} {processor:6.1f} ms {ours / median:8.2f}x  {found}"
        )
    print(f"target: vault at most {EXTRA} ms more, and less than gitleaks\n", flush=True)


def _guarded(bench: Bench) -> Path:
    """Return a repository with our hooks, which know the values of a vault."""
    vault, place = bench.work / "vault", bench.repository("guarded")
    bench.run(bench.vault, "init", "--no-commit", vault, cwd=bench.work)
    for number in range(VALUES):
        bench.run(bench.vault, "insert", f"s/{number}", "--no-commit", cwd=vault, data=vaults.made_key())
    bench.run(bench.vault, "hooks", "install", "--vault", vault, cwd=place)
    bench.run(bench.vault, "hooks", "refresh", "--vault", vault, cwd=place)
    return place


def _committing(bench: Bench, place: Path) -> Callable[[], Cost]:
    text = Path(__file__).read_text()

    def commit() -> Cost:
        (place / "module.py").write_text(f"{text}\n# {time.time_ns()}\n")
        bench.run("git", "add", "module.py", cwd=place)
        return _cost(["git", "commit", "--quiet", "--message", "Change a module"], place, bench.environment)

    return commit


def _blocks(bench: Bench, place: Path) -> bool:
    (place / "key").write_bytes(b"login " + vaults.made_key() + b"\n")
    bench.run("git", "add", "key", cwd=place)
    argv = ["git", "commit", "--quiet", "--message", "A key"]
    return (
        subprocess.run(argv, cwd=place, env=bench.environment, capture_output=True, check=False).returncode
        != 0
    )


def _history(bench: Bench) -> None:
    """Print what it costs to scan every object."""
    place = bench.cache / "history"
    if not place.exists():
        chosen = [
            file
            for name in HISTORY
            for file in releases.fetched(bench.cache / "sdists", name, corpora.CLEAN[name])
        ]
        part = bench.cache / "history.part"
        shutil.rmtree(part, ignore_errors=True)
        releases.repository(part, chosen)
        part.rename(place)
    found = bench.run(bench.vault, "scan", "--history", "--json", cwd=place)
    said = [line.strip(' ,"') for line in found.splitlines() if '"bytes"' in line or '"objects"' in line]
    print(f"{' '.join(HISTORY)}: {', '.join(said)}")
    _beside(bench, place, "--history", EVERY)


def _staged(bench: Bench) -> None:
    """Print what it costs to scan many staged files."""
    place, seen, size = bench.repository("staged"), set[bytes](), 0
    for archive in (
        file
        for name in HISTORY
        for file in releases.fetched(bench.cache / "sdists", name, corpora.CLEAN[name])
    ):
        for file in releases.files(archive):
            name = blake2b(file.data, digest_size=16).digest()
            if len(seen) < FILES and SMALLEST <= len(file.data) <= LARGEST and name not in seen:
                seen.add(name)
                size += len(file.data)
                path = place / str(len(seen) % 100) / f"{len(seen)}"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(file.data)
    bench.run("git", "add", "--all", cwd=place)
    print(f"{len(seen)} staged files, {size / 1e6:.0f} MB")
    _beside(bench, place, "--staged", STAGED)


def _beside(bench: Bench, place: Path, option: str, plumbing: str) -> None:
    """Print what a scan with *option* costs beside what *plumbing* of git does."""
    calls = {
        plumbing: lambda: _cost(["sh", "-c", f"{plumbing} >/dev/null"], place, bench.environment),
        f"vault scan {option}": lambda: _cost([bench.vault, "scan", option], place, bench.environment),
    }
    costs = _measured(calls, max(3, bench.rounds // 3))
    rows = []
    for name, taken in costs.items():
        median, best = statistics.median(cost.seconds for cost in taken), min(cost.seconds for cost in taken)
        processor = min(cost.processor for cost in taken)
        rows.append((median, best, processor))
        print(f"  {median:6.2f} s median, {best:6.2f} s best, {processor:6.2f} s of CPU  {name}")
    ratios = [ours / theirs for theirs, ours in zip(*rows, strict=True)]
    print(
        f"  {ratios[0]:6.2f}x median, {ratios[1]:6.2f}x best, {ratios[2]:6.2f}x of CPU (target {MOST}x)\n",
        flush=True,
    )


def _memory(bench: Bench) -> None:
    """Print how much memory the scanner takes for one huge file."""
    place = bench.repository("huge")
    piece = os.urandom(1 << 19).hex().encode()
    for key, value in (("core.compression", "1"), ("core.bigFileThreshold", "16m")):
        bench.run("git", "config", key, value, cwd=place)
    with (place / "huge").open("wb") as file:
        for _ in range(HUGE // len(piece)):
            file.write(piece)
    bench.run("git", "add", "huge", cwd=place)
    (place / "huge").unlink()
    package = next(bench.work.glob("installed/lib/*/site-packages"))
    python = bench.work / "installed/bin/python"
    bench.run(bench.vault, "hooks", "install", cwd=place)
    state = str(place / ".git/vault")
    told = bench.run(python, "-I", "-S", "-c", MEASURED, package, "pre-commit", state, "1", cwd=place)
    status, peak = map(int, told.split())
    print(
        f"{HUGE >> 30} GiB in one file: exit status {status}, peak {peak / (1 << 20):.0f} MiB (target {HIGHEST >> 20} MiB)\n"
    )


def _measured(calls: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    costs: dict[str, list[Cost]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            cost = call()
            if turn:  # the first round warms caches
                costs[name].append(cost)
    return costs


def _cost(argv: Sequence[str | Path], place: Path, environment: dict[str, str]) -> Cost:
    before, begin = _processor(), time.perf_counter()
    done = subprocess.run(
        argv, cwd=place, env=environment, capture_output=True, stdin=subprocess.DEVNULL, check=False
    )
    seconds, after = time.perf_counter() - begin, _processor()
    if done.returncode:
        raise RuntimeError(f"{argv}: {done.stderr.decode(errors='replace')}")
    return Cost(seconds, after - before)


def _processor() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _environment(work: Path) -> dict[str, str]:
    # PYTHONDONTWRITEBYTECODE, set on some machines, would have every run compile everything again.
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    (work / ".gitconfig").write_text(
        "[user]\n\tname = Bench\n\temail = bench@example.invalid\n[gc]\n\tauto = 0\n"
    )
    return kept | {
        "HOME": str(work),
        "XDG_CONFIG_HOME": str(work / "config"),
        "XDG_STATE_HOME": str(work / "state"),
        "GIT_CONFIG_NOSYSTEM": "1",
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


if __name__ == "__main__":
    main()
