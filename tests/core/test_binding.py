"""The binding: one spelling for each, and nothing else is read."""

import datetime as dt
import json
import re
import time
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tskeyvault import binding
from tskeyvault.binding import Binding
from tskeyvault.errors import IntegrityError, UsageError

TIMES = st.datetimes(dt.datetime(1000, 1, 1)).map("{:%Y-%m-%dT%H:%M:%SZ}".format)  # noqa: DTZ001 - all of it is UTC
TEXTS = st.text(max_size=60)
BINDINGS = st.builds(
    Binding,
    vault=TEXTS,
    name=TEXTS,
    generation=st.integers(1, binding.MAX_GENERATION - 1),
    created=TIMES,
    expires=st.none() | TIMES,
    recipients=TEXTS,
)
GOOD = Binding("0" * 32, "tailscale/key", 7, "2024-02-29T23:59:59Z", None, "ab" * 32)
FIELDS = GOOD._asdict()


def compact(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def refuse(data: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        binding.decode(data)
    assert caught.value.message in {
        "the binding cannot be read",
        f"the binding is larger than {binding.MAX_ENCODED} bytes",
    }


@given(BINDINGS)
def test_what_is_encoded_is_decoded_again(bound: Binding) -> None:
    encoded = binding.encode(bound)
    assert binding.decode(encoded) == bound
    assert encoded.isascii()
    assert b"\n" not in encoded


def test_the_encoding_is_the_documented_one() -> None:
    assert binding.encode(GOOD) == (
        b'{"created":"2024-02-29T23:59:59Z","expires":null,"generation":7,"name":"tailscale/key",'
        b'"recipients":"' + b"ab" * 32 + b'","vault":"' + b"0" * 32 + b'"}'
    )


@given(st.binary(max_size=100))
@example(b"")
@example(b"null")
@example(b"[]")
@example(b"{}")
@example(b"[" * 4096)
@example(b'{"a":' * 800)
@example(b"1e999")
@example(b"9" * 4096)
def test_any_other_bytes_are_refused(data: bytes) -> None:
    refuse(data)


@given(BINDINGS, st.data())
def test_any_change_gives_another_binding_or_none(bound: Binding, data: st.DataObject) -> None:
    encoded = bytearray(binding.encode(bound))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert binding.decode(bytes(encoded)) != bound
    except IntegrityError:
        refuse(bytes(encoded))


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(FIELDS).encode(),
        json.dumps(FIELDS, sort_keys=True).encode(),
        json.dumps(FIELDS, separators=(",", ":")).encode(),
        compact(FIELDS) + b"\n",
        b" " + compact(FIELDS),
        b"\xef\xbb\xbf" + compact(FIELDS),
        compact(FIELDS).replace(b'"name"', b'"\\u006eame"'),
        compact(FIELDS).replace(b"tailscale", b"t\\u0061ilscale"),
        compact(FIELDS).replace(b":7,", b":7.0,"),
        compact(FIELDS).replace(b":7,", b":07,"),
        compact(FIELDS).replace(b":7,", b':7,"generation":7,'),
        compact(FIELDS).decode().encode("utf-16"),
        compact(FIELDS | {"name": "é"}).decode().encode().replace(b"\\u00e9", "é".encode()),
    ],
)
def test_another_spelling_of_the_same_is_refused(data: bytes) -> None:
    refuse(data)


NO_GENERATION = [0, -1, True, "7", 7.0, None, 2**53, 2**64, float("inf"), float("nan"), [7]]
NO_TIME = [
    "", "2024-02-29", "2024-02-29T23:59:59", "2024-02-29T23:59:59+00:00", "2024-02-29T23:59:59Z\n",
    "2024-02-29 23:59:59Z", "\u0662024-02-29T23:59:59Z", 0, [], {},
]  # fmt: skip
NO_TEXT: list[object] = [None, 1, [], {}]
WRONG: list[tuple[str, object]] = [
    *(("generation", value) for value in NO_GENERATION),
    *((key, value) for key in ("created", "expires") for value in NO_TIME),
    *((key, value) for key in ("vault", "name", "recipients", "created") for value in NO_TEXT),
    ("extra", "x"),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_field_of_another_kind_is_refused(key: str, value: object) -> None:
    refuse(compact(FIELDS | {key: value}))


@pytest.mark.parametrize("key", FIELDS)
def test_a_missing_field_is_refused(key: str) -> None:
    refuse(compact({name: value for name, value in FIELDS.items() if name != key}))


def test_a_large_binding_is_refused_before_it_is_parsed() -> None:
    refuse(compact(FIELDS | {"name": "a" * binding.MAX_ENCODED}))


@given(st.lists(st.text(max_size=20), max_size=8), st.randoms())
def test_a_digest_depends_on_neither_order_nor_repetition(recipients: list[str], random: Random) -> None:
    shuffled = recipients + recipients[:3]
    random.shuffle(shuffled)
    assert binding.digest(shuffled) == binding.digest(recipients)


@given(
    st.sets(st.text(st.characters(exclude_characters="\n", codec="utf-8"))),
    st.sets(st.text(st.characters(exclude_characters="\n", codec="utf-8"))),
)
@example({"a"}, {"a", ""})
@example({"ab"}, {"a", "b"})
def test_other_recipients_have_another_digest(one: set[str], other: set[str]) -> None:
    assert (binding.digest(one) == binding.digest(other)) == (one == other)


def test_a_digest_is_one_that_every_shell_can_compute() -> None:
    # printf 'a\nb\n' | sha256sum
    assert binding.digest(["b", "a"]) == "911169ddaaf146aff539f58c26c489af3b892dff0fe283c1c264c65ae5aa59a2"


def test_now_has_the_form_that_a_binding_holds() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", binding.now())
    made = GOOD._replace(created=binding.now(), expires=binding.now())
    assert binding.decode(binding.encode(made)) == made


# When to replace it.

UNITS = {"d": 1, "w": 7, "y": 365}


@given(st.integers(1, 99_999), st.sampled_from("dwy"))
def test_an_expiry_from_now_is_that_many_days_away(number: int, unit: str) -> None:
    days, before = number * UNITS[unit], int(time.time())
    if days > 100 * 365:  # more is a slip, and what is beyond the year 9999 no binding can hold
        with pytest.raises(UsageError):
            binding.expiry(f"{number}{unit}")
        return
    made = binding.seconds(binding.expiry(f"{number}{unit}"))
    assert before <= made - days * 86400 <= time.time()


@given(st.dates(min_value=dt.date(1000, 1, 1)))
def test_an_expiry_on_a_date_is_its_end(date: dt.date) -> None:
    text = f"{date.year:04}-{date.month:02}-{date.day:02}"
    assert binding.expiry(text) == f"{text}T23:59:59Z"


@given(st.one_of(st.dates().map(str), st.from_regex(r"[1-9][0-9]{0,4}[dwy]", fullmatch=True), st.text()))
@example("99999y")
@example("9999y")
@example("1-1-1")
@example("2027-1-31")
@example(" 2027-01-31")
@example("\u0662d")
@example("0d")
@example("007d")
@example("90 d")
@example("90D")
@example("-1d")
@example("2027-02-29")
def test_what_is_an_expiry_can_be_bound_and_what_is_not_is_told(text: str) -> None:
    try:
        expires = binding.expiry(text)
    except UsageError as error:
        told = (error.message, error.hint) == (
            "--expires is neither like 90d, 12w or 2y nor a date",
            "like 2027-01-31",
        )
    else:
        made = GOOD._replace(expires=expires)
        told = binding.decode(binding.encode(made)) == made
    assert told


@pytest.mark.parametrize(
    "text", ["", "0d", "d", "90", "90D", "1m", "100000d", "90d\n", "\u0669d", "tomorrow"]
)
def test_anything_else_is_no_expiry(text: str) -> None:
    with pytest.raises(UsageError):
        binding.expiry(text)


@given(st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)))  # noqa: DTZ001 - all of it is UTC
def test_seconds_are_those_of_the_moment(moment: dt.datetime) -> None:
    text = f"{moment:%Y-%m-%dT%H:%M:%SZ}".rjust(20, "0")
    utc = moment.replace(microsecond=0, tzinfo=dt.UTC)
    assert binding.seconds(text) == utc.timestamp()
