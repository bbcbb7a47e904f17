"""The other implementations of age, each behind the same two functions."""

import base64
import json
import os
import pty
import shutil
import subprocess
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from support import needs
from tskeyvault_age.file import Identity

CACHE = Path(__file__).parents[3] / ".cache"
GO_AGE = CACHE / "go-age" / "age"
TYPAGE = CACHE / "typage"


class Key(NamedTuple):
    """A key pair, for us and for others."""

    kind: str
    recipient: str
    text: bytes
    """The content of its identity file; empty when it is in hardware."""
    ours: Identity


_CLASSIC = ("x25519", "ssh-ed25519", "ssh-rsa")
READS: Mapping[str, tuple[str, ...]] = {
    "debian": _CLASSIC,
    "go": (*_CLASSIC, "pq"),
    "rage": _CLASSIC,
    "typage": ("x25519", "pq"),
}
"""The kinds of key that each implementation decrypts by."""
WRITES = {name: kinds if name == "debian" else (*kinds, "tag", "tagpq") for name, kinds in READS.items()}
"""The kinds of key that each implementation encrypts to."""


class Oracle(Protocol):
    """An implementation of age."""

    def encrypt(self, plaintext: bytes, recipients: list[str], *, armored: bool = False) -> bytes:
        """Return *plaintext* as an age file for *recipients*."""

    def decrypt(self, ciphertext: bytes, key: Key) -> bytes:
        """Return the plaintext of *ciphertext*, binary or armored."""


class AgeProgram:
    """The age program of FiloSottile/age."""

    def __init__(self, path: str, folder: Path):
        self._path = path
        self._folder = folder

    def encrypt(self, plaintext: bytes, recipients: list[str], *, armored: bool = False) -> bytes:
        """Return *plaintext* as an age file for *recipients*."""
        arguments = [argument for recipient in recipients for argument in ("-r", recipient)]
        return self._run(*arguments, *(["-a"] if armored else []), stdin=plaintext)

    def decrypt(self, ciphertext: bytes, key: Key) -> bytes:
        """Return the plaintext of *ciphertext*, binary or armored."""
        path = self._folder / "identity"
        path.write_bytes(key.text)
        return self._run("-d", "-i", str(path), stdin=ciphertext)

    def with_passphrase(self, data: bytes, passphrase: str, *arguments: str) -> bytes:
        """Return what age with *arguments* makes of *data* when a person at the terminal types *passphrase*."""
        source, target = self._folder / "source", self._folder / "target"
        source.write_bytes(data)
        target.unlink(missing_ok=True)
        pid, terminal = pty.fork()
        if not pid:
            os.execv(self._path, ["age", *arguments, "-o", str(target), str(source)])  # noqa: S606 - no shell wanted
        shown, typed = b"", 0
        try:
            while chunk := os.read(terminal, 4096):
                shown += chunk
                if shown.count(b"passphrase") > typed and shown.rstrip(b" ").endswith(b":"):
                    typed = shown.count(b"passphrase")
                    os.write(terminal, passphrase.encode() + b"\n")
        except OSError:
            pass  # how a terminal says that the other side has gone
        os.close(terminal)
        status = os.waitpid(pid, 0)[1]
        assert status == 0, shown
        return target.read_bytes()

    def _run(self, *arguments: str, stdin: bytes) -> bytes:
        done = subprocess.run([self._path, *arguments], input=stdin, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


class Rage:
    """The age crate of Rust, by pyrage."""

    def encrypt(self, plaintext: bytes, recipients: list[str], *, armored: bool = False) -> bytes:
        """Return *plaintext* as an age file for *recipients*."""
        pyrage = import_module("pyrage")
        kinds = {
            "ssh-": pyrage.ssh,
            "age1tag1": pyrage.tag,
            "age1tagpq1": pyrage.tagpq,
            "age1": pyrage.x25519,
        }
        parsed = []
        for text in recipients:
            kind = next(kind for prefix, kind in kinds.items() if text.startswith(prefix))
            parsed.append(kind.Recipient.from_str(text))
        return bytes(pyrage.encrypt(plaintext, parsed, armored=armored))

    def decrypt(self, ciphertext: bytes, key: Key) -> bytes:
        """Return the plaintext of *ciphertext*, binary or armored."""
        pyrage = import_module("pyrage")
        if key.kind == "x25519":
            identity = pyrage.x25519.Identity.from_str(key.text.decode().strip())
        else:
            identity = pyrage.ssh.Identity.from_buffer(key.text)
        return bytes(pyrage.decrypt(ciphertext, [identity]))


class Typage:
    """The age of JavaScript, from npm."""

    def encrypt(self, plaintext: bytes, recipients: list[str], *, armored: bool = False) -> bytes:
        """Return *plaintext* as an age file for *recipients*; it has no armor of its own to test."""
        assert not armored
        return self.run({"recipients": recipients}, "encrypt", plaintext)

    def decrypt(self, ciphertext: bytes, key: Key) -> bytes:
        """Return the plaintext of *ciphertext*, which is binary."""
        return self.run({"identities": [key.text.decode().strip()]}, "decrypt", ciphertext)

    def run(self, task: Mapping[str, object], command: str, data: bytes) -> bytes:
        """Return what *command*, encrypt or decrypt, makes of *data* with the keys in *task*."""
        script = Path(__file__).with_name("interop") / "typage.mjs"
        text = json.dumps({**task, command: base64.b64encode(data).decode()}).encode()
        done = subprocess.run(
            ["node", str(script), str(TYPAGE)], input=text, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


def debian_age(folder: Path) -> AgeProgram:
    """Return the age on PATH."""
    path = shutil.which("age")
    if path is None:
        pytest.fail("the program 'age' is not installed; tests/run.sh installs it", pytrace=False)
    return AgeProgram(path, folder)


def go_age(folder: Path) -> AgeProgram:
    """Return the current age, which has every kind."""
    needs.program("go")
    _made_by_run_sh(GO_AGE)
    return AgeProgram(str(GO_AGE), folder)


def typage() -> Typage:
    """Return typage."""
    needs.program("node", "npm")
    _made_by_run_sh(TYPAGE / "node_modules")
    return Typage()


def _made_by_run_sh(path: Path) -> None:
    if not path.exists():
        pytest.fail(f"{path} is not there; tests/run.sh makes it", pytrace=False)
