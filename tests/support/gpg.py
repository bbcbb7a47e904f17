"""Keys of the real gpg, made when a test needs them, each person with a home of their own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SECONDS = 60


class Person(NamedTuple):
    """Somebody with a key: the home of their gpg, and the fingerprint."""

    home: Path
    fingerprint: str
    address: str

    @property
    def public(self) -> bytes:
        """Their public key, in armor."""
        return run(self.home, "--armor", "--export", self.fingerprint)

    @property
    def file(self) -> str:
        """What the file of their public key is called in a vault."""
        return f"{self.fingerprint}.asc"


def run(
    home: Path,
    *arguments: str | Path,
    input: bytes = b"",  # noqa: A002 - the name that subprocess.run has
    check: bool = True,
) -> bytes:
    """Run gpg on the keys in *home*; return what it puts out."""
    argv: Sequence[str | Path] = ("gpg", "--homedir", home, "--batch", "--quiet", "--no-tty", *arguments)
    done = subprocess.run(argv, input=input, capture_output=True, timeout=SECONDS, check=False)
    assert not check or done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


@contextmanager
def homes() -> Iterator[Path]:
    """Give a short directory (sockets lie in it) for homes of gpg; in the end all their agents are stopped."""
    folder = Path(tempfile.mkdtemp(prefix="vg", dir="/tmp"))
    try:
        yield folder
    finally:
        for home in folder.iterdir():
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def person(
    folder: Path, name: str, *, passphrase: str = "", expires: str = "never", made: str = ""
) -> Person:
    """Make a key for *name* in a home of their own below *folder*; *made* is when (``20200101T000000``)."""
    home = folder / name.replace(" ", "-")
    home.mkdir(mode=0o700)
    return Person(home, *_key(home, name, passphrase, expires, made))


def another(
    someone: Person, name: str, *, passphrase: str = "", expires: str = "never", made: str = ""
) -> Person:
    """Make one more key in the home of *someone*."""
    return Person(someone.home, *_key(someone.home, name, passphrase, expires, made))


def _key(home: Path, name: str, passphrase: str, expires: str, made: str) -> tuple[str, str]:
    address = f"{name.lower().replace(' ', '.')}@example.invalid"
    faked = ["--faked-system-time", made] if made else []
    quick = ["--pinentry-mode", "loopback", "--passphrase", passphrase, "--quick-generate-key"]
    user = f"{name} <{address}>"
    run(home, *faked, *quick, user, "future-default", "default", expires)
    listed = run(home, "--with-colons", "--list-keys", f"={user}").decode().splitlines()
    return next(line for line in listed if line.startswith("fpr")).split(":")[9], address


def clone(someone: Person, home: Path) -> Person:
    """Return *someone* with a copy of their home, for a test that changes it."""
    shutil.copytree(someone.home, home, ignore=shutil.ignore_patterns("S.*"))
    home.chmod(0o700)
    return someone._replace(home=home)


def agents(home: Path, program: str = "gpg-agent") -> int:
    """Return how many agents, or others of gpg's programs that stay, run for *home*."""
    found = 0
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            found += words[0].endswith(program.encode()) and os.fsencode(home) in words
    return found


def configured(folder: Path, text: str) -> dict[str, str]:
    """Return the environment of a local configuration that is *text*, for secrets of a vault and for the store of pass."""
    path = folder / "settings/tskeyvault/config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[plugins.gpg]\n{text}\n[plugins.pass]\n{text}\n")
    return {"XDG_CONFIG_HOME": str(folder / "settings")}


def with_file(folder: Path, content: str, mode: int = 0o600) -> dict[str, str]:
    """Return the environment in which the passphrase is in a file of *content*."""
    file = folder / "passphrase"
    file.write_text(content)
    file.chmod(mode)
    return configured(folder, f'passphrase_file = "{file}"')
