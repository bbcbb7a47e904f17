"""Which of the vault's values, and which parts of them, the hooks look for: the writing side of ``own``."""

import re

from tskeyvault_hooks import own
from tskeyvault_hooks.kinds import entropy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SHORTEST = 12
"""Bytes of a value that can be told from a word."""
_FEWEST_BITS = 30.0
_SHORTEST_WORD = 16
"""Bytes of a word that is looked for without the rest of its value."""
_LONG_WORD = 32
_FEWEST_BITS_OF_WORD = 48.0
_SHORTEST_PLAIN, _LONGEST_PLAIN = 3, 12
_BITS_OF_PLAIN = 1.75
"""Of each letter or digit in words and numbers that people have made."""
_SEPARATORS = re.compile(rb"[\s\"'`,;:=@<>(){}\[\]\\]+")
_ADDRESS = re.compile(
    rb"[a-z][a-z0-9+.-]*://(?![^/@]*:[^/@]*@).*|[^\s@]+@[\w.-]+|/.*"
    rb"|[a-z0-9-]+(?:\.[a-z0-9-]+){1,8}\.?(?::\d+)?/?",
    re.DOTALL,
)
"""A URL without a password, an e-mail address, a path, or the name of a host: its words are no secret."""
_PUBLIC = (b"age1", b"AAAA", b"ssh-", b"nodekey:", b"tlpub:", b"nlpub:", b"mkey:", b"LS0tLS1CRUdJTiBDRVJU")
"""How what everybody may know begins: public keys of age, SSH and Tailscale, and certificates in base64."""
_PUBLIC_BLOCK = re.compile(
    rb"-----BEGIN (?![A-Z0-9 ]*PRIVATE KEY)([A-Z0-9 ]{1,64})-----.*?(?:-----END \1-----|\Z)", re.DOTALL
)
_WORD = re.compile(rb"[0-9A-Za-z\x80-\xff]+")
_OF_WORDS = re.compile(rb"[0-9A-Za-z\x80-\xff _./:@,-]*")
_UPPER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOWER = _UPPER.lower()
_DIGITS = b"0123456789"


def render(values: "Iterable[tuple[str, bytes]]", key: bytes) -> "tuple[bytes, list[str]]":
    """Return the file for *values*, name and value each, and the names of those that are left out.

    Left out is what could stand in any text by chance or with right: what is short or made of
    few words, addresses without a secret in them, and public keys. Beside a value of one line,
    and in place of one of several, each of its words is kept that looks like a key.
    """
    rows, left_out = set(), []
    for name, value in values:
        parts = {form for part in _parts(value) for form in _forms(part)}
        rows |= {own.row(name, part, _place_of_piece(part), key) for part in parts}
        if not parts:
            left_out.append(name)
    body = b"".join(sorted(rows))
    return own.sealed(body, key).hex().encode() + b"\n" + body, left_out


def has_spaces(values: "Iterable[bytes]", run: int) -> bool:
    """Tell whether one of *values* has no *run* of that many bytes without white space."""
    return any(
        max((len(word) for word in form.split()), default=0) < run
        for value in values
        for part in _parts(value)
        for form in _forms(part)
    )


def _parts(value: bytes) -> "Iterator[bytes]":
    """Yield the value without white space around it when it has one line, and its words that look like keys."""
    secret = _PUBLIC_BLOCK.sub(b"", value).strip()
    if b"\n" not in secret and len(secret) >= _SHORTEST and _bits(secret) >= _FEWEST_BITS:
        yield secret[: own.LONGEST]
    for word in _SEPARATORS.split(secret):
        if (
            len(word) >= _SHORTEST_WORD
            and _is_mixed(word)
            and _bits(word, alone=True) >= _FEWEST_BITS_OF_WORD
        ):
            yield word[: own.LONGEST]


def _is_mixed(word: bytes) -> bool:
    """Tell whether *word* is rather a key than somethingLikeThis: by a digit, or when long by many letters of both cases.

    Of the 64 characters in a line of a private key none is a digit once in 50,000 times, and in the line with
    the end of its header, which has few, once in 30.
    """
    upper, lower = (sum(byte in letters for byte in word) for letters in (_UPPER, _LOWER))
    has_digit = any(byte in _DIGITS for byte in word)
    return has_digit or (len(word) >= _LONG_WORD and min(upper, lower) * 4 >= len(word))


def _forms(part: bytes) -> "Iterator[bytes]":
    """Yield *part* as different files have it: UTF-8, UTF-16 without NULs, in JSON, and in a URL."""
    yield part
    try:
        text = part.decode()
    except UnicodeDecodeError:
        return  # of no encoding that others would write otherwise
    from json import dumps
    from urllib.parse import quote

    wide = (text.encode(encoding).replace(b"\0", b"") for encoding in ("utf-16-le", "utf-16-be"))
    for form in (*wide, dumps(text)[1:-1].encode(), quote(text, safe="").encode()):
        if len(form) >= _SHORTEST:
            yield form[: own.LONGEST]


def _bits(value: bytes, *, alone: bool = False) -> float:
    """Return about how many bits have to be guessed of *value* by who knows what kind of text it is.

    Words of a language are no secret in an address, nor where *value* is looked for *alone*.
    """
    if value.startswith(_PUBLIC):
        return 0.0
    strict = alone or _ADDRESS.fullmatch(value) is not None
    words = re.findall(_WORD, value)
    plain = sum(len(word) for word in words if _is_plain(word, strict=strict))
    if not strict and (plain * 2 < len(value) or not _OF_WORDS.fullmatch(value)):
        return entropy(value) * len(value)
    rest = b"".join(word for word in words if not _is_plain(word, strict=strict))
    return (0.0 if strict else _BITS_OF_PLAIN * plain) + (entropy(rest) * len(rest) if rest else 0.0)


def _is_plain(word: bytes, *, strict: bool) -> bool:
    """Tell whether *word* is one of a language, or a number; where that is *strict*, however long."""
    one_case = word.islower() or word.isupper() or word.istitle()
    letters = word.isalpha() and one_case and (strict or len(word) >= _SHORTEST_PLAIN)
    return (letters or word.isdigit()) and (strict or len(word) <= _LONGEST_PLAIN)


def _place_of_piece(value: bytes) -> int:
    """Return where bytes of *value* stand that are rare in texts: in its second half, which is no prefix."""

    def rarity(place: int) -> int:
        return sum(
            3 if byte in _UPPER else 2 if byte in _DIGITS else 1 if byte in _LOWER else 0
            for byte in value[place : place + own.PIECE]
        )

    last = len(value) - own.PIECE
    return max(range(min(len(value) // 2, last), last + 1), key=rarity)
