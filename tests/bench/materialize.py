"""Prints how long materialize takes, beside plain Python, `age -d` and `pass show`, in one run.

    .venv/bin/python tests/bench/materialize.py [ROUNDS]

The program is measured as a user has it: a wheel in an environment of the system's Python, byte-compiled.
Medians of interleaved rounds; the lines below the table are the figures that the design has budgets for.
Needs age, and gpg and pass for the comparison, with a key of the kind that this gpg makes by default
and one of Curve25519. Nothing is asserted.
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

sys.path.append(str(Path(__file__).parents[1]))
from bench.installed import install

KEYS = {
    "gpg's default key": "Key-Type: default\nSubkey-Type: default\n",
    "Curve25519": "Key-Type: EDDSA\nKey-Curve: ed25519\nSubkey-Type: ECDH\nSubkey-Curve: cv25519\n",
}
MANY = 100


def main() -> None:
    """Set up a vault and pass stores of the same secret, measure, print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    memory = os.environ.get("XDG_RUNTIME_DIR") or "/dev/shm"  # noqa: S108 - a tmpfs is what we need
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory(dir=memory) as run:
        folder = Path(work)
        program, environment = str(install(folder) / "vault"), _environment(folder)
        vault = _vault(program, folder, environment)

        def timed(*argv: str, **more: str) -> Callable[[], None]:
            here = environment | more
            return lambda: _run(argv, cwd=vault, env=here)

        def materialize(service: str) -> Callable[[], None]:
            return timed(program, "materialize", service, RUNTIME_DIRECTORY=run)

        identity = str(folder / "config/tskeyvault/identities")
        calls = {
            "python -I -c pass": timed(str(folder / "installed/bin/python"), "-I", "-c", "pass"),
            "vault materialize, 1 secret": materialize("one"),
            "vault materialize, 3 secrets": materialize("three"),
            f"vault materialize, {MANY} secrets": materialize("many"),
            "age -d, 1 secret": timed("age", "-d", "-i", identity, "secrets/s/0.age"),
        }
        homes = _pass_stores(folder, environment) if shutil.which("pass") and shutil.which("gpg") else {}
        for kind, home in homes.items():
            calls[f"pass show, {kind}"] = timed("pass", "show", "s/0", **home)
        _table(_measure(calls, rounds))
        for home in homes.values():
            subprocess.run(["gpgconf", "--kill", "all"], env=environment | home, check=False)


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
    for kind in KEYS:
        if shown := medians.get(f"pass show, {kind}"):
            print(f"three secrets: {three / (3 * shown):.2f} of three pass show, {kind} (budget below 1)")
            print(f"{MANY} secrets: {many / (MANY * shown):.3f} of {MANY} pass show, {kind} (budget 0.1)")
    if not shutil.which("pass"):
        print("pass is not installed: no comparison")


def _environment(work: Path) -> dict[str, str]:
    # PYTHONDONTWRITEBYTECODE, set on some machines, would have every run compile everything again.
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {
        "HOME": str(work),
        "XDG_CONFIG_HOME": str(work / "config"),
        "XDG_STATE_HOME": str(work / "state"),
    }


def _vault(program: str, work: Path, environment: dict[str, str]) -> Path:
    vault = work / "vault"
    _run([program, "init", "--no-commit", str(vault)], cwd=work, env=environment)
    for number in range(MANY):
        insert = [program, "insert", f"s/{number}", "--no-commit"]
        _run(insert, cwd=vault, env=environment, data=_value(number))
    with (vault / "vault.toml").open("a") as file:
        for service, count in (("one", 1), ("three", 3), ("many", MANY)):
            for number in range(count):
                file.write(f'[services.{service}.files."{service}{number}"]\nsecret = "s/{number}"\n')
    return vault


def _pass_stores(work: Path, environment: dict[str, str]) -> dict[str, dict[str, str]]:
    homes = {}
    for number, (kind, key) in enumerate(KEYS.items()):
        gnupg = work / f"gnupg{number}"
        gnupg.mkdir(mode=0o700)
        homes[kind] = {"GNUPGHOME": str(gnupg), "PASSWORD_STORE_DIR": str(work / f"store{number}")}
        there = environment | homes[kind]
        parameters = f"%no-protection\n{key}Name-Email: bench@example.invalid\nExpire-Date: 0\n%commit\n"
        _run(["gpg", "--batch", "--quiet", "--gen-key"], env=there, data=parameters.encode())
        _run(["pass", "init", "bench@example.invalid"], env=there)
        _run(["pass", "insert", "--multiline", "s/0"], env=there, data=_value(0))
    return homes


def _value(number: int) -> bytes:
    return b"-".join([b"tskey", b"auth", b"k%dCNTRL" % number, b"0" * 32])


def _run(argv: Sequence[str], *, env: dict[str, str], cwd: Path | None = None, data: bytes = b"") -> None:
    subprocess.run(argv, cwd=cwd, env=env, input=data, capture_output=True, check=True, timeout=120)


if __name__ == "__main__":
    main()
