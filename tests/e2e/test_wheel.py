"""The wheel, installed as a user does it: into an empty environment, on a machine without a compiler."""

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

import tskeyvault
from support import uv
from support.nixos import MODULES
from support.vaults import made_key

COMPILERS = re.compile(r"(.*-)?(cc|gcc|c\+\+|g\+\+|cpp|clang|tcc|c89|c99|rustc|cargo|ld|as)([-.].*)?")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give a PATH on which stands everything but compilers."""
    directory = tmp_path_factory.mktemp("bin")
    for folder in os.get_exec_path():
        for name in os.listdir(folder) if Path(folder).is_dir() else []:
            if not COMPILERS.fullmatch(name) and not (directory / name).is_symlink():
                (directory / name).symlink_to(Path(folder, name).resolve())
    return str(directory)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the wheel of the checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    uv.run("build", "--wheel", "--out-dir", directory)
    [found] = directory.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, path: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the programs of an environment that holds the wheel and what it needs."""
    tree = tmp_path_factory.mktemp("installed") / "tree"
    uv.run("venv", "--python", sys.executable, tree)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", path)
        for name in ("CC", "CXX"):
            patched.delenv(name, raising=False)
        uv.run("pip", "install", "--python", tree / "bin/python", "--only-binary", ":all:", wheel)
    return tree / "bin"


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"tskeyvault-{tskeyvault.__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names}
    information = f"tskeyvault-{tskeyvault.__version__}.dist-info"
    assert {"tskeyvault", "tskeyvault_age", information} <= tops
    assert all(top.startswith("tskeyvault") for top in tops)
    assert {f"tskeyvault/units/nixos/{path.name}" for path in MODULES.iterdir()} <= names
    assert {"tskeyvault/py.typed", f"{information}/licenses/LICENSE", "tskeyvault/cli/init.py"} <= names
    assert not [name for name in names if re.search(r"(^|/)tests?/|conftest|\.pyc$|^core|^plugins", name)]


def test_the_main_job_runs_from_the_wheel(
    installed: Path, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("PATH", path)

    def run(program: str, *words: str | Path, value: bytes = b"") -> bytes:
        argv = [installed / program, *words]
        done = subprocess.run(argv, input=value, capture_output=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run("python", "-c", "import tskeyvault; print(tskeyvault.__file__)").decode()
    assert where.startswith(str(installed.parent))
    assert run("vault", "--help").startswith(b"usage: vault ")
    version = f"vault {tskeyvault.__version__}\n".encode()
    assert run("tskeyvault", "--version") == run("python", "-m", "tskeyvault", "--version") == version
    vault = tmp_path / "vault"
    run("vault", "init", vault)
    key = made_key()
    run("vault", "--vault", vault, "insert", "tailscale/key", value=key)
    assert run("vault", "--vault", vault, "show", "tailscale/key") == key
    assert run("tskeyvault", "ls", "--vault", vault) == b"tailscale/key\n"
    with tempfile.TemporaryDirectory(prefix="tskeyvault-test-", dir="/dev/shm") as target:
        run("vault", "--vault", vault, "materialize", "--secret", "tailscale/key", "--to", f"{target}/tskey")
        assert Path(target, "tskey").read_bytes() == key
        assert Path(target, "tskey").stat().st_mode & 0o7777 == 0o400
