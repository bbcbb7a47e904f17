"""Prints how long materialize takes, beside plain Python, `age -d` and `pass show`, in one run.

    .venv/bin/python tests/bench/materialize.py [ROUNDS]

Medians of interleaved rounds; the last column is the ratio that design has a budget for. Needs age,
and gpg and pass for the comparison with pass; nothing is asserted.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PROGRAM = str(Path(sys.executable).with_name("vault"))
MANY = 100


def main() -> None:
    """Set up a vault and a pass store of the same secrets, measure, print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    memory = os.environ.get("XDG_RUNTIME_DIR") or "/dev/shm"  # noqa: S108 - a tmpfs is what we need
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory(dir=memory) as run:
        environment = _environment(Path(work))
        vault = _vault(Path(work), environment)

        def timed(*argv: str) -> Callable[[], None]:
            here = environment | {"RUNTIME_DIRECTORY": run}
            return lambda: _run(argv, cwd=vault, env=here)

        calls = {
            "python -I -c pass": timed(sys.executable, "-I", "-c", "pass"),
            "vault materialize, 1 secret": timed(PROGRAM, "materialize", "one"),
            "vault materialize, 3 secrets": timed(PROGRAM, "materialize", "three"),
            f"vault materialize, {MANY} secrets": timed(PROGRAM, "materialize", "many"),
            "age -d, 1 secret": timed(
                "age", "-d", "-i", f"{work}/config/tskeyvault/identities", "secrets/s/0.age"
            ),
        }
        if shutil.which("pass") and shutil.which("gpg"):
            _pass_store(environment)
            calls["pass show, 1 secret"] = timed("pass", "show", "s/0")
        _table(_measure(calls, rounds))
        if shutil.which("gpgconf"):
            subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)


def _measure(calls: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            if turn:  # the first round warms caches
                times[name].append((time.perf_counter() - begin) * 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def _table(medians: dict[str, float]) -> None:
    width = max(map(len, medians))
    for name, median in medians.items():
        print(f"{name:{width}}  {median:8.1f} ms")
    one, three, many = (value for name, value in medians.items() if name.startswith("vault materialize"))
    print(f"\none secret: {one:.0f} ms (budget 100 ms)")
    if shown := medians.get("pass show, 1 secret"):
        print(f"three secrets: {three / (3 * shown):.2f} of three pass show (budget below 1)")
        print(f"{MANY} secrets: {many / (MANY * shown):.3f} of {MANY} pass show (budget 0.1)")
    else:
        print("pass is not installed: no comparison")


def _environment(work: Path) -> dict[str, str]:
    # PYTHONDONTWRITEBYTECODE, set on some machines, would have every run compile everything again.
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    (work / "gnupg").mkdir(mode=0o700)
    return kept | {
        "HOME": str(work),
        "XDG_CONFIG_HOME": str(work / "config"),
        "XDG_STATE_HOME": str(work / "state"),
        "GNUPGHOME": str(work / "gnupg"),
        "PASSWORD_STORE_DIR": str(work / "store"),
    }


def _vault(work: Path, environment: dict[str, str]) -> Path:
    vault = work / "vault"
    _run([PROGRAM, "init", "--no-commit", str(vault)], cwd=work, env=environment)
    for number in range(MANY):
        _run(
            [PROGRAM, "insert", f"s/{number}", "--no-commit"],
            cwd=vault,
            env=environment,
            data=_value(number),
        )
    with (vault / "vault.toml").open("a") as file:
        for service, count in (("one", 1), ("three", 3), ("many", MANY)):
            for number in range(count):
                file.write(f'[services.{service}.files."{service}{number}"]\nsecret = "s/{number}"\n')
    return vault


def _pass_store(environment: dict[str, str]) -> None:
    parameters = (
        b"%no-protection\nKey-Type: EDDSA\nKey-Curve: ed25519\nSubkey-Type: ECDH\nSubkey-Curve: cv25519\n"
    )
    parameters += b"Name-Email: bench@example.invalid\nExpire-Date: 0\n%commit\n"
    _run(["gpg", "--batch", "--quiet", "--gen-key"], env=environment, data=parameters)
    _run(["pass", "init", "bench@example.invalid"], env=environment)
    _run(["pass", "insert", "--multiline", "s/0"], env=environment, data=_value(0))


def _value(number: int) -> bytes:
    return b"-".join([b"tskey", b"auth", b"k%dCNTRL" % number, b"0" * 32])


def _run(argv: Sequence[str], *, env: dict[str, str], cwd: Path | None = None, data: bytes = b"") -> None:
    subprocess.run(argv, cwd=cwd, env=env, input=data, capture_output=True, check=True, timeout=120)


if __name__ == "__main__":
    main()
