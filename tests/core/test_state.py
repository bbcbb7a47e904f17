"""What a host remembers: never backwards, never half, and for nobody else to change."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.vaults import run_python
from tskeyvault import files, limits
from tskeyvault.errors import DeliveryError, IntegrityError, VaultError
from tskeyvault.state import Seen, State

VAULT = "0" * 32


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state/tskeyvault"


@pytest.fixture
def file(directory: Path) -> Path:
    """Give the path of the state file, whose directory is there."""
    directory.mkdir(parents=True, mode=0o700)
    return directory / f"{VAULT}.json"


def state(directory: Path) -> State:
    return State(str(directory), VAULT)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_new_host_remembers_nothing_and_writes_nothing(directory: Path) -> None:
    fresh = state(directory)
    assert fresh.seen("secrets/a.age") is None
    assert fresh.approved("secrets/.age-recipients") is None
    assert fresh.approved_paths == ()
    fresh.record({})
    assert not directory.exists()


def test_what_is_recorded_and_approved_is_there_for_the_next_run(directory: Path) -> None:
    first = state(directory)
    first.record({"a": Seen(3, "x"), "b": Seen(0, "y")})
    first.approve({"r": ("z", "y", "z"), "q": ()})
    second = state(directory)
    assert second.seen("a") == first.seen("a") == Seen(3, "x")
    assert second.seen("b") == Seen(0, "y")
    assert second.approved("r") == first.approved("r") == ("y", "z")
    assert second.approved("q") == ()
    assert sorted(second.approved_paths) == ["q", "r"]


def test_a_file_that_is_gone_is_forgotten(directory: Path) -> None:
    first = state(directory)
    first.approve({"r": ("y",)})
    first.approve({"r": None, "never": None})
    assert state(directory).approved("r") is None
    assert state(directory).approved_paths == ()


def test_only_its_user_can_read_or_change_it(directory: Path) -> None:
    before = os.umask(0)
    try:
        state(directory).record({"a": Seen(1, "x")})
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()] == [0o600]


def test_vaults_do_not_share_what_is_remembered(directory: Path) -> None:
    state(directory).record({"a": Seen(1, "x")})
    assert State(str(directory), "1" * 32).seen("a") is None


def test_a_generation_never_goes_back(directory: Path) -> None:
    first = state(directory)
    first.record({"a": Seen(5, "five")})
    first.record({"a": Seen(4, "four")})
    assert first.seen("a") == state(directory).seen("a") == Seen(5, "five")
    first.record({"a": Seen(6, "six")})
    assert state(directory).seen("a") == Seen(6, "six")


def test_a_generation_does_not_go_back_behind_what_another_run_has_seen(directory: Path) -> None:
    stale = state(directory)
    state(directory).record({"a": Seen(9, "nine"), "b": Seen(1, "one")})
    stale.record({"a": Seen(2, "two")})
    assert stale.seen("a") == state(directory).seen("a") == Seen(9, "nine")
    assert state(directory).seen("b") == Seen(1, "one")


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5)), max_size=6))
def test_the_highest_generation_stays(
    tmp_path_factory: pytest.TempPathFactory, seen: list[tuple[str, int]]
) -> None:
    directory = tmp_path_factory.mktemp("state")
    for path, generation in seen:
        state(directory).record({path: Seen(generation, str(generation))})
    for path in "ab":
        highest = max((generation for name, generation in seen if name == path), default=None)
        found = state(directory).seen(path)
        assert found == (None if highest is None else Seen(highest, str(highest)))


def test_what_is_known_already_is_not_written_again(directory: Path) -> None:
    first = state(directory)
    first.record({"a": Seen(1, "x")})
    before = (directory / f"{VAULT}.json").stat()
    first.record({"a": Seen(1, "x")})
    state(directory).record({"a": Seen(1, "x")})
    after = (directory / f"{VAULT}.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


WRITER = f"""\
import sys
from tskeyvault.state import Seen, State
directory, writer = sys.argv[1:]
for number in range(15):
    State(directory, "{VAULT}").record({{
        f"{{writer}}/{{number}}": Seen(1, "x"), "all": Seen(int(writer) * 100 + number, "y")
    }})
    State(directory, "{VAULT}").approve({{f"{{writer}}/{{number}}": ("z",)}})
"""


def test_runs_at_once_lose_nothing_of_each_other(directory: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda writer: run_python("-c", WRITER, directory, str(writer)), range(4)))
    assert [run.err for run in done] == [""] * 4
    found = state(directory)
    expected = {f"{writer}/{number}" for writer in range(4) for number in range(15)}
    assert {path for path in expected if found.seen(path) == Seen(1, "x")} == expected
    assert set(found.approved_paths) == expected
    assert found.seen("all") == Seen(314, "y")
    assert list(contents(directory)) == [f"{VAULT}.json"]


DAMAGED = {
    "empty": b"",
    "text": b"x",
    "cut": b'{"seen": {"a": [1, "x"]',
    "list": b"[]",
    "number": b"1",
    "no keys": b"{}",
    "half": b'{"seen": {}}',
    "seen is a list": b'{"seen": [], "approved": {}}',
    "short pair": b'{"seen": {"a": [1]}, "approved": {}}',
    "long pair": b'{"seen": {"a": [1, "x", 2]}, "approved": {}}',
    "no number": b'{"seen": {"a": ["x", "x"]}, "approved": {}}',
    "null": b'{"seen": {"a": [null, "x"]}, "approved": {}}',
    "not a number": b'{"seen": {"a": [NaN, "x"]}, "approved": {}}',
    "infinite": b'{"seen": {"a": [Infinity, "x"]}, "approved": {}}',
    "overflow": b'{"seen": {"a": [1e999, "x"]}, "approved": {}}',
    "many digits": b'{"seen": {"a": [' + b"9" * 5000 + b', "x"]}, "approved": {}}',
    "approved is a number": b'{"seen": {}, "approved": {"r": 1}}',
    "deep": b"[" * 100_000,
    "latin": b'{"seen": {"\xff": [1, "x"]}, "approved": {}}',
    "zeroes": b"\0" * 4096,
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_told_and_kept(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(IntegrityError) as caught:
        state(file.parent)
    assert str(file) in caught.value.message
    assert caught.value.hint == "remove it, and approve anew"
    assert contents(file.parent) == {file.name: data}


@given(st.binary(max_size=60))
def test_any_bytes_give_a_state_or_an_integrity_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    directory = tmp_path_factory.mktemp("state")
    (directory / f"{VAULT}.json").write_bytes(b'{"seen": {"a": [' + data)
    with pytest.raises(IntegrityError):
        state(directory)


def test_a_file_that_is_damaged_meanwhile_is_not_written_over(file: Path) -> None:
    first = state(file.parent)
    file.write_bytes(b"damaged")
    with pytest.raises(IntegrityError):
        first.record({"a": Seen(1, "x")})
    assert contents(file.parent) == {file.name: b"damaged"}


def test_a_link_or_pipe_in_the_place_of_the_file_is_refused(file: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(json.dumps({"seen": {"a": [1, "x"]}, "approved": {}}))
    file.symlink_to(elsewhere)
    with pytest.raises(IntegrityError):
        state(file.parent)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(IntegrityError):
        state(file.parent)


def unremembered(directory: Path) -> None:
    opened = state(directory)
    for attempt in (partial(opened.record, {"a": Seen(2, "y")}), partial(opened.approve, {"r": ("z",)})):
        with pytest.raises(DeliveryError) as caught:
            attempt()
        assert str(directory) in caught.value.message
        assert "StateDirectory=" in caught.value.hint


def test_a_place_that_cannot_be_made_is_told(directory: Path) -> None:
    directory.parent.write_text("no directory")
    unremembered(directory)


def test_a_file_in_the_place_of_the_directory_is_told(directory: Path) -> None:
    directory.parent.mkdir()
    directory.write_text("no directory")
    unremembered(directory)


@pytest.fixture(params=["write", "fsync", "fchmod", "rename"])
def failing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let one step of writing a file fail, as on a full or a read-only disk."""

    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "no space, says the system")

    with monkeypatch.context() as patch:
        patch.setattr(os, request.param, fail)
        yield


@pytest.mark.usefixtures("failing")
def test_what_cannot_be_written_is_told_and_the_old_file_stays(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = json.dumps({"seen": {"a": [1, "x"]}, "approved": {}}).encode()
    file.write_bytes(old)
    unremembered(file.parent)
    monkeypatch.undo()
    assert contents(file.parent) == {file.name: old}


def test_a_lock_that_another_run_holds_is_not_waited_for_for_ever(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = state(file.parent)
    monkeypatch.setattr(limits.locked.__wrapped__, "__defaults__", (0.0,))  # type: ignore[attr-defined]
    with (
        files.directory(str(file.parent)) as fd,
        limits.locked(fd, "the test"),
        pytest.raises(VaultError, match="another process has held its lock"),
    ):
        opened.record({"a": Seen(1, "x")})
    assert contents(file.parent) == {}


def test_files_without_a_binding_are_known_by_the_secret_that_had_them(tmp_path: Path) -> None:
    state = State(str(tmp_path), "id")
    for digest in ("one", "two"):
        state.record({"secrets/a.gpg": Seen(0, digest), "secrets/b.gpg": Seen(0, f"b-{digest}")})
    state.record({"secrets/c.age": Seen(3, "bound")})
    for known in (state, State(str(tmp_path), "id")):
        assert [known.whose(it) for it in ("one", "two")] == ["secrets/a.gpg"] * 2
        assert [known.whose(it) for it in ("b-one", "b-two")] == ["secrets/b.gpg"] * 2
        assert [known.whose(it) for it in ("bound", "never")] == ["", ""]


def test_a_hundred_earlier_files_are_remembered(tmp_path: Path) -> None:
    state = State(str(tmp_path), "id")
    for number in range(102):
        state.record({"secrets/a.gpg": Seen(0, str(number))})
    assert [state.whose(str(number)) for number in (0, 1, 101)] == ["", "secrets/a.gpg", "secrets/a.gpg"]
