"""Keys of every kind, made at run time, and the ways in which texts hold them."""

import base64
import functools
import json
import secrets
import string
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from support import needs
from tskeyvault_age.hybrid import HybridIdentity
from tskeyvault_age.x25519 import X25519Identity

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
HEX = "0123456789abcdef"
URL_SAFE = string.ascii_letters + string.digits + "-_"
DASHES = "-" * 5


def drawn(alphabet: str, size: int) -> str:
    """Return *size* random characters of *alphabet*."""
    return "".join(secrets.choice(alphabet) for _ in range(size))


def tailscale(kind: str, secret: str = "") -> str:
    """Return a key of Tailscale's of that kind, in the form of 2026."""
    return "-".join(("tskey", kind, f"k{drawn(BASE58, 11)}CNTRL", secret or drawn(BASE58, 32)))


def _wrapped() -> str:
    signature = base64.b64encode(secrets.token_bytes(90)).decode().rstrip("=")
    private = base64.b64encode(secrets.token_bytes(64)).decode().rstrip("=")
    return f"{tailscale('auth')}--TL{signature}-{private}"


def _headscale(kind: str) -> str:
    return "-".join(("hskey", kind, drawn(URL_SAFE, 12), drawn(URL_SAFE, 64)))


@functools.cache
def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _pem(key: "rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey", form: str) -> str:
    encryption = (
        serialization.BestAvailableEncryption(b"passphrase")
        if form.startswith("encrypted")
        else serialization.NoEncryption()
    )
    format_ = {
        "PKCS8": serialization.PrivateFormat.PKCS8,
        "traditional": serialization.PrivateFormat.TraditionalOpenSSL,
        "OpenSSH": serialization.PrivateFormat.OpenSSH,
    }[form.removeprefix("encrypted ")]
    return key.private_bytes(serialization.Encoding.PEM, format_, encryption).decode()


def _ssh_keygen() -> str:
    needs.program("ssh-keygen")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "key")
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
        subprocess.run(command, check=True, capture_output=True)
        return path.read_text()


def _openpgp() -> str:
    body = base64.encodebytes(secrets.token_bytes(800)).decode()
    head, tail = (f"{DASHES}{word} PGP PRIVATE KEY BLOCK{DASHES}\n" for word in ("BEGIN", "END"))
    return f"{head}Version: GnuPG v2\nComment: made by a test\n\n{body}=aB3d\n{tail}"


ONE_LINE: dict[str, Callable[[], str]] = {
    **{f"Tailscale {kind}": functools.partial(tailscale, kind) for kind in
       ("api", "auth", "client", "oauth", "scim", "token", "webhook", "yettocome")},
    "Tailscale without a type": lambda: "-".join(("tskey", f"k{drawn(BASE58, 8)}CNTRL", drawn(BASE58, 24))),
    "Tailscale without a type and CNTRL": lambda: "-".join(("tskey", drawn(BASE58, 12), drawn(BASE58, 24))),
    "Tailscale of one run": lambda: "-".join(("tskey", drawn(HEX, 24))),
    "Tailscale without CNTRL": lambda: "-".join(("tskey", "auth", drawn(BASE58, 17), drawn(BASE58, 32))),
    "Tailscale wrapped": _wrapped,
    "Headscale api": lambda: _headscale("api"),
    "Headscale auth": lambda: _headscale("auth"),
    "Headscale client": lambda: _headscale("client"),
    "Headscale oauthtok": lambda: _headscale("oauthtok"),
    "node private": lambda: "privkey" + ":" + drawn(HEX, 64),
    "tailnet-lock private": lambda: "nlpriv" + ":" + drawn(HEX, 64),
    "age": lambda: X25519Identity.generate().export(),
    "age post-quantum": lambda: HybridIdentity.generate().export(),
}  # fmt: skip
"""Keys that stand in one line, by what they are called here."""

BLOCKS: dict[str, Callable[[], str]] = {
    "EC": lambda: _pem(ec.generate_private_key(ec.SECP256R1()), "traditional"),
    "Ed25519": lambda: _pem(ed25519.Ed25519PrivateKey.generate(), "PKCS8"),
    "OpenPGP": _openpgp,
    "OpenSSH": lambda: _pem(ed25519.Ed25519PrivateKey.generate(), "OpenSSH"),
    "OpenSSH by ssh-keygen": _ssh_keygen,
    "PKCS8": lambda: _pem(_rsa(), "PKCS8"),
    "PKCS8 encrypted": lambda: _pem(_rsa(), "encrypted PKCS8"),
    "RSA": lambda: _pem(_rsa(), "traditional"),
    "RSA encrypted": lambda: _pem(_rsa(), "encrypted traditional"),  # it has headers: Proc-Type, DEK-Info
}
"""Armored private keys."""

KINDS = {
    **{name: "Tailscale key" for name in ONE_LINE if name.startswith("Tailscale")},
    **{name: "Headscale key" for name in ONE_LINE if name.startswith("Headscale")},
    "node private": "Tailscale private key",
    "tailnet-lock private": "Tailscale private key",
    "age": "age secret key",
    "age post-quantum": "age secret key",
    **dict.fromkeys(BLOCKS, "private key"),
}
"""What each is called in a report."""


def _base64(text: str, shift: int = 0, encoding: str = "utf-8") -> bytes:
    return base64.b64encode(b"\x00\xff\x00"[:shift] + text.encode(encoding))


def _folded(text: str, columns: int, indent: str) -> bytes:
    coded = _base64(f"# what stands before the key, so that it begins somewhere\n{text}").decode()
    lines = [coded[start : start + columns] for start in range(0, len(coded), columns)]
    return f"data:\n{indent}{f'{chr(10)}{indent}'.join(lines)}\nend: 1\n".encode()


WAYS: dict[str, Callable[[str], bytes]] = {
    "UTF-8": lambda text: f"Schlüssel:\n{text}\n→ Ende".encode(),
    "Latin-1": lambda text: f"Schlüssel:\n{text}\nÜbersicht".encode("latin-1"),
    "UTF-16 LE": lambda text: f"clé →\n{text}\n".encode("utf-16-le"),
    "UTF-16 LE with BOM": lambda text: f"\ufeffclé →\n{text}\n".encode("utf-16-le"),
    "UTF-16 BE": lambda text: f"clé →\n{text}\n".encode("utf-16-be"),
    "UTF-16 BE with BOM": lambda text: f"\ufeffclé →\n{text}\n".encode("utf-16-be"),
    "UTF-16 at an odd place": lambda text: b"\x01" + text.encode("utf-16-le") + b"\xff\xff",
    "UTF-32 BE": lambda text: f"clé →\n{text}\n".encode("utf-32-be"),
    "UTF-32 LE": lambda text: f"clé →\n{text}\n".encode("utf-32-le"),
    "between binary": lambda text: secrets.token_bytes(300) + b"\0" + text.encode() + b"\0" + secrets.token_bytes(300),
    "base64": lambda text: b"<" + _base64(text) + b">",
    "base64 behind one byte": lambda text: b"<" + _base64(text, 1) + b">",
    "base64 behind two bytes": lambda text: b"<" + _base64(text, 2) + b">",
    "base64 behind other characters": lambda text: b"<abc" + _base64(text) + b">",
    "base64 for URLs": lambda text: b"<" + base64.urlsafe_b64encode(text.encode()) + b">",
    "base64 in 64 columns": lambda text: _folded(text, 64, ""),
    "base64 in 76 columns": lambda text: _folded(text, 76, ""),
    "base64 in 64 indented columns": lambda text: _folded(text, 64, "      "),
    "base64 in 76 indented columns": lambda text: _folded(text, 76, "    "),
    "base64 in lines of CR and LF": lambda text: _folded(text, 76, "").replace(b"\n", b"\r\n"),
    "base64 in a string of JSON": lambda text: json.dumps({"a": base64.encodebytes(text.encode()).decode()}).encode(),
    "base64 in strings of Python": lambda text: b'x = (\n    "'
    + base64.encodebytes(text.encode()).strip().replace(b"\n", b'"\n    "')
    + b'"\n)\n',
    "base64 in strings of JavaScript": lambda text: b'x = "'
    + base64.encodebytes(text.encode()).strip().replace(b"\n", b'" +\n    "')
    + b'";\n',
    "base64 of UTF-16 BE": lambda text: b"<" + _base64(text, 0, "utf-16-be") + b">",
    "base64 of UTF-16 LE": lambda text: b"<" + _base64(text, 0, "utf-16-le") + b">",
    "base64 of UTF-16 LE behind a BOM": lambda text: b"<" + _base64(f"\ufeff{text}", 0, "utf-16-le") + b">",
    "base64 in UTF-16": lambda text: f"key: {_base64(text).decode()}\n".encode("utf-16"),
    "a manifest of Kubernetes": lambda text: b"apiVersion: v1\nkind: Secret\ndata:\n  TS_AUTHKEY: "
    + _base64(text)
    + b"\ntype: Opaque\n",
}  # fmt: skip
"""How a file holds a text, by what that is called here."""
