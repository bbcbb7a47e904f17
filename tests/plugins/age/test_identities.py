"""Identity files: what is read, what is refused, and that no error repeats a key."""

import os
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.age.softkeys import plugin_identity
from tskeyvault.errors import ConfigError, LockedError, VaultError
from tskeyvault.spec import Stanza
from tskeyvault_age import bech32, identities
from tskeyvault_age.hybrid import HybridIdentity
from tskeyvault_age.identities import MAX_FILE, Identities
from tskeyvault_age.x25519 import X25519Identity


def _everything(error: BaseException | None) -> str:
    """Return all that can be reached from an error: texts, arguments, and those of its context."""
    if error is None:
        return ""
    parts = [str(error), repr(error.args), repr(vars(error)), *traceback.format_exception(error)]
    if isinstance(error, UnicodeError):
        parts.append(repr(getattr(error, "object", "")))
    return "\n".join(parts) + _everything(error.__context__)


def _nobody(what: str) -> bytes:
    raise LockedError(f"{what} needs a passphrase")


def _parse(data: bytes, origin: str) -> Identities:
    found = Identities()
    found.add(data, origin, _nobody, None)
    return found


def _parse_and_try(data: bytes) -> None:
    for identity in _parse(data, "f").native:
        identity.unwrap([Stanza(("grease",), b"")])


def _exported(data: bytes) -> list[str]:
    return _keys(_parse(data, "f"))


def _keys(found: Identities) -> list[str]:
    return [identity.export() for identity in found.native if isinstance(identity, X25519Identity)]


@given(
    st.lists(st.sampled_from(["# comment", "#", "", "  ", "KEY"]), max_size=8).map(
        lambda lines: [*lines, "KEY"]
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_comments_blank_lines_and_both_line_ends(lines: list[str], end: str, last: bool) -> None:
    keys = [X25519Identity.generate().export() if line == "KEY" else "" for line in lines]
    text = end.join(key or line for key, line in zip(keys, lines, strict=True)) + end * last
    assert _exported(text.encode()) == [key for key in keys if key]


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_refused_as_an_error_of_the_vault(data: bytes) -> None:
    with pytest.raises((ConfigError, LockedError)):
        _parse_and_try(data)


@given(st.data())
def test_damaged_key_is_named_by_line_and_never_repeated(data: st.DataObject) -> None:
    key = bech32.encode("AGE-SECRET-KEY-", data.draw(st.binary(min_size=32, max_size=32)))
    place = data.draw(st.integers(0, len(key) - 1))
    other = data.draw(st.characters(codec="utf-8", exclude_characters="\n\r#" + key[place]))
    bad = key[:place] + other + key[place + 1 :]
    with pytest.raises(ConfigError, match=r"^identity file 'f': line 3( is|:) ") as caught:
        _parse(f"# a\n\n{bad}\n".encode(), "f")
    assert not _repeats(key, _everything(caught.value))


def _repeats(key: str, text: str) -> bool:
    """Whether any 8 characters of the key's data are in the text."""
    start = len("AGE-SECRET-KEY-1")
    text = text.upper()
    return any(key[at : at + 8] in text for at in range(start, len(key) - 7))


def test_recipient_in_an_identity_file_is_called_by_its_name(identity: X25519Identity) -> None:
    with pytest.raises(ConfigError, match="line 2 is a recipient, not an identity") as caught:
        _parse(f"#\n{identity.recipient}\n".encode(), "f")
    assert str(identity.recipient) not in _everything(caught.value)


def test_key_beside_bytes_that_are_not_utf8_is_never_repeated(identity: X25519Identity) -> None:
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        _parse(identity.export().encode() + b"\xff", "f")
    assert not _repeats(identity.export(), _everything(caught.value))


def test_keys_of_every_kind_are_told_apart(identity: X25519Identity) -> None:
    hybrid = HybridIdentity.generate()
    lines = [hybrid.export(), plugin_identity("demo"), identity.export()]
    found = _parse("\n".join(lines).encode(), "f")
    assert [str(own.recipient) for own in found.plain] == [str(hybrid.recipient), str(identity.recipient)]
    assert [inner.name for inner in found.plugins] == ["demo"]


def test_ssh_public_key_is_called_a_recipient() -> None:
    with pytest.raises(ConfigError, match="line 1 is a recipient"):
        _parse(b"ssh-ed25519 AAAA me@host", "f")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# only a comment\r\n"])
def test_file_without_an_identity_is_locked_with_a_hint(content: bytes) -> None:
    with pytest.raises(LockedError, match="holds no identity") as caught:
        _parse(content, "f")
    assert "vault keygen" in caught.value.hint


def test_all_identities_of_all_files_are_taken_in_order(tmp_path: Path) -> None:
    keys = [X25519Identity.generate().export() for _ in range(4)]
    (tmp_path / "a").write_text("\n".join(keys[:2]))
    (tmp_path / "b").write_text("\n".join(keys[2:]))
    paths = [str(tmp_path / name) for name in ("a", "missing", "b")]
    assert _keys(identities.load(paths, _nobody)) == keys


@pytest.mark.parametrize("paths", [[], ["/nonexistent/identity"]])
def test_no_identity_file_at_all_is_locked_with_a_hint(paths: list[str]) -> None:
    with pytest.raises(LockedError, match=r"^no identity$") as caught:
        identities.load(paths, _nobody)
    assert "vault keygen" in caught.value.hint


def test_link_to_an_identity_file_is_followed(tmp_path: Path, identity_file: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(identity_file)
    assert identities.read(str(link)) == identity_file.read_bytes()


def test_what_is_not_a_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (str(tmp_path / "fifo"), str(tmp_path), "/dev/zero", str(loop)):
        with pytest.raises(LockedError, match="identity file"):
            identities.read(path)


def test_size_limit_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"#" * MAX_FILE)
    assert identities.read(str(path)) == b"#" * MAX_FILE
    path.write_bytes(b"#" * (MAX_FILE + 1))
    with pytest.raises(ConfigError, match="too large"):
        identities.read(str(path))


def test_reading_leaves_no_descriptor_open(tmp_path: Path, identity_file: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    identities.read(str(identity_file))
    with pytest.raises(VaultError):
        identities.read(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before
