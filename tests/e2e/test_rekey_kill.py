"""A recipient that is added while the process is killed, stopped or short of space: no secret is lost, ever."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from support import needs, tracing
from support.tracing import Call, Run
from support.vaults import PATH, Result, made_key, run_vault
from tskeyvault import binding
from tskeyvault.errors import LockedError
from tskeyvault_age import file, x25519

NAMES = [f"{folder}{number}" for folder in ("", "team/", "team/inner/") for number in range(2)]
READERS = "secrets/.age-recipients"
CALLS = "write,fsync,syncfs,?rename,?renameat,?renameat2,?unlink,unlinkat,?mkdir,mkdirat,?rmdir,fchmod,flock"
KILLED_AT = {"write", "fsync", "syncfs", "rename", "renameat", "renameat2", "unlink", "unlinkat"}


class Attempt(NamedTuple):
    """A copy of the vault and of the home it is used from."""

    vault: Path
    env: dict[str, str]

    def run(self, *arguments: str, data: bytes = b"") -> Result:
        """Run ``vault`` as its user does afterwards."""
        return run_vault("--vault", self.vault, *arguments, input=data, env=self.env)

    def leftovers(self) -> list[str]:
        """Return the names of what was staged, and of the journal."""
        places = (self.vault, Path(self.env["XDG_STATE_HOME"]))
        found = [path for place in places for path in place.rglob("*") if ".git" not in path.parts]
        return [path.name for path in found if path.name.startswith(".vault-") or path.suffix == ".journal"]


class Scene:
    """A vault of many secrets with one reader, who lets another one read."""

    def __init__(self, work: Path):
        self.work = work
        self._numbers = count(1)
        self._model = self._attempt(work / "model")
        (self.home / ".gitconfig").write_text("[user]\n\tname = Test\n\temail = test@example.org\n")
        made = run_vault("init", "--no-commit", self._model.vault, env=self._model.env)
        assert made.code == 0, made.err
        self.values = {name: made_key() for name in NAMES}
        for name, value in self.values.items():
            assert self._model.run("insert", "--no-commit", name, data=value).code == 0
        self.old = (self._model.vault / READERS).read_bytes()
        own = (self.home / "config/tskeyvault/identities").read_text().splitlines()
        self.ours = x25519.X25519Identity.parse(next(line for line in own if line.startswith("AGE-")))
        self.theirs = x25519.X25519Identity.generate()
        self.both = {str(self.ours.recipient), str(self.theirs.recipient)}
        self.add = ["recipients", "add", str(self.theirs.recipient), "--name", "Bob", "--no-commit"]
        self.plan = self._plan()

    @property
    def home(self) -> Path:
        """The home that the others are copies of."""
        return self.work / "model"

    def attempt(self) -> Attempt:
        """Make a copy of everything."""
        home = self.work / f"attempt{next(self._numbers)}"
        shutil.copytree(self.home, home, symlinks=True)
        for state in (home / "state").rglob("*.json"):
            # Approvals are of one clone, which this one now is.
            state.write_text(state.read_text().replace(str(self.home.resolve()), str(home.resolve())))
        return self._attempt(home)

    def traced(self, attempt: Attempt, *inject: str, commit: bool = False) -> Run:
        """Let the other one read, under strace."""
        trace = attempt.vault.parent / "trace"
        add = self.add[:-1] if commit else self.add
        return tracing.run(trace, attempt.env, ["--vault", str(attempt.vault), *add], *inject)

    def readers(self, attempt: Attempt) -> dict[str, bool]:
        """Return of each secret whether the new reader reads it; the old one does, and its value is right."""
        found = {}
        for name, value in self.values.items():
            data = (attempt.vault / f"secrets/{name}.age").read_bytes()
            assert file.decrypt(data, [self.ours]) == value
            try:
                assert file.decrypt(data, [self.theirs]) == value
                found[name] = True
            except LockedError:
                found[name] = False
            to = self.both if found[name] else {str(self.ours.recipient)}
            bound = binding.decode(file.read_binding(data))
            assert (bound.name, bound.recipients) == (name, binding.digest(to))
        return found

    def works(self, attempt: Attempt) -> None:
        """Assert that the vault can be used for reading as it is."""
        listed = attempt.run("ls")
        assert (listed.code, listed.out.decode().split()) == (0, sorted(NAMES)), listed.err
        shown = attempt.run("show", NAMES[-1])
        assert (shown.code, shown.out) == (0, self.values[NAMES[-1]]), shown.err

    def finish(self, attempt: Attempt) -> None:
        """Do again what was cut off, and assert that all is as it was meant: nobody approves it twice."""
        again = attempt.run(*self.add)
        if again.code != 0:
            assert (again.code, "can read that already" in again.err) == (2, True), again.err
        rekeyed = attempt.run("rekey", "--no-commit")
        assert rekeyed.code == 0, rekeyed.err
        self.complete(attempt)

    def complete(self, attempt: Attempt) -> None:
        """Assert that all is done and nothing is left over."""
        assert self.readers(attempt) == dict.fromkeys(NAMES, True)
        assert self.both == {
            line for line in (attempt.vault / READERS).read_text().splitlines() if not line.startswith("#")
        }
        assert attempt.leftovers() == []
        status = attempt.run("status")
        assert status.code == 0, status.out

    def untouched(self, attempt: Attempt) -> None:
        """Assert that nothing at all has changed."""
        assert self.readers(attempt) == dict.fromkeys(NAMES, False)
        assert (attempt.vault / READERS).read_bytes() == self.old
        for path in (self._model.vault / "secrets").rglob("*"):
            if path.is_file():
                same = attempt.vault / path.relative_to(self._model.vault)
                assert same.read_bytes() == path.read_bytes()

    def before(self, text: str) -> int:
        """Return the place in the plan of the first call that contains *text*."""
        return next(place for place, call in enumerate(self.plan) if text in call.text)

    def _attempt(self, home: Path) -> Attempt:
        home.mkdir(exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": PATH,
            # Otherwise each run makes other system calls, or the same in another order.
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        return Attempt(home / "vault", environment)

    def _plan(self) -> list[Call]:
        attempt = self.attempt()
        done = self.traced(attempt)
        assert done.code == 0, done.err
        self.complete(attempt)
        locked = [place for place, call in enumerate(done.calls) if call.name == "flock"]
        # From the lock of the vault to its end.
        return done.calls[locked[0] : locked[-1] + 1]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    needs.program("strace", "git")
    # The process lets nobody else read its memory, not even strace its arguments.
    needs.root()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "CALLS", CALLS)
        yield Scene(tmp_path_factory.mktemp("rekey"))


def plain(text: str) -> str:
    """Return a call without what the name of a journal has of the place of its clone."""
    return re.sub(r"-[0-9a-f#]+\.journal", "-*.journal", text)


def some(places: list[tuple[int, Call]]) -> list[tuple[int, Call]]:
    """Return *places* with only some of those that differ in nothing but the secret."""
    alike = [it for it in places if it[1].name == "write" or it[1].text.endswith('"#.age")')]
    return [it for it in places if it not in alike or it in alike[:3] + alike[-3:] or it in alike[::6]]


def changing(scene: Scene, *, before: int = 10**6) -> list[tuple[int, Call]]:
    """Return the places of the plan where something is written, renamed, removed or synced."""
    return [(place, call) for place, call in enumerate(scene.plan[:before]) if call.name in KILLED_AT]


def test_the_plan_is_the_one_that_was_meant(scene: Scene) -> None:
    names = [call.name for call in scene.plan]
    secrets = len(NAMES) + 1
    # The recipients and each secret, and then the journal and twice the state of this host.
    assert (names.count("write"), names.count("renameat")) == (1 + secrets + 3, secrets + 3)
    assert (names.count("syncfs"), names.count("unlinkat")) == (1, 3)
    together, journal = scene.before("syncfs("), scene.before('.journal")')
    readers, remembered = scene.before('.age-recipients")'), scene.before('.json")')
    done = scene.before('.journal", #)')
    assert together < journal < readers < remembered < done
    assert {call.name for call in scene.plan[:together]} == {"flock", "write", "fchmod"}
    placed = [call.name for call in scene.plan[readers:remembered]]
    assert set(placed[: placed.index("flock")]) <= {"renameat", "fsync", "mkdir", "unlinkat"}


def test_after_a_kill_anywhere_each_secret_is_read_and_the_next_change_finishes(scene: Scene) -> None:
    begun, done = scene.before('.age-recipients")'), scene.before('.journal", #)')

    def attempt(place: int, call: Call) -> None:
        ours = scene.attempt()
        killed = scene.traced(ours, f"{call.name}:signal=SIGKILL:when={call.when}")
        assert (killed.code, plain(killed.hit)) == (-9, plain(call.text))
        readers = scene.readers(ours)
        assert set(readers.values()) <= {place > begun, place >= done}
        if place <= begun:
            scene.untouched(ours)
        scene.works(ours)
        scene.finish(ours)

    tracing.at_each(changing(scene), attempt)


def test_any_next_change_cleans_up_after_a_kill(scene: Scene) -> None:
    staged, begun = scene.before("syncfs("), scene.before('.age-recipients")')

    def attempt(place: int, call: Call) -> None:
        ours = scene.attempt()
        assert scene.traced(ours, f"{call.name}:signal=SIGKILL:when={call.when}").code == -9
        assert len(ours.leftovers()) > len(NAMES)
        inserted = ours.run("insert", "--no-commit", "other", data=b"value")
        assert inserted.code == 0, inserted.err
        assert ("finished what was cut off: Let Bob read all secrets" in inserted.err) == (place > staged)
        assert len(set(scene.readers(ours).values())) == 1
        assert ours.leftovers() == []

    tracing.at_each([(place, scene.plan[place]) for place in (staged, begun, begun + 1)], attempt)


def test_what_the_next_change_finishes_it_commits_as_it_was_meant(scene: Scene) -> None:
    ours = scene.attempt()
    for arguments in (["add", "--all"], ["commit", "--quiet", "--message", "All"]):
        assert ours.run("git", *arguments).code == 0
    call = scene.plan[scene.before('.age-recipients")') + 1]
    assert scene.traced(ours, f"{call.name}:signal=SIGKILL:when={call.when}", commit=True).code == -9
    inserted = ours.run("insert", "other", data=b"value")
    assert inserted.code == 0, inserted.err
    log = ours.run("git", "log", "--format=%s").out.decode().splitlines()
    assert log == ["Add secret other", "Let Bob read all secrets", "All"]
    assert ours.run("git", "status", "--porcelain").out == b""
    changed = ours.run("git", "show", "--name-only", "--format=", "HEAD~1").out.decode().split()
    assert sorted(changed) == sorted([READERS, *(f"secrets/{name}.age" for name in NAMES)])


@pytest.mark.parametrize(("signal", "code"), [("SIGTERM", 7), ("SIGINT", 130)])
def test_a_stop_is_obeyed_before_the_first_is_renamed_or_after_the_last(
    scene: Scene, signal: str, code: int
) -> None:
    begun, done = scene.before('.age-recipients")'), scene.before('.journal", #)')

    def attempt(place: int, call: Call) -> None:
        ours = scene.attempt()
        stopped = scene.traced(ours, f"{call.name}:signal={signal}:when={call.when}")
        assert stopped.code == code
        assert "Traceback" not in stopped.err
        readers = set(scene.readers(ours).values())
        assert len(readers) == 1
        if place < scene.before('.journal")'):
            scene.untouched(ours)
            assert ours.leftovers() == []
        if begun <= place <= done:
            assert readers == {True}
        scene.finish(ours)

    tracing.at_each(some(changing(scene, before=done + 1)), attempt)


def test_a_full_disk_leaves_the_old_state_whole(scene: Scene) -> None:
    begun = scene.before('.age-recipients")')
    told = next(place for place, call in enumerate(scene.plan) if call.name == "write")

    def attempt(place: int, call: Call) -> None:
        ours = scene.attempt()
        failed = scene.traced(ours, f"{call.name}:error=ENOSPC:when={call.when}")
        assert plain(failed.hit) == plain(call.text)
        assert not any(value.decode() in failed.err for value in scene.values.values())
        if place == told:  # what cannot be said is not said
            assert failed.code == 0
            scene.complete(ours)
        elif place <= begun:
            reason = "cannot be synced" if call.name == "syncfs" else os.strerror(errno.ENOSPC).lower()
            assert (failed.code, reason in failed.err) == (7, True), failed.err
            scene.untouched(ours)
            assert ours.leftovers() == []
        else:
            harmless = call.name == "unlinkat" or scene.plan[place - 1].name == "unlinkat"
            assert failed.code in ({0, 7} if harmless else {7}), failed.err
            scene.readers(ours)
            scene.works(ours)
            scene.finish(ours)

    tracing.at_each(some(changing(scene)), attempt)
