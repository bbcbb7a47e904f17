"""Prints how long it takes to let one more read 1,000 secrets, beside `pass init` for the same, in one run.

    .venv/bin/python tests/bench/rekey.py [ROUNDS]

A recipient is added to a vault of 1,000 secrets, and a second key to a pass store of 1,000 entries:
both decrypt and encrypt every one of them, and commit to git. Medians of interleaved rounds, each on a
copy of the same vault and the same store. The program is measured as a user has it: a wheel in an
environment of the system's Python, byte-compiled. Needs gpg and pass for the comparison. Nothing is asserted.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from bench.installed import install

MANY = 1000
BUDGET = 0.1
KEY = "%no-protection\nKey-Type: EDDSA\nKey-Curve: ed25519\nSubkey-Type: ECDH\nSubkey-Curve: cv25519\nName-Email: {}\nExpire-Date: 0\n%commit\n"
MEMBERS = ("first@example.invalid", "second@example.invalid")

_numbers = count(1)


def main() -> None:
    """Set up a vault and a pass store of the same secrets, measure, print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        program, environment = str(install(folder) / "vault"), _environment(folder)
        vault = _vault(program, folder, environment)
        second = _second(program, folder, environment)
        calls = {
            "vault recipients add": lambda: _add(program, folder, vault, second, environment),
            "vault recipients add --no-commit": lambda: _add(
                program, folder, vault, second, environment, "--no-commit"
            ),
            "vault rekey, nothing to do": lambda: _timed([program, "rekey"], env=environment, cwd=vault),
        }
        if shutil.which("pass") and shutil.which("gpg"):
            home = environment | _pass_store(folder, environment)
            calls["pass init"] = lambda: _init(folder, home)
        try:
            _table(_measure(calls, rounds))
        finally:
            if "pass init" in calls:
                subprocess.run(["gpgconf", "--kill", "all"], env=home, check=False)


def _measure(calls: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(call())
    return {name: statistics.median(values) for name, values in times.items()}


def _table(medians: dict[str, float]) -> None:
    width = max(map(len, medians))
    for name, median in medians.items():
        print(f"{name:{width}}  {median:8.2f} s")
    if "pass init" not in medians:
        print("\npass is not installed: no comparison")
        return
    ratio = medians["vault recipients add"] / medians["pass init"]
    print(f"\n{MANY} secrets: {ratio:.3f} of pass init (budget {BUDGET})")


def _add(
    program: str, work: Path, vault: Path, second: str, environment: dict[str, str], *options: str
) -> float:
    """Return the seconds that it takes on a copy of the vault and of what this host remembers of it."""
    copy, state = _copy(work, vault), _copy(work, Path(environment["XDG_STATE_HOME"]))
    for file in state.rglob("*.json"):  # approvals are of one clone, which the copy now is
        file.write_text(file.read_text().replace(str(vault.resolve()), str(copy.resolve())))
    argv = [program, "recipients", "add", second, "--name", "second", *options]
    seconds = _timed(argv, cwd=copy, env=environment | {"XDG_STATE_HOME": str(state)})
    shutil.rmtree(copy)
    shutil.rmtree(state)
    return seconds


def _init(work: Path, environment: dict[str, str]) -> float:
    """Return the seconds that it takes on a copy of the store."""
    copy = _copy(work, Path(environment["PASSWORD_STORE_DIR"]))
    seconds = _timed(["pass", "init", *MEMBERS], env=environment | {"PASSWORD_STORE_DIR": str(copy)})
    shutil.rmtree(copy)
    return seconds


def _copy(work: Path, tree: Path) -> Path:
    copy = work / f"copy{next(_numbers)}"
    shutil.copytree(tree, copy, symlinks=True)
    os.sync()  # what was copied is not ours to wait for
    return copy


def _environment(work: Path) -> dict[str, str]:
    # PYTHONDONTWRITEBYTECODE, set on some machines, would have every run compile everything again.
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    (work / ".gitconfig").write_text("[user]\n\tname = Bench\n\temail = bench@example.invalid\n")
    return kept | {
        "HOME": str(work),
        "XDG_CONFIG_HOME": str(work / "config"),
        "XDG_STATE_HOME": str(work / "state"),
        "GIT_CONFIG_NOSYSTEM": "1",
    }


def _vault(program: str, work: Path, environment: dict[str, str]) -> Path:
    """Make the vault; that of a single reader needs its secrets written only once each, all in one process."""
    vault = work / "vault"
    _timed([program, "init", "--no-commit", str(vault)], cwd=work, env=environment)
    writing = (
        "import os, sys\n"
        "from tskeyvault import change, names, vault\n"
        "from tskeyvault.cli.terminal import USER\n"
        "with vault.opened(vault.Place(), os.environ, USER) as ours:\n"
        "    for number, line in enumerate(sys.stdin.buffer.read().split()):\n"
        "        change.write(ours, names.reference(f's{number % 10}/{number}'), line, force=False)\n"
    )
    python = str(work / "installed/bin/python")
    _timed([python, "-I", "-c", writing], cwd=vault, env=environment, data=_values())
    _commit(vault, environment)
    return vault


def _second(program: str, work: Path, environment: dict[str, str]) -> str:
    """Return the recipient of somebody else."""
    home = environment | {"XDG_CONFIG_HOME": str(work / "second")}
    _timed([program, "keygen"], cwd=work, env=home)
    lines = (work / "second/tskeyvault/identities").read_text().split()
    return next(word for word in lines if word.startswith("age1"))


def _pass_store(work: Path, environment: dict[str, str]) -> dict[str, str]:
    gnupg, store = work / "gnupg", work / "store"
    gnupg.mkdir(mode=0o700)
    given = {"GNUPGHOME": str(gnupg), "PASSWORD_STORE_DIR": str(store)}
    there = environment | given
    for member in MEMBERS:
        _timed(["gpg", "--batch", "--quiet", "--gen-key"], env=there, data=KEY.format(member).encode())
    _timed(["pass", "init", MEMBERS[0]], env=there)
    for number, value in enumerate(_values().split()):
        entry = store / f"s{number % 10}/{number}.gpg"
        entry.parent.mkdir(exist_ok=True)
        encrypt = ["gpg", "--batch", "--quiet", "--trust-model", "always", "--output", str(entry)]
        _timed([*encrypt, "--encrypt", "--recipient", MEMBERS[0]], env=there, data=value)
    _timed(["git", "init", "--quiet"], env=there, cwd=store)
    _commit(store, there)
    return given


def _commit(tree: Path, environment: dict[str, str]) -> None:
    _timed(["git", "add", "--all"], env=environment, cwd=tree)
    _timed(["git", "commit", "--quiet", "--message", "All"], env=environment, cwd=tree)


def _values() -> bytes:
    return b"\n".join(b"tskey-auth-k%dCNTRL-%s" % (number, b"0" * 32) for number in range(MANY))


def _timed(argv: Sequence[str], *, env: dict[str, str], cwd: Path | None = None, data: bytes = b"") -> float:
    begin = time.perf_counter()
    subprocess.run(argv, cwd=cwd, env=env, input=data, capture_output=True, check=True, timeout=1200)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
