"""A key is found wherever pieces of the input end, and on its line."""

import base64
import secrets
import textwrap
from collections.abc import Callable, Iterator
from secrets import SystemRandom

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.planted import BASE58, BLOCKS, HEX, ONE_LINE, WAYS, drawn, tailscale
from support.vaults import made_key
from tskeyvault_hooks import finder
from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.finder import Finder
from tskeyvault_hooks.kinds import Kind


def told(pieces: Iterator[bytes]) -> list[tuple[str, bytes, int, bool]]:
    """Return all that is told of the keys in *pieces*."""
    return sorted((hit.kind, hit.secret, hit.line, hit.allowed) for hit in Finder().find_in(pieces))


def cut(data: bytes, *places: int) -> Iterator[bytes]:
    """Yield *data* in pieces that end at *places*."""
    start = 0
    for place in sorted(places):
        yield data[start:place]
        start = max(start, place)
    yield data[start:]


@pytest.fixture(name="small_windows")
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the finder look at so few bytes at a time that each border can be tried."""
    monkeypatch.setattr(finder, "PIECE", finder._BEHIND + 4)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["Tailscale auth", "Tailscale wrapped", "age", "EC", "RSA encrypted"])
def test_a_key_at_any_border_is_told_as_if_there_were_none(name: str, way: str) -> None:
    written = WAYS[way]({**ONE_LINE, **BLOCKS}[name]())
    expected = told(iter((written,)))
    assert len(expected) == 1
    before = finder._AHEAD + finder.PIECE
    # By 4, so that the characters of UTF-32 stay where they were.
    for shift in range(0, len(written) + 300, 52 if len(written) < 2000 else 260):
        moved = b". .\0" * ((before - shift) // 4) + written
        whole = told(iter((moved,)))
        assert told(cut(moved, *range(0, len(moved), 997))) == whole
        assert [hit[:2] for hit in whole] == [hit[:2] for hit in expected]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_pieces_of_any_size_are_told_of_as_the_whole(data: st.DataObject) -> None:
    ways = data.draw(st.lists(st.sampled_from(sorted(WAYS)), min_size=1, max_size=4))
    filling = data.draw(
        st.lists(st.sampled_from([b"\n", b"x = 1\n", b"A" * 50, b"\0", b". ", b"\\n"]), max_size=6)
    )
    key = tailscale("auth")
    block = BLOCKS["Ed25519"]()
    text = b"".join(
        WAYS[way](block if way.startswith("base64") else key) + b"".join(filling) * 300 for way in ways
    )
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=8))
    whole = told(iter((text,)))
    assert whole
    assert told(cut(text, *places)) == whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finder, "PIECE", finder._BEHIND + data.draw(st.integers(1, 5000)))
        assert told(cut(text, *places)) == whole


def test_pieces_of_one_byte_are_pieces_too() -> None:
    key = made_key()
    assert [hit.line for hit in Finder().find_in(bytes([byte]) for byte in b"a\nb\n" + key)] == [3]


@pytest.mark.parametrize("border", [1 << 20, 2 << 20])
def test_a_key_across_the_border_of_a_mebibyte_is_found(border: int) -> None:
    key = made_key()
    for before in range(1, len(key), 5):  # at every byte where the windows are small: see above
        text = b"line\n" * ((border - before) // 5) + b" " * ((border - before) % 5) + key + b"\nend\n"
        assert [hit.line for hit in Finder().find(text)] == [(border - before) // 5 + 1]


@pytest.mark.usefixtures("small_windows")
def test_a_word_at_a_border_stays_a_word() -> None:
    text = b"-".join((b"tskey", b"vault", b"prod9Xa1Bc3D7", b"connection4String7"))
    for shift in range(200):
        data = b"." * (finder._AHEAD + shift) + b"account" + text + b"." * (3 * finder.PIECE)
        assert told(iter((data,))) == []
    assert len(told(iter((b"account " + text,)))) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_the_line_is_right_in_every_encoding(encoding: str) -> None:
    for line in (1, 2, 7, 90_000):
        text = "x = 1\r\n" * (line - 1) + f"key = {tailscale('auth')}\r\n" + "y\n" * 50_000
        assert [hit.line for hit in Finder().find(text.encode(encoding))] == [line]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_character_with_the_byte_of_a_line_end_ends_no_line(encoding: str) -> None:
    text = "上海上\n" * 200_000 + tailscale("auth")
    assert [hit.line for hit in Finder().find(text.encode(encoding))] == [200_001]


@pytest.mark.parametrize("columns", [64, 76])
def test_the_line_in_folded_base64_is_that_where_the_key_begins(columns: int) -> None:
    before = "# a comment\n" * 40
    coded = base64.b64encode((before + tailscale("auth")).encode()).decode()
    folded = "\n".join(f"    {part}" for part in textwrap.wrap(coded, columns))
    (hit,) = Finder().find(f"apiVersion: v1\ndata: |\n{folded}\n".encode())
    assert hit.line == 3 + len(base64.b64encode(before.encode())) // columns


def test_the_same_key_is_told_once_with_its_first_line() -> None:
    key = made_key()
    hits = Finder().find(b"\n" + key + b"\n" + base64.b64encode(key) + b"\n" + key + b"\n")
    assert [hit.line for hit in hits] == [2]


@pytest.mark.parametrize(
    ("comment", "allowed"),
    [
        ("  # vault:allow a key of the documentation", True),
        ("  // vault:allow revoked in 2025", True),
        ("  <!-- vault:allow revoked -->", True),
        ("  # vault:allow", False),
        ("  # vault:allow ", False),
        ("  <!-- vault:allow -->", False),
        ("  /* vault:allow */", False),
        ("\n# vault:allow the line above", False),
        ("  # vault: allow me", False),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_a_comment_in_the_line_allows_its_key_when_it_says_why(
    comment: str, allowed: bool, encoding: str
) -> None:
    for text in (f"first\nkey = {tailscale('auth')}{comment}\n", f"{tailscale('auth')}{comment}"):
        (hit,) = Finder().find(text.encode(encoding))
        assert hit.allowed is allowed


def test_a_comment_in_the_line_allows_a_key_in_base64_too() -> None:
    (hit,) = Finder().find(base64.b64encode(made_key()) + b"  # vault:allow of a test\n")
    assert hit.allowed


def test_what_is_allowed_in_one_line_is_not_in_another() -> None:
    key = made_key()
    (hit,) = Finder().find(key + b" # vault:allow here\n" + b"x\n" * 9 + key + b"\n")
    assert (hit.allowed, hit.line) == (False, 11)


def test_a_reason_far_away_in_a_long_line_is_not_looked_for() -> None:
    (hit,) = Finder().find(made_key() + b" " * (1 << 20) + b"vault:allow too far\n")
    assert not hit.allowed


def test_a_kind_of_a_plugin_is_found_in_all_ways() -> None:
    kind = Kind("Example token", (b"exm_",), rb"exm_([0-9a-f]{40})")
    for way in WAYS.values():
        secret = drawn(HEX, 40)
        (hit,) = Finder([kind]).find(way(f"exm_{secret}"))
        assert (hit.kind, hit.secret) == ("Example token", secret.encode())


@pytest.mark.parametrize("way", WAYS)
def test_a_kind_of_a_plugin_is_found_though_it_is_short_and_has_no_long_run_of_letters(way: str) -> None:
    kind = Kind("Example token", (b"x-1_",), rb"x-1_((?:[0-9A-Za-z]{3}_){5,40}z)")
    for groups in (5, 12):
        letters = "".join(
            SystemRandom().sample(BASE58, 3 * groups)
        )  # none twice: so random is every key, if longer
        secret = "_".join([*(letters[start : start + 3] for start in range(0, 3 * groups, 3)), "z"])
        hits = Finder([kind]).find(WAYS[way](f"x-1_{secret}"))
        assert [(hit.kind, hit.secret) for hit in hits] == [("Example token", secret.encode())]


@pytest.mark.parametrize("columns", [32, 40, 57, 100])
@pytest.mark.parametrize("name", ["Tailscale auth", "Headscale auth", "age", "Ed25519"])
def test_base64_is_found_in_lines_of_32_characters_and_more(columns: int, name: str) -> None:
    coded = base64.b64encode(f"before it\n{(ONE_LINE | BLOCKS)[name]()}\n".encode()).decode()
    lines = [coded[start : start + columns] for start in range(0, len(coded), columns)]
    for end in ("\n", "\r\n    "):
        assert len(Finder().find(end.join(lines).encode())) == 1


@pytest.mark.parametrize(
    ("reason", "allowed"),
    [
        ('vault:allow "', False),
        ("vault:allow .", False),
        ("vault:allow ok", False),
        ("vault:allow 12345", False),
        ("vault:allow für", True),
        ("vault:allow 例え", True),
        ("vault:allow a 1st sample", True),
    ],
)
def test_a_reason_has_a_word(reason: str, *, allowed: bool) -> None:
    key = made_key()
    for line in (key + b"  # " + reason.encode(), b"/* " + reason.encode() + b" */ " + key):
        (hit,) = Finder().find(line)
        assert hit.allowed == allowed


def test_a_key_is_no_reason_for_itself() -> None:
    (hit,) = Finder().find(b"# vault:allow " + made_key())
    assert not hit.allowed


def test_more_keys_than_can_be_told_are_an_error_and_not_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "_MOST", 100)
    keys = b"\n".join(made_key() for _ in range(101))
    with pytest.raises(ScanError, match="more than 100 keys in one object"):
        Finder().find(keys)


def test_looking_quickly_agrees_with_looking_closely() -> None:
    looks: list[Callable[[str], bytes]] = list(WAYS.values())
    for name, make in ONE_LINE.items():
        for way in looks:
            assert Finder().may_hold(secrets.token_bytes(100) + way(make())), name
