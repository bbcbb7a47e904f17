"""Fixtures for the age plugin: fresh keys, and the real age program."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tskeyvault.spec import Secret
from tskeyvault_age.plugin import Plugin
from tskeyvault_age.x25519 import X25519Identity

# A slow machine is no failure: the first example also pays for the import of the cryptography.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture(scope="session")
def identity() -> X25519Identity:
    return X25519Identity.generate()


@pytest.fixture(scope="session")
def secret() -> Secret:
    return Secret("tailscale/key", "secrets/tailscale/key.age")


@pytest.fixture
def identity_file(tmp_path: Path, identity: X25519Identity) -> Path:
    path = tmp_path / "identity.txt"
    path.write_text(f"# a comment\n\n{identity.export()}\n")
    return path


@pytest.fixture
def plugin(identity_file: Path) -> Plugin:
    return Plugin({"identities": (str(identity_file),)})


@pytest.fixture(scope="session")
def age() -> Callable[..., bytes]:
    """Return a function that runs the real age on some input and returns its output."""
    if shutil.which("age") is None:
        pytest.fail("the program 'age' is not installed; tests/run.sh installs it", pytrace=False)

    def run(*arguments: str, stdin: bytes) -> bytes:
        done = subprocess.run(["age", *arguments], input=stdin, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


class SSHKeys:
    """Makes SSH keys with the real ssh-keygen, each kind once a session."""

    def __init__(self, folder: Path):
        self._folder = folder

    def make(self, kind: str, *options: str, passphrase: str = "") -> Path:
        """Return the path of a private key; the public one lies beside it, with ``.pub``."""
        path = self._folder / "-".join([kind, *options, passphrase]).replace("/", "_")
        if not path.exists():
            command = [
                "ssh-keygen",
                "-q",
                "-t",
                kind,
                "-N",
                passphrase,
                "-C",
                "me@host",
                *options,
                "-f",
                str(path),
            ]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return path


@pytest.fixture(scope="session")
def ssh_keys(tmp_path_factory: pytest.TempPathFactory) -> SSHKeys:
    if shutil.which("ssh-keygen") is None:
        pytest.fail("the program 'ssh-keygen' is not installed; tests/run.sh installs it", pytrace=False)
    return SSHKeys(tmp_path_factory.mktemp("ssh"))
