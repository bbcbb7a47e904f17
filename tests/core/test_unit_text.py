"""The text of units: commands that systemd splits as they were, and settings as it reads them."""

import pytest

from tskeyvault.errors import UsageError
from tskeyvault.units import text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["/bin/vault", "--vault", "/srv/vault"], "/bin/vault --vault /srv/vault"),
        (["/o pt/v", "a b"], '"/o pt/v" "a b"'),
        (["/v", "%n $x ${y}"], '/v "%%n $$x $${y}"'),
        (["/v$x", "a"], '"/v$x" a'),
        (["/v", 'a"b\\c'], '/v "a\\"b\\\\c"'),
        (["/v", "it's", ";", ""], '/v "it\'s" ";" ""'),
        (["/v", "é"], '/v "é"'),
    ],
)
def test_a_command_is_quoted_for_systemd(words: list[str], line: str) -> None:
    assert text.command(words) == line


@pytest.mark.parametrize("word", ["a\nExecStart=/bin/x", "a\r", "\x1b", "\udcff", "\u2028"])
def test_what_no_unit_can_say_is_refused(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        text.command(["/v", word])
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("program", ["/a'b", '/a"b', "/a\\b"])
def test_a_program_that_systemd_would_leave_out_is_refused(program: str) -> None:
    with pytest.raises(UsageError):
        text.command([program, "a"])


def test_settings_are_read_as_systemd_reads_them() -> None:
    first = """# [Service]
[Unit]
RuntimeDirectory=wrong
[Service]
; RuntimeDirectory=comment
RuntimeDirectory = a \\
# in between
  b
ExecStartPre=one
ExecStartPre=
ExecStartPre=two
Type=simple
TimeoutStartSec=
"""
    found = text.settings([first, "[Service]\nType=notify\n"], "Service")
    assert found == {
        "RuntimeDirectory": ["a    b"],
        "ExecStartPre": ["two"],
        "Type": ["simple", "notify"],
    }


@pytest.mark.parametrize(
    ("span", "seconds"),
    [("90", 90), ("1min 30s", 90), ("1.5h", 5400), ("500ms", 0.5), ("infinity", float("inf")), ("0", float("inf")), ("soon", 0),
     ("5 parsecs", 0)],
)  # fmt: skip
def test_times_are_those_of_systemd(span: str, seconds: float) -> None:
    assert text.seconds(span) == seconds
