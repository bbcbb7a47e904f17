"""Environment files mean what they mean to systemd; tests/e2e/test_migration.py asks systemd itself the same."""

import pytest

from support.envfiles import FILES
from tskeyvault import envfile
from tskeyvault.errors import UsageError


@pytest.mark.parametrize("name", FILES)
def test_a_file_sets_what_systemd_takes_from_it(name: str) -> None:
    text, values = FILES[name]
    assert envfile.parse(text).values == values


@pytest.mark.parametrize(
    ("text", "lines"),
    [(b"A=1\n\nnothing\n# x\nB=2", (3,)), (b"1A=x\nB=\x01\nC=\\\nd\nend", (1, 5)), (b"A=1\n", ())],
)
def test_lines_that_set_nothing_are_told_by_their_numbers(text: bytes, lines: tuple[int, ...]) -> None:
    assert envfile.parse(text).ignored == lines


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"A=\xff", "not text in UTF-8"),
        (b"A=\0", "NUL byte"),
        (b"A=1\n# comment \\\nB=2\n", "line 2 is a comment that ends with a backslash"),
    ],
)
def test_what_systemd_refuses_or_reads_in_two_ways_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        envfile.parse(text)
