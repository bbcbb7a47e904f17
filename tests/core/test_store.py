"""The ``secrets/`` tree: what is found in it, and that nothing outside it is ever touched."""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tskeyvault import files, limits, names, store
from tskeyvault.errors import DeliveryError, IntegrityError, NotFoundError, UsageError, VaultError
from tskeyvault.journal import Journal
from tskeyvault.names import Reference
from tskeyvault.store import Entry, Store
from tskeyvault.writer import Writer


class Tree:
    """A store in a directory of its own."""

    def __init__(self, root: Path, opened: Store):
        self.root = root
        self.secrets = root / "secrets"
        self.store = opened
        self.writer = Writer(opened, journal(root))

    def add(self, *paths: str) -> None:
        """Make files below ``secrets/``, each holding its own path."""
        for path in paths:
            file = self.secrets / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(path)

    def names(self) -> list[str]:
        """Return the names of all entries."""
        return [entry.name for entry in self.store.entries(lambda _: None)]

    def passed_over(self) -> list[str]:
        """Return what is passed over when entries are listed."""
        found: list[str] = []
        self.store.entries(found.append)
        return sorted(found)

    def everything(self) -> dict[str, str | None]:
        """Return all paths below ``secrets/``, with the content of files."""
        return {
            str(path.relative_to(self.secrets)): path.read_text() if path.is_file() else None
            for path in self.secrets.rglob("*")
        }


def journal(root: Path) -> Journal:
    return Journal(str(root.parent / f"{root.name}.state"), "0" * 32, str(root))


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    root = tmp_path / "vault"
    (root / "secrets").mkdir(parents=True)
    with files.directory(str(root)) as fd:
        yield Tree(root, Store(fd))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Give a directory outside the vault that looks like a part of one."""
    (tmp_path / "outside/b").mkdir(parents=True)
    for name in ("a.age", "b/c.age", ".age-recipients"):
        (tmp_path / "outside" / name).write_text("foreign")
    return tmp_path / "outside"


def untouched(outside: Path) -> bool:
    found = {str(path.relative_to(outside)) for path in outside.rglob("*")}
    contents = {path.read_text() for path in outside.rglob("*") if path.is_file()}
    return found == {"a.age", "b", "b/c.age", ".age-recipients"} and contents == {"foreign"}


def test_an_entry_knows_its_path() -> None:
    entry = Entry("age", "a/b.c")
    assert entry.path == "secrets/a/b.c.age"
    assert entry.secret == ("a/b.c", "secrets/a/b.c.age")


def test_entries_are_all_secrets_sorted(tree: Tree) -> None:
    tree.add("z.age", "a/b.age", "a/b/c.age", "a b/é.age", "x.y.age", "a/key.age.age")
    assert tree.names() == ["a b/é", "a/b", "a/b/c", "a/key.age", "x.y", "z"]
    assert tree.passed_over() == []


def test_what_is_no_secret_is_none(tree: Tree) -> None:
    tree.add(
        ".age-recipients",
        ".gitattributes",
        ".hidden.age",
        ".hidden/a.age",
        "a.unknown",
        "a/.age",
        "b.Age",
        "good.age",
    )
    (tree.secrets / "folder.age").mkdir()
    assert tree.names() == ["good"]


def test_names_that_are_not_allowed_are_passed_over_and_told(tree: Tree) -> None:
    tree.add("README", "-a.age", "a\nb.age", "a\\b.age", "a:b.age", "e\u0301.age", "good.age")
    (Path(os.fsdecode(os.fsencode(tree.secrets) + b"/\xff.age"))).write_text("x")
    assert tree.names() == ["good"]
    assert tree.passed_over() == sorted(
        ["README", "-a.age", "a\nb.age", "a\\b.age", "a:b.age", "e\u0301.age", "\udcff.age"]
    )


def test_links_and_pipes_are_passed_over_and_told(tree: Tree, outside: Path) -> None:
    tree.add("good.age")
    (tree.secrets / "link.age").symlink_to(outside / "a.age")
    (tree.secrets / "inner.age").symlink_to("good.age")
    (tree.secrets / "folder").symlink_to(outside)
    (tree.secrets / "loop").symlink_to(".")
    os.mkfifo(tree.secrets / "pipe.age")
    assert tree.names() == ["good"]
    assert tree.passed_over() == ["folder", "inner.age", "link.age", "loop", "pipe.age"]


def test_a_store_that_is_a_link_is_refused(tree: Tree, outside: Path) -> None:
    tree.secrets.rmdir()
    tree.secrets.symlink_to(outside)
    for attempt in (
        tree.names,
        lambda: tree.store.find(Reference("", "a")),
        lambda: tree.store.read("secrets/a.age"),
        lambda: tree.writer.change({"secrets/a.age": b"x"}),
        lambda: tree.writer.change({}, ["secrets/a.age"]),
        lambda: tree.store.nearest(".age-recipients", ""),
    ):
        with pytest.raises(IntegrityError):
            attempt()
    assert untouched(outside)


def test_nothing_is_reached_through_a_linked_folder(tree: Tree, outside: Path) -> None:
    (tree.secrets / "x").symlink_to(outside)
    (tree.secrets / "y").mkdir()
    (tree.secrets / "y/x").symlink_to(outside)
    for folder in ("x", "y/x", "x/b"):
        name = "c" if folder == "x/b" else "a"
        for attempt in (
            lambda folder=folder, name=name: tree.store.find(Reference("", f"{folder}/{name}")),
            lambda folder=folder, name=name: tree.store.read(f"secrets/{folder}/{name}.age"),
            lambda folder=folder, name=name: tree.writer.change({f"secrets/{folder}/{name}.age": b"x"}),
            lambda folder=folder: tree.writer.change({f"secrets/{folder}/new/n.age": b"x"}),
            lambda folder=folder, name=name: tree.writer.change({}, [f"secrets/{folder}/{name}.age"]),
            lambda folder=folder: tree.store.nearest(".age-recipients", folder),
        ):
            with pytest.raises(IntegrityError):
                attempt()
    assert untouched(outside)


def test_a_linked_secret_is_neither_read_nor_written_through(tree: Tree, outside: Path) -> None:
    (tree.secrets / "a.age").symlink_to(outside / "a.age")
    entry = tree.store.get(Reference("", "a"))
    with pytest.raises(IntegrityError, match=r"secrets/a\.age"):
        tree.store.read(entry.path)
    tree.writer.change({entry.path: b"new"})
    assert not (tree.secrets / "a.age").is_symlink()
    assert (tree.secrets / "a.age").read_bytes() == b"new"
    assert untouched(outside)


def test_a_removed_link_does_not_take_along_what_it_leads_to(tree: Tree, outside: Path) -> None:
    (tree.secrets / "a.age").symlink_to(outside / "a.age")
    tree.writer.change({}, ["secrets/a.age"])
    assert tree.everything() == {}
    assert untouched(outside)


def test_a_secret_that_is_no_file_is_refused(tree: Tree) -> None:
    os.mkfifo(tree.secrets / "pipe.age")
    (tree.secrets / "folder.age").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(IntegrityError, match=f"secrets/{name}"):
            tree.store.read(tree.store.get(Reference("", name)).path)


def test_a_ciphertext_that_is_too_large_is_refused(tree: Tree) -> None:
    with (tree.secrets / "a.age").open("wb") as file:
        file.truncate(store.MAX_CIPHERTEXT + 1)
    with pytest.raises(IntegrityError, match="larger than"):
        tree.store.read("secrets/a.age")


def test_a_secret_is_found_by_its_name_or_with_its_plugin(tree: Tree) -> None:
    tree.add("a/b.age")
    assert tree.store.find(Reference("", "a/b")) == Entry("age", "a/b")
    assert tree.store.find(Reference("age", "a/b")) == Entry("age", "a/b")
    assert tree.store.find(Reference("demo", "a/b")) is None
    assert tree.store.find(Reference("", "a")) is None
    assert tree.store.find(Reference("", "none/b")) is None
    assert tree.store.read("secrets/a/b.age") == b"a/b.age"


def test_a_name_that_two_plugins_have_must_name_one(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.add("a.age", "a.demo", "a.txt")
    assert tree.store.find(Reference("", "a")) == Entry("age", "a")
    monkeypatch.setattr("tskeyvault.plugins.is_installed", lambda name: name in {"age", "demo"})
    with pytest.raises(UsageError, match="'a': several plugins have it") as caught:
        tree.store.find(Reference("", "a"))
    assert caught.value.hint == "name one: age:a or demo:a"
    assert tree.store.find(Reference("demo", "a")) == Entry("demo", "a")


def test_what_is_not_there_is_told_with_the_nearest(tree: Tree) -> None:
    with pytest.raises(NotFoundError) as caught:
        tree.store.get(Reference("", "tailscale/kye"))
    assert caught.value.hint == "vault ls shows what there is"
    tree.add("tailscale/key.age")
    with pytest.raises(NotFoundError, match="secret 'age:tailscale/kye': not in the vault") as caught:
        tree.store.get(Reference("age", "tailscale/kye"))
    assert caught.value.hint == "did you mean 'tailscale/key'"


def test_the_nearest_recipients_file_is_in_the_folder_or_above_it(tree: Tree) -> None:
    nearest = tree.store.nearest
    assert nearest(".age-recipients", "a/b/c") == ""
    tree.add(".age-recipients", "a/.age-recipients", "a/b/c/.age-recipients", "b/.demo-recipients")
    assert nearest(".age-recipients", "") == "secrets/.age-recipients"
    assert nearest(".age-recipients", "x/y") == "secrets/.age-recipients"
    assert nearest(".age-recipients", "a") == "secrets/a/.age-recipients"
    assert nearest(".age-recipients", "a/b") == "secrets/a/.age-recipients"
    assert nearest(".age-recipients", "a/b/c") == "secrets/a/b/c/.age-recipients"
    assert nearest(".age-recipients", "a/b/c/d") == "secrets/a/b/c/.age-recipients"
    assert nearest(".age-recipients", "b") == "secrets/.age-recipients"
    assert nearest(".demo-recipients", "b") == "secrets/b/.demo-recipients"
    assert nearest(".demo-recipients", "a") == ""


def test_all_recipients_files_are_found(tree: Tree, outside: Path) -> None:
    tree.add(
        ".age-recipients",
        "b/.demo-recipients",
        "a/.age-recipients",
        ".hidden/.age-recipients",
        "a/.x",
        "a/-recipients",
    )
    tree.add("a/.-recipients", "a/.Age-recipients", "a/.age-recipients.bak", "a/age-recipients")
    (tree.secrets / "c").mkdir()
    (tree.secrets / "c/.age-recipients").symlink_to(outside / ".age-recipients")
    told: list[str] = []
    assert tree.store.recipients_files(told.append) == [
        ("age", "secrets/.age-recipients"),
        ("age", "secrets/a/.age-recipients"),
        ("demo", "secrets/b/.demo-recipients"),
    ]
    assert told == ["c/.age-recipients"]


def test_contents_are_written_with_their_folders(tree: Tree) -> None:
    tree.writer.change(
        {"secrets/a/b/c.age": b"one", "secrets/a.age": b"two", "secrets/a/.age-recipients": b"three"}
    )
    assert tree.everything() == {
        "a": None,
        "a/b": None,
        "a/b/c.age": "one",
        "a.age": "two",
        "a/.age-recipients": "three",
    }
    assert (tree.secrets / "a.age").stat().st_mode & 0o7777 == 0o644


def failing(step: str, number: int) -> Callable[..., object]:
    """Return os.*step* as it is, save that its call *number* fails; of open only new files count."""
    count = iter(range(number - 1))
    real = getattr(os, step)

    def fail(*arguments: object, **options: object) -> object:
        new = step != "open" or str(arguments[0]).startswith(".vault-")
        if new and next(count, None) is None:
            raise OSError(errno.ENOSPC, "full")
        return real(*arguments, **options)

    return fail


SEVERAL = [(step, number) for step in ("open", "write", "fchmod") for number in (1, 2, 3, 4)]
"""What staging three files and writing the journal, which is the fourth, asks of the system."""


@pytest.mark.parametrize(("step", "number"), [*SEVERAL, ("fsync", 1), ("fsync", 2), ("rename", 1)])
def test_a_failure_before_the_last_is_staged_changes_nothing(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    # Several files are synced together, so that fsync is for the journal: the file, then its directory.
    tree.add("a.age", "b/c.age", "d.age", "e.age")
    before = tree.everything()
    with monkeypatch.context() as patch:
        patch.setattr(os, step, failing(step, number))
        with pytest.raises(DeliveryError):
            tree.writer.change(
                {"secrets/a.age": b"1", "secrets/b/c.age": b"2", "secrets/d.age": b"3"}, ["secrets/e.age"]
            )
    assert tree.everything() == before
    with tree.writer.lock():
        assert tree.everything() == before


@pytest.mark.parametrize("step", ["open", "write", "fchmod", "fsync"])
def test_a_failure_while_one_file_is_staged_changes_nothing(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    tree.add("a.age")
    before = tree.everything()
    with monkeypatch.context() as patch:
        patch.setattr(os, step, failing(step, 1))
        with pytest.raises(DeliveryError):
            tree.writer.change({"secrets/a.age": b"1"})
    assert tree.everything() == before


def test_a_file_system_that_cannot_be_synced_changes_nothing(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.add("a.age", "b.age")
    before = tree.everything()
    with monkeypatch.context() as patch:
        patch.setattr(files, "sync_all", failing_with(DeliveryError("the file system cannot be synced")))
        with pytest.raises(DeliveryError):
            tree.writer.change({"secrets/a.age": b"1", "secrets/b.age": b"2"})
    assert tree.everything() == before


def failing_with(error: Exception) -> Callable[..., None]:
    def fail(*_arguments: object) -> None:
        raise error

    return fail


def test_several_files_are_on_the_disk_before_the_first_is_renamed(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.add("a.age", "b.age")
    happened: list[str] = []

    def noting(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **more: object) -> object:
            happened.append(f"{name} {'journal' if 'journal' in str(arguments[-1]) else arguments[-1]}")
            return real(*arguments, **more)

        return call

    monkeypatch.setattr(os, "rename", noting("rename", os.rename))
    monkeypatch.setattr(os, "unlink", noting("unlink", os.unlink))
    monkeypatch.setattr(files, "sync_all", lambda _fd: happened.append("sync"))
    tree.writer.change({"secrets/a.age": b"1", "secrets/c.age": b"2"}, ["secrets/b.age"])
    assert happened == [
        "sync",
        "rename journal",
        "rename a.age",
        "rename c.age",
        "unlink b.age",
        "unlink journal",
    ]


@pytest.mark.parametrize("form", ["secrets/{}.age", "secrets/{}/a.age"], ids=["files", "folders"])
def test_a_change_may_be_of_more_files_and_folders_than_a_process_opens_at_once(
    tree: Tree, form: str
) -> None:
    contents = {form.format(number): b"x" for number in range(300)}
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, limit[1]))
    try:
        tree.writer.change(contents)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert len(tree.names()) == len(contents)


def test_a_failed_rename_leaves_no_temporary_file(tree: Tree) -> None:
    tree.add("a.age")
    (tree.secrets / "b.age").mkdir()
    for contents in ({"secrets/b.age": b"new"}, {"secrets/a.age": b"new", "secrets/b.age": b"new"}):
        with pytest.raises(DeliveryError):
            tree.writer.change(contents)
        assert tree.everything() == {"a.age": "a.age", "b.age": None}


def test_a_failed_rename_is_no_obstacle_to_the_next_change(tree: Tree) -> None:
    (tree.secrets / "b.age").mkdir()
    with tree.writer.lock(), pytest.raises(DeliveryError):
        tree.writer.change({"secrets/a.age": b"new", "secrets/b.age": b"new"})
    with tree.writer.lock():
        tree.writer.change({"secrets/c.age": b"c"})
    assert (tree.secrets / "c.age").read_bytes() == b"c"


def test_a_folder_that_cannot_be_synced_is_an_explained_failure(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    tree.add("a.age")

    def fail(fd: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(errno.EIO, "broken")
        real(fd)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DeliveryError):
        tree.writer.change({"secrets/a.age": b"new"})


def test_leftovers_of_a_killed_run_are_swept_by_the_next(tree: Tree) -> None:
    tree.add("a/.vault-0123456789abcdef", "b/.vault-0123456789abcdef", "a/.vault-mine")
    tree.writer.change({"secrets/a/a.age": b"x"})
    assert set(tree.everything()) == {"a", "a/a.age", "a/.vault-mine", "b", "b/.vault-0123456789abcdef"}


def test_removal_removes_folders_that_are_empty_without_it_and_no_others(tree: Tree) -> None:
    tree.add("a/b/c/d.age", "a/e.age", "x/y/z.age", "x/y/.age-recipients")
    tree.writer.change({}, ["secrets/a/b/c/d.age"])
    tree.writer.change({}, ["secrets/x/y/z.age"])
    assert set(tree.everything()) == {"a", "a/e.age", "x", "x/y", "x/y/.age-recipients"}
    tree.writer.change({}, ["secrets/a/e.age"])
    assert set(tree.everything()) == {"x", "x/y", "x/y/.age-recipients"}


def test_the_store_itself_stays(tree: Tree) -> None:
    tree.add("a.age")
    tree.writer.change({}, ["secrets/a.age"])
    assert tree.secrets.is_dir()


def test_what_cannot_be_removed_is_told(tree: Tree) -> None:
    tree.add("folder.age/x.age")
    before = tree.everything()
    with pytest.raises(VaultError):
        tree.writer.change({}, ["secrets/folder.age"])
    assert tree.everything() == before


@pytest.mark.parametrize("path", ["secrets/none.age", "secrets/none/a.age"])
def test_what_is_gone_already_is_removed(tree: Tree, path: str) -> None:
    # A change that is done again after a kill meets its own removals; who names a secret that is
    # not there was told before, by Store.get.
    tree.add("a.age")
    before = tree.everything()
    tree.writer.change({}, [path])
    assert tree.everything() == before


def test_one_writer_at_a_time(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.locked.__wrapped__, "__defaults__", (0.0,))  # type: ignore[attr-defined]
    with tree.writer.lock():
        with (
            pytest.raises(DeliveryError, match="the vault: another process has held its lock"),
            tree.writer.lock(),
        ):
            pass
        assert tree.names() == []
    with tree.writer.lock():
        pass
    assert tree.everything() == {}


def test_a_secret_is_neither_empty_nor_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_SECRET", 4)
    assert store.refuse_large(b"1234") == b"1234"
    with pytest.raises(UsageError, match="empty"):
        store.refuse_large(b"")
    with pytest.raises(IntegrityError, match="at most 4 bytes"):
        store.refuse_large(b"12345")


PARTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12)


@given(st.lists(PARTS.filter(lambda part: part not in {".", ".."}), min_size=1, max_size=3))
def test_every_name_that_is_listed_can_be_found(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    root = tmp_path_factory.mktemp("store")
    file = root.joinpath("secrets", *parts[:-1], f"{parts[-1]}.age")
    file.parent.mkdir(parents=True)
    file.write_text("x")
    with files.directory(str(root)) as fd:
        opened = Store(fd)
        found = opened.entries(lambda _: None)
        assert [opened.get(names.reference(entry.name)) for entry in found] == found
        assert [opened.read(entry.path) for entry in found] == [b"x"] * len(found)
