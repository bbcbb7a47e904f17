"""Every kind of key is found in every way of writing it, and nothing else is one."""

import base64
import json
import secrets
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given
from hypothesis import strategies as st

from support import needs
from support.planted import BASE58, BLOCKS, DASHES, HEX, KINDS, ONE_LINE, WAYS, drawn, tailscale
from tskeyvault_age.hybrid import HybridIdentity
from tskeyvault_age.x25519 import X25519Identity
from tskeyvault_hooks.finder import Finder
from tskeyvault_hooks.kinds import entropy, looks_random

PLACEHOLDERS = ("example", "your", "test", "dummy", "placeholder", "redact", "changeme", "secret", "token")
PUBLIC = ("chalpub", "discokey", "hwattestpub", "mkey", "nlpub", "nodekey", "tlpub")


def found(data: bytes) -> list[str]:
    """Return the kinds of the keys in *data*."""
    finder = Finder()
    hits = [hit.kind for hit in finder.find(data)]
    assert finder.may_hold(data) or not hits, "what is found has to be told quickly too"
    return hits


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*ONE_LINE, *BLOCKS])
def test_each_kind_is_found_once_in_each_way_of_writing(name: str, way: str) -> None:
    key = {**ONE_LINE, **BLOCKS}[name]()
    assert found(WAYS[way](key)) == [KINDS[name]]


@pytest.mark.parametrize("name", ONE_LINE)
@pytest.mark.parametrize(
    "surrounding",
    [
        r'"first\n{}\n"',
        "http://host/%3D{}%26",
        r"\x0a{}",
        r"\u003d{}\u0026",
        "MY_{}",
        "export TS_AUTHKEY={}",
        "--auth-key={} --hostname x",
        "<key>{}</key>",
        "'{}'",
        "`{}`",
        "{}?ephemeral=false&preauthorized=true",
        "({})",
        "https://user:{}@host/",
        "{}.",
        "{}\0",
        "a\t{}\r\n",
        "\x1b[31m{}\x1b[0m",
        "\x1b[1;31m\x1b[K{}\x1b[m\x1b[K",
    ],
)
def test_what_stands_around_a_key_does_not_hide_it(name: str, surrounding: str) -> None:
    assert found(surrounding.format(ONE_LINE[name]()).encode()) == [KINDS[name]]


@pytest.mark.parametrize("before", ["a", "Z", "9", "key", "\\\\n", "[0m"])
def test_a_key_of_today_needs_no_boundary(before: str) -> None:
    assert found(f"{before}{tailscale('auth')}".encode()) == ["Tailscale key"]


def test_of_a_wrapped_key_the_wrapping_is_secret_too() -> None:
    key = ONE_LINE["Tailscale wrapped"]()
    (hit,) = Finder().find(f"TS_AUTHKEY={key}\n".encode())
    assert hit.secret == key.split("-", 3)[3].encode()


def test_a_key_that_stands_in_two_kinds_is_told_once_and_with_one_secret() -> None:
    key = tailscale("auth")
    (hit,) = Finder().find(f"{key}\n{key}_suffix\n{key}\n".encode())
    assert hit.secret == key.rpartition("-")[2].encode()


HEADED = {"OpenPGP", "RSA encrypted"}
"""Blocks with lines like ``Version: 1``, whose end cannot be told when they are in one line."""
WRITTEN: dict[str, Callable[[str], str]] = {
    "in JSON": lambda block: json.dumps({"private_key": block}),
    "in JSON within JSON": lambda block: json.dumps(json.dumps({"private_key": block})),
    "in the strings of C": lambda block: "\n".join(f'    "{line}\\n"' for line in block.splitlines()),
    "in the strings of JavaScript": lambda block: " +\n".join(f"'{line}\\n'" for line in block.splitlines()),
    "in a list of Python": lambda block: ",\n".join(f'    "{line}"' for line in block.splitlines()),
    "in indented YAML": lambda block: "key: |\n" + "".join(f"{'':12}{line}\n" for line in block.splitlines()),
    "in lines of CR and LF": lambda block: block.replace("\n", "\r\n"),
    "in lines of CR": lambda block: block.replace("\n", "\r"),
    "in one line with spaces": lambda block: block.replace("\n", " "),
    "in HTML": lambda block: block.replace("\n", "<br />\n"),
    "in the strings of PHP": lambda block: "\n  . ".join(f"'{line}\n'" for line in block.splitlines()),
    "with numbers of lines": lambda block: "\n".join(
        f"{n:4}  {it}" for n, it in enumerate(block.splitlines())
    ),
    "in one line of an environment file": lambda block: f'KEY="{block}"'.replace("\n", "\\n"),
}


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("name", sorted(BLOCKS.keys() - HEADED))
def test_a_private_key_is_the_same_however_it_is_folded(name: str, written: str) -> None:
    block = BLOCKS[name]()
    (plain,) = Finder().find(block.encode())
    (hit,) = Finder().find(WRITTEN[written](block).encode())
    assert (hit.kind, hit.secret) == ("private key", plain.secret)


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("name", sorted(HEADED))
def test_a_private_key_with_headers_is_found_however_it_is_folded(name: str, written: str) -> None:
    assert found(WRITTEN[written](BLOCKS[name]()).encode()) == ["private key"]


@pytest.mark.parametrize("end", ["&#10;", "&#xA;", "&#13;&#10;"])
@pytest.mark.parametrize("name", ["EC", "PKCS8", "OpenSSH"])
def test_a_private_key_in_xml_is_the_same(name: str, end: str) -> None:
    block = BLOCKS[name]()
    (plain,) = Finder().find(block.encode())
    (hit,) = Finder().find(f"<key>{block}</key>".replace("\n", end).encode())
    assert hit.secret == plain.secret


@pytest.mark.parametrize("name", sorted(BLOCKS.keys() - HEADED))
def test_a_private_key_without_any_line_break_is_found(name: str) -> None:
    assert found(BLOCKS[name]().replace("\n", "").encode()) == ["private key"]


def test_two_private_keys_of_one_kind_are_two() -> None:
    blocks = [BLOCKS["EC"]() for _ in range(2)]
    assert len(Finder().find("".join(blocks).encode())) == 2


def test_what_gpg_exports_is_found(tmp_path: Path) -> None:
    needs.program("gpg", "gpgconf")
    home = ["--homedir", str(tmp_path / "gpg")]
    (tmp_path / "gpg").mkdir(mode=0o700)
    try:
        make = ["--batch", "--passphrase", "", "--quick-generate-key", "test@example.org", "ed25519"]
        subprocess.run(["gpg", *home, *make], check=True, capture_output=True)
        private, public = (
            subprocess.run(["gpg", *home, "--armor", export], check=True, capture_output=True).stdout
            for export in ("--export-secret-keys", "--export")
        )
    finally:
        subprocess.run(["gpgconf", *home, "--kill", "all"], check=True, capture_output=True)
    assert found(private) == ["private key"]
    assert found(public) == []


def _public_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _block(what: str) -> str:
    body = base64.encodebytes(secrets.token_bytes(300)).decode()
    return f"{DASHES}BEGIN {what}{DASHES}\n{body}{DASHES}END {what}{DASHES}\n"


def _key(*parts: str) -> str:
    return "-".join(("tskey", *parts))


def _public(prefix: str) -> str:
    return f"{prefix}:{drawn(HEX, 64)}"


HARMLESS: dict[str, Callable[[], str]] = {
    **{f"public {prefix}": partial(_public, prefix) for prefix in PUBLIC},
    **{f"placeholder {word}": partial(_key, "auth", "k123456CNTRL", f"{word}-{word}-{word}{word}")
       for word in PLACEHOLDERS},
    **{f"placeholder of {word}s": partial(_key, "client", f"{word}{word}", word * 3) for word in PLACEHOLDERS},
    "id alone": lambda: f"k{drawn(BASE58, 11)}CNTRL",
    "id of a client": lambda: f"--client-id k{drawn(BASE58, 11)}CNTRL?ephemeral=true&preauthorized=true",
    "reference to a file": lambda: "--auth-key=file:/run/credentials/tskey",
    "Headscale registration": lambda: f"hskey-reg-{drawn(HEX, 64)}",
    "Headscale request": lambda: f"hskey-authreq-{drawn(HEX, 24)}",
    "Headscale masked": lambda: f"hskey-auth-{drawn(HEX, 12)}-***",
    "masked by dots": lambda: _key("auth", f"k{drawn(BASE58, 11)}CNTRL", "..."),
    "masked by stars": lambda: _key("auth", f"k{drawn(BASE58, 11)}CNTRL", "*" * 32),
    "masked by X": lambda: _key("auth", f"k{drawn(BASE58, 11)}CNTRL", "X" * 32),
    "masked but for its ends": lambda: _key("auth", f"k{drawn(BASE58, 11)}CNTRL", "aB3d...9xYz"),
    "in angle brackets": lambda: _key("auth", "<id>", "<secret>"),
    "in a variable": lambda: _key("auth", "${ID}", "${SECRET}"),
    "in a template": lambda: _key("{{ type }}", "{{ secret }}"),
    "documented api": lambda: _key("api", "abcDEF1CNTRL", "091234567890ABCDEF"),
    "documented auth": lambda: _key("auth", "k123456CNTRL", "abcdefghijklmnopqrstuvwxyz"),
    "documented without a type": lambda: _key("k123456CNTRL", "abcdef"),
    "documented Z": lambda: _key("auth", "k7UagY1CNTRL", "Z" * 32),
    "documented key": lambda: _key("key"),
    "documented xxx": lambda: _key("auth", "xxx"),
    "documented client": lambda: _key("client", "abc"),
    "documented digits": lambda: _key("auth", "kABCDEF1CNTRL", "abcdef1234567890"),
    "backwards": lambda: _key("auth", "k123456CNTRL", "zyxwvutsrqponmlkjihgfedcba"),
    "prefix in a sentence": lambda: "keys begin with tskey-auth-, tskey-api- or tskey-client-",
    "expression": lambda: r"tskey-(?:[a-z]{2,20}-)?[0-9A-Za-z]{4,32}CNTRL-[0-9A-Za-z]{10,64}",
    "name of a variable": lambda: "accountskey-vault-prod-connectionstr",
    "name of a Kubernetes secret": lambda: _key("auth", "operator", "production"),
    "name with words": lambda: _key("authentication", "handler", "configuration_of_all"),
    "name of one word": lambda: _key("authenticationmiddleware"),
    "age recipient": lambda: str(X25519Identity.generate().recipient),
    "age recipient post-quantum": lambda: str(HybridIdentity.generate().recipient),
    "age prefix": lambda: "lines that begin with AGE-SECRET-KEY-1 or AGE-SECRET-KEY-PQ-1",
    "age of one letter": lambda: "AGE-SECRET-KEY-1" + "Q" * 58,
    "node of zeros": lambda: f"privkey:{'0' * 64}",
    "node too short": lambda: f"privkey:{drawn(HEX, 32)}",
    "certificate": lambda: _block("CERTIFICATE"),
    "certificate request": lambda: _block("CERTIFICATE REQUEST"),
    "public key": lambda: _public_key().decode(),
    "public OpenPGP key": lambda: _block("PGP PUBLIC KEY BLOCK"),
    "OpenPGP message": lambda: _block("PGP MESSAGE"),
    "age file": lambda: _block("AGE ENCRYPTED FILE"),
    "header in Python": lambda: f'if data.startswith(b"{DASHES}BEGIN PRIVATE KEY{DASHES}"):\n    return load(data)\n',
    "header in C": lambda: f'#define PEM "{DASHES}BEGIN RSA PRIVATE KEY{DASHES}\\n"\n#define MAX_SIZE 4096\n',
    "header in a list": lambda: f'("{DASHES}BEGIN PRIVATE KEY{DASHES}", "{DASHES}END PRIVATE KEY{DASHES}")',
    "header in prose": lambda: f"A file begins with {DASHES}BEGIN PRIVATE KEY{DASHES} and there are many others "
    "that begin in some way that is not at all unlike that one but without any private part in them",
    "header before dots": lambda: f"{DASHES}BEGIN PRIVATE KEY{DASHES}\n...\n{DASHES}END PRIVATE KEY{DASHES}\n",
    "header before a shortened key": lambda: f"{DASHES}BEGIN PRIVATE KEY{DASHES}\n{drawn(BASE58, 32)}...\n",
    "header before a mask": lambda: f"{DASHES}BEGIN PRIVATE KEY{DASHES}\n{'A' * 64}\n{'A' * 64}\n",
    "random base64": lambda: base64.encodebytes(secrets.token_bytes(3000)).decode(),
    "random hexadecimal": lambda: drawn(HEX, 4000),
}  # fmt: skip


@pytest.mark.parametrize("way", ["UTF-8", "UTF-16 LE", "base64", "base64 in 76 columns"])
@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_no_key_does_not_alarm(name: str, way: str) -> None:
    assert found(WAYS[way](HARMLESS[name]())) == []


@pytest.mark.parametrize("name", ONE_LINE)
def test_two_thousand_random_keys_are_all_found(name: str) -> None:
    keys = {ONE_LINE[name]() for _ in range(200 if name.startswith("age") else 2000)}
    text = "\n".join(f"{key} " for key in sorted(keys)).encode()
    assert len(Finder().find(text)) == len(keys)


@pytest.mark.parametrize("name", ONE_LINE)
def test_what_is_no_key_swallows_none(name: str) -> None:
    for decoy in (_key("aaaaCNTRL", "a" * 10), f"{DASHES}BEGIN PRIVATE KEY{DASHES}\n{'a' * 64}\n"):
        key = ONE_LINE[name]()
        glue = "" if "CNTRL" in key else " "  # those of old have to begin a word
        assert KINDS[name] in found(f"{decoy}{glue}{key}\n".encode())


@pytest.mark.parametrize(
    "headers",
    [
        ['Comment: my "work" key'],
        ['Comment: "quoted"'],
        [r"Comment: a\b \c"],
        ["Comment:"],
        ["X-Id2: abc"],
        ["Comment: " + "long " * 39],
        [f"Comment: line {number}" for number in range(9)],
    ],
)
def test_a_block_is_found_under_any_headers(headers: list[str]) -> None:
    for name in ("Ed25519", "OpenPGP"):
        first, *body = [line for line in BLOCKS[name]().split("\n") if ": " not in line]
        text = "\n".join([first, *headers, "", *(line for line in body if line)])
        assert found(f"{text}\n".encode()) == ["private key"]
        assert found(f"{json.dumps(text)}\n".encode()) == ["private key"]


@pytest.mark.parametrize("filler", ["x", "0", "A", "xA", "example"])
@pytest.mark.parametrize("name", ONE_LINE)
def test_what_is_glued_to_a_key_does_not_hide_it(name: str, filler: str) -> None:
    for count in (1, 7, 20, 33, 60, 300):
        key = ONE_LINE[name]()
        assert found(f"key: {key}{filler * count}\n".encode()) == [KINDS[name]]
    if name.startswith("Headscale"):
        assert found(f"{filler}{ONE_LINE[name]()}\n".encode()) == [KINDS[name]]


@pytest.mark.parametrize("word", [*PLACEHOLDERS, "fake", "sample", "invalid", "xxxx", "abcdefgh", "12345678"])
def test_a_word_that_chance_has_put_into_a_key_does_not_hide_it(word: str) -> None:
    keys = set()
    for _ in range(200):
        place = secrets.randbelow(32 - len(word))
        secret = drawn(BASE58, place) + word + drawn(BASE58, 32 - place - len(word))
        if entropy(secret.encode()) >= 3.8:
            keys.add(tailscale("auth", secret))
    assert len(keys) > 100
    assert len(Finder().find("\n".join(keys).encode())) == len(keys)


@given(st.text(BASE58, min_size=32, max_size=33))
@example("1" * 32)
def test_whatever_looks_random_is_found(secret: str) -> None:
    hits = Finder().find(tailscale("auth", secret).encode())
    assert [hit.secret for hit in hits] == ([secret.encode()] if looks_random(secret.encode()) else [])


@given(st.binary(max_size=400))
def test_any_bytes_can_be_looked_at(data: bytes) -> None:
    finder = Finder()
    assert finder.find(data) == [] or finder.may_hold(data)
    for needle in (b"tskey-auth-", DASHES.encode() + b"BEGIN PRIVATE KEY" + DASHES.encode()):
        finder.find(needle + data)


@pytest.mark.parametrize("prefix", ["# ", "// ", "> ", " * ", "-", "-- ", "; ", "| ", "% "])
@pytest.mark.parametrize("name", BLOCKS)
def test_a_private_key_is_one_in_a_comment_and_in_a_quotation_too(name: str, prefix: str) -> None:
    lines = BLOCKS[name]().splitlines()
    assert found(b"".join(f"{prefix}{line}\n".encode() for line in lines)) == ["private key"]
