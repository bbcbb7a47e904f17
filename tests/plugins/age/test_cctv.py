"""All CCTV vectors: each gives the class of result that it expects, and the plaintext."""

import hashlib
import io
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest

from tskeyvault.errors import IntegrityError, LockedError
from tskeyvault_age import armor, file, header
from tskeyvault_age.file import Identity
from tskeyvault_age.hybrid import HybridIdentity
from tskeyvault_age.scrypt import ScryptIdentity
from tskeyvault_age.x25519 import X25519Identity

FOLDER = Path(__file__).parent / "cctv"


class Vector(NamedTuple):
    """One file of the collection."""

    name: str
    fields: dict[str, list[str]]
    content: bytes

    @property
    def expect(self) -> str:
        """The class of the result, in the words of CCTV."""
        return self.fields["expect"][0]

    @property
    def identities(self) -> list[Identity]:
        """The identities and passphrases to try, in order."""
        passphrases = [text.encode() for text in self.fields.get("passphrase", ())]
        keys = self.fields.get("identity", ())
        return [*(_identity(text) for text in keys), *map(ScryptIdentity, passphrases)]

    @property
    def binary(self) -> bytes:
        """The age file without its armor; for some vectors this raises."""
        return armor.decode(self.content) if "armored" in self.fields else self.content


def _read(path: Path) -> Vector:
    head, _, content = path.read_bytes().partition(b"\n\n")
    fields: dict[str, list[str]] = {}
    for line in head.decode().splitlines():
        key, _, value = line.partition(": ")
        fields.setdefault(key, []).append(value)
    if "compressed" in fields:
        content = zlib.decompress(content)
    return Vector(path.name, fields, content)


def _identity(text: str) -> Identity:
    kind = HybridIdentity if text.startswith("AGE-SECRET-KEY-PQ-") else X25519Identity
    return kind.parse(text)


ALL = [_read(path) for path in sorted(FOLDER.iterdir()) if path.suffix == "" and path.name[0] != "."]
ARMORED = [vector for vector in ALL if "armored" in vector.fields]
# What the message of the error has to say for each class.
CLASSES = {
    "no match": (LockedError, "no identity"),
    "HMAC failure": (IntegrityError, "MAC:"),
    "payload failure": (IntegrityError, "payload:"),
    "header failure": (IntegrityError, "header:|payload: cut short"),
    "armor failure": (IntegrityError, "armor:"),
}
# We hold each chunk back until it is known whether another follows, where age tries both ways and releases it.
WE_RELEASE_LESS = ("stream_trailing", "stream_two_final", "stream_no_final", "armor_garbage_encoded")


def _named(vector: Vector) -> str:
    return vector.name


def test_no_vector_is_lost() -> None:
    assert len(ALL) == 143
    assert len(ARMORED) == 33


@pytest.mark.parametrize("vector", ALL, ids=_named)
def test_vector(vector: Vector) -> None:
    if vector.expect == "success":
        plaintext = file.decrypt(vector.binary, vector.identities)
        assert hashlib.sha256(plaintext).hexdigest() == vector.fields["payload"][0]
        return
    kind, message = CLASSES[vector.expect]
    with pytest.raises(kind, match=message):
        file.decrypt(vector.binary, vector.identities)


@pytest.mark.parametrize("vector", ALL, ids=_named)
def test_vector_as_a_stream_whose_armor_is_found_out(vector: Vector) -> None:
    target = io.BytesIO()
    if vector.expect == "success":
        file.decrypt_stream(io.BytesIO(vector.content), target, vector.identities)
        assert hashlib.sha256(target.getvalue()).hexdigest() == vector.fields["payload"][0]
        return
    kind, message = CLASSES[vector.expect]
    # What does not begin as armor does is taken for a binary file, and none of those either.
    with pytest.raises(kind, match=f"{message}|header:" if vector in ARMORED else message):
        file.decrypt_stream(io.BytesIO(vector.content), target, vector.identities)
    if "payload" in vector.fields and not vector.name.startswith(WE_RELEASE_LESS):
        assert hashlib.sha256(target.getvalue()).hexdigest() == vector.fields["payload"][0]


@pytest.mark.parametrize(
    "vector", [vector for vector in ALL if "file key" in vector.fields and vector not in ARMORED], ids=_named
)
def test_header_is_written_as_it_was_read(vector: Vector) -> None:
    if vector.expect == "header failure":
        return
    parsed = header.parse(vector.content)
    again = header.serialise(parsed.stanzas, bytes.fromhex(vector.fields["file key"][0]))
    assert again.startswith(parsed.authenticated + b" ")


@pytest.mark.parametrize("vector", [vector for vector in ARMORED if vector.expect == "success"], ids=_named)
def test_armor_is_written_as_it_was_read(vector: Vector) -> None:
    again = armor.encode(armor.decode(vector.content))
    assert again == vector.content.strip().replace(b"\r\n", b"\n") + b"\n"
