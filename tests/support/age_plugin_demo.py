"""``age-plugin-demo``: a real age plugin program, which can also misbehave in every way we thought of.

It stands alone, so that it is a second opinion on the protocol: X25519 keys, both state machines, many
files. What it does besides is said after the 32 bytes of the key in a recipient or identity, as
``word`` or ``word=value``, separated by commas; the functions below marked ``@quirk`` say which there are.
Source: C2SP age-plugin.md.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
FOREVER = 300

quirks: dict[str, Callable[["Job", str], None]] = {}


def quirk(what: Callable[["Job", str], None]) -> Callable[["Job", str], None]:
    """Register what is done before the work, when the key says so."""
    quirks[what.__name__.rstrip("_").replace("_", "-")] = what
    return what


class Job(NamedTuple):
    """All that was said in phase 1."""

    keys: list[bytes]
    """Of recipients: public; of identities: private."""
    options: dict[str, str]
    identities: bool
    file_key: bytes
    files: dict[int, list[tuple[list[str], bytes]]]
    """The stanzas of each file: arguments from the type on, and body."""


def unbase64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def send(*arguments: str, body: bytes = b"") -> None:
    text = base64.b64encode(body).decode().rstrip("=")
    lines = [text[at : at + 64] for at in range(0, len(text) + 1, 64)]
    sys.stdout.write("-> " + " ".join(arguments) + "\n" + "\n".join(lines) + "\n")
    sys.stdout.flush()


def receive() -> tuple[list[str], bytes]:
    line = sys.stdin.readline()
    if not line.startswith("-> "):
        sys.exit(4)
    body = ""
    while True:
        more = sys.stdin.readline().removesuffix("\n")
        body += more
        if len(more) < 64:
            return line[3:-1].split(" "), unbase64(body)


def ask(*arguments: str, body: bytes = b"") -> tuple[list[str], bytes]:
    send(*arguments, body=body)
    return receive()


def tell(*arguments: str, body: bytes = b"") -> None:
    if ask(*arguments, body=body)[0] != ["ok"]:
        sys.exit(5)


def stop(*arguments: str, body: bytes = b"") -> NoReturn:
    tell("error", *arguments, body=body)
    send("done")
    sys.exit(3)


def data_of(key: str) -> bytes:
    values = [ALPHABET.index(letter) for letter in key.lower().rpartition("1")[2][:-6]]
    bits = "".join(f"{value:05b}" for value in values)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) // 8 * 8, 8))


def commands() -> Iterator[tuple[list[str], bytes]]:
    while (command := receive())[0] != ["done"]:
        yield command


def phase_1() -> Job:
    job = Job([], {}, sys.argv[1].startswith("--age-plugin=identity"), b"", {})
    if Path(sys.argv[0] + ".before").exists():
        before(Path(sys.argv[0] + ".before").read_text())
    for (name, *args), body in commands():
        if name in {"add-recipient", "add-identity"}:
            data = data_of(args[0])
            key = data[:32]
            if name == "add-identity" and not job.identities:
                key = X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
            job.keys.append(key)
            words = (word.partition("=") for word in data[32:].decode().split(",") if word)
            job.options.update({word: value for word, _equals, value in words})
        elif name == "wrap-file-key":
            job = job._replace(file_key=body)
        elif name == "recipient-stanza":
            if args[0] != "0" and "single-exit" in job.options:
                sys.exit(1)
            job.files.setdefault(int(args[0]), []).append((args[1:], body))
    return job


def before(how: str) -> None:
    if how == "exit":
        sys.exit(1)
    if how == "deaf":
        time.sleep(FOREVER)
    if how == "loud":
        while True:
            os.write(1, b"x" * 63 + b"\n")


def cipher(private: X25519PrivateKey, public: bytes, salt: bytes) -> ChaCha20Poly1305:
    secret = private.exchange(X25519PublicKey.from_public_bytes(public))
    key = hmac.digest(salt, secret, hashlib.sha256)
    return ChaCha20Poly1305(hmac.digest(key, b"demo\x01", hashlib.sha256))


def wrapped(key: bytes, file_key: bytes) -> tuple[str, bytes]:
    ephemeral = X25519PrivateKey.generate()
    share = ephemeral.public_key().public_bytes_raw()
    body = cipher(ephemeral, key, share + key).encrypt(bytes(12), file_key, None)
    return base64.b64encode(share).decode().rstrip("="), body


def opened(keys: Iterable[bytes], stanzas: Iterable[tuple[list[str], bytes]]) -> bytes | None:
    ours = [(unbase64(args[1]), body) for args, body in stanzas if args[0] == "demo"]
    for private in map(X25519PrivateKey.from_private_bytes, keys):
        point = private.public_key().public_bytes_raw()
        for share, body in ours:
            with contextlib.suppress(InvalidTag):
                return cipher(private, share, share + point).decrypt(bytes(12), body, None)
    return None


def main() -> None:
    if sys.argv[1:] not in (["--age-plugin=recipient-v1"], ["--age-plugin=identity-v1"]):
        sys.exit("unknown state machine")
    job = phase_1()
    for word, value in job.options.items():
        if word in quirks:
            quirks[word](job, value)
    if job.identities:
        unwrap(job)
    else:
        for key in job.keys[: int(job.options.get("only", "1000"))]:
            share, body = wrapped(key, job.file_key)
            tell("recipient-stanza", job.options.get("index", "0"), "demo", share, body=body)
    if "grease" in job.options:
        grease(job, "")
    send("done")


def unwrap(job: Job) -> None:
    for index, stanzas in job.files.items():
        if index and "single" in job.options:
            stop("stanza", str(index), "0", body=b"one file only, please")
        if str(index) == job.options.get("damaged"):
            tell("error", "stanza", str(index), "0", body=b"this stanza is damaged")
            continue
        time.sleep(float(job.options.get("slow", "0")))
        key = opened(job.keys, stanzas)
        if key is not None:
            cut = int(job.options.get("length", "16"))
            for _ in range(1 + ("twice" in job.options)):
                tell("file-key", job.options.get("index", str(index)), body=(key * 2)[:cut])
            if "died" in job.options:
                sys.exit(1)


@quirk
def pin(_job: Job, value: str) -> None:
    answer, body = ask("request-secret", body=b"PIN, please")
    if answer != ["ok"]:
        stop("identity", "0", body=b"no PIN")
    if body != value.encode():
        stop("identity", "0", body=b"wrong PIN " + body)


@quirk
def public(_job: Job, value: str) -> None:
    if ask("request-public", body=b"who are you") != (["ok"], value.encode()):
        stop("internal", body=b"nobody")


@quirk
def confirm(_job: Job, value: str) -> None:
    answer, _ = ask("confirm", *value.split("+"), body=b"really")
    tell("msg", body=("answer " + "-".join(answer)).encode())


@quirk
def say(_job: Job, value: str) -> None:
    tell("msg", body=bytes.fromhex(value))


@quirk
def grease(_job: Job, _value: str) -> None:
    for size in (0, 47, 48, 49, 200):
        if ask("grease-" + os.urandom(4).hex(), "a", "b~", body=os.urandom(size)) != (["unsupported"], b""):
            sys.exit(6)


@quirk
def labels(_job: Job, value: str) -> None:
    tell("labels", *value.split("+"))


@quirk
def labels_again(_job: Job, value: str) -> None:
    tell("labels", *value.split("+"))


@quirk
def hang(_job: Job, value: str) -> None:
    time.sleep(float(value or FOREVER))


@quirk
def stubborn(_job: Job, _value: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@quirk
def grandchild(_job: Job, value: str) -> None:
    """Leave a child behind, which holds the pipes open; write its number to a file."""
    if (child := os.fork()) == 0:
        time.sleep(FOREVER)
        os._exit(0)
    Path(value).write_text(str(child))


@quirk
def exit_(_job: Job, _value: str) -> None:
    sys.exit(1)


@quirk
def close(_job: Job, _value: str) -> None:
    os.close(1)
    time.sleep(FOREVER)


@quirk
def flood(_job: Job, value: str) -> None:
    while True:
        os.write(1, bytes.fromhex(value) * 1000)


@quirk
def drip(_job: Job, _value: str) -> None:
    while True:
        tell("msg", body=b"still here")
        time.sleep(0.02)


@quirk
def raw(_job: Job, value: str) -> None:
    os.write(1, bytes.fromhex(value))
    time.sleep(0.1)


@quirk
def noise(_job: Job, _value: str) -> None:
    os.write(2, b"to standard error\n" * 10000)


@quirk
def fail(job: Job, value: str) -> None:
    """Answer with an error: ``fail=recipient+1``; every form of the file key stands in what it says of it."""
    key = job.file_key
    texts = {"raw": key, "base64": base64.b64encode(key), "hex": key.hex().upper().encode()}
    words = value.split("+")
    body = texts.get(words[-1], b"no \x1b[31mluck\n" + b"today" * 100)
    stop(*(word for word in words if word not in texts), body=b"see " + body)


if __name__ == "__main__":
    main()
