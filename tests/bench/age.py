"""Prints how long 100 MB take to encrypt and to decrypt, beside the `age` program, in one run.

    .venv/bin/python tests/bench/age.py [ROUNDS] [MEGABYTES]

Whole processes, from start to end, on files in memory: ours is the system's Python with `tskeyvault_age` alone, from
a byte-compiled wheel, run as the program `vault` runs it: without looking for garbage. `start` is the same process with nothing to do. Every `age` on PATH and in .cache/go-age is
measured. Medians of interleaved rounds; peak memory of our process. Nothing is asserted.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from bench.installed import install

SOURCES = Path(__file__).parents[2]
PROGRAM = """\
import gc
gc.set_threshold(100_000)
{}
gc.freeze()
"""
ENCRYPT = """\
import sys
from tskeyvault_age import file, x25519
recipient = x25519.X25519Recipient.parse(sys.argv[3])
with open(sys.argv[1], "rb", buffering=0) as reader, open(sys.argv[2], "wb", buffering=0) as writer:
    file.encrypt_stream(reader, writer, [recipient], b"")
"""
DECRYPT = """\
import sys
from tskeyvault_age import file, x25519
identity = x25519.X25519Identity.parse(open(sys.argv[3]).read().strip())
with open(sys.argv[1], "rb", buffering=0) as reader, open(sys.argv[2], "wb", buffering=0) as writer:
    file.decrypt_stream(reader, writer, [identity])
"""
START = "from tskeyvault_age import file, x25519; x25519.X25519Identity.generate()"


def main() -> None:
    """Make the files, measure, print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    megabytes = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    with tempfile.TemporaryDirectory(dir="/dev/shm") as work:
        calls = _calls(Path(work), install(Path(work)) / "python", megabytes)
        medians = _measure(calls, rounds)
        width = max(map(len, medians))
        for name, median in medians.items():
            print(f"{name:{width}}  {median * 1000:8.1f} ms")
        for what in ("encrypt", "decrypt"):
            for name, median in medians.items():
                if name.endswith(what) and not name.startswith("ours"):
                    print(f"ours / {name}: {medians[f'ours {what}'] / median:.2f}")
        print(f"peak memory of the largest process: {_peak(calls['ours encrypt'])} MiB")


def _calls(work: Path, python: Path, megabytes: int) -> dict[str, Callable[[], object]]:
    def run(code: str, *arguments: str | Path) -> str:
        return _run([python, "-I", "-c", PROGRAM.format(code), *arguments])

    made = run(
        "from tskeyvault_age import x25519; i = x25519.X25519Identity.generate(); print(i.export(), i.recipient)"
    )
    identity, recipient = made.split()
    (work / "identity").write_text(f"{identity}\n")
    plain, sealed = work / "plain", work / "sealed"
    with plain.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(10**6))
    calls: dict[str, Callable[[], object]] = {
        "start": lambda: run(START),
        "ours encrypt": lambda: run(ENCRYPT, plain, sealed, recipient),
        "ours decrypt": lambda: run(DECRYPT, sealed, work / "out", work / "identity"),
    }
    theirs = work / "theirs"
    for program in _programs():
        name = f"{program} {_run([program, '--version']).strip()}"
        calls[f"{name} encrypt"] = partial(_run, [program, "-r", recipient, "-o", theirs, plain])
        opening: list[str | Path] = [program, "-d", "-i", work / "identity", "-o", work / "out", theirs]
        calls[f"{name} decrypt"] = partial(_run, opening)
    return calls


def _programs() -> list[str]:
    found = [shutil.which("age"), shutil.which("age", path=SOURCES / ".cache/go-age")]
    return [path for path in found if path]


def _measure(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def _peak(call: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        call()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        os._exit(min(255, usage.ru_maxrss >> 10))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _run(argv: Sequence[str | Path]) -> str:
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()
