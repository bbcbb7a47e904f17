"""SSH keys: lines, private key files of every form, passphrases, and stanzas."""

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st

from plugins.age.conftest import SSHKeys
from plugins.age.softkeys import Person
from tskeyvault.errors import ConfigError, IntegrityError, LockedError, UsageError, VaultError
from tskeyvault.spec import Stanza
from tskeyvault_age import asking, sshkey, sshwire
from tskeyvault_age.header import b64encode
from tskeyvault_age.ssh import SSHIdentity, SSHRecipient

FILE_KEY = bytes(range(16))
WORDS = "pass phrase"
KINDS = [("ed25519",), ("rsa", "-b", "2048"), ("rsa", "-b", "4096")]


def _line(path: Path) -> str:
    return path.with_name(f"{path.name}.pub").read_text().rstrip("\n")


def _identity(path: Path, person: Person | None = None) -> SSHIdentity:
    return sshkey.parse(path.read_bytes(), "key", asking.asker(person or Person()))


@pytest.fixture(params=KINDS, ids=" ".join)
def key(request: pytest.FixtureRequest, ssh_keys: SSHKeys) -> Path:
    return ssh_keys.make(*request.param)


def test_private_key_opens_what_its_public_line_wrapped(key: Path, ssh_keys: SSHKeys) -> None:
    recipient, identity = SSHRecipient.parse(_line(key)), _identity(key)
    assert str(recipient) == str(identity.recipient) == _line(key).removesuffix(" me@host")
    stanzas = recipient.wrap(FILE_KEY)
    assert identity.unwrap([Stanza(("grease",), b""), *stanzas]) == FILE_KEY
    for kind in KINDS:
        other = ssh_keys.make(*kind, "-v")
        assert _identity(other).unwrap(stanzas) is None


@pytest.mark.parametrize(
    "kind", [("ed25519",), ("rsa", "-b", "2048"), ("ed25519", "-Z", "aes256-gcm@openssh.com")]
)
def test_passphrase_is_asked_for_at_the_first_stanza_that_is_ours(
    kind: tuple[str, ...], ssh_keys: SSHKeys
) -> None:
    path = ssh_keys.make(*kind, passphrase=WORDS)
    person = Person(WORDS.encode())
    identity = _identity(path, person)
    assert identity.asks
    foreign = SSHRecipient.parse(_line(ssh_keys.make("ed25519"))).wrap(FILE_KEY)
    assert identity.unwrap(foreign) is None
    assert person.prompts == []
    ours = SSHRecipient.parse(_line(path)).wrap(FILE_KEY)
    assert [identity.unwrap([*foreign, *ours]) for _ in range(2)] == [FILE_KEY, FILE_KEY]
    assert person.prompts == ["passphrase of SSH key 'key'"]


@pytest.mark.parametrize(
    ("answer", "message"), [(b"wrong", "wrong"), (None, "none was given"), (b"", "none was given")]
)
def test_wrong_passphrase_is_locked_and_not_asked_for_again(
    answer: bytes | None, message: str, ssh_keys: SSHKeys
) -> None:
    path = ssh_keys.make("ed25519", passphrase=WORDS)
    person = Person(answer)
    identity = _identity(path, person)
    for _ in range(2):
        with pytest.raises(LockedError, match=message):
            identity.unwrap(SSHRecipient.parse(_line(path)).wrap(FILE_KEY))
    assert len(person.prompts) == 1


def test_private_key_that_is_not_of_the_public_key_beside_it_is_refused(ssh_keys: SSHKeys) -> None:
    one, two = (ssh_keys.make("ed25519", *more).read_text() for more in ((), ("-v",)))
    with pytest.raises(ConfigError, match=r"does not belong|malformed"):
        sshkey.parse(_with_public_of(one, two).encode(), "key", asking.asker(None))
    locked, other = (
        ssh_keys.make("ed25519", *more, passphrase="p" * 5).read_text() for more in ((), ("-v",))
    )
    mixed = sshkey.parse(_with_public_of(locked, other).encode(), "key", asking.asker(Person(b"ppppp")))
    with pytest.raises(LockedError, match="wrong, or the file is damaged"):
        mixed.unwrap(mixed.recipient.wrap(FILE_KEY))


def _with_public_of(one: str, two: str) -> str:
    def content(text: str) -> bytes:
        return base64.b64decode("".join(text.splitlines()[1:-1]))

    (old, new) = (text.split(b"ssh-ed25519\0\0\0 ")[1][:32] for text in map(content, (one, two)))
    changed = base64.b64encode(content(one).replace(old, new, 1)).decode()
    lines = one.splitlines()
    return (
        "\n".join([lines[0], *(changed[at : at + 70] for at in range(0, len(changed), 70)), lines[-1]]) + "\n"
    )


@pytest.mark.parametrize(
    "form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL]
)
def test_pem_without_a_passphrase_is_read(form: serialization.PrivateFormat) -> None:
    private = rsa.generate_private_key(65537, 2048)
    data = private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    identity = sshkey.parse(data, "key", asking.asker(None))
    assert identity.unwrap(identity.recipient.wrap(FILE_KEY)) == FILE_KEY


def test_pem_with_a_passphrase_says_how_to_convert_it() -> None:
    data = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    with pytest.raises(ConfigError) as caught:
        sshkey.parse(data, "key", asking.asker(None))
    assert "ssh-keygen -p" in caught.value.hint


def test_ecdsa_small_and_hardware_keys_are_refused_by_name(ssh_keys: SSHKeys) -> None:
    path = ssh_keys.make("ecdsa")
    with pytest.raises(UsageError, match="ECDSA"):
        SSHRecipient.parse(_line(path))
    with pytest.raises(ConfigError, match="ECDSA"):
        _identity(path)
    small = ssh_keys.make("rsa", "-b", "1024")
    with pytest.raises(UsageError, match="2048 to 16384 bits"):
        SSHRecipient.parse(_line(small))
    with pytest.raises(ConfigError, match="2048 to 16384 bits"):
        _identity(small)
    wire = base64.b64encode(sshwire.encode(b"sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:")).decode()
    with pytest.raises(UsageError, match="in hardware"):
        SSHRecipient.parse(f"sk-ssh-ed25519@openssh.com {wire}")


def test_file_above_16_kib_is_refused() -> None:
    with pytest.raises(ConfigError, match="too large"):
        sshkey.parse(b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + b"A" * 16384, "key", asking.asker(None))


def test_point_conversion_is_that_of_the_private_keys() -> None:
    for _ in range(20):
        private = ed25519.Ed25519PrivateKey.generate()
        scalar = hashlib.sha512(private.private_bytes_raw()).digest()[:32]
        expected = x25519.X25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes_raw()
        assert sshwire.to_montgomery(private.public_key().public_bytes_raw()) == expected


@pytest.mark.parametrize("y", [0, 1, 2, 2**255 - 20, 2**255 - 19, 2**255 - 18, 2**255 - 1])
def test_points_that_are_nobodys_are_refused(y: int) -> None:
    wire = sshwire.encode(b"ssh-ed25519", y.to_bytes(32, "little"))
    with pytest.raises(UsageError):
        SSHRecipient.parse(f"ssh-ed25519 {base64.b64encode(wire).decode()}")


@pytest.mark.parametrize(
    ("exponent", "modulus"),
    [(3, 2**16384 + 1), (3, 2**2047), (2, 2**2047 + 1), (1, 2**2047 + 1), (2**24 + 1, 2**2047 + 1), (0, 0)],
    ids=range(6),
)
def test_rsa_numbers_that_are_not_allowed_are_refused(exponent: int, modulus: int) -> None:
    with pytest.raises(UsageError):
        sshwire.parse(sshwire.encode(b"ssh-rsa", exponent, modulus))


def test_lines_that_are_not_canonical_are_refused(ssh_keys: SSHKeys) -> None:
    kind, text, _ = _line(ssh_keys.make("ed25519")).split()
    rsa_text = _line(ssh_keys.make("rsa", "-b", "2048")).split()[1]
    for bad in (
        f"{kind} {text}A",
        f"{kind} {text}=",
        f"{kind} {text[:-4]}",
        f"{kind}  ",
        f"ssh-rsa {text}",
        f"{kind} {rsa_text}",
        f" {kind} {text}",
        kind,
        f"no-pty {kind} {text}",
        f"{kind} {text[:8]}*{text[8:]}",
    ):
        with pytest.raises(UsageError):
            SSHRecipient.parse(bad)
    for good in (f"{kind} {text}", f"{kind} {text} a comment", f"{kind}  {text}\tx"):
        assert str(SSHRecipient.parse(good)) == f"{kind} {text}"


@pytest.mark.parametrize("change", ["argument", "share", "long share", "low order", "body", "flip"])
def test_malformed_stanza_of_ours_is_damage(change: str, key: Path) -> None:
    identity = _identity(key)
    ((args, body),) = identity.recipient.wrap(FILE_KEY)
    low = b64encode(bytes(32)).decode()
    stanza = {
        "argument": Stanza((*args, "x"), body),
        "share": Stanza((*args[:2], *(f"{text}=" for text in args[2:] or ["x"])), body),
        "long share": Stanza((*args[:2], b64encode(bytes(33)).decode()), body),
        "low order": Stanza((*args[:2], low), body),
        "body": Stanza(args, body + b"x"),
        "flip": Stanza(args, body[:-1] + bytes([body[-1] ^ 1])),
    }[change]
    with pytest.raises(IntegrityError, match=r"SSH stanza|base64|wrong length"):
        identity.unwrap([stanza])


@given(st.text() | st.binary().map(lambda data: f"ssh-ed25519 {base64.b64encode(data).decode()}"))
def test_any_line_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        SSHRecipient.parse(text)


@given(
    st.binary(max_size=200),
    st.sampled_from(["OPENSSH PRIVATE KEY", "RSA PRIVATE KEY", "PRIVATE KEY"]),
    st.booleans(),
)
def test_any_key_file_is_refused(data: bytes, label: str, magic: bool) -> None:
    text = base64.b64encode(b"openssh-key-v1\0" * magic + data).decode()
    with pytest.raises(ConfigError):
        sshkey.parse(
            f"-----BEGIN {label}-----\n{text}\n-----END {label}-----\n".encode(), "key", asking.asker(None)
        )
    with pytest.raises(ConfigError):
        sshkey.parse(data, "key", asking.asker(None))


@given(st.data())
def test_any_change_to_a_key_file_is_an_error_of_the_vault_or_harmless(
    ssh_keys: SSHKeys, data: st.DataObject
) -> None:
    good = ssh_keys.make("ed25519").read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    bad = good[:place] + data.draw(st.binary(max_size=2)) + good[place + 1 :]
    try:
        identity = sshkey.parse(bad, "key", asking.asker(Person(b"x")))
        assert identity.unwrap(identity.recipient.wrap(FILE_KEY)) == FILE_KEY
    except VaultError:
        return


@given(st.lists(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)), st.binary())
def test_any_stanza_is_ignored_or_damage(ssh_keys: SSHKeys, arguments: list[str], body: bytes) -> None:
    identity = _identity(ssh_keys.make("ed25519"))
    try:
        assert identity.unwrap([Stanza(("ssh-ed25519", *arguments), body)]) is None
    except VaultError as error:
        assert isinstance(error, IntegrityError)  # noqa: PT017 - None is as good
