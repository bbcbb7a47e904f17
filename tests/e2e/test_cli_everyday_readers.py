"""The commands of every day on who reads, and for how long: status, run, recipients rm, rekey; and a new user."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import needs
from support.documents import CHECKOUT
from support.everyday import commits, committed, git, keygen, put
from support.vaults import Made, Result, made_key, make_vault, run_python, run_vault, services

LOOK = """\
import os, pathlib
for process in pathlib.Path('/proc').glob('[0-9]*'):
    try: line = (process / 'cmdline').read_bytes()
    except OSError: continue
    assert os.environb[b'ONE'] not in line, process
print(os.getpid())
"""
DAMAGED = re.compile(r"^(?!.*defect).+$")


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Give a vault, in which the test stands."""
    made = make_vault(tmp_path / "vault")
    monkeypatch.chdir(made.directory)
    return made


@pytest.fixture
def host(vault: Made, tmp_path: Path) -> str:
    """Let a host called web1 read all of the vault; its identity is the file ``host``."""
    recipient = keygen(tmp_path / "host")
    done = run_vault("recipients", "add", recipient, "--name", "web1", cwd=vault.directory)
    assert done.code == 0, done.err
    return recipient


def opens(name: str, identity: Path) -> bool:
    return run_vault("show", name, "-i", identity).code == 0


def tree() -> dict[str, bytes | None]:
    """Return every path of the vault but git's own, with its content."""
    found = [path for path in Path().rglob("*") if ".git" not in path.parts]
    return {str(path): path.read_bytes() if path.is_file() else None for path in found}


def as_if(code: str, *arguments: str, value: bytes = b"x") -> None:
    """Run ``vault`` after *code*, which changes what its clock or its bindings say."""
    script = (
        f"import sys, time\nfrom tskeyvault import binding, cli\n{code}\nsys.exit(cli.main(sys.argv[1:]))"
    )
    done = run_python("-c", script, *arguments, input=value)
    assert done.code == 0, done.err


def findings(*arguments: str) -> dict[str, list[str]]:
    return {row["name"]: row["findings"] for row in json.loads(run_vault("status", "--json", *arguments).out)}


def unbind(name: str) -> None:
    """Write the secret as plain age does, without a binding."""
    as_if("binding.encode = lambda _bound: b''", "insert", "-f", name)


# status


def test_status_as_json_has_all_that_can_be_said_without_a_key(vault: Made) -> None:
    as_if("binding.now = lambda: '2020-01-02T03:04:05Z'", "insert", "a/b", "--expires", "2190-05-06")
    done = run_vault("status", "--json")
    assert (done.code, done.err) == (0, "")
    label = f"{os.environ.get('USER') or 'user'} at {os.uname().nodename}"
    assert json.loads(done.out) == [
        {
            "name": "a/b",
            "plugin": "age",
            "generation": 1,
            "created": "2020-01-02T03:04:05Z",
            "expires": "2190-05-06T23:59:59Z",
            "readers": [label],
            "findings": [],
        }
    ]
    recipients = vault.directory / "secrets/.age-recipients"
    assert label in recipients.read_text()


@pytest.mark.usefixtures("host")
def test_status_is_a_line_for_each_secret_with_age_expiry_and_readers() -> None:
    code = "binding.now = lambda: time.strftime(binding._FORM, time.gmtime(time.time() - 10.5 * 86400))"
    as_if(code, "insert", "old", "--expires", "2190-05-06")
    put("new")
    label = f"{os.environ.get('USER') or 'user'} at {os.uname().nodename}"
    assert run_vault("status").out.decode().splitlines() == [
        f"new  0 days old   {'':16}  {label}, web1",
        f"old  10 days old  until 2190-05-06  {label}, web1",
    ]


def test_status_needs_no_key_no_identity_and_no_state(vault: Made, tmp_path: Path) -> None:
    put("a", b"x", "--expires", "2190-05-06")
    before = run_vault("status")
    env = {name: str(tmp_path / "nobody") for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")}
    assert run_vault("status", env=env) == before
    assert before.code == 0
    assert not (tmp_path / "nobody").exists()
    assert git("status", "--porcelain") == ""
    assert vault.directory.exists()


@pytest.mark.usefixtures("vault")
def test_status_of_nothing_is_nothing() -> None:
    assert run_vault("status") == Result(0, b"", "")
    assert run_vault("status", "--json") == Result(0, b"[]\n", "")
    missing = "vault: 'none' holds no secrets\nhint: vault ls shows what there is\n"
    assert run_vault("status", "none") == Result(3, b"", missing)


@pytest.mark.usefixtures("vault")
def test_status_finds_what_has_expired_and_what_will_soon() -> None:
    put("past", b"x", "--expires", "2020-01-01")
    put("soon", b"x", "--expires", "5d")
    put("later", b"x", "--expires", "15d")
    done = run_vault("status", "--json")
    assert done.code == 1
    assert findings() == {
        "later": [],
        "past": ["expired: replace it with vault insert"],
        "soon": ["expires in 4 days"],
    }
    assert run_vault("status", "later").code == 0
    text = run_vault("status")
    assert text.code == 1
    assert "expired: replace it with vault insert\n" in text.out.decode()


@pytest.mark.usefixtures("vault")
def test_status_finds_what_other_recipients_can_read_than_should(tmp_path: Path) -> None:
    put("a")
    put("b")
    with Path("secrets/.age-recipients").open("a") as file:
        file.write(f"{keygen(tmp_path / 'other')}\n")
    told = (
        "encrypted to other recipients: vault rekey",
        "its recipients are not approved: vault recipients ack",
    )
    assert set(map(tuple, findings().values())) == {told}
    assert run_vault("status").code == 1


@pytest.mark.usefixtures("vault")
def test_no_name_pushes_the_findings_of_status_out_of_sight() -> None:
    put("a")
    recipients = Path("secrets/.age-recipients")
    recipients.write_text(f"# {'x' * 2100}\n{recipients.read_text().splitlines()[1]}\n")
    Path("secrets/b.age").write_bytes(Path("secrets/a.age").read_bytes())
    listed = run_vault("status").out.decode()
    assert "its file is that of secret 'a', copied over it" in listed


@pytest.mark.usefixtures("vault")
def test_status_finds_what_is_unbound_swapped_rolled_back_or_damaged() -> None:
    for name in ("bound", "damaged", "empty", "rolled", "swapped", "unbound"):
        put(name)
    unbind("unbound2")
    rolled = Path("secrets/rolled.age").read_bytes()
    put("rolled", b"2", "--force")
    Path("secrets/rolled.age").write_bytes(rolled)
    Path("secrets/swapped.age").write_bytes(Path("secrets/bound.age").read_bytes())
    Path("secrets/damaged.age").write_bytes(b"age-encryption.org/v1\n-> X25519 x\n")
    Path("secrets/empty.age").write_bytes(b"")
    found = findings()
    assert found["bound"] == found["unbound"] == []
    assert found["unbound2"] == ["not bound to its name: insert or rekey binds it"]
    assert found["rolled"] == ["rolled back to generation 1; this host has seen 2"]
    assert found["swapped"] == ["its file is that of secret 'bound', copied over it"]
    for name in ("damaged", "empty"):
        assert len(found[name]) == 1
        assert DAMAGED.match(found[name][0])
    assert run_vault("status").code == 1
    assert run_vault("status").err == ""


@pytest.mark.usefixtures("vault")
@pytest.mark.parametrize("moment", ["2026-99-99T99:99:99Z", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z"])
def test_a_date_that_no_calendar_has_is_a_finding_and_stops_nothing(moment: str) -> None:
    put("b")
    as_if(f"binding.now = lambda: {moment!r}\nbinding.decode = lambda _: None", "insert", "a")
    for options in ([], ["--json"]):
        done = run_vault("status", *options)
        assert done.code == 1
        assert "defect" not in done.err
        assert b"cannot be read" in done.out
    assert findings()["b"] == []


@pytest.mark.usefixtures("vault")
def test_status_without_a_recipients_file_says_so() -> None:
    put("a")
    Path("secrets/.age-recipients").unlink()
    assert findings() == {"a": ["the vault has no recipients for plugin 'age'"]}


# run


@pytest.fixture
def service(vault: Made) -> bytes:
    """Describe a service with two values in two files, and return the one that is a key."""
    value = made_key()
    put("t/one", value + b"\n")
    put("t/two", b"second \xc3\xa4\nline")
    services(
        vault.directory,
        '[services.web.files.env]\nformat = "env"\nvalues = { ONE = "t/one" }\n'
        '[services.web.files.json]\nformat = "json"\nvalues = { TWO = "t/two" }\n'
        '[services.raw.files.key]\nsecret = "t/one"\n'
        '[services.gone.files.env]\nformat = "env"\nvalues = { ONE = "t/one", GONE = "t/gone" }\n',
    )
    return value


def test_run_gives_all_values_of_the_service_to_the_command_as_environment(service: bytes) -> None:
    script = "import os, sys; sys.stdout.buffer.write(os.environb[b'ONE'] + b'|' + os.environb[b'TWO'])"
    done = run_vault("run", "web", "--", sys.executable, "-c", script)
    assert done == Result(0, service + b"|second \xc3\xa4\nline", "")


@pytest.mark.usefixtures("service")
def test_run_adds_to_the_environment_and_goes_before_it() -> None:
    script = 'printf %s "$OTHER $TWO $HOME"'
    done = run_vault("run", "web", "sh", "-c", script, env={"OTHER": "kept", "TWO": "before"})
    assert done.out.decode() == f"kept second ä\nline {os.environ['HOME']}"


def test_run_becomes_the_command_and_no_command_line_has_a_value(service: bytes) -> None:
    start = f"""echo $$; exec "{sys.executable}" -m tskeyvault run web -- "{sys.executable}" -c "{LOOK}" """
    code = "import os, sys; os.execvp('sh', ['sh', '-c', sys.argv[1]])"
    done = run_python("-c", code, start)
    assert (done.code, done.err) == (0, "")
    first, second = done.out.split()
    assert first == second
    assert service not in done.out


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_run_ends_as_the_command_does(code: int) -> None:
    assert run_vault("run", "web", "--", "sh", "-c", f"exit {code}") == Result(code, b"", "")


@pytest.mark.usefixtures("service")
def test_run_gives_the_command_all_of_its_words() -> None:
    words = ["--vault", "x", "--", "-i", "", "a b", "--help"]
    done = run_vault("run", "web", "--", sys.executable, "-c", "import sys; print(sys.argv[1:])", *words)
    assert done == Result(0, f"{words}\n".encode(), "")


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("command", ["no-such-program", "/no/such/program", "./vault.toml", "secrets/"])
def test_run_of_what_cannot_be_run_is_a_failure_of_a_program(command: str) -> None:
    done = run_vault("run", "web", "--", command)
    assert done == Result(6, b"", f"vault: '{command}' cannot be run\n")


@pytest.mark.usefixtures("service")
def test_run_starts_nothing_unless_all_values_are_there() -> None:
    gone = run_vault("run", "gone", "--", "touch", "ran")
    assert (gone.code, gone.out) == (3, b"")
    assert "vault: secret 't/gone': not in the vault\n" in gone.err
    raw = run_vault("run", "raw", "--", "touch", "ran")
    hint = "hint: format env or json gives variables names\n"
    assert raw == Result(3, b"", f"vault: service 'raw' has no values\n{hint}")
    assert run_vault("run", "none", "--", "touch", "ran").code == 3
    put("t/two", b"a\0b", "--force")
    nul = run_vault("run", "web", "--", "touch", "ran")
    assert nul.code == 7
    assert "secret 't/two' has a NUL byte" in nul.err
    assert not Path("ran").exists()


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("words", [[], ["--"]])
def test_run_without_a_command_asks_for_one(words: list[str]) -> None:
    done = run_vault("run", "web", *words)
    assert done == Result(2, b"", "vault: which command?\nhint: vault run SERVICE -- COMMAND\n")


# recipients rm


@pytest.mark.parametrize("by_name", [True, False], ids=["by-name", "by-key"])
def test_a_removed_reader_opens_nothing_new_and_what_to_rotate_is_listed(
    host: str, tmp_path: Path, *, by_name: bool
) -> None:
    put("a/1")
    put("b")
    old = Path("secrets/b.age").read_bytes()
    assert opens("b", tmp_path / "host")
    before = commits()
    done = run_vault("recipients", "rm", "web1" if by_name else host)
    assert done == Result(
        0,
        b"a/1\nb\n",
        "vault: to re-encrypt, encrypted to other recipients: a/1, b\n"
        f"vault: web1 ({host}) reads nothing new, and knows what was there before: rotate 2 secrets\n",
    )
    assert host not in Path("secrets/.age-recipients").read_text()
    assert not opens("b", tmp_path / "host")
    assert not opens("a/1", tmp_path / "host")
    put("new")
    assert not opens("new", tmp_path / "host")
    assert run_vault("show", "b") == Result(0, b"a value", "")
    assert Path("secrets/b.age").read_bytes() != old
    assert run_vault("status").code == 0
    assert commits() == before + 2
    git("reset", "--hard", "--quiet", "HEAD~1")
    assert set(committed()) == {"secrets/.age-recipients", "secrets/a/1.age", "secrets/b.age"}
    assert git("log", "-1", "--format=%s") == "Let web1 read no longer all secrets\n"


def test_the_old_file_put_back_for_a_removed_reader_is_refused(host: str) -> None:
    put("a")
    old = Path("secrets/a.age").read_bytes()
    assert run_vault("recipients", "rm", host).code == 0
    Path("secrets/a.age").write_bytes(old)
    assert run_vault("show", "a").code == 5


@pytest.mark.usefixtures("host")
def test_a_plan_changes_nothing() -> None:
    put("a")
    before, count = tree(), commits()
    done = run_vault("recipients", "rm", "web1", "--plan")
    assert done == Result(0, b"", "vault: to re-encrypt, encrypted to other recipients: a\n")
    assert (tree(), commits()) == (before, count)
    assert run_vault("recipients", "rm", "web1").code == 0


def test_the_last_reader_stays(vault: Made) -> None:
    put("a")
    before = tree()
    done = run_vault("recipients", "rm", vault.recipient)
    assert done == Result(2, b"", "vault: that would leave nobody who can read\nhint: add somebody first\n")
    assert tree() == before


@pytest.mark.usefixtures("host")
def test_somebody_unknown_cannot_be_removed_and_nobody_is_not_everybody_without_a_name(vault: Made) -> None:
    file = Path("secrets/.age-recipients")
    text = file.read_text()
    file.write_text(
        "".join(line for line in text.splitlines(keepends=True) if f"at {os.uname()[1]}" not in line)
    )
    before = tree()
    done = run_vault("recipients", "rm", "web2")
    assert done == Result(
        3, b"", "vault: 'web2' is not among the recipients\nhint: vault recipients ls\n".replace("'", "")
    )
    done = run_vault("recipients", "rm", "")
    assert done == Result(2, b"", "vault: which recipient?\nhint: vault recipients ls\n")
    assert tree() == before
    assert vault.recipient in file.read_text()


@pytest.mark.usefixtures("host")
def test_a_reader_is_removed_from_one_folder_only(tmp_path: Path) -> None:
    put("db/a")
    put("b")
    assert run_vault("recipients", "rm", "web1", "--folder", "db").out == b"db/a\n"
    assert set(committed()) == {"secrets/db/.age-recipients", "secrets/db/a.age"}
    assert not opens("db/a", tmp_path / "host")
    assert opens("b", tmp_path / "host")


def test_who_cannot_read_a_secret_cannot_take_a_reader_away(host: str, tmp_path: Path) -> None:
    put("a")
    keygen(tmp_path / "stranger")
    before, count = tree(), commits()
    assert run_vault("recipients", "rm", host, "-i", tmp_path / "stranger").code == 4
    assert (tree(), commits()) == (before, count)


# rekey


@pytest.fixture
def changed(vault: Made, tmp_path: Path) -> str:
    """Give a vault with secrets in two folders to whose recipients somebody was added by hand, and approved."""
    for name in ("a/1", "a/2", "b/1"):
        put(name, name.encode())
    recipient = keygen(tmp_path / "host")
    with (vault.directory / "secrets/.age-recipients").open("a") as file:
        file.write(f"{recipient}\n")
    assert run_vault("recipients", "ack", "--yes").code == 0
    git("commit", "--quiet", "-am", "by hand")
    return recipient


@pytest.mark.usefixtures("changed")
def test_rekey_plan_says_what_and_why_and_changes_nothing() -> None:
    before, count = tree(), commits()
    done = run_vault("rekey", "--plan")
    assert done == Result(0, b"", "vault: to re-encrypt, encrypted to other recipients: a/1, a/2, b/1\n")
    assert (tree(), commits()) == (before, count)


@pytest.mark.usefixtures("changed")
def test_rekey_lets_the_present_readers_read_in_one_commit(tmp_path: Path) -> None:
    count = commits()
    done = run_vault("rekey")
    assert done.code == 0
    assert done.err.splitlines()[-1] == "vault: re-encrypted 3 of 3 secrets"
    for name in ("a/1", "a/2", "b/1"):
        assert run_vault("show", name, "-i", tmp_path / "host") == Result(0, name.encode(), "")
    assert commits() == count + 1
    assert set(committed()) == {f"secrets/{name}.age" for name in ("a/1", "a/2", "b/1")}
    assert git("status", "--porcelain") == ""
    before = tree()
    assert run_vault("rekey") == Result(0, b"", "vault: nothing to re-encrypt\n")
    assert (tree(), commits()) == (before, count + 1)


@pytest.mark.usefixtures("changed")
def test_rekey_of_a_folder_leaves_the_others_and_what_is_right_already(tmp_path: Path) -> None:
    put("a/2", b"new", "--force")
    before = tree()
    assert run_vault("rekey", "a/").err.splitlines()[-1] == "vault: re-encrypted 1 of 2 secrets"
    after = tree()
    assert {path for path in after if after[path] != before[path]} == {"secrets/a/1.age"}
    assert set(committed()) == {"secrets/a/1.age"}
    assert not opens("b/1", tmp_path / "host")
    assert run_vault("rekey", "none").code == 3


@pytest.mark.usefixtures("vault")
def test_rekey_binds_what_is_not_bound() -> None:
    put("bound")
    unbind("a")
    assert findings()["a"] == ["not bound to its name: insert or rekey binds it"]
    before = tree()
    done = run_vault("rekey")
    assert done.code == 0
    assert "vault: to re-encrypt, not bound to its name yet: a\n" in done.err
    assert findings() == {"a": [], "bound": []}
    assert run_vault("show", "a") == Result(0, b"x", "")
    after = tree()
    assert {path for path in after if after[path] != before[path]} == {"secrets/a.age"}


@pytest.mark.usefixtures("changed")
def test_rekey_is_all_or_nothing() -> None:
    damaged = bytearray(Path("secrets/b/1.age").read_bytes())
    damaged[-1] ^= 1
    Path("secrets/b/1.age").write_bytes(damaged)
    before, count = tree(), commits()
    done = run_vault("rekey")
    assert done.code == 5
    assert "secret 'b/1'" in done.err
    assert (tree(), commits()) == (before, count)


@pytest.mark.usefixtures("vault")
def test_rekey_for_a_stranger_is_refused(tmp_path: Path) -> None:
    put("a")
    with Path("secrets/.age-recipients").open("a") as file:
        file.write(f"{keygen(tmp_path / 'stranger')}\n")
    before = tree()
    assert run_vault("rekey").code == 5
    assert tree() == before
    assert not opens("a", tmp_path / "stranger")


@pytest.mark.usefixtures("vault")
def test_age_and_expiry_outlast_a_rekey(tmp_path: Path) -> None:
    as_if("binding.now = lambda: '2020-01-02T03:04:05Z'", "insert", "a", "--expires", "2190-05-06")
    assert run_vault("recipients", "add", keygen(tmp_path / "host")).code == 0
    [row] = json.loads(run_vault("status", "--json").out)
    assert (row["created"], row["expires"]) == ("2020-01-02T03:04:05Z", "2190-05-06T23:59:59Z")
    assert row["generation"] == 2


# who is removed


@pytest.mark.usefixtures("vault")
def test_a_name_that_was_put_on_another_removes_nobody_unasked(tmp_path: Path) -> None:
    put("a")
    other = keygen(tmp_path / "other")
    assert run_vault("recipients", "add", other, "--name", "Mallory").code == 0
    file = Path("secrets/.age-recipients")
    mine, own, theirs, key = file.read_text().splitlines()
    file.write_text(f"{theirs}\n{own}\n{mine}\n{key}\n")
    done = run_vault("recipients", "rm", "Mallory")
    assert (done.code, "not those this host approved" in done.err) == (5, True)
    assert run_vault("show", "a").code == 0


@pytest.mark.usefixtures("vault")
def test_the_last_key_of_ones_own_is_not_removed_unasked(tmp_path: Path) -> None:
    put("a")
    own = Path("secrets/.age-recipients").read_text().splitlines()[1]
    assert run_vault("recipients", "add", keygen(tmp_path / "other"), "--name", "other").code == 0
    before = Path("secrets/.age-recipients").read_bytes(), Path("secrets/a.age").read_bytes()
    done = run_vault("recipients", "rm", own)
    assert (done.code, "hint: --force" in done.err) == (2, True), done.err
    assert (Path("secrets/.age-recipients").read_bytes(), Path("secrets/a.age").read_bytes()) == before
    assert run_vault("recipients", "rm", own, "--force").code == 0
    assert run_vault("show", "a").code == 4
    assert opens("a", tmp_path / "other")


@pytest.mark.usefixtures("vault")
def test_one_ssh_key_is_one_recipient_in_whatever_dress(tmp_path: Path) -> None:
    needs.program("ssh-keygen")
    made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me@host", "-f", str(tmp_path / "ed")]
    subprocess.run(made, check=True)
    key = (tmp_path / "ed.pub").read_text().strip()
    assert run_vault("recipients", "add", key).code == 0
    before = Path("secrets/.age-recipients").read_bytes()
    for text in (key.rpartition(" ")[0], key.replace("me@host", "other")):
        done = run_vault("recipients", "add", text)
        assert (done.code, "one key in another dress" in done.err) == (2, True), done.err
    assert Path("secrets/.age-recipients").read_bytes() == before


@pytest.mark.usefixtures("vault")
def test_recipients_that_no_file_can_have_together_are_refused_where_there_is_no_secret_yet() -> None:
    before = Path("secrets/.age-recipients").read_bytes()
    quantum = run_vault("keygen", "--pq", "-o", "pq").out.decode().strip()
    done = run_vault("recipients", "add", quantum)
    assert (done.code, "cannot be mixed" in done.err, "vault rekey" in done.err) == (2, True, True), done.err
    assert Path("secrets/.age-recipients").read_bytes() == before


# a new user


class Person:
    """Somebody with a home of their own, who types commands that the documents name."""

    def __init__(self, home: Path, said: list[str]):
        self.home = home
        self._said = said
        (home / ".config").mkdir(parents=True, mode=0o700)
        name = home.name
        (home / ".gitconfig").write_text(
            f"[user]\nname = {name}\nemail = {name}@example.org\n[init]\ndefaultBranch = main\n"
        )

    @property
    def env(self) -> dict[str, str]:
        """Its environment."""
        places = {"HOME": "", "XDG_CONFIG_HOME": ".config", "XDG_STATE_HOME": ".state", "XDG_RUNTIME_DIR": ""}
        env = {name: str(self.home / place) for name, place in places.items()}
        return env | {"GIT_CONFIG_GLOBAL": str(self.home / ".gitconfig")}

    def vault(self, *words: str, value: bytes = b"", where: str = "infra") -> bytes:
        """Run a command of ours, which must succeed, and count it."""
        self._said.append(f"vault {words[0]}")
        done = run_vault(*words, input=value, env=self.env, cwd=self.home / where)
        assert done.code == 0, done.err
        return done.out

    def clone(self, remote: Path) -> None:
        """Run git's, and count it."""
        self._said.append("git clone")
        argv = ["git", "clone", "--quiet", str(remote), "infra"]
        subprocess.run(argv, check=True, cwd=self.home, env={**os.environ, **self.env})


def test_from_nothing_to_a_shared_vault_of_two_in_under_ten_commands(tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    git("init", "--quiet", "--bare", str(remote))
    said: list[str] = []
    alice, bob = (Person(tmp_path / name, said) for name in ("alice", "bob"))
    value = made_key()

    alice.vault("init", "infra", where="")
    alice.vault("insert", "tailscale/container-key", value=value)
    recipient = bob.vault("keygen", where="").decode().strip()
    alice.vault("recipients", "add", recipient, "--name", "Bob")
    alice.vault("git", "remote", "add", "origin", str(remote))
    alice.vault("git", "push", "--quiet", "--set-upstream", "origin", "main")
    bob.clone(remote)
    assert bob.vault("show", "tailscale/container-key") == value
    bob.vault("recipients", "ack", "--yes")
    assert len(said) < 10

    known = (CHECKOUT / "README.md").read_text() + run_vault("--help").out.decode()
    for command in set(said):
        assert re.search(rf"^ +{command.removeprefix('vault ')} |{command}", known, re.MULTILINE), command

    # Both write, from now on with insert, git pull and git push alone.
    bob.vault("insert", "bob/key", value=b"of Bob")
    bob.vault("git", "push", "--quiet")
    alice.vault("git", "pull", "--quiet")
    assert alice.vault("show", "bob/key") == b"of Bob"
    assert alice.vault("status").decode().count("Bob") == 2
