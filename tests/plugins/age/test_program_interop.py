"""Plugin programs with other clients and from other makers: what one side writes opens at the other."""

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from support import needs
from support.age_plugin_kit import Person, install, make_pair
from tskeyvault.errors import PluginError, UsageError
from tskeyvault.spec import Stanza
from tskeyvault_age import bech32, file, program

PLAINTEXT = bytes(range(256)) * 300


class Recipient(NamedTuple):
    """A recipient of a program, as a file wants it."""

    name: str
    text: str
    labels: frozenset[str] = frozenset()

    def wrap(self, file_key: bytes) -> tuple[Stanza, ...]:
        """Return the stanzas that the program makes."""
        return program.wrap(self.name, [self.text], file_key, Person())[0]


class Identity(NamedTuple):
    """An identity of a program, as a file wants it."""

    name: str
    text: str

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the file key that the program finds."""
        return program.unwrap(self.name, [self.text], [stanzas], Person()).get(0)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path / "bin"


@pytest.mark.usefixtures("programs")
def test_age_and_we_use_the_same_program(age: Callable[..., bytes], tmp_path: Path) -> None:
    pair = make_pair()
    identity = tmp_path / "identity"
    identity.write_text(pair.identity("grease") + "\n")
    theirs = age("-r", pair.recipient("grease"), stdin=PLAINTEXT)
    assert file.decrypt(theirs, [Identity("demo", pair.identity())]) == PLAINTEXT
    ours = file.encrypt(PLAINTEXT, [Recipient("demo", pair.recipient("grease"))], b"binding")
    assert age("-d", "-i", str(identity), stdin=ours) == PLAINTEXT
    for_identity = file.encrypt(PLAINTEXT, [Recipient("demo", pair.identity())], b"")
    assert age("-d", "-i", str(identity), stdin=for_identity) == PLAINTEXT


def hybrid_pair(tmp_path: Path) -> tuple[str, str]:
    """Return a recipient and an identity for the program of the makers of age."""
    from tskeyvault_age.hybrid import HybridIdentity

    native = HybridIdentity.generate()
    done = subprocess.run(
        ["age-plugin-pq", "-identity"],
        input=native.export(),
        text=True,
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    return str(native.recipient), done.stdout.strip()


def test_a_program_of_the_makers_of_age(tmp_path: Path) -> None:
    needs.program("age-plugin-pq")
    recipient, identity = hybrid_pair(tmp_path)
    stanzas, labels = program.wrap("pq", [recipient, identity], bytes(range(16)), Person())
    assert [stanza.args[0] for stanza in stanzas] == ["mlkem768x25519"] * 2
    assert labels == {"postquantum"}
    files = [stanzas[:1], (), stanzas[1:], (Stanza(("foreign",), b""),)]
    found = program.unwrap("pq", [identity], files, Person())
    assert found == {0: bytes(range(16)), 2: bytes(range(16))}


def test_errors_of_a_program_of_the_makers_of_age(tmp_path: Path) -> None:
    needs.program("age-plugin-pq")
    recipient, identity = hybrid_pair(tmp_path)
    stanzas, _ = program.wrap("pq", [recipient], bytes(16), Person())
    with pytest.raises(UsageError, match="age-plugin-pq refuses recipient 2: "):
        program.wrap("pq", [recipient, bech32.encode("age1pq", b"short")], bytes(16), Person())
    bad = stanzas[0]._replace(args=("mlkem768x25519", "x"))
    user = Person()
    assert program.unwrap("pq", [identity], [[bad], stanzas], user) == {1: bytes(16)}
    assert [text.partition(": ")[0] for text in user.heard] == ["age-plugin-pq cannot open file 1"]


def test_a_program_without_identities() -> None:
    needs.program("age-plugin-tag")
    point = bytes.fromhex(
        "036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    )  # P-256's base
    stanzas, labels = program.wrap("tag", [bech32.encode("age1tag", point)], bytes(16), Person())
    assert [(len(stanza.args), stanza.args[0]) for stanza in stanzas] == [(3, "p256tag")]
    assert labels == frozenset()
    with pytest.raises(PluginError, match="age-plugin-tag ended before it was done"):
        program.unwrap("tag", [bech32.encode("AGE-PLUGIN-TAG-", b"")], [stanzas], Person())
