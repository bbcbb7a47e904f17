"""Prints how long it takes to let one more member read 1,000 gpg secrets, beside `pass init` for the same, in one run.

    .venv/bin/python tests/bench/gpg.py [ROUNDS]

A member is added to a vault of 1,000 gpg secrets, and a second key to a pass store of the very same
files: both decrypt and encrypt every one of them, and commit to git. Beside it, 100 secrets are
delivered by one `vault materialize`, and shown by 100 `pass show`. Medians of interleaved rounds, each
on a copy. The program is measured as a user has it. Needs gpg and pass. Nothing is asserted.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from bench.installed import install
from bench.rekey import KEY, MANY, MEMBERS, _commit, _copy, _environment, _timed, _values

SOME = 100
BUDGET = 0.5
SERVICE = """
[services.many.files.env]
format = "env"
values = {{ {values} }}
"""


def main() -> None:
    """Set up a vault that is a pass store too, measure, print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory(dir="/tmp") as work:
        folder = Path(work)
        program, environment = str(install(folder) / "vault"), _environment(folder)
        home = folder / "gnupg"
        home.mkdir(mode=0o700)
        environment["GNUPGHOME"] = str(home)
        for member in MEMBERS:
            made = KEY.format(member).encode()
            _timed(["gpg", "--batch", "--quiet", "--gen-key"], env=environment, data=made)
        try:
            vault = _vault(program, folder, environment)
            _table(_measure(program, folder, vault, environment, rounds))
        finally:
            subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)


def _measure(
    program: str, work: Path, vault: Path, environment: dict[str, str], rounds: int
) -> dict[str, float]:
    calls: dict[str, Callable[[Path, dict[str, str]], float]] = {
        "vault recipients add": lambda copy, there: _timed(
            [program, "recipients", "add", MEMBERS[1]], env=there, cwd=copy
        ),
        "pass init": lambda _copy, there: _timed(["pass", "init", *MEMBERS], env=there),
        "vault materialize, 100 secrets": lambda copy, there: _timed(
            [program, "materialize", "many", "--directory", there["OUT"]], env=there, cwd=copy
        ),
        "100 pass show": lambda _copy, there: sum(
            _timed(["pass", "show", f"s{number % 10}/{number}"], env=there) for number in range(SOME)
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            copy, state = _copy(work, vault), _copy(work, Path(environment["XDG_STATE_HOME"]))
            for file in state.rglob("*.json"):  # approvals are of one clone, which the copy now is
                file.write_text(file.read_text().replace(str(vault.resolve()), str(copy.resolve())))
            out = Path(tempfile.mkdtemp(dir="/dev/shm"))
            there = environment | {
                "XDG_STATE_HOME": str(state),
                "PASSWORD_STORE_DIR": str(copy / "secrets"),
                "OUT": str(out),
            }
            times[name].append(call(copy, there))
            for tree in (copy, state, out):
                shutil.rmtree(tree)
    return {name: statistics.median(values) for name, values in times.items()}


def _vault(program: str, work: Path, environment: dict[str, str]) -> Path:
    vault = work / "vault"
    making = ["init", "--no-commit", "--backend", "gpg", "--recipient", MEMBERS[0], str(vault)]
    _timed([program, *making], cwd=work, env=environment)
    for number, value in enumerate(_values().split()):
        entry = vault / f"secrets/s{number % 10}/{number}.gpg"
        entry.parent.mkdir(exist_ok=True)
        encrypt = ["gpg", "--batch", "--quiet", "--trust-model", "always", "--output", str(entry)]
        _timed([*encrypt, "--encrypt", "--recipient", MEMBERS[0]], env=environment, data=value)
    values = ", ".join(f'V{number} = "s{number % 10}/{number}"' for number in range(SOME))
    with (vault / "vault.toml").open("a") as file:
        file.write(SERVICE.format(values=values))
    _commit(vault, environment)
    return vault


def _table(medians: dict[str, float]) -> None:
    width = max(map(len, medians))
    for name, median in medians.items():
        print(f"{name:{width}}  {median:8.2f} s")
    adding = medians["vault recipients add"] / medians["pass init"]
    delivering = medians["vault materialize, 100 secrets"] / medians["100 pass show"]
    print(f"\n{MANY} secrets for one more: {adding:.3f} of pass init (budget {BUDGET})")
    print(f"{SOME} secrets delivered: {delivering:.3f} of pass show (budget {BUDGET})")


if __name__ == "__main__":
    main()
