"""Whole files: the binding under the MAC, many recipients, and damage anywhere."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.age.softkeys import TagIdentity, TagPQIdentity
from tskeyvault.errors import IntegrityError, LockedError, UsageError
from tskeyvault.spec import Stanza
from tskeyvault_age import armor, file, header
from tskeyvault_age.header import MAX_HEADER, MAX_STANZAS
from tskeyvault_age.hybrid import HybridIdentity
from tskeyvault_age.x25519 import X25519Identity

BINDING = b"tailscale/key 7"
IDENTITY = X25519Identity.generate()


@given(st.binary(max_size=300), st.binary(max_size=4095), st.integers(1, 4))
def test_round_trip_for_every_recipient(plaintext: bytes, binding: bytes, count: int) -> None:
    readers = [X25519Identity.generate() for _ in range(count)]
    data = file.encrypt(plaintext, [reader.recipient for reader in readers], binding)
    assert file.read_binding(data) == binding
    for reader in readers:
        assert file.decrypt(data, [IDENTITY, reader]) == plaintext
    with pytest.raises(LockedError):
        file.decrypt(data, [IDENTITY])


def test_no_two_files_of_the_same_content_share_anything_secret() -> None:
    one, two = (file.encrypt(b"same", [IDENTITY.recipient], b"") for _ in range(2))
    assert len(one) == len(two)
    assert one[-36:] != two[-36:]


def test_stanzas_are_the_recipients_in_order_and_then_the_binding() -> None:
    other = X25519Identity.generate()
    stanzas = header.parse(file.encrypt(b"", [other.recipient, IDENTITY.recipient], BINDING)).stanzas
    assert [stanza.args[0] for stanza in stanzas] == ["X25519", "X25519", "tskeyvault"]
    assert other.unwrap(stanzas[:1]) is not None
    assert IDENTITY.unwrap(stanzas[1:2]) is not None
    assert stanzas[2] == Stanza(("tskeyvault", "v1"), BINDING)


@settings(max_examples=300)
@given(st.data())
def test_every_damage_to_a_file_is_noticed(data: st.DataObject) -> None:
    good = file.encrypt(b"plain", [IDENTITY.recipient], BINDING)
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.binary(max_size=2).filter(lambda new: new != good[place : place + 1]))
    with pytest.raises((IntegrityError, LockedError)):
        file.decrypt(good[:place] + other + good[place + 1 :], [IDENTITY])


def test_every_cut_and_every_addition_is_noticed() -> None:
    good = file.encrypt(b"plain", [IDENTITY.recipient], BINDING)
    for bad in (*(good[:end] for end in range(len(good))), good + b"\n", b"\n" + good):
        with pytest.raises(IntegrityError):
            file.decrypt(bad, [IDENTITY])


@given(st.binary())
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        file.decrypt(data, [IDENTITY])
    with pytest.raises(IntegrityError):
        file.read_binding(data)


def _with_stanzas(data: bytes, stanzas: list[Stanza], *, forge_mac: bool) -> bytes:
    """Return an age file with other stanzas; its MAC is the old one, or made by a reader."""
    parsed = header.parse(data)
    file_key = IDENTITY.unwrap(parsed.stanzas)
    assert file_key is not None
    head = header.serialise(stanzas, file_key)
    if not forge_mac:
        head = head[: head.rindex(b"---") + 4] + header.b64encode(parsed.mac) + b"\n"
    return head + data[parsed.payload_start :]


def test_binding_cannot_be_changed_removed_moved_or_doubled_without_the_file_key() -> None:
    good = file.encrypt(b"plain", [IDENTITY.recipient], BINDING)
    reader, bound = header.parse(good).stanzas
    assert file.decrypt(_with_stanzas(good, [reader, bound], forge_mac=False), [IDENTITY]) == b"plain"
    for stanzas in (
        [reader, bound._replace(body=b"tailscale/key 8")],
        [reader, bound._replace(args=("Tskeyvault", "v1"))],
        [reader],
        [bound, reader],
        [reader, bound, bound],
    ):
        with pytest.raises(IntegrityError, match=r"MAC|binding"):
            file.decrypt(_with_stanzas(good, stanzas, forge_mac=False), [IDENTITY])


@pytest.mark.parametrize(
    ("stanzas", "reason"),
    [
        ([Stanza(("tskeyvault", "v1"), b"a")] * 2, "binding: there is more than one"),
        ([Stanza(("tskeyvault", "v1", "x"), b"a")], "binding: malformed"),
        ([Stanza(("tskeyvault",), b"a")], "binding: malformed"),
        ([Stanza(("tskeyvault", "v1"), b"")], "binding: malformed"),
        ([Stanza(("tskeyvault", "v2"), b"a")], "written by a newer version"),
        ([Stanza(("tskeyvault", "v2", "x"), b"")], "written by a newer version"),
    ],
)
def test_binding_of_another_form_is_refused_even_from_a_reader(stanzas: list[Stanza], reason: str) -> None:
    good = file.encrypt(b"plain", [IDENTITY.recipient], b"")
    bad = _with_stanzas(good, [*header.parse(good).stanzas, *stanzas], forge_mac=True)
    with pytest.raises(IntegrityError, match=reason):
        file.decrypt(bad, [IDENTITY])
    with pytest.raises(IntegrityError, match=reason):
        file.read_binding(bad)


def test_file_for_too_many_recipients_is_not_written() -> None:
    most = [IDENTITY.recipient] * MAX_STANZAS
    assert file.decrypt(file.encrypt(b"x", most, b""), [IDENTITY]) == b"x"
    with pytest.raises(UsageError, match="too many recipients"):
        file.encrypt(b"x", most, BINDING)
    with pytest.raises(UsageError, match="too many recipients"):
        file.encrypt(b"x", most[:1], bytes(MAX_HEADER))


def test_malformed_stanza_for_someone_else_does_no_harm() -> None:
    good = file.encrypt(b"plain", [IDENTITY.recipient], b"")
    stanzas = [Stanza(("mlkem768x25519",), b"?"), *header.parse(good).stanzas]
    assert file.decrypt(_with_stanzas(good, stanzas, forge_mac=True), [IDENTITY]) == b"plain"


def test_streams_and_bytes_are_the_same_format() -> None:
    plaintext = bytes(200_000)
    sealed, opened = io.BytesIO(), io.BytesIO()
    file.encrypt_stream(io.BytesIO(plaintext), sealed, [IDENTITY.recipient], BINDING)
    assert file.decrypt(sealed.getvalue(), [IDENTITY]) == plaintext
    assert file.read_binding(sealed.getvalue()) == BINDING
    for text in (sealed.getvalue(), armor.encode(sealed.getvalue())):
        opened = io.BytesIO()
        file.decrypt_stream(io.BytesIO(text), opened, [IDENTITY])
        assert opened.getvalue() == plaintext


def test_nothing_is_written_before_the_header_is_verified() -> None:
    target = io.BytesIO()
    with pytest.raises(LockedError):
        file.decrypt_stream(io.BytesIO(file.encrypt(b"x", [IDENTITY.recipient], b"")), target, [])
    assert target.getvalue() == b""


def test_endless_header_is_given_up() -> None:
    class Endless(io.RawIOBase):
        total = 0

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            buffer[:] = b"-> a\n\n" * (len(buffer) // 6) + b"-> a\n\n"[: len(buffer) % 6]
            self.total += len(buffer)
            return len(buffer)

    endless = Endless()
    with pytest.raises(IntegrityError):
        file.decrypt_stream(endless, io.BytesIO(), [IDENTITY])
    assert endless.total < 2 * MAX_HEADER


def test_kinds_that_cannot_be_mixed_are_named() -> None:
    hybrid, tagged = HybridIdentity.generate().recipient, TagPQIdentity().recipient
    with pytest.raises(UsageError) as caught:
        file.encrypt(b"", [IDENTITY.recipient, hybrid], b"")
    message = caught.value.message
    assert f"{str(IDENTITY.recipient)[:20]}... (classic) and {str(hybrid)[:20]}... (post-quantum)" in message
    assert "post-quantum all (age1pq1, age1tagpq1) or none" in caught.value.hint
    assert len(header.parse(file.encrypt(b"", [hybrid, tagged], b"")).stanzas) == 2
    assert (
        len(header.parse(file.encrypt(b"", [TagIdentity().recipient, IDENTITY.recipient], b"")).stanzas) == 2
    )


def test_readers_do_not_mind_a_mixture() -> None:
    hybrid = HybridIdentity.generate()
    good = file.encrypt(b"plain", [IDENTITY.recipient], b"")
    file_key = IDENTITY.unwrap(header.parse(good).stanzas)
    assert file_key is not None
    stanzas = [*hybrid.recipient.wrap(file_key), *header.parse(good).stanzas]
    assert file.decrypt(_with_stanzas(good, stanzas, forge_mac=True), [hybrid]) == b"plain"
