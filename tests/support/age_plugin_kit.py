"""What tests of plugin programs need: the program installed, keys for it, and a user who answers."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tskeyvault_age import bech32

DEMO = Path(__file__).with_name("age_plugin_demo.py")


class Person:
    """A user with ready answers, who notes what was said; *look* is called at each question."""

    def __init__(
        self,
        *,
        public: str | None = None,
        secret: bytes | None = None,
        sure: bool | None = None,
        look: Callable[[], object] = object,
    ):
        self.heard: list[str] = []
        self._public = public
        self._secret = secret
        self._sure = sure
        self._look = look

    def message(self, text: str) -> None:
        """Hear *text*."""
        self.heard.append(text)

    def confirm(self, question: str, yes: str, no: str) -> bool | None:
        """Answer whether sure."""
        self._asked(f"{question} [{yes}] [{no}]")
        return self._sure

    def public(self, prompt: str) -> str | None:
        """Answer what may be seen."""
        self._asked(prompt)
        return self._public

    def secret(self, prompt: str) -> bytes | None:
        """Answer a secret."""
        self._asked(prompt)
        return self._secret

    def progress(self, done: int, total: int) -> None:
        """Show nothing."""

    def _asked(self, question: str) -> None:
        self.heard.append(question)
        self._look()


class Pair(NamedTuple):
    """A key of the demo plugin; more may be added to either half, which tells the program what to do."""

    public: bytes
    private: bytes

    def recipient(self, *words: str) -> str:
        """Return the public half, with *words* for the program."""
        return bech32.encode("age1demo", self.public + ",".join(words).encode())

    def identity(self, *words: str) -> str:
        """Return the private half, with *words* for the program."""
        return bech32.encode("AGE-PLUGIN-DEMO-", self.private + ",".join(words).encode())


def make_pair() -> Pair:
    """Return a new key."""
    private = X25519PrivateKey.generate()
    return Pair(private.public_key().public_bytes_raw(), private.private_bytes_raw())


def install(directory: Path, name: str = "age-plugin-demo") -> Path:
    """Put the demo program into *directory*, to be run by this Python."""
    return install_text(directory / name, f"#!{sys.executable}\n{DEMO.read_text()}")


def install_text(path: Path, text: str) -> Path:
    """Make the executable file *path*."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def children() -> set[str]:
    """Return the processes of ours, machines of other tests among them, by number; one that was not reaped has a Z."""
    return _having(4, os.getpid())


def group(leader: int) -> set[str]:
    """Return the living processes in the process group of *leader*, by number."""
    return {process for process in _having(5, leader) if not process.endswith("Z")}


def _having(field: int, value: int) -> set[str]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue  # it ended meanwhile
        fields = ["", stat.parent.name, "", *text.rpartition(")")[2].split()]
        if fields[field] == str(value):
            found.add(stat.parent.name + fields[3] * (fields[3] == "Z"))
    return found
