"""Changes to a vault: what is encrypted anew and what is not, and that a change which fails changes nothing."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.vaults import made_key
from tskeyvault import binding, change, files, names, recipients, vault
from tskeyvault.backend import Backend
from tskeyvault.binding import Binding
from tskeyvault.change import Task
from tskeyvault.errors import (
    DeliveryError,
    IntegrityError,
    LockedError,
    NotFoundError,
    UsageError,
    VaultError,
)
from tskeyvault.locate import Place
from tskeyvault.recipients import Recipient, Recipients, RecipientsChangedError
from tskeyvault.spec import Secret
from tskeyvault.store import Entry, Store
from tskeyvault.vault import Vault
from tskeyvault_age import file, x25519

ID = "0123456789abcdef" * 2
TOP = "secrets/.age-recipients"
TEAM = "secrets/team/.age-recipients"
EXPIRES = "2030-01-31T23:59:59Z"
EARLIER = "2020-02-29T12:00:00Z"
OLD_NAMES = ("a", "b/c", "team/d", "team/inner/e")


_numbers = count(1)


class Silent:
    """There is nobody to ask; what is told is kept."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def message(self, text: str) -> None:
        """Keep *text*."""
        self.told.append(text)

    def confirm(self, question: str, yes: str, no: str) -> bool | None:
        """Answer nothing."""

    def public(self, prompt: str) -> str | None:
        """Answer nothing."""

    def secret(self, prompt: str) -> bytes | None:
        """Answer nothing."""

    def progress(self, done: int, total: int) -> None:
        """Show nothing."""


class Person:
    """Somebody with a key and a host of their own."""

    def __init__(self, home: Path):
        home.mkdir()
        identity = x25519.X25519Identity.generate()
        self.recipient = str(identity.recipient)
        (home / "identity").write_text(f"{identity.export()}\n")
        (home / "identity").chmod(0o600)
        self.environ: Mapping[str, str] = {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "TSKEYVAULT_IDENTITY": str(home / "identity"),
        }
        self.keyless = {
            name: value for name, value in self.environ.items() if not name.startswith("TSKEYVAULT")
        }


class Scene:
    """A vault that ann and bob read, on ann's host; cat is somebody else."""

    def __init__(self, work: Path):
        self.directory = work / "vault"
        self.ann, self.bob, self.cat = (Person(work / name) for name in ("ann", "bob", "cat"))
        (self.directory / "secrets").mkdir(parents=True)
        (self.directory / "vault.toml").write_text(f'[vault]\nformat = 1\nid = "{ID}"\nbackend = "age"\n')
        self.readers(TOP, self.ann, self.bob)
        self.values = {name: made_key() for name in OLD_NAMES}
        with self.opened() as ours:
            for name, value in self.values.items():
                change.write(ours, names.reference(name), value, force=False, expires=EXPIRES)

    @contextmanager
    def opened(self, environ: Mapping[str, str] | None = None) -> Iterator[Vault]:
        """Open the vault, by default as ann."""
        with vault.opened(Place(vault=str(self.directory)), environ or self.ann.environ, Silent()) as ours:
            yield ours

    def readers(self, path: str, *people: Person) -> Recipients:
        """Write the recipients file *path* and approve it on ann's host."""
        made = listed(path, *people)
        (self.directory / path).parent.mkdir(parents=True, exist_ok=True)
        (self.directory / path).write_bytes(recipients.render(made))
        with self.opened() as ours:
            ours.state.approve({path: made.texts})
        return made

    def everything(self) -> dict[str, bytes | None]:
        """Return all that lies in the vault, but for empty folders."""
        return {
            str(path.relative_to(self.directory)): path.read_bytes()
            for path in self.directory.rglob("*")
            if path.is_file()
        }

    def remembered(self) -> dict[str, bytes]:
        """Return all that ann's host remembers."""
        state = Path(self.ann.environ["XDG_STATE_HOME"])
        return {path.name: path.read_bytes() for path in state.rglob("*") if path.is_file()}

    def bound(self, name: str) -> Binding:
        """Return the binding of the secret *name*."""
        found = binding.decode(file.read_binding((self.directory / path(name)).read_bytes()))
        assert found.name == name
        return found

    def read(self, person: Person) -> dict[str, bytes]:
        """Return all that *person* can read, on a host that remembers nothing."""
        found = {}
        fresh = {**person.environ, "XDG_STATE_HOME": str(self.directory.parent / f"state{next(_numbers)}")}
        with self.opened(fresh) as ours:
            for entry in ours.store.entries(lambda _: None):
                try:
                    found[entry.name] = ours.open([entry])[entry].plaintext
                except LockedError:
                    continue
        return found

    def unbind(self, name: str) -> None:
        """Exchange a secret for one that another program wrote, which this host has not seen otherwise."""
        reader = x25519.X25519Recipient.parse(self.ann.recipient)
        (self.directory / path(name)).write_bytes(file.encrypt(self.values[name], [reader], b""))
        for state in Path(self.ann.environ["XDG_STATE_HOME"]).rglob("*.json"):
            state.unlink()
        self.readers(TOP, self.ann, self.bob)


def path(name: str) -> str:
    return f"secrets/{name}.age"


def entry(name: str) -> Entry:
    return Entry("age", name)


def listed(path: str, *people: Person) -> Recipients:
    return Recipients(path, tuple(Recipient(person.recipient, "") for person in people))


def quiet(_done: int, _all: int) -> None:
    pass


def tasks_of(scene: Scene, to: Recipients | None = None) -> dict[str, str]:
    """Return what is to be encrypted anew and why, as somebody without a key finds it on ann's host."""
    with scene.opened(scene.ann.keyless) as ours:
        return {task.entry.name: task.why for task in change.plan(ours, ours.store.within(""), to)}


def rekeyed(scene: Scene, changed: Recipients | None = None) -> list[str]:
    """Do as the commands do: plan for what *changed* governs, or for all, and re-encrypt."""
    with scene.opened() as ours, ours.changes.writer.lock():
        entries = change.governed(ours, "age", changed.path) if changed else ours.store.within("")
        tasks = change.plan(ours, entries, changed)
        change.rekey(ours, tasks, quiet, changed)
        return [*([changed.path] if changed else []), *(task.entry.path for task in tasks)]


@contextmanager
def unchanged(scene: Scene) -> Iterator[None]:
    """Assert that the body fails and changes nothing, neither in the vault nor in what is remembered."""
    before = scene.everything(), scene.remembered()
    yield
    assert (scene.everything(), scene.remembered()) == before


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


# Writing and removing.


def test_each_value_is_the_next_generation_of_its_name(scene: Scene) -> None:
    first = scene.bound("a")
    assert (first.vault, first.generation, first.expires) == (ID, 1, EXPIRES)
    assert first.recipients == binding.digest([scene.bob.recipient, scene.ann.recipient])
    with scene.opened() as ours:
        written = change.write(ours, names.reference("a"), b"new", force=True)
        assert written == entry("a")
        assert ours.read([names.reference("a")]) == {names.reference("a"): b"new"}
    assert (scene.bound("a").generation, scene.bound("a").expires) == (2, None)
    assert scene.read(scene.bob) == {**scene.values, "a": b"new"}


def test_what_is_there_is_replaced_only_when_that_is_meant(scene: Scene) -> None:
    with unchanged(scene), scene.opened() as ours, pytest.raises(UsageError, match="'a' exists") as caught:
        change.write(ours, names.reference("a"), b"new", force=False)
    assert caught.value.hint == "--force replaces it"


def test_a_secret_that_is_removed_and_written_again_does_not_look_rolled_back(scene: Scene) -> None:
    with scene.opened() as ours:
        change.remove(ours, [entry("a"), entry("team/inner/e")])
        assert [it.name for it in ours.store.within("")] == ["b/c", "team/d"]
    assert not (scene.directory / "secrets/team/inner").exists()
    with scene.opened() as ours:
        change.write(ours, names.reference("a"), b"new", force=False)
    assert scene.bound("a").generation == 2
    with scene.opened() as ours:
        assert ours.read([names.reference("a")]) == {names.reference("a"): b"new"}


def test_nothing_is_written_for_recipients_that_were_not_approved(scene: Scene) -> None:
    (scene.directory / TOP).write_bytes(recipients.render(listed(TOP, scene.ann, scene.bob, scene.cat)))
    attempts: list[Callable[[Vault], object]] = [
        lambda ours: change.write(ours, names.reference("a"), b"new", force=True),
        lambda ours: change.transfer(ours, [(entry("a"), entry("z"))], keep=False, force=False),
        lambda ours: change.plan(ours, ours.store.within("")),
    ]
    for attempt in attempts:
        with unchanged(scene), scene.opened() as ours, pytest.raises(RecipientsChangedError):
            attempt(ours)


@pytest.mark.parametrize("size", [0, (16 << 20) + 1])
def test_nothing_and_too_much_are_refused(scene: Scene, size: int) -> None:
    with unchanged(scene), scene.opened() as ours, pytest.raises(VaultError):
        change.write(ours, names.reference("a"), bytes(size), force=True)


# Moving and copying.


@pytest.mark.parametrize("keep", [False, True])
def test_a_secret_gets_another_name_and_keeps_its_times(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, *, keep: bool
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(binding, "now", lambda: EARLIER)
        with scene.opened() as ours:
            change.write(ours, names.reference("a"), scene.values["a"], force=True, expires=EXPIRES)
    with scene.opened() as ours:
        change.transfer(ours, [(entry("a"), entry("x/y"))], keep=keep, force=False)
    moved = scene.bound("x/y")
    assert (moved.generation, moved.created, moved.expires) == (1, EARLIER, EXPIRES)
    assert (scene.directory / path("a")).exists() == keep
    values = {**scene.values, "x/y": scene.values["a"]}
    if not keep:
        del values["a"]
    assert scene.read(scene.bob) == values


def test_where_others_read_they_read_it(scene: Scene) -> None:
    scene.readers(TEAM, scene.ann, scene.cat)
    with scene.opened() as ours:
        change.transfer(
            ours, [(entry("a"), entry("team/a")), (entry("b/c"), entry("team/c"))], keep=False, force=False
        )
    assert scene.read(scene.cat) == {"team/a": scene.values["a"], "team/c": scene.values["b/c"]}
    assert {"team/a", "team/c"} & set(scene.read(scene.bob)) == set()


def test_what_has_the_new_name_is_replaced_only_when_that_is_meant(scene: Scene) -> None:
    pairs = [(entry("a"), entry("new")), (entry("b/c"), entry("team/d"))]
    with unchanged(scene), scene.opened() as ours, pytest.raises(UsageError, match="'team/d' exists"):
        change.transfer(ours, pairs, keep=False, force=False)
    with scene.opened() as ours:
        change.transfer(ours, pairs, keep=False, force=True)
    assert scene.bound("team/d").generation == 2
    assert scene.read(scene.ann) == {
        "new": scene.values["a"],
        "team/d": scene.values["b/c"],
        "team/inner/e": scene.values["team/inner/e"],
    }


def test_secrets_that_follow_each_other_are_not_lost(scene: Scene) -> None:
    pairs = [(entry("a"), entry("b/c")), (entry("b/c"), entry("team/d"))]
    with scene.opened() as ours:
        change.transfer(ours, pairs, keep=False, force=True)
    assert scene.read(scene.ann) == {
        "b/c": scene.values["a"],
        "team/d": scene.values["b/c"],
        "team/inner/e": scene.values["team/inner/e"],
    }


def test_all_are_moved_or_none(scene: Scene) -> None:
    (scene.directory / path("b/c")).write_bytes(b"damaged")
    pairs = [(entry(name), entry(f"new/{name}")) for name in OLD_NAMES]
    with unchanged(scene), scene.opened() as ours, pytest.raises(IntegrityError, match="b/c"):
        change.transfer(ours, pairs, keep=False, force=False)


# Whom a recipients file governs.

FOLDERS = st.sampled_from(["", "a", "a/b", "a/b/c", "ab", "a b"])


@settings(max_examples=60)
@given(st.sets(FOLDERS), st.sets(FOLDERS, min_size=1), FOLDERS)
def test_a_file_governs_what_it_is_the_nearest_of(
    tmp_path_factory: pytest.TempPathFactory, has_file: set[str], has_secret: set[str], at: str
) -> None:
    root = tmp_path_factory.mktemp("vault")
    for folder in {*has_file, *has_secret, at, ""}:
        (root / "secrets" / folder).mkdir(parents=True, exist_ok=True)
    for folder in has_file:
        (root / "secrets" / folder / ".age-recipients").write_text("age1\n")
    for folder in has_secret:
        (root / "secrets" / folder / "s.age").write_text("x")
    changed = "/".join(part for part in ("secrets", at, ".age-recipients") if part)
    with files.directory(str(root)) as fd:

        class Held:
            store = Store(fd)

        found = change.governed(Held, "age", changed)  # type: ignore[arg-type]
        assert change.governed(Held, "demo", changed.replace("age", "demo")) == []  # type: ignore[arg-type]
        (root / changed).write_text("age1\n")
        expected = [
            it
            for it in Held.store.entries(lambda _: None)
            if Held.store.nearest(".age-recipients", it.name.rpartition("/")[0]) == changed
        ]
    assert found == expected


# What is to be encrypted anew.


def test_what_is_encrypted_to_its_readers_needs_nothing(scene: Scene) -> None:
    assert tasks_of(scene) == {}


@pytest.mark.parametrize("text", ["{bob}\n\n\n{ann}\n", "{ann}\n{bob}\n{ann}\n"])
def test_the_same_readers_in_another_dress_are_no_reason(scene: Scene, text: str) -> None:
    text = text.format(ann=scene.ann.recipient, bob=scene.bob.recipient)
    (scene.directory / TOP).write_text(text)
    assert tasks_of(scene) == {}


def test_other_readers_are_a_reason_where_they_read(scene: Scene) -> None:
    other = "encrypted to other recipients"
    scene.readers(TEAM, scene.ann)
    assert tasks_of(scene) == {"team/d": other, "team/inner/e": other}
    assert tasks_of(scene, listed(TOP, scene.ann, scene.bob)) == {}
    assert tasks_of(scene, listed(TOP, scene.ann, scene.cat)) == dict.fromkeys(OLD_NAMES, other)


def test_what_is_not_bound_is_bound(scene: Scene) -> None:
    scene.unbind("b/c")
    assert tasks_of(scene) == {"b/c": "not bound to its name yet"}
    with scene.opened() as ours:
        (task,) = change.plan(ours, ours.store.within(""))
    assert isinstance(task, Task)
    rekeyed(scene)
    assert (scene.bound("b/c").generation, scene.bound("b/c").expires) == (1, None)
    assert tasks_of(scene) == {}
    assert scene.read(scene.bob) == scene.values


def test_a_binding_that_cannot_be_read_is_told(scene: Scene) -> None:
    (scene.directory / path("b/c")).write_bytes(b"damaged")
    with pytest.raises(IntegrityError, match="secret 'b/c'"):
        tasks_of(scene)


# Encrypting anew.


def test_who_is_added_reads_all_and_all_else_stays(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.readers(TEAM, scene.ann)
    rekeyed(scene)
    before, bound = scene.everything(), {name: scene.bound(name) for name in OLD_NAMES}
    monkeypatch.setattr(binding, "now", lambda: EARLIER)
    written = rekeyed(scene, changed := listed(TOP, scene.ann, scene.bob, scene.cat))
    assert set(written) == {TOP, path("a"), path("b/c")}
    now = scene.everything()
    assert {path for path in now if now[path] != before.get(path)} == set(written)
    assert set(now) == set(before)
    assert scene.read(scene.cat) == {name: scene.values[name] for name in ("a", "b/c")}
    assert scene.read(scene.ann) == scene.values
    for name in ("a", "b/c"):
        assert scene.bound(name) == bound[name]._replace(
            generation=bound[name].generation + 1, recipients=binding.digest(changed.texts)
        )
    assert tasks_of(scene) == {}


def test_who_is_removed_reads_nothing_of_what_is_written(scene: Scene) -> None:
    old = scene.everything()
    rekeyed(scene, listed(TOP, scene.ann))
    assert scene.read(scene.bob) == {}
    assert scene.read(scene.ann) == scene.values
    with scene.opened() as ours:
        change.write(ours, names.reference("later"), b"new", force=False)
    assert scene.read(scene.bob) == {}
    # What was there before stays readable: it is in git, and that is what the user is told.
    for name in OLD_NAMES:
        kept = old[path(name)]
        assert kept is not None
        (scene.directory / path(name)).write_bytes(kept)
    assert scene.read(scene.bob) == scene.values


def test_what_was_changed_is_approved_and_written_as_it_was_given(scene: Scene) -> None:
    given = Recipients(TOP, (Recipient(scene.ann.recipient, "Ann"), Recipient(scene.cat.recipient, "Cat")))
    rekeyed(scene, given)
    with scene.opened() as ours:
        assert recipients.load(ours.store, TOP) == given
        assert recipients.changes(ours.store, ours.state) == []


def test_a_folder_gets_readers_of_its_own_and_loses_them(scene: Scene) -> None:
    assert set(rekeyed(scene, listed(TEAM, scene.ann, scene.cat))) == {
        TEAM,
        path("team/d"),
        path("team/inner/e"),
    }
    assert set(scene.read(scene.cat)) == {"team/d", "team/inner/e"}
    assert set(scene.read(scene.bob)) == {"a", "b/c"}


def test_a_second_time_there_is_nothing_to_do(scene: Scene) -> None:
    scene.readers(TOP, scene.ann)
    assert len(rekeyed(scene)) == len(OLD_NAMES)
    before = scene.everything()
    assert rekeyed(scene) == []
    assert scene.everything() == before


def test_the_progress_is_told(scene: Scene) -> None:
    scene.readers(TOP, scene.ann)
    told: list[tuple[int, int]] = []
    with scene.opened() as ours, ours.changes.writer.lock():
        tasks = change.plan(ours, ours.store.within(""))
        change.rekey(ours, tasks, lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


# Failures.


def test_who_cannot_read_cannot_let_others_read(scene: Scene) -> None:
    scene.readers(TEAM, scene.bob)
    with scene.opened() as ours, ours.changes.writer.lock():
        tasks = change.plan(ours, ours.store.within("team"))
        change.rekey(ours, tasks, quiet)
    with unchanged(scene), pytest.raises(LockedError, match="team/d"):
        rekeyed(scene, listed(TEAM, scene.ann, scene.bob))


@pytest.mark.parametrize("how", ["damaged", "rolled back", "copied"])
def test_what_is_not_what_it_claims_to_be_is_not_laundered(scene: Scene, how: str) -> None:
    old = (scene.directory / path("b/c")).read_bytes()
    if how == "damaged":
        old = old[:-1] + bytes([old[-1] ^ 1])
    elif how == "rolled back":
        with scene.opened() as ours:
            change.write(ours, names.reference("b/c"), b"new", force=True)
    else:
        old = (scene.directory / path("a")).read_bytes()
    (scene.directory / path("b/c")).write_bytes(old)
    with unchanged(scene), pytest.raises(IntegrityError, match="b/c"):
        rekeyed(scene, listed(TOP, scene.ann, scene.cat))


@pytest.mark.parametrize("number", range(4))
def test_a_failure_of_the_plugin_changes_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for hook in ("decrypt", "encrypt"):
        before = iter(range(number))
        real = getattr(Backend, hook)

        def fail(
            *arguments: object, before: Iterator[int] = before, real: Callable[..., object] = real
        ) -> object:
            if next(before, None) is None:
                raise LockedError("the device is gone")
            return real(*arguments)

        with monkeypatch.context() as patch, unchanged(scene):
            patch.setattr(Backend, hook, fail)
            with pytest.raises(LockedError):
                rekeyed(scene, listed(TOP, scene.ann, scene.cat))


def test_a_plugin_that_binds_something_else_changes_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Backend.encrypt

    def encrypt(
        backend: Backend, secret: Secret, plaintext: bytes, to: Sequence[str], *rest: object
    ) -> bytes:
        bound, keys = cast("tuple[bytes, dict[str, bytes]]", rest)
        return real(backend, secret, plaintext, to, bound.replace(b'"generation":', b'"generation":9'), keys)

    monkeypatch.setattr(Backend, "encrypt", encrypt)
    with unchanged(scene), pytest.raises(IntegrityError, match="wrote another binding"):
        rekeyed(scene, listed(TOP, scene.ann))


@pytest.mark.parametrize("step", ["stage", "sync_all"])
def test_a_full_disk_changes_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    before = iter(range(3 if step == "stage" else 0))
    real = getattr(files, step)

    def fail(*arguments: object, **more: object) -> object:
        if next(before, None) is None:
            raise DeliveryError("no space left on device")
        return real(*arguments, **more)

    with unchanged(scene), monkeypatch.context() as patch:
        patch.setattr(files, step, fail)
        with pytest.raises(DeliveryError):
            rekeyed(scene, listed(TOP, scene.ann, scene.cat))


def test_a_recipient_that_is_none_changes_nothing(scene: Scene) -> None:
    bad = Recipients(TOP, (Recipient(scene.ann.recipient, ""), Recipient("age1none", "")))
    with unchanged(scene), pytest.raises(UsageError):
        rekeyed(scene, bad)


def test_a_secret_that_is_gone_meanwhile_changes_nothing(scene: Scene) -> None:
    with scene.opened() as ours, ours.changes.writer.lock():
        tasks = change.plan(ours, ours.store.within(""), listed(TOP, scene.ann))
        os.unlink(scene.directory / path("b/c"))
        with unchanged(scene), pytest.raises(NotFoundError, match="b/c"):
            change.rekey(ours, tasks, quiet, listed(TOP, scene.ann))
