"""Other scanners of secrets as pre-commit hooks: installs those that can be had here, and says how git runs each."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_CHANGED = "git diff --cached --name-only --diff-filter=d -z | xargs -0"


class Other(NamedTuple):
    """A scanner that is installed: its name, version, and the command of its hook."""

    name: str
    version: str
    command: str


def installed(cache: Path) -> list[Other]:
    """Install below *cache* what is not there yet, and return all that could be."""
    found = [_gitleaks(cache), _ripsecrets(cache), _detect_secrets(cache), _secretlint(cache)]
    return [other for other in found if other]


def _gitleaks(cache: Path) -> Other | None:
    program = cache / "bin/gitleaks"
    module = "github.com/zricethezav/gitleaks/v8"
    if not _made(program, ["env", f"GOBIN={program.parent}", "go", "install", f"{module}@latest"]):
        return None
    version = _version(["go", "version", "-m", program], rf"mod\s+{module}\s+v([0-9.]+)")
    return Other("gitleaks", version, f"exec '{program}' git --pre-commit --staged --no-banner")


def _ripsecrets(cache: Path) -> Other | None:
    program = cache / "bin/ripsecrets"
    if not _made(program, ["cargo", "install", "--quiet", "--root", cache, "ripsecrets"]):
        return None
    version = _version([program, "--version"], r"([0-9.]+)")
    return Other("ripsecrets", version, f"{_CHANGED} '{program}' --strict-ignore")


def _detect_secrets(cache: Path) -> Other | None:
    program = cache / "detect-secrets/bin/detect-secrets-hook"
    python = program.with_name("python")
    _made(python, ["python3", "-m", "venv", cache / "detect-secrets"])
    if not _made(program, [python, "-m", "pip", "install", "--quiet", "detect-secrets"]):
        return None
    version = _version([program, "--version"], r"([0-9.]+)")
    return Other("detect-secrets", version, f"{_CHANGED} '{program}'")


def _secretlint(cache: Path) -> Other | None:
    program = cache / "secretlint/node_modules/.bin/secretlint"
    rules = "@secretlint/secretlint-rule-preset-recommend"
    place = cache / "secretlint"
    if not _made(program, ["npm", "install", "--silent", "--prefix", place, "secretlint", rules]):
        return None
    configuration = place / "secretlintrc.json"
    configuration.write_text(f'{{"rules": [{{"id": "{rules}"}}]}}\n')
    version = _version([program, "--version"], r"([0-9.]+)")
    return Other("secretlint", version, f"{_CHANGED} '{program}' --secretlintrc '{configuration}'")


def _made(path: Path, argv: Sequence[str | Path]) -> bool:
    """Run *argv* where *path* is not there, and tell whether it is there then."""
    if not path.exists() and shutil.which(argv[0] if argv[0] != "env" else argv[2]):
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"{path.name} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
    return path.exists()


def _version(argv: Sequence[str | Path], expression: str) -> str:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    found = re.search(expression, done.stdout + done.stderr)
    return found[1] if found else "?"
