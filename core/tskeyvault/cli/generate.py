"""``vault generate``: make a random secret and put it into the vault unseen."""

import os
import string
from argparse import ArgumentParser, Namespace

from tskeyvault import binding, limits, names
from tskeyvault.errors import UsageError

from . import insert, terminal

_ALPHABETS = {
    "text": string.ascii_letters + string.digits + "-_.,:;!?+*#%&/()=@",
    "alphanumeric": string.ascii_letters + string.digits,
    "hex": "0123456789abcdef",
    "digits": string.digits,
}
_MAX_LENGTH = 4096
_TRIES = 2**80
"""What a patient attacker can try."""


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="the secret")
    parser.add_argument(
        "length", nargs="?", type=int, default=32, metavar="LENGTH", help="characters (default: 32)"
    )
    parser.add_argument(
        "--alphabet", choices=sorted(_ALPHABETS), default="text", help="which characters (default: text)"
    )
    parser.add_argument("-f", "--force", action="store_true", help="replace what is there without asking")
    parser.add_argument("--expires", metavar="WHEN", help="when to replace it: 90d, 12w, 2y or 2027-01-31")
    parser.add_argument("--no-commit", action="store_true", help="do not commit to git")


def run(options: Namespace) -> int:
    """Write a secret that nobody has seen; ``vault show`` shows it."""
    reference = names.reference(options.name)
    if not 1 <= options.length <= _MAX_LENGTH:
        raise UsageError(f"the length is from 1 to {_MAX_LENGTH}")
    expires = binding.expiry(options.expires) if options.expires else None
    limits.protect_memory()
    alphabet = _ALPHABETS[options.alphabet]
    insert.put(options, reference, expires, lambda: _random(alphabet, options.length))
    if len(alphabet) ** options.length < _TRIES:
        terminal.warn(f"{options.length} characters of that kind can be guessed; use more")
    return 0


def _random(alphabet: str, length: int) -> bytes:
    """Return *length* characters of *alphabet*, each equally likely: bytes beyond a multiple are thrown away."""
    limit = 256 - 256 % len(alphabet)
    found = bytearray()
    while len(found) < length:
        found += bytes(ord(alphabet[byte % len(alphabet)]) for byte in os.urandom(length) if byte < limit)
    return bytes(found[:length])
