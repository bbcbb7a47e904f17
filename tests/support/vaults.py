"""The real command line in a subprocess, and vaults for it to work on."""

import os
import secrets
import shutil
import string
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from support import warm

SOURCES = Path(__file__).parents[2]
"""The checkout: its ``core``, ``plugins`` and ``hooks`` are what is run."""

PATH = warm.PATH
"""Of the packages of the checkout."""

SECONDS = 60

_LETTERS = string.ascii_letters + string.digits


class Result(NamedTuple):
    """How a run of ``vault`` ended."""

    code: int
    out: bytes
    err: str


class Made(NamedTuple):
    """A vault of one reader, in a git work tree of its own."""

    directory: Path
    recipient: str


def run_vault(
    *arguments: str | Path,
    input: bytes = b"",  # noqa: A002 - the name that subprocess.run has
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Result:
    """Run ``vault`` with the test's environment, and *env* over it, without a terminal."""
    environment = _environment(env)
    if not warm.is_as_usual(environment):
        return run_python("-m", "tskeyvault", *arguments, input=input, env=env, cwd=cwd)
    code, out, err = warm.run(list(map(str, arguments)), input, environment, cwd, SECONDS)
    return Result(code, out, err.decode(errors="surrogateescape"))


def run_python(
    *arguments: str | Path,
    input: bytes = b"",  # noqa: A002 - the name that subprocess.run has
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Result:
    """Run this Python with the checkout's packages; a PYTHONPATH in *env* comes after them."""
    done = subprocess.run(
        [sys.executable, *arguments],
        input=input,
        capture_output=True,
        env=_environment(env),
        cwd=cwd,
        timeout=SECONDS,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr.decode(errors="surrogateescape"))


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [PATH, (env or {}).get("PYTHONPATH")]))
    return {**os.environ, **(env or {}), "PYTHONPATH": path}


def made_key() -> bytes:
    """Return a random value in the form of a Tailscale auth key, which has never been a key."""
    parts = ("tskey", "auth", "k" + _random(11) + "CNTRL", _random(32))
    return "-".join(parts).encode()


def make_vault(directory: Path) -> Made:
    """Make a vault in the new *directory* by ``vault init``, and an age key where this user has none."""
    done = run_vault("init", directory)
    assert done.code == 0, done.err
    lines = (directory / "secrets/.age-recipients").read_text().splitlines()
    return Made(directory, next(line for line in lines if not line.startswith("#")))


def services(directory: Path, text: str) -> None:
    """Append *text*, tables of services, to the ``vault.toml`` in *directory*."""
    with (directory / "vault.toml").open("a") as file:
        file.write(text)


def _random(size: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(size))


def make_world(top: Path, values: Mapping[str, bytes]) -> None:
    """Make a home and a vault with *values*, by name, below *top*, to be copied; nothing is committed."""
    home = {"XDG_CONFIG_HOME": f"{top}/home/.config", "XDG_STATE_HOME": f"{top}/home/.local/state"}
    assert run_vault("init", top / "vault", "--no-commit", env=home).code == 0
    for name, value in values.items():
        words = ("insert", name, "--no-commit", "--vault", top / "vault")
        assert run_vault(*words, input=value, env=home).code == 0


def copy_world(old: Path, new: Path, *ignored: str) -> None:
    """Copy homes and vaults below *old* to *new*; what was approved of the vaults is approved of the copies."""
    shutil.copytree(old, new, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*ignored))
    for state in new.glob("**/tskeyvault/*.json"):
        state.write_text(state.read_text().replace(str(old.resolve()), str(new.resolve())))
