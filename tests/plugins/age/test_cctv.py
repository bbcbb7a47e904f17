"""The CCTV vectors that need only X25519 and the binary form."""

import hashlib
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest

from tskeyvault.errors import IntegrityError, LockedError
from tskeyvault_age import file, header
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


def _read(path: Path) -> Vector:
    head, _, content = path.read_bytes().partition(b"\n\n")
    fields: dict[str, list[str]] = {}
    for line in head.decode().splitlines():
        key, _, value = line.partition(": ")
        fields.setdefault(key, []).append(value)
    if "compressed" in fields:
        content = zlib.decompress(content)
    return Vector(path.name, fields, content)


def _needs_only_x25519(vector: Vector) -> bool:
    hybrid = any(text.startswith("AGE-SECRET-KEY-PQ-") for text in vector.fields.get("identity", ()))
    return not (hybrid or "armored" in vector.fields or "passphrase" in vector.fields)


ALL = [_read(path) for path in sorted(FOLDER.iterdir()) if path.suffix == "" and path.name[0] != "."]
OURS = [vector for vector in ALL if _needs_only_x25519(vector)]


def test_no_vector_is_lost() -> None:
    assert len(ALL) == 143
    assert len(OURS) == 67


@pytest.mark.parametrize("vector", OURS, ids=lambda vector: vector.name)
def test_vector(vector: Vector) -> None:
    identities = [X25519Identity.parse(text) for text in vector.fields.get("identity", ())]
    if vector.expect == "success":
        plaintext = file.decrypt(vector.content, identities)
        assert hashlib.sha256(plaintext).hexdigest() == vector.fields["payload"][0]
        return
    parts = {"no match": "no identity", "HMAC failure": "MAC:", "payload failure": "payload:"}
    expected = LockedError if vector.expect == "no match" else IntegrityError
    with pytest.raises(expected, match=parts.get(vector.expect, "header:|payload: cut short")):
        file.decrypt(vector.content, identities)


@pytest.mark.parametrize(
    "vector", [vector for vector in OURS if vector.expect != "header failure"], ids=lambda vector: vector.name
)
def test_header_is_written_as_it_was_read(vector: Vector) -> None:
    parsed = header.parse(vector.content)
    again = header.serialise(parsed.stanzas, bytes.fromhex(vector.fields["file key"][0]))
    assert again.startswith(parsed.authenticated + b" ")
