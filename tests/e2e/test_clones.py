"""Two users with a clone each change one vault turn about: nobody loses a secret, and every refusal leads on."""

import os
import random
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from support import needs
from support.vaults import Result, made_key, run_vault
from tskeyvault import binding, vault
from tskeyvault.locate import Place
from tskeyvault.spec import UI
from tskeyvault_age import file, x25519

SEED = 3
CHANGES = 50
READERS = "secrets/.age-recipients"
EDITOR = '#!/bin/sh\nprintf %s "$EDITED" > "$1"\n'
GIT_CONFIG = """\
[user]
\tname = {name}
\temail = {name}@example.org
[init]
\tdefaultBranch = main
[pull]
\trebase = false
"""


class Silent:
    """There is nobody to ask."""

    def message(self, text: str) -> None:
        """Say nothing."""

    def confirm(self, question: str, yes: str, no: str) -> bool | None:
        """Answer nothing."""

    def public(self, prompt: str) -> str | None:
        """Answer nothing."""

    def secret(self, prompt: str) -> bytes | None:
        """Answer nothing."""

    def progress(self, done: int, total: int) -> None:
        """Show nothing."""


NOBODY: UI = Silent()


class Change(NamedTuple):
    """What a user did before they knew what the other one did."""

    values: Mapping[str, bytes | None]
    """By name; None for a secret that was removed."""
    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    """Of the recipients."""
    moved: Mapping[str, str] = {}
    """Old names and new ones."""

    @property
    def rekeys(self) -> bool:
        """Whether all secrets were encrypted anew."""
        return bool(self.added or self.removed)


class User:
    """Somebody with a home, a key and a clone."""

    def __init__(self, home: Path, name: str):
        self.home = home
        self.name = name
        self.clone = home / "vault"
        self.refusals: list[tuple[int, str]] = []
        home.mkdir()
        (home / ".gitconfig").write_text(GIT_CONFIG.format(name=name))
        (home / "editor").write_text(EDITOR)
        (home / "editor").chmod(0o755)
        self.env = {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
            "EDITOR": str(home / "editor"),
        }
        made = run_vault("keygen", env=self.env)
        assert made.code == 0, made.err
        lines = (home / "config/tskeyvault/identities").read_text().splitlines()
        self.identity = x25519.X25519Identity.parse(next(it for it in lines if it.startswith("AGE-")))
        self.recipient = str(self.identity.recipient)

    def run(self, *arguments: str, data: bytes = b"", **more: str) -> Result:
        """Run ``vault`` once."""
        return run_vault("--vault", self.clone, *arguments, input=data, env=self.env | more)

    def do(self, *arguments: str, data: bytes = b"", **more: str) -> Result:
        """Run ``vault``, and where it refuses do what the hint says, until it is done."""
        followed: list[str] = []
        while (done := self.run(*arguments, data=data, **more)).code != 0:
            assert done.code in range(2, 7), done
            assert "Traceback" not in done.err
            assert "defect" not in done.err
            hint = done.err.rpartition("hint: ")[2].strip()
            self.refusals.append((done.code, hint))
            assert done.err not in followed, f"{arguments}: the hint does not lead on: {done.err}"
            followed.append(done.err)
            if hint.startswith("vault recipients ack, when this is how it should be"):
                assert self.run("recipients", "ack", "--yes").code == 0
            elif hint.startswith("when this is intended, decrypt the file by hand"):
                (name,) = re.findall(r"secret '([^']*)'", done.err)
                self.rewrite(name)
            elif hint.startswith("what was written stays; when git -C") and self.merging:
                self.git("add", "--all")
                self.git("commit", "--quiet", "--no-edit")
                return done
            else:
                pytest.fail(f"{arguments}: there is no hint that leads on: {done.err}")
        return done

    def rewrite(self, name: str) -> None:
        """Decrypt by hand and write the value, as the hint says."""
        data = (self.clone / f"secrets/{name}.age").read_bytes()
        self.do("insert", "--force", name, data=file.decrypt(data, [self.identity]))

    def git(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run git in the clone."""
        return subprocess.run(
            ["git", *arguments],
            cwd=self.clone,
            env=os.environ | self.env,
            capture_output=True,
            text=True,
            check=False,
        )

    def must_git(self, *arguments: str | Path) -> str:
        """Run git in the clone, which succeeds."""
        done = self.git(*arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    @property
    def merging(self) -> bool:
        """Whether a merge waits to be committed."""
        return (self.clone / ".git/MERGE_HEAD").exists()

    def pull(self) -> list[str]:
        """Pull, and return the paths in conflict."""
        self.must_git("status", "--porcelain")
        pulled = self.git("pull", "--quiet", "--no-edit")
        unmerged = self.must_git("diff", "--name-only", "--diff-filter=U").splitlines()
        assert (pulled.returncode == 0) == (not unmerged), pulled.stderr
        return unmerged

    def push(self) -> None:
        """Push what is committed; nothing is left that is not."""
        assert self.must_git("status", "--porcelain") == ""
        self.must_git("push", "--quiet", "origin", "HEAD:main")

    def holds(self) -> dict[str, bytes]:
        """Return all values in the clone, read with this user's key by a host that remembers nothing."""
        fresh = {**self.env, "XDG_STATE_HOME": str(self.home / "nothing")}
        with vault.opened(Place(vault=str(self.clone)), fresh, NOBODY) as ours:
            opened = ours.open(ours.store.entries(lambda _: None))
            found = {entry.name: it.plaintext for entry, it in opened.items()}
        for path in (self.home / "nothing").rglob("*.json"):
            path.unlink()
        return found

    def digests(self) -> set[str]:
        """Return to whom the secrets in the clone are encrypted."""
        paths = (self.clone / "secrets").rglob("*.age")
        return {binding.decode(file.read_binding(path.read_bytes())).recipients for path in paths}


class Team:
    """Ann and Ben, a repository that both push to, and what must be in it."""

    def __init__(self, work: Path):
        self.random = random.Random(SEED)  # noqa: S311 - a test that can be repeated
        self.ann, self.ben = User(work / "ann", "ann"), User(work / "ben", "ben")
        self.values: dict[str, bytes] = {}
        self.readers = {self.ann.recipient, self.ben.recipient}
        self.others = [str(x25519.X25519Identity.generate().recipient) for _ in range(40)]
        self._made = 0
        subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", work / "origin"], check=True)
        assert run_vault("init", self.ann.clone, env=self.ann.env).code == 0
        self.ann.do("recipients", "add", self.ben.recipient, "--name", "Ben")
        for _ in range(6):
            self.apply(self.insert(self.ann))
        self.ann.must_git("remote", "add", "origin", work / "origin")
        self.ann.push()
        self.ann.must_git("fetch", "--quiet")
        self.ann.must_git("branch", "--quiet", "--set-upstream-to=origin/main")
        subprocess.run(
            ["git", "clone", "--quiet", work / "origin", self.ben.clone],
            check=True,
            env=os.environ | self.ben.env,
        )

    # What a user can do.

    def insert(self, user: User) -> Change:
        """Write a new secret."""
        self._made += 1
        name, value = f"{self.random.choice(['', 'web/', 'db/main/'])}n{self._made}", made_key()
        user.do("insert", name, data=value)
        return Change({name: value})

    def replace(self, user: User, name: str) -> Change:
        """Write a secret anew."""
        value = made_key()
        refused = user.run("insert", name, data=value)
        assert (refused.code, "hint: --force replaces it" in refused.err) == (2, True), refused.err
        user.do("insert", "--force", name, data=value)
        return Change({name: value})

    def edit(self, user: User, name: str) -> Change:
        """Change a secret in an editor."""
        value = made_key()
        user.do("edit", name, EDITED=value.decode())
        return Change({name: value})

    def move(self, user: User, name: str) -> Change:
        """Give a secret another name."""
        self._made += 1
        new = f"moved/n{self._made}"
        value = self.values[name]
        user.do("mv", name, new)
        return Change({name: None, new: value}, moved={name: new})

    def copy(self, user: User, name: str) -> Change:
        """Give a secret a second name."""
        self._made += 1
        new = f"copied/n{self._made}"
        user.do("cp", name, new)
        return Change({new: self.values[name]})

    def remove(self, user: User, name: str) -> Change:
        """Remove a secret."""
        user.do("rm", "--force", name)
        return Change({name: None})

    def rekey(self, user: User, _name: str) -> Change:
        """Encrypt anew what needs it, which is nothing."""
        user.do("rekey")
        return Change({})

    def add(self, user: User, _name: str = "") -> Change:
        """Let somebody read."""
        who = next(it for it in self.others if it not in self.readers)
        self.others.remove(who)
        user.do("recipients", "add", who, "--name", f"Guest {len(self.others)}")
        return Change({}, added=frozenset({who}))

    def drop(self, user: User, _name: str = "") -> Change:
        """Let somebody read no longer."""
        guests = sorted(self.readers - {self.ann.recipient, self.ben.recipient})
        if not guests:
            return self.add(user)
        user.do("recipients", "rm", guests[0])
        self.others.append(guests[0])
        return Change({}, removed=frozenset({guests[0]}))

    def apply(self, change: Change) -> None:
        """Note what must be there now."""
        for name, value in change.values.items():
            if value is None:
                self.values.pop(name, None)
            else:
                self.values[name] = value
        self.readers = (self.readers | change.added) - change.removed

    # A round: both change, one pushes, the other pulls, resolves and pushes.

    def publish(self, first: User, one: Change, second: User, other: Change, keep: str) -> None:
        """Let *first* push and *second* merge; of a secret that both changed, *keep* ``ours`` or ``theirs``."""
        first.push()
        conflicts = second.pull()
        both = {name for name in one.values if name in other.values}
        expected = {f"secrets/{name}.age" for name in both}
        if one.rekeys:
            expected |= {f"secrets/{name}.age" for name, it in other.values.items() if name in self.values}
        if other.rekeys:
            expected |= {f"secrets/{name}.age" for name, it in one.values.items() if name in self.values}
        if one.rekeys and other.rekeys:
            expected |= {READERS, *(f"secrets/{name}.age" for name in self.values)}
        assert set(conflicts) == expected
        kept = self._resolve(second, conflicts, one, other, keep)
        if second.merging:
            second.must_git("commit", "--quiet", "--no-edit")
        self.apply(one)
        self.apply(other)
        self.apply(kept)
        for old, new in {**one.moved, **other.moved}.items():
            if old in self.values:  # the other one changed it, and that is what is meant to stay
                second.do("mv", "--force", old, new)
                self.values[new] = self.values.pop(old)
        if one.rekeys or other.rekeys:
            second.do("rekey")
        second.push()
        assert first.pull() == []
        if first.digests() != {binding.digest(self.readers)}:
            pytest.fail("a secret is encrypted to others than the readers")

    def _resolve(self, user: User, conflicts: list[str], one: Change, other: Change, keep: str) -> Change:
        """Resolve each conflict as a user would; return what stays of the secrets that both changed."""
        kept: dict[str, bytes | None] = {}
        for path in conflicts:
            if path == READERS:
                self._resolve_readers(
                    user, (self.readers | one.added | other.added) - one.removed - other.removed
                )
                continue
            name = path.removeprefix("secrets/").removesuffix(".age")
            theirs, ours = one.values.get(name), other.values.get(name)
            if name in one.values and name in other.values and None in {theirs, ours}:
                user.must_git("add", path)  # removed by one, changed by the other: the file still lies there
                kept[name] = theirs or ours
                continue
            removed = next((it for it in (one, other) if name in it.values and it.values[name] is None), None)
            if removed:
                user.must_git("rm", "--quiet", path)
                continue
            side = keep
            if name in one.values and name not in other.values:
                side = "theirs"
            elif name in other.values and name not in one.values:
                side = "ours"
            user.must_git("checkout", f"--{side}", "--", path)
            user.must_git("add", path)
            kept[name] = self.values[name] if not (theirs or ours) else theirs if side == "theirs" else ours
        return Change(kept)

    def _resolve_readers(self, user: User, wanted: set[str]) -> None:
        """Take the marks of the conflict out of the recipients file, and see who stays."""
        path = user.clone / READERS
        lines = [it for it in path.read_text().splitlines() if not it.startswith(("<<<<", "====", ">>>>"))]
        path.write_text("".join(f"{line}\n" for line in lines))
        found = {line for line in lines if line and not line.startswith("#")}
        assert found == wanted
        user.must_git("add", READERS)

    def check(self) -> None:
        """Assert that both have all that must be there, and nothing else."""
        for user in (self.ann, self.ben):
            assert user.holds() == self.values
            listed = user.do("ls")
            assert listed.out.decode().split() == sorted(self.values)
            assert not list((user.clone / "secrets").rglob(".vault-*"))

    def read_one(self, user: User) -> None:
        """Let *user* look at some secret; a refusal explains itself and leads on."""
        name = self.random.choice(sorted(self.values))
        assert user.do("show", name).out == self.values[name]
        if user.git("status", "--porcelain", "--branch").stdout.count("ahead"):
            user.push()
            for other in (self.ann, self.ben):
                assert other.pull() == []


@pytest.fixture
def team(tmp_path: Path) -> Team:
    needs.program("git")
    return Team(tmp_path)


def test_fifty_changes_with_conflicts_lose_nothing(team: Team) -> None:
    quiet = [team.replace, team.edit, team.move, team.copy, team.remove, team.rekey, team.add, team.drop]
    changes = 0
    while changes < CHANGES:
        first, second = team.random.sample([team.ann, team.ben], 2)
        keep = team.random.choice(["ours", "theirs"])
        a, b = team.random.sample(sorted(team.values), 2)
        if changes % 6 == 0 and changes % 12 == 0:
            kinds = [team.random.choice([team.replace, team.edit])(it, a) for it in (first, second)]
        elif changes % 6 == 0:
            kinds = [team.move(first, a), team.replace(second, a)]
        elif len(team.values) < 6:
            kinds = [team.insert(first), team.insert(second)]
        else:
            one = team.random.choice(quiet)
            # Of the recipients only one makes a change here; that both do has a test of its own.
            other = team.random.choice(quiet[:6]) if one in quiet[6:] else team.random.choice(quiet)
            kinds = [one(first, a), other(second, b)]
        team.publish(first, kinds[0], second, kinds[1], keep)
        changes += 2
        team.check()
        team.read_one(first)
    for user in (team.ann, team.ben):
        for name in sorted(team.values):
            team_value = user.do("show", name).out
            assert team_value == team.values[name]
        user.push()
        for other_user in (team.ann, team.ben):
            other_user.pull()
    team.check()
    codes = {code for user in (team.ann, team.ben) for code, _ in user.refusals}
    assert codes <= {2, 3, 4, 5, 6}
    assert 5 in codes


@pytest.mark.parametrize("keep", ["ours", "theirs"])
def test_both_let_somebody_else_read(team: Team, keep: str) -> None:
    ann, ben = team.ann, team.ben
    ben.do("recipients", "ack", "--yes")
    one, other = team.add(ann), team.add(ben)
    team.publish(ann, one, ben, other, keep)
    team.check()
    assert len(team.readers) == 4
    for user in (ann, ben):
        for name in sorted(team.values):
            assert user.do("show", name).out == team.values[name]


def test_marks_of_a_conflict_are_nobody_who_reads(team: Team) -> None:
    ann, ben = team.ann, team.ben
    ben.do("recipients", "ack", "--yes")
    one, other = team.add(ann), team.add(ben)
    ann.push()
    assert READERS in ben.pull()
    before = (ben.clone / READERS).read_bytes()
    for command in (
        ["rekey"],
        ["insert", "--force", min(team.values)],
        ["recipients", "add", team.others[0]],
    ):
        refused = ben.run(*command, data=b"value")
        assert (refused.code, "hint: resolve it first" in refused.err) == (2, True), refused.err
    assert (ben.clone / READERS).read_bytes() == before
    assert ben.run("recipients", "ack", "--yes").code == 2
    ben.must_git("merge", "--abort")
    assert ben.run("recipients", "ack", "--yes").code == 0
    assert ben.holds() == team.values
    del one, other


def test_a_value_is_written_in_the_middle_of_a_merge(team: Team) -> None:
    ann, ben = team.ann, team.ben
    ben.do("recipients", "ack", "--yes")
    name = min(team.values)
    team.replace(ann, name)
    team.replace(ben, name)
    ann.push()
    assert ben.pull() == [f"secrets/{name}.age"]
    value = made_key()
    refused = ben.do("insert", "--force", name, data=value)
    assert (refused.code, "during a merge" in refused.err) == (6, True), refused.err
    assert not ben.merging
    ben.push()
    assert ann.pull() == []
    team.values[name] = value
    team.check()
    assert [user.do("show", name).out for user in (ann, ben)] == [value, value]


def test_a_name_that_is_written_again_does_not_look_rolled_back_to_the_other(team: Team) -> None:
    # Ben never read the second value, so his host knows nothing of its generation.
    ann, ben = team.ann, team.ben
    ben.do("recipients", "ack", "--yes")
    name = min(team.values)
    for _ in range(3):
        team.apply(team.replace(ann, name))
    team.remove(ann, name)
    ann.push()
    assert ben.pull() == []
    value = made_key()
    ben.do("insert", name, data=value)
    ben.push()
    assert ann.pull() == []
    # The commits that touched the name count too, or Ann's host would take the new value for an old one.
    for user in (ann, ben):
        shown = user.run("show", name)
        assert (shown.code, shown.out) == (0, value), shown.err
