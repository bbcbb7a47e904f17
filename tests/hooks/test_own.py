"""The vault's own values are found wherever they stand, and their fingerprints tell nothing."""

import base64
import json
import os
import string
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from support.known import KEY, finder_of, names, password
from support.planted import BASE58, BLOCKS, HEX, WAYS, drawn
from support.vaults import made_key
from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.finder import Finder
from tskeyvault_hooks.fingerprints import render
from tskeyvault_hooks.own import KEY_LENGTH, Own

VALUES: dict[str, Callable[[], str]] = {
    "password": password,
    "of twelve characters": lambda: drawn(string.ascii_letters + string.digits + "!#$%&*+", 12),
    "hexadecimal": lambda: drawn(HEX, 32),
    "with spaces": lambda: " ".join(drawn(string.ascii_lowercase, 6) for _ in range(5)),
    "with a password in a URL": lambda: (
        f"postgres://app:{password()}@db.example.com:5432/app?sslmode=require"
    ),
    "webhook": lambda: f"https://hooks.example.com/services/T{drawn(BASE58, 8)}/{password(24)}",
    "with quotes and slashes": lambda: f'{password(8)}"/{password(8)}\\{password(8)}',
    "not of ASCII": lambda: f"Schlüßel-{password(12)}",
    "not of Latin-1": lambda: f"ключ-{password(12)}",
}
ENDS = {"", "\n", "\r\n", "  \n\n"}


@pytest.mark.parametrize("others", [0, 40])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "name", ["password", "of twelve characters", "hexadecimal", "with spaces", "webhook"]
)
def test_a_value_is_found_in_each_way_of_writing(name: str, way: str, others: int) -> None:
    value = VALUES[name]()
    finder = finder_of(value.encode(), *(password().encode() for _ in range(others)))
    assert names(finder, WAYS[way](value)) == ["value of secret 'name/0'"]


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_found_glued_to_anything(name: str) -> None:
    value = VALUES[name]()
    for end in sorted(ENDS):
        finder = finder_of((value + end).encode())
        for text in (value, f"x{value}x", f"--password={value}&", f"{value}{value}", f"{'é' * 50}{value}ß"):
            assert names(finder, text.encode()) == ["value of secret 'name/0'"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_found_in_every_encoding(name: str, encoding: str) -> None:
    value = VALUES[name]()
    assert names(finder_of(value.encode()), f"key: {value}\n".encode(encoding))


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_found_as_json_and_urls_write_it(name: str) -> None:
    value = VALUES[name]()
    finder = finder_of(value.encode())
    assert names(finder, json.dumps({"key": value}).encode())
    assert names(finder, f"https://example.com/?key={quote(value, safe='')}".encode())


def test_a_value_is_found_in_latin_1() -> None:
    value = f"Schlüßel-{password(12)}"
    assert names(finder_of(value.encode()), f"key: {value}".encode("latin-1"))


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_value_of_which_one_byte_differs_is_not_found(place: str) -> None:
    value = password(30).encode()
    index = {"first": 0, "middle": 15, "last": 29}[place]
    changed = value[:index] + (b"A" if value[index : index + 1] != b"A" else b"B") + value[index + 1 :]
    finder = finder_of(value)
    assert names(finder, changed) == []
    assert names(finder, value[1:]) == []
    assert names(finder, value[:-1]) == []


def test_the_line_of_a_value_is_told_and_a_reason_allows_it() -> None:
    value = password().encode()
    (hit,) = finder_of(value).find(b"a\nb\nkey = " + value + b"  # vault:allow of a test\n")
    assert (hit.line, hit.allowed, hit.secret) == (3, True, value)


def test_a_value_that_two_secrets_have_is_told_of_both() -> None:
    value = password().encode()
    assert names(finder_of(value, value), value) == ["value of secret 'name/0'", "value of secret 'name/1'"]


@pytest.mark.parametrize("block", BLOCKS)
def test_of_a_private_key_each_line_is_found_alone(block: str) -> None:
    value = BLOCKS[block]()
    lines = [line for line in value.splitlines() if len(line) >= 64 and line.isascii() and ":" not in line]
    finder = finder_of(value.encode())
    for line in [line for line in lines if not line.startswith("-----")]:
        assert names(finder, f"x = '{line}'\n".encode()), "a line of the key"


@given(st.binary(min_size=24, max_size=2000), st.binary(max_size=100), st.binary(max_size=100))
def test_any_value_that_is_kept_is_found_between_any_bytes(value: bytes, before: bytes, after: bytes) -> None:
    data, left_out = render([("n", value)], KEY)
    assume(not left_out)
    assert "value of secret 'n'" in names(Finder(own=Own(data, KEY)), before + value + after)


@given(st.binary(max_size=300))
def test_no_other_bytes_are_taken_for_a_value(data: bytes) -> None:
    assert list(Own(render([("n", password().encode())], KEY)[0], KEY).find(data)) == []


@pytest.mark.parametrize("count", [1, 5, 12, 13, 300])
def test_of_many_values_each_is_found_at_each_place(count: int) -> None:
    values = [password(12 + number % 30).encode() for number in range(count)]
    finder = finder_of(*values)
    for number in range(0, count, 1 + count // 10):
        for before in range(17):
            text = b"." * before + values[number]
            assert names(finder, text) == [f"value of secret 'name/{number}'"]


@pytest.mark.parametrize("size", [1000, 1024, 5000, 200_000])
def test_a_long_value_is_found_by_its_beginning(size: int) -> None:
    value = password(size).encode()
    finder = finder_of(value)
    for data in (value, b"." * ((1 << 20) - 500) + value, value.decode().encode("utf-16-le")):
        assert names(finder, data) == ["value of secret 'name/0'"]
    assert names(finder, base64.b64encode(value)) == ["value of secret 'name/0'"]


def test_a_file_without_its_key_tells_only_lengths_and_names() -> None:
    values = [
        ("a/b", made_key()),
        ("c", password(40).encode()),
        ("same/1", b"0q9W8e7R6t5Y4u"),
        ("same/2", b"0q9W8e7R6t5Y4u"),
    ]
    files = [render(values, os.urandom(KEY_LENGTH))[0].decode() for _ in range(2)]
    told = [[line.split(" ") for line in file.splitlines()[1:]] for file in files]
    lengths = [sorted((int(row[1]), row[4]) for row in rows) for rows in told]
    assert lengths[0] == lengths[1] == sorted((len(value), name) for name, value in values)
    fields = [{row[field] for row in rows} for rows in told for field in (2, 3)]
    assert not fields[0] & fields[2]
    assert not fields[1] & fields[3]
    for rows in told:  # not even that two secrets have one value
        assert len({row[2] for row in rows}) == len({row[3] for row in rows}) == len(rows)
    for _, value in values:
        for start in range(len(value) - 3):
            for file in files:
                assert value[start : start + 4].hex() not in file
                assert value[start : start + 4] not in file.encode()


@pytest.mark.parametrize("what", ["another key", "cut", "cut at a line", "no seal", "empty", "binary"])
def test_a_damaged_file_is_an_error(what: str) -> None:
    data, _ = render([("a", made_key()), ("b", made_key())], KEY)
    damaged, key = {
        "another key": (data, os.urandom(KEY_LENGTH)),
        "cut": (data[:-5], KEY),
        "cut at a line": (b"".join(data.splitlines(keepends=True)[:-1]), KEY),
        "no seal": (data.partition(b"\n")[2], KEY),
        "empty": (b"", KEY),
        "binary": (os.urandom(200), KEY),
    }[what]
    with pytest.raises(ScanError, match="the fingerprints of the vault's values are damaged") as caught:
        Own(damaged, key)
    assert caught.value.hint == "vault hooks refresh"


@given(st.data())
def test_a_file_of_which_one_byte_differs_is_an_error(data: st.DataObject) -> None:
    whole, _ = render([("a", made_key())], KEY)
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255))
    assume(byte != whole[place] and bytes([byte]).lower() != whole[place : place + 1].lower())
    with pytest.raises(ScanError):
        Own(whole[:place] + bytes([byte]) + whole[place + 1 :], KEY)


def test_without_values_nothing_is_found() -> None:
    data, left_out = render([], KEY)
    assert left_out == []
    assert names(Finder(own=Own(data, KEY)), b"some text " * 100) == []


def test_a_text_full_of_a_piece_of_a_value_takes_no_more_than_linear_time() -> None:
    value = (b"Zz9Xx8Cc7Vv6" * 20_000) + password().encode()
    finder = finder_of(value)

    def took(count: int) -> float:
        text = b"Zz9Xx8Cc7Vv6." * count
        start = time.process_time()
        assert names(finder, text) == []
        return time.process_time() - start

    took(100)
    assert min(took(40_000) for _ in range(2)) / min(took(5000) for _ in range(4)) < 24
