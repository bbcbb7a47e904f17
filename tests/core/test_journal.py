"""The journal of a change: one that was cut off anywhere is done before the next, or has never begun."""

import contextlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tskeyvault import files
from tskeyvault.errors import DeliveryError, IntegrityError
from tskeyvault.journal import Journal, Note, Record, Step
from tskeyvault.store import Store
from tskeyvault.writer import Writer

VAULT = "0" * 32
RECORD = Record(
    (
        Step("secrets", ".vault-0123456789abcdef", "a.age", "1" * 64, "0" * 64),
        Step("secrets/b", ".vault-fedcba9876543210", "é.age", "", "f" * 64),
        Step("secrets/b/c", "", "d.age", "2" * 64, ""),
    ),
    Note("Move é", commit=True),
    {"secrets/.age-recipients": ("age1a", "age1b")},
    ("secrets/z.age",),
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Give the state directory, which is not there yet."""
    return tmp_path / "state/tskeyvault"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Give a vault's directory with three secrets in it."""
    for name in ("a.age", "b/c.age", "gone/d.age"):
        file = tmp_path / "clone/secrets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("old")
    return tmp_path / "clone"


def journal(directory: Path, clone: Path) -> Journal:
    return Journal(str(directory), VAULT, str(clone))


def the_file(directory: Path) -> Path:
    (found,) = directory.iterdir()
    return found


def test_steps_are_pending_until_they_are_ended(directory: Path, clone: Path) -> None:
    ours = journal(directory, clone)
    assert ours.pending() is None
    assert not directory.exists()
    ours.begin(RECORD)
    assert ours.pending() == journal(directory, clone).pending() == RECORD
    ours.end()
    assert (ours.pending(), journal(directory, clone).pending()) == (None, None)
    assert list(directory.iterdir()) == []
    ours.end()


def test_only_its_user_can_read_or_change_it(directory: Path, clone: Path) -> None:
    before = os.umask(0)
    try:
        journal(directory, clone).begin(RECORD)
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(the_file(directory).stat().st_mode) == 0o600


def test_each_clone_of_a_vault_has_its_own_by_whatever_path(directory: Path, clone: Path) -> None:
    other = clone.with_name("other")
    other.mkdir()
    journal(directory, clone).begin(RECORD)
    assert journal(directory, other).pending() is None
    link = clone.with_name("link")
    link.symlink_to(clone)
    assert journal(directory, link).pending() == RECORD
    assert Journal(str(directory), "1" * 32, str(clone)).pending() is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"{}",
        b"1",
        b"null",
        b"[1]",
        b'{"steps": [], "note": ["a", true]}',
        b'{"steps": [], "note": ["a", true], "approved": {}}',
        b'{"steps": [], "note": ["a", true], "approved": {}, "left": [1]}',
        b'{"steps": [], "note": ["a"], "approved": {}, "left": []}',
        b'{"steps": [], "note": [1, true], "approved": {}, "left": []}',
        b'{"steps": [["a", "b", "c", "d"]], "note": ["a", true], "approved": {}, "left": []}',
        b'{"steps": [["a", "b", "c", "d", 5]], "note": ["a", true], "approved": {}, "left": []}',
        b'{"steps": [["a", "b", "c", "d", "e", "f"]], "note": ["a", true], "approved": {}, "left": []}',
        b'{"steps": 1, "note": ["a", true], "approved": {}, "left": []}',
        b'{"steps": [], "note": ["a", true], "approved": 1, "left": []}',
        b'{"steps": [], "note": ["a", true], "approved": {"a": 1}, "left": []}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_damaged_journal_is_told_and_kept(directory: Path, clone: Path, data: bytes) -> None:
    ours = journal(directory, clone)
    ours.begin(RECORD)
    the_file(directory).write_bytes(data)
    with pytest.raises(IntegrityError, match="is damaged") as caught:
        ours.pending()
    assert str(the_file(directory)) in caught.value.message
    assert caught.value.hint == "see git status, then remove it"
    assert the_file(directory).read_bytes() == data


@given(st.binary(max_size=60))
def test_any_bytes_are_steps_or_an_integrity_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    directory = tmp_path_factory.mktemp("state")
    ours = journal(directory, directory)
    ours.begin(RECORD)
    whole = the_file(directory).read_bytes()
    place = len(data) % len(whole)
    the_file(directory).write_bytes(whole[:place] + data + whole[place + 1 :])
    with contextlib.suppress(IntegrityError):
        found = ours.pending()
        assert found is not None
        assert all(isinstance(part, str) for step in found.steps for part in step)


def test_where_it_cannot_be_written_nothing_begins(directory: Path, clone: Path) -> None:
    directory.parent.write_text("no directory")
    before = contents(clone)
    with pytest.raises(DeliveryError, match="cannot be made"):
        journal(directory, clone).begin(RECORD)
    with opened(directory, clone) as writer, pytest.raises(DeliveryError):
        writer.change({"secrets/a.age": b"new", "secrets/b/c.age": b"new"})
    assert contents(clone) == before


# A change that was cut off.


class KilledError(BaseException):
    """What lets nobody clean up."""


class opened:  # noqa: N801 - used like a function
    """What writes into the vault at *clone*, as one command has it."""

    def __init__(self, directory: Path, clone: Path):
        self._root = files.directory(str(clone))
        self._journal = journal(directory, clone)

    def __enter__(self) -> Writer:
        return Writer(Store(self._root.__enter__()), self._journal)

    def __exit__(self, *failure: object) -> None:
        self._root.__exit__(None, None, None)


OLD = {"a.age": "old", "b/c.age": "old", "gone/d.age": "old"}
NEW = {"a.age": "new", "b/c.age": "new", "new/e.age": "new"}


def contents(clone: Path) -> dict[str, str]:
    secrets = clone / "secrets"
    return {str(path.relative_to(secrets)): path.read_text() for path in secrets.rglob("*") if path.is_file()}


def change(writer: Writer) -> None:
    new = {f"secrets/{name}": text.encode() for name, text in NEW.items()}
    writer.change(new, ["secrets/gone/d.age"])


def cut(monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
    """Let the process be killed before its step *number*; return what of the store was done until then."""
    done: list[str] = []
    monkeypatch.undo()

    def step(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **more: object) -> object:
            if len(done) == number:
                raise KilledError
            done.append(str(arguments[-1]))
            return real(*arguments, **more)

        return call

    for name in ("rename", "unlink", "fsync", "rmdir"):
        monkeypatch.setattr(os, name, step(getattr(os, name)))
    return done


@pytest.fixture
def cuts(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Give the clones that a kill before every step of a change leaves; the last was not killed."""
    found = []
    while True:
        work = tmp_path_factory.mktemp("cut")
        for name, text in OLD.items():
            file = work / "clone/secrets" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        found.append(work)
        cut(monkeypatch, len(found) - 1)
        with opened(work / "state", work / "clone") as writer:
            try:
                with writer.lock():
                    change(writer)
            except KilledError:
                continue
            finally:
                monkeypatch.undo()
        break
    assert len(found) > 10
    return found


def secrets_of(clone: Path) -> dict[str, str]:
    """Return the contents without what was staged."""
    return {name: text for name, text in contents(clone).items() if "/.vault-" not in f"/{name}"}


def test_each_file_is_the_old_or_the_new_and_none_is_lost(cuts: list[Path]) -> None:
    for work in cuts:
        found = secrets_of(work / "clone")
        assert all(text in {OLD.get(name), NEW.get(name)} for name, text in found.items())
        assert {"a.age", "b/c.age"} <= set(found)
        assert {"gone/d.age", "new/e.age"} & set(found)


def test_the_next_lock_finds_all_done_or_nothing(cuts: list[Path]) -> None:
    done = []
    for work in cuts:
        with opened(work / "state", work / "clone") as writer, writer.lock():
            found = secrets_of(work / "clone")
        assert found in (OLD, NEW)
        done.append(found == NEW)
        assert journal(work / "state", work / "clone").pending() is None
    assert done == sorted(done)
    assert set(done) == {False, True}


def test_the_next_change_leaves_no_leftovers(cuts: list[Path]) -> None:
    for work in cuts:
        with opened(work / "state", work / "clone") as writer, writer.lock():
            change(writer)
        assert contents(work / "clone") == NEW
        assert not (work / "clone/secrets/gone").exists()
        assert list((work / "state").iterdir()) == []


def test_finishing_can_itself_be_cut_off(cuts: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for number, work in enumerate(cuts):
        with opened(work / "state", work / "clone") as writer:
            pending = bool(journal(work / "state", work / "clone").pending())
            cut(monkeypatch, number % 6)
            with contextlib.suppress(KilledError), writer.lock():
                pass
            monkeypatch.undo()
            with writer.lock():
                found = secrets_of(work / "clone")
        assert found in ((NEW,) if pending else (OLD, NEW))


def test_a_journal_that_is_of_another_tree_takes_nothing_away(cuts: list[Path]) -> None:
    # Whoever finds a killed run's clone in disorder may clone anew in its place.
    for work in cuts:
        clone = work / "clone"
        for path in sorted(clone.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        for name, text in OLD.items():
            (clone / "secrets" / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / "secrets" / name).write_text(text)
        with opened(work / "state", clone) as writer, writer.lock():
            assert secrets_of(clone) == OLD


def test_no_link_is_followed_when_it_is_finished(directory: Path, clone: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "c.age").write_text("foreign")
    (outside / ".vault-0123456789abcdef").write_text("foreign")
    (clone / "secrets/b/c.age").unlink()
    (clone / "secrets/b").rmdir()
    (clone / "secrets/b").symlink_to(outside)
    steps = (
        Step("secrets/b", "", "c.age", "", ""),
        Step("secrets/b", ".vault-0123456789abcdef", "x.age", "", "0" * 64),
    )
    journal(directory, clone).begin(RECORD._replace(steps=steps))
    with opened(directory, clone) as writer, pytest.raises(IntegrityError), writer.lock():
        pytest.fail("it was locked")
    assert {path.name for path in outside.iterdir()} == {"c.age", ".vault-0123456789abcdef"}


def test_a_change_that_git_is_not_told_of_leaves_no_journal(directory: Path, clone: Path) -> None:
    with opened(directory, clone) as writer, writer.lock():
        writer.change({"secrets/a.age": b"new"})
        writer.change({}, ["secrets/gone/d.age"])
    assert list(directory.iterdir()) == []
    assert contents(clone) == {"a.age": "new", "b/c.age": "old"}


def test_it_holds_names_and_no_contents(
    directory: Path, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(monkeypatch, 3)
    with opened(directory, clone) as writer, pytest.raises(KilledError):
        change(writer)
    monkeypatch.undo()
    found = json.loads(the_file(directory).read_bytes())
    assert [(folder, name) for folder, _, name, *_ in found["steps"]] == [
        ("secrets", "a.age"),
        ("secrets/b", "c.age"),
        ("secrets/new", "e.age"),
        ("secrets/gone", "d.age"),
    ]
    assert "new" not in {text for step in found["steps"] for text in step[1:2] + step[3:]}


# Files that somebody else has changed since.


@pytest.mark.parametrize("name", ["a.age", "b/c.age", "new/e.age", "gone/d.age"])
def test_what_was_changed_since_is_not_overwritten(cuts: list[Path], name: str) -> None:
    for work in cuts:
        clone = work / "clone"
        was = secrets_of(clone).get(name)
        begun = journal(work / "state", clone).pending() is not None
        written = any(secrets_of(clone).get(path) == "new" for path in NEW)
        (clone / "secrets" / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / "secrets" / name).write_text("pulled")
        with opened(work / "state", clone) as writer, writer.lock() as finished:
            found = secrets_of(clone)
        assert found.pop(name) == "pulled"
        whole = {path: text for path, text in (NEW if begun and written else OLD).items() if path != name}
        if begun and was != NEW.get(name):
            assert finished is not None
            assert (finished.done, finished.passed_over) == (written, (f"secrets/{name}",))
            assert found == whole
        assert [path for path in contents(clone) if "/.vault-" in f"/{path}"] == []
        assert journal(work / "state", clone).pending() is None


def test_what_is_finished_is_told_with_its_note(
    directory: Path, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note, approved = Note("Replace both", commit=True), {"secrets/.age-recipients": ("age1a",)}
    cut(monkeypatch, 4)
    with opened(directory, clone) as writer, pytest.raises(KilledError):
        writer.change({"secrets/a.age": b"new", "secrets/b/c.age": b"new"}, note=note, approved=approved)
    monkeypatch.undo()
    with opened(directory, clone) as writer:
        with writer.lock() as finished:
            assert finished is not None
            assert (finished.record.note, finished.record.approved) == (note, approved)
            assert (finished.passed_over, finished.done) == ((), True)
        with writer.lock() as again:
            assert again == finished  # git was not told yet
            writer.settle()
        with writer.lock() as settled:
            assert settled is None
