"""What is looked for: the kinds of keys, each with the bytes that give it away and its expression.

Formats: Tailscale's "Key prefixes" (kb/1277) and ``tka/sig.go`` for wrapped keys; Headscale's
``hscontrol/db``; C2SP age.md; RFC 7468 and RFC 4880 for armored private keys.

Every repetition has an end, and none can be entered in two ways: no input takes long.
"""

_WRAPPED = rb"(?:--TL[0-9A-Za-z+/]{1,512}-[0-9A-Za-z+/]{1,512})?"
# Of a key that is masked this is left, and no secret.
_ID = rb"[0-9A-Za-z]{4,32}CNTRL"
# Between the lines of an armored block: white space, also as source code, JSON, HTML, comments, quotations and
# editors with numbers of lines write it.
_GAP = rb"(?:\s|\\[nrt]|<br ?/?>|&#(?:1[03]|x[AaDd]);|[0-9]{1,5}(?=[\s:|])|[\"'+,`\\#;>*|.&%-]|//(?=\s))"
# Of a header: quotes and backslashes too, where they are not those of source code or JSON around a line.
_VALUE = rb"[^\r\n\\\"]{0,200}+(?:(?:\\(?![nrt])|\"(?!\s{0,3}[,+]))[^\r\n\\\"]{0,200}+){0,16}+"
FOLDS = rb"\\[nrt]|<br ?/?>|&#(?:1[03]|x[AaDd]);|\s[0-9]{1,5}(?=[\s:|])|[^0-9A-Za-z/=]"
"""What is between the lines of an armored block, and characters that others put there."""


def _at_start(prefix: bytes) -> bytes:
    r"""Return an expression for *prefix* where it is no part of a word: ``\n``, ``%3D``, ``\x0a``, colours are none."""
    colours = (rb"\x1b\[m", rb"[\[;][0-9]m", rb"[\[;][0-9]{2}m", rb"\x1b\[K")
    escapes = (rb"\\[abfnrtv0]", rb"%[0-9A-Fa-f]{2}", rb"\\x[0-9A-Fa-f]{2}", rb"\\u[0-9A-Fa-f]{4}", *colours)
    after_escape = b"|".join(rb"(?<=" + escape + prefix + rb")" for escape in escapes)
    # The prefix first: so the expression is searched for as fast as a text.
    return prefix + rb"(?:(?<![0-9A-Za-z]" + prefix + rb")|" + after_escape + rb")"


_FEWEST = 24
"""Characters that are secret in a key of Tailscale's: in old ones; 32 or 33 in those of 2026."""


class Kind:
    """One kind of key. A class without a base: what would make it shorter takes 3 ms to import."""

    __slots__ = ("expression", "folded", "issued", "name", "needles")

    def __init__(
        self, name: str, needles: tuple[bytes, ...], expression: bytes, *, folded: int = 0, issued: int = 0
    ):
        self.name = name
        """For people, after "a" or "an" is left out: ``Tailscale key``."""
        self.needles = needles
        """One of them stands in every key, at most 128 bytes behind its start."""
        self.expression = expression
        """For :mod:`re`. Group 1 is the part that is secret, and at most 3 KiB with what is before it."""
        self.folded = folded
        """Of a secret that is broken into lines: how many bytes it has at least without the breaks."""
        self.issued = issued
        """How many bytes the secret has as it is issued, or 0: what is glued to so many hides nothing."""


# Of the kinds with one name the first that fits says what of a key is secret.
KINDS = (
    Kind(
        "Tailscale key",
        (b"skey-",),
        rb"tskey-(?:[a-z]{2,20}-)?" + _ID + rb"-([0-9A-Za-z]{10,64}" + _WRAPPED + rb")",
        issued=_FEWEST,
    ),
    Kind(
        "Tailscale key",
        (b"skey-",),
        _at_start(b"tskey-")
        + rb"(?:[a-z]{2,20}-)?[0-9A-Za-z_]{4,64}-(?!"
        + _ID
        + rb")([0-9A-Za-z_]{10,128}"
        + _WRAPPED
        + rb")",
        issued=_FEWEST,
    ),
    Kind(
        "Tailscale key",
        (b"skey-",),
        _at_start(b"tskey-") + rb"([0-9A-Za-z]{16,64}+" + _WRAPPED + rb")(?!-)",
        issued=_FEWEST,
    ),
    Kind(
        "Headscale key",
        (b"skey-",),
        rb"hskey-(?:auth|api|client|oauthtok)-[0-9A-Za-z_-]{12}-([0-9A-Za-z_-]{64})",
    ),
    Kind(
        "Tailscale private key",
        (b"privkey:", b"nlpriv:"),
        rb"(?:privkey|nlpriv):([0-9a-f]{64})",
    ),
    Kind(
        "age secret key",
        (b"SECRET-KEY-",),
        rb"AGE-SECRET-KEY-(?:PQ-)?1([02-9AC-HJ-NP-Z]{58,128})",
        issued=58,
    ),
    Kind(
        "private key",
        (b"PRIVATE KEY",),
        rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        rb"(?:" + _GAP + rb"{1,80}+[0-9A-Za-z-]{1,40}+:" + _VALUE + rb"){0,12}+" + _GAP + rb"{0,80}+"
        rb"((?:[0-9A-Za-z+/=]{16,1024}+" + _GAP + rb"{0,80}+){1,16}+)",
        folded=48,  # of Ed25519, the shortest, 64
    ),
)
STEMS = (b"skey-", b"priv", b"KEY")
"""What several needles have in common, and few texts have: so they are told apart only in these."""


def looks_random(secret: bytes) -> bool:
    """Tell whether *secret* may be one, and is no placeholder or sample of a documentation."""
    steps = [abs(secret[place] - secret[place - 1]) for place in range(1, len(secret))]
    if steps.count(1) * 2 > len(secret):
        return False  # abcdefgh, 12345678
    from math import log2

    bits = entropy(secret)
    if bits >= _MANY_BITS:
        return True
    letters = secret.replace(b"_", b"")
    words = letters.isalpha() and (letters.islower() or letters.isupper())
    symbols = _HEX if not secret.strip(b"0123456789abcdef") else _ALPHANUMERIC
    few = _SHARE * log2(min(len(secret), symbols))
    return bits >= few and not words and not any(word in secret.lower() for word in _WORDS)


def entropy(data: bytes) -> float:
    """Return how many bits each byte of *data* has, by its own frequencies."""
    from math import log2

    shares = [data.count(value) / len(data) for value in set(data)]
    return -sum(share * log2(share) for share in shares)


_SHARE = 0.6
"""Of the bits that so many bytes can have; of a million random ones not one has less."""
_HEX, _ALPHANUMERIC = 16, 62
_MANY_BITS = 3.8
"""So random are real keys; a word in one is chance."""
_WORDS = (
    b"example", b"your", b"test", b"dummy", b"placeholder", b"redact", b"changeme", b"secret", b"token",
    b"fake", b"sample", b"invalid", b"xxxx",
)  # fmt: skip
