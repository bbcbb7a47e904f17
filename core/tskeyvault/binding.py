"""The binding: what ties a ciphertext to its vault, its name and its place in time."""

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Iterable
from typing import NamedTuple

from .errors import IntegrityError, UsageError

MAX_ENCODED = 4096
"""Bytes of an encoded binding."""
MAX_GENERATION = 2**53
"""Above what JSON numbers hold exactly, nothing is a generation."""

_MAX_DAYS = 100 * 365
_FORM = "%Y-%m-%dT%H:%M:%SZ"
_TIME = re.compile(
    r"(?!0000)\d{4}-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ",
    re.ASCII,
)
_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""Days of the months; a 29 February that is none does no harm."""


class Binding(NamedTuple):
    """What is stored, authenticated, beside every ciphertext."""

    vault: str
    """The ``id`` of vault.toml."""
    name: str
    """The secret's name."""
    generation: int
    """Counts the values of this secret, from 1."""
    created: str
    """When this value was put in: ISO 8601, UTC, seconds, ``Z``."""
    expires: str | None
    """When it is to be replaced, in the same form, or None."""
    recipients: str
    """:func:`digest` of those it was encrypted to."""


def encode(binding: Binding) -> bytes:
    """Return *binding* as canonical JSON: ASCII, keys sorted, no spaces."""
    return json.dumps(binding._asdict(), sort_keys=True, separators=(",", ":")).encode("ascii")


def decode(data: bytes) -> Binding:
    """Return the Binding that *data* encodes.

    Raises IntegrityError for anything that :func:`encode` would not have written.
    """
    if len(data) > MAX_ENCODED:
        raise IntegrityError(f"the binding is larger than {MAX_ENCODED} bytes")
    try:
        fields = json.loads(data.decode("ascii"))
        binding = Binding(**fields)
    except (ValueError, TypeError, RecursionError):
        raise IntegrityError("the binding cannot be read") from None
    if not _sound(binding) or encode(binding) != data:
        raise IntegrityError("the binding cannot be read")
    return binding


def digest(recipients: Iterable[str]) -> str:
    """Return the SHA-256 (hex) of the sorted *recipients*, one per line, each once."""
    lines = "".join(f"{recipient}\n" for recipient in sorted(set(recipients)))
    return hashlib.sha256(lines.encode()).hexdigest()


def now() -> str:
    """Return the present time in the form that a Binding holds."""
    return time.strftime(_FORM, time.gmtime())


def expiry(text: str) -> str:
    """Return the time that *text* means: days, weeks or years from now (``90d``), or a date (UTC, its end).

    Raises UsageError.
    """
    if match := re.fullmatch(r"([1-9]\d{0,4})([dwy])", text, re.ASCII):
        days = int(match[1]) * {"d": 1, "w": 7, "y": 365}[match[2]]
        if days <= _MAX_DAYS:
            return time.strftime(_FORM, time.gmtime(time.time() + days * 86400))
    elif _is_time(end := f"{text}T23:59:59Z"):
        with contextlib.suppress(ValueError):  # for a 29 February that is none
            time.strptime(end, _FORM)
            return end
    raise UsageError("--expires is neither like 90d, 12w or 2y nor a date", "like 2027-01-31")


def seconds(moment: str) -> float:
    """Return *moment*, a time in the form of a Binding, as seconds since 1970."""
    import calendar

    return calendar.timegm(time.strptime(moment, _FORM))


def _sound(binding: Binding) -> bool:
    texts = (binding.vault, binding.name, binding.created, binding.recipients)
    return (
        all(isinstance(text, str) for text in texts)
        and type(binding.generation) is int
        and 1 <= binding.generation < MAX_GENERATION
        and _is_time(binding.created)
        and (binding.expires is None or _is_time(binding.expires))
    )


def _is_time(value: object) -> bool:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    return match is not None and int(match["day"]) <= _LENGTHS[int(match["month"]) - 1]
