"""Prints how long it takes to deliver 100 entries of a pass store, beside 100 `pass show` of them, in one run.

    .venv/bin/python tests/bench/pass.py [ROUNDS]

A service of an age vault names 100 entries of the store as `pass:NAME`; one `vault materialize` delivers
them, to a new place each time. Medians of interleaved rounds, with the same running agent of gpg for both.
The program is measured as a user has it. Needs gpg and pass. Nothing is asserted.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from bench.installed import install
from bench.rekey import KEY, MEMBERS, _environment, _timed, _values

SOME = 100
BUDGET = 0.5
NAMES = [f"s{number % 10}/{number}" for number in range(SOME)]


def main() -> None:
    """Set up a store and a vault, measure, print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory(dir="/tmp") as work:
        folder = Path(work)
        program, environment = str(install(folder) / "vault"), _environment(folder)
        environment |= {"GNUPGHOME": str(folder / "gnupg"), "PASSWORD_STORE_DIR": str(folder / "store")}
        try:
            _store(environment)
            _table(_measure(program, _vault(program, folder, environment), environment, rounds))
        finally:
            subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)


def _store(environment: dict[str, str]) -> None:
    Path(environment["GNUPGHOME"]).mkdir(mode=0o700)
    made = KEY.format(MEMBERS[0]).encode()
    _timed(["gpg", "--batch", "--quiet", "--gen-key"], env=environment, data=made)
    _timed(["pass", "init", MEMBERS[0]], env=environment)
    for name, value in zip(NAMES, _values().split(), strict=False):
        _timed(["pass", "insert", "--multiline", name], env=environment, data=value + b"\n")


def _vault(program: str, work: Path, environment: dict[str, str]) -> Path:
    vault = work / "vault"
    _timed([program, "init", "--no-commit", str(vault)], cwd=work, env=environment)
    values = ", ".join(f'V{number} = "pass:{name}"' for number, name in enumerate(NAMES))
    with (vault / "vault.toml").open("a") as file:
        file.write(f'[services.many.files.env]\nformat = "env"\nvalues = {{ {values} }}\n')
    return vault


def _measure(program: str, vault: Path, environment: dict[str, str], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {"vault materialize": [], f"{SOME} pass show": []}
    for _ in range(rounds):
        out = tempfile.mkdtemp(dir="/dev/shm")
        delivering = [program, "materialize", "many", "--directory", out]
        times["vault materialize"].append(_timed(delivering, env=environment, cwd=vault))
        assert len(Path(out, "env").read_text().splitlines()) == SOME
        shutil.rmtree(out)
        times[f"{SOME} pass show"].append(
            sum(_timed(["pass", "show", name], env=environment) for name in NAMES)
        )
    return {name: statistics.median(values) for name, values in times.items()}


def _table(medians: dict[str, float]) -> None:
    ours, theirs = medians.values()
    for name, median in medians.items():
        print(f"{name:18}  {median:8.2f} s")
    print(f"\n{SOME} entries of pass delivered: {ours / theirs:.3f} of pass show (budget {BUDGET})")


if __name__ == "__main__":
    main()
