"""What a test needs from the machine that it runs on: each function skips the test where that is missing.

No test skips in any other way. The end of the run names those that were skipped, and with
``TSKEYVAULT_REQUIRE_ALL=1`` they fail.
"""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support import pcsc

SANDBOX = Path(__file__).with_name("systemd_sandbox.sh")
TRIXIE = Path(__file__).parents[2] / ".cache/trixie"
SWTPM = Path(__file__).parents[2] / ".cache/swtpm"
SYSTEM_PYTHON = "/usr/bin/python3"


def program(*names: str) -> None:
    """Skip unless all of these programs are on PATH."""
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"needs the program {name}")


def root() -> None:
    """Skip unless the tests run as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


def new_git() -> str:
    """Return the path of a git that takes hooks from its configuration, 2.54 or newer; skip without one."""
    folders = [*os.environ["PATH"].split(os.pathsep), str(Path(__file__).parents[2] / ".cache/newer-git/bin")]
    found = next((path for path in (f"{folder}/git" for folder in folders) if is_new_git(path)), None)
    if found is None:
        pytest.skip("needs git 2.54 or newer")
    return found


@functools.cache
def is_new_git(path: str) -> bool:
    """Tell whether the git at *path* takes hooks from its configuration."""
    try:
        said = subprocess.run([path, "version"], check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    major, minor = said.split()[2].split(".")[:2]
    return (int(major), int(minor)) >= (2, 54)


def shared_memory() -> Path:
    """Return a folder on tmpfs that we can write in; skip without one."""
    folder = Path("/dev/shm")  # noqa: S108 - the one place on tmpfs that everybody has
    if not os.access(folder, os.W_OK):
        pytest.skip("needs a /dev/shm to write in")
    return folder


def no_runtime_directory() -> None:
    """Skip where this user has a folder under /run/user, in which every socket of gpg has a short name."""
    if Path(f"/run/user/{os.geteuid()}").is_dir():
        pytest.skip("needs no /run/user, where sockets have short names")


def pcscd() -> None:
    """Skip unless the real pcscd can run with virtual readers."""
    if reason := pcsc.why_not():
        pytest.skip(reason)


def scdaemon() -> None:
    """Skip unless GnuPG can take a reader."""
    program("gpgconf", "gpg-connect-agent")
    if not Path("/usr/lib/gnupg/scdaemon").exists():
        pytest.skip("needs scdaemon")


def age_plugin_yubikey() -> str:
    """Return the path of the program age-plugin-yubikey; skip without one."""
    own = Path(__file__).parents[2] / ".cache/cargo/bin/age-plugin-yubikey"
    found = shutil.which("age-plugin-yubikey") or (str(own) if own.exists() else "")
    if not found:
        pytest.skip("needs the program age-plugin-yubikey")
    return found


def systemd() -> None:
    """Skip unless a systemd of our own can be booted, with a Python that its units can run."""
    reason = _no_systemd()
    if reason:
        pytest.skip(reason)


def trixie() -> str:
    """Return the path of a tree of Debian 13, with systemd 257, podman 5 and docker, to boot; skip without one."""
    systemd()
    if not (TRIXIE / "made").exists():
        pytest.skip("needs the tree of Debian 13 that tests/support/trixie.sh makes")
    return str(TRIXIE)


def swtpm() -> Path:
    """Return the tree of a software TPM, and of what systemd needs to speak to it; skip without one."""
    if not (SWTPM / "usr/bin/swtpm").exists():
        pytest.skip("needs the software TPM that tests/support/swtpm.sh unpacks")
    return SWTPM


@functools.cache
def _no_systemd() -> str:
    check = subprocess.run(["bash", SANDBOX, "check"], check=False, capture_output=True, text=True)
    if check.returncode:
        return check.stdout.strip() or "needs systemd"
    return _no_system_python()


def system_python() -> str:
    """Return the path of a Python that every user can run; skip without one."""
    reason = _no_system_python()
    if reason:
        pytest.skip(reason)
    return SYSTEM_PYTHON


@functools.cache
def _no_system_python() -> str:
    version = [SYSTEM_PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if not Path(SYSTEM_PYTHON).exists() or subprocess.run(version, check=False).returncode:
        return f"needs {SYSTEM_PYTHON} of version 3.11 or newer"
    return ""
