"""One machine for all end-to-end tests, with the project installed as a user would have it."""

import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import needs, uv
from support.host import Host, shell
from support.pcsc import Pcscd, pcscd
from support.systemd import Machine

INSTALLED = "/opt/tskeyvault"

_numbers = itertools.count(1)


def _build(scratch: Path) -> Path:
    """Make a virtual environment that can be moved, with the wheel of the checkout and what the lock names."""
    tree = scratch / "tree"
    requirements = scratch / "requirements.txt"
    uv.run("build", "--wheel", "--out-dir", scratch)
    wheel = next(scratch.glob("*.whl"))
    options = ("--locked", "--no-default-groups", "--extra", "yubikey", "--no-emit-project")
    uv.run("export", *options, "--output-file", requirements)
    uv.run("venv", "--relocatable", "--python", needs.SYSTEM_PYTHON, tree)
    install = ("pip", "install", "--python", tree / "bin/python")
    uv.run(*install, "--require-hashes", "--requirements", requirements)
    uv.run(*install, "--no-deps", wheel)
    return tree


def _build_for_trixie(scratch: Path) -> Path:
    """Make the same for the Python 3.13 of Debian 13, without what would have to be compiled for it."""
    tree, requirements = scratch / "tree", scratch / "requirements.txt"
    wheels = (
        "--python-version",
        "3.13",
        "--only-binary",
        ":all:",
        "--target",
        tree / "lib/python3.13/site-packages",
    )
    uv.run("build", "--wheel", "--out-dir", scratch)
    options = ("--locked", "--no-default-groups", "--no-emit-project")
    uv.run("export", *options, "--output-file", requirements)
    uv.run("pip", "install", *wheels, "--require-hashes", "--requirements", requirements)
    uv.run("pip", "install", *wheels, "--no-deps", next(scratch.glob("*.whl")))
    (tree / "bin").mkdir()
    (tree / "bin/python").symlink_to(needs.SYSTEM_PYTHON)
    (tree / "pyvenv.cfg").write_text("home = /usr/bin\n")
    program = tree / "bin/vault"
    program.write_text(
        f"#!{INSTALLED}/bin/python\nimport sys\n\nfrom tskeyvault.__main__ import program\n\nsys.exit(program())\n"
    )
    program.chmod(0o755)
    return tree


def _install(machine: Machine, tree: Path) -> None:
    target = machine.path(INSTALLED)
    # The host that it sees may have one of its own.
    machine.run("rm", "-rf", INSTALLED, "/etc/tskeyvault", "/var/lib/tskeyvault")
    target.parent.mkdir(mode=0o755, exist_ok=True)
    subprocess.run(
        ["cp", "-R", "--preserve=mode,links,timestamps", "--no-dereference", tree, target], check=True
    )
    machine.run("chmod", "-R", "a+rX,go-w", INSTALLED)
    machine.run(f"{INSTALLED}/bin/python", "-m", "compileall", "-q", "-j0", f"{INSTALLED}/lib")


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Give a booted machine whose units find the program under ``/opt/tskeyvault/bin``."""
    needs.systemd()
    tree = _build(tmp_path_factory.mktemp("install"))
    with Machine() as running:
        _install(running, tree)
        yield running


@pytest.fixture(scope="session")
def trixie(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Give the same machine with the systemd 257 and the podman 5 of Debian 13."""
    root = needs.trixie()
    tree = _build_for_trixie(tmp_path_factory.mktemp("install"))
    with Machine(root) as running:
        _install(running, tree)
        yield running


@pytest.fixture(scope="session")
def host(machine: Machine) -> Host:
    """Give the machine set up as docs/systemd.md says, with a vault that a team made."""
    return Host(machine)


@pytest.fixture
def name(host: Host) -> Iterator[str]:
    """Give a name for a unit, which is stopped in the end; nothing may have seen a key, or be left over."""
    name = f"fault-{next(_numbers)}"
    yield name
    host.stop(f"{name}.service")
    shell(host.machine, f"umount -q /run/{name} || true; rm -rf /run/{name}")
    assert host.leaks() == []
    assert host.leftovers() == []


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Pcscd]:
    """Give a pcscd with empty readers."""
    needs.pcscd()
    with pcscd(tmp_path / "pcsc") as running:
        yield running
