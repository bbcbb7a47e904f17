"""gpg where nobody is there to ask: passphrases, the agent, time limits, and failures that gpg misnames."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import gpg, needs
from support.credentials import wait
from support.gpg import Person, configured, with_file
from support.team import Shared, Team, made, team
from support.vaults import PATH, Result, services

SESAME = "open sesame"


@pytest.fixture(scope="module")
def people() -> Iterator[Team]:
    """Give the team, in which Bob is a host whose key has a passphrase."""
    needs.program("gpg")
    with team() as found:
        yield found._replace(bob=gpg.person(found.folder, "Host", passphrase=SESAME))


@pytest.fixture
def host(people: Team, tmp_path: Path) -> tuple[Shared, Person]:
    """Give a vault with the secret ``a``, and the host that reads it, whose agent does not run."""
    ours = made(people, tmp_path / "vault")
    ours.put("a", b"the value")
    ours.add(people.bob)
    subprocess.run(["gpgconf", "--homedir", people.bob.home, "--kill", "all"], check=True)
    wait(lambda: gpg.agents(people.bob.home) == 0)  # it still answers while it ends
    return ours, people.bob


# The passphrase.


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_passphrase_comes_from_a_file(host: tuple[Shared, Person], tmp_path: Path, end: str) -> None:
    ours, who = host
    done = ours.done("show", "a", who=who, env=with_file(tmp_path, SESAME + end))
    assert (done.out, done.err) == (b"the value", "")


def test_the_passphrase_comes_from_a_credential(host: tuple[Shared, Person], tmp_path: Path) -> None:
    ours, who = host
    (tmp_path / "gpg-passphrase").write_text(SESAME)
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert ours.done("show", "a", who=who, env=environment).out == b"the value"


def test_systemd_is_asked_when_the_local_configuration_says_so(
    host: tuple[Shared, Person], tmp_path: Path
) -> None:
    ours, who = host
    program = tmp_path / "bin/systemd-ask-password"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho \"$*\" > {tmp_path}/asked\necho '{SESAME}'\n")
    program.chmod(0o755)
    path = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    environment = configured(tmp_path, "ask_password = true") | path
    assert ours.done("show", "a", who=who, env=environment).out == b"the value"
    assert "--no-tty" in (tmp_path / "asked").read_text()
    program.write_text("#!/bin/sh\nexit 1\n")
    ours.refused(4, "nobody gave systemd-ask-password the passphrase", "show", "a", who=who, env=environment)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("wrong\n", "secret 'a': the passphrase is wrong"),
        ("", "does not hold a passphrase"),
        (f"{SESAME}\nmore\n", "does not hold a passphrase"),
    ],
)
def test_a_wrong_passphrase_locks(
    host: tuple[Shared, Person], tmp_path: Path, content: str, message: str
) -> None:
    ours, who = host
    said = ours.refused(4, message, "show", "a", who=who, env=with_file(tmp_path, content))
    assert SESAME not in said


@pytest.mark.parametrize(
    ("mode", "message", "hint"),
    [
        (0o620, "can be changed by others", "chmod go-w"),
        (0o640, "can be read by others", "chmod go="),
        (0o604, "can be read by others", "chmod go="),
        (0, "is not there", ""),
    ],
)
def test_a_passphrase_file_that_is_not_ours_alone_is_not_used(
    host: tuple[Shared, Person], tmp_path: Path, mode: int, message: str, hint: str
) -> None:
    ours, who = host
    environment = with_file(tmp_path, SESAME, mode)
    if not mode:
        (tmp_path / "passphrase").unlink()
    said = ours.refused(4, f"{message}", "show", "a", who=who, env=environment)
    assert hint in said


def test_hidden_recipients_are_found_whatever_the_order_of_the_keys(
    host: tuple[Shared, Person], people: Team, tmp_path: Path
) -> None:
    ours, who = host
    several = gpg.clone(who, people.folder / "several")
    second = gpg.another(several, "Second")
    gpg.another(several, "Third")
    for reader in (who.fingerprint, second.fingerprint):
        argv = ("--trust-model", "always", "--throw-keyids", "--recipient", reader, "--encrypt")
        (ours.secrets / f"{reader}.gpg").write_bytes(gpg.run(several.home, *argv, input=b"hidden"))
    environment = with_file(tmp_path, SESAME)
    for reader in (who.fingerprint, second.fingerprint):
        assert ours.done("show", reader, who=several, env=environment).out == b"hidden"
    alone = "its recipients are hidden, and no key of yours that could be unlocked opens it"
    ours.refused(4, alone, "show", who.fingerprint, who=ours.team.mallory)


@pytest.mark.parametrize(
    "text",
    ['passphrase_file = "relative"', 'ask_password = "yes"', 'home = "x"', "home = 1", 'program = "/bin/sh"'],
)
def test_options_that_make_no_sense_are_refused(
    host: tuple[Shared, Person], tmp_path: Path, text: str
) -> None:
    ours, who = host
    option = text.partition(" ")[0]
    said = ours.refused(2, "[plugins.gpg]", "show", "a", who=who, env=configured(tmp_path, text))
    assert option in said


def test_the_home_may_stand_in_the_local_configuration(host: tuple[Shared, Person], tmp_path: Path) -> None:
    ours, _ = host
    home = configured(tmp_path, f'home = "{ours.team.alice.home}"')
    assert ours.done("show", "a", who=ours.team.mallory, env=home).out == b"the value"


# What gpg misnames.


def test_without_a_terminal_pinentry_is_what_fails(host: tuple[Shared, Person]) -> None:
    ours, who = host
    said = ours.refused(4, "secret 'a': pinentry", "show", "a", who=who)
    assert "passphrase_file in [plugins.gpg]" in said


def test_a_missing_pinentry_is_named(host: tuple[Shared, Person], people: Team) -> None:
    ours, _ = host
    who = gpg.clone(people.bob, people.folder / f"nopin{os.getpid()}")
    (who.home / "gpg-agent.conf").write_text("pinentry-program /nonexistent/pinentry\n")
    ours.refused(4, "secret 'a': pinentry is missing", "show", "a", who=who)


def test_a_home_that_is_not_there_is_named(host: tuple[Shared, Person], tmp_path: Path) -> None:
    ours, who = host
    gone = who._replace(home=tmp_path / "gone")
    ours.refused(6, "secret 'a': gpg cannot work: its home", "show", "a", who=gone)
    ours.refused(6, "gpg cannot work: its home", "recipients", "add", who.address, who=gone)


DAMAGES = {"trustdb.gpg": "trust database", "pubring.kbx": "keyring", "gpg.conf": "configuration"}


@pytest.mark.parametrize("file", DAMAGES)
def test_what_is_damaged_in_the_home_is_named_where_it_is_needed(
    host: tuple[Shared, Person], people: Team, file: str
) -> None:
    ours, _ = host
    who = gpg.clone(people.alice, people.folder / f"torn-{file[:3]}")
    gpg.run(who.home, "--check-trustdb")
    (who.home / file).write_bytes(b"damaged\n" * 500 if file != "gpg.conf" else b"cipher-algo none\n")
    message = f"gpg cannot read its {DAMAGES[file]}"
    assert "in gpg's home" in ours.refused(6, message, "show", "a", who=who)
    ours.refused(6, message, "recipients", "add", people.mallory.address, who=who)
    ours.done("insert", "b", input=b"needs nothing of it", who=who)
    (who.home / file).unlink()
    if file != "pubring.kbx":
        assert ours.done("show", "a", who=who).out == b"the value"


def test_an_agent_that_cannot_be_started_is_named(host: tuple[Shared, Person], people: Team) -> None:
    ours, _ = host
    needs.no_runtime_directory()
    folder = people.folder / ("too-long-for-a-socket-" * 5)
    folder.mkdir(exist_ok=True)
    who = gpg.clone(people.alice, folder / "home")
    ours.refused(
        6, "secret 'a': no gpg-agent can be started: its home is in order, but it fails", "show", "a", who=who
    )


READ_ONLY = "mount --bind $GNUPGHOME $GNUPGHOME; mount -o remount,ro,bind $GNUPGHOME"
FULL = """
mkdir "$1"; cp -a $GNUPGHOME/. "$1"; mount -t tmpfs -o size=128k,mode=700 tmpfs $GNUPGHOME; cp -a "$1/." $GNUPGHOME
! cat /dev/zero > $GNUPGHOME/fill 2>&1
"""


def mounted(ours: Shared, who: Person, script: str, copy: Path, *arguments: str) -> Result:
    """Run ``vault`` as *who*, in whose home *script* has mounted something that nobody else sees."""
    needs.root()
    needs.program("unshare")
    inside = f'set -e; {script}\nshift; exec "$@"'
    argv = ["unshare", "-m", "sh", "-c", inside, "sh", str(copy), sys.executable, "-m", "tskeyvault"]
    env = {**os.environ, "GNUPGHOME": str(who.home), "PYTHONPATH": PATH}
    done = subprocess.run(
        [*argv, *arguments], env=env, cwd=ours.directory, capture_output=True, timeout=60, check=False
    )
    return Result(done.returncode, done.stdout, done.stderr.decode())


NO_HOMES = {
    READ_ONLY: "is read-only\nhint: ReadWritePaths= in a unit, or let an agent run before",
    FULL: "is on a disk that is full\nhint: make room there",
}


@pytest.mark.parametrize("script", NO_HOMES, ids=["read-only", "full"])
def test_a_home_that_no_agent_can_be_started_in_is_named(
    host: tuple[Shared, Person], people: Team, tmp_path: Path, script: str
) -> None:
    ours, _ = host
    alice = people.alice
    subprocess.run(["gpgconf", "--homedir", alice.home, "--kill", "all"], check=True)
    done = mounted(ours, alice, script, tmp_path / "copy", "show", "a")
    assert (done.code, done.out) == (6, b"")
    said = f"no gpg-agent can be started: its home '{alice.home}' {NO_HOMES[script]}"
    assert f"secret 'a': {said}" in done.err
    done = mounted(ours, alice, script, tmp_path / "copy2", "init", "--backend", "gpg", str(tmp_path / "new"))
    assert (done.code, said in done.err) == (6, True), done.err
    done = mounted(ours, alice, script, tmp_path / "copy3", "recipients", "check")
    assert (done.code, f"vault: {said}" in done.err) == (1, True), done.err


def test_a_home_that_is_read_only_does_where_an_agent_runs(
    host: tuple[Shared, Person], people: Team, tmp_path: Path
) -> None:
    ours, _ = host
    subprocess.run(["gpgconf", "--homedir", people.alice.home, "--launch", "gpg-agent"], check=True)
    done = mounted(ours, people.alice, READ_ONLY, tmp_path, "show", "a")
    assert (done.code, done.out, done.err) == (0, b"the value", "")
    assert gpg.agents(people.alice.home) == 1


@pytest.mark.parametrize("which", ["a key of others", "no key"])
def test_who_has_no_key_for_it_is_told_that_where_no_agent_runs(
    host: tuple[Shared, Person], people: Team, which: str
) -> None:
    ours, _ = host
    who = gpg.clone(people.mallory, people.folder / f"stranger{os.getpid()}{len(which)}")
    if which == "no key":
        shutil.rmtree(who.home)
        who.home.mkdir(mode=0o700)
    ours.refused(4, "secret 'a': not encrypted to a key of yours", "show", "a", who=who)
    assert gpg.agents(who.home) == 0


def test_a_secret_key_that_is_damaged_is_no_damaged_secret(host: tuple[Shared, Person], people: Team) -> None:
    ours, _ = host
    who = gpg.clone(people.bob, people.folder / f"damaged{os.getpid()}")
    for path in (who.home / "private-keys-v1.d").iterdir():
        path.write_bytes(b"damaged")
    ours.refused(6, "secret 'a': gpg-agent cannot use the secret key", "show", "a", who=who)


def test_gpg_that_is_not_installed_is_named(host: tuple[Shared, Person], tmp_path: Path) -> None:
    ours, who = host
    for name in ("git", "env"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    said = ours.refused(6, "gpg is not installed", "show", "a", who=who, env={"PATH": str(tmp_path)})
    assert "apt install gnupg" in said
    (tmp_path / "gpg").symlink_to("/bin/false")
    for words in (("show", "a"), ("recipients", "add", who.address)):
        ours.refused(6, "gpg failed without a reason", *words, who=who, env={"PATH": f"{tmp_path}:/usr/bin"})


# The agent.


def test_an_agent_that_was_started_is_stopped_again(host: tuple[Shared, Person], tmp_path: Path) -> None:
    ours, who = host
    ours.done("show", "a", who=who, env=with_file(tmp_path, SESAME))
    assert gpg.agents(who.home) == 0
    ours.refused(4, "the passphrase is wrong", "show", "a", who=who, env=with_file(tmp_path, "wrong"))
    assert gpg.agents(who.home) == 0


def test_an_agent_that_was_there_stays(host: tuple[Shared, Person], tmp_path: Path) -> None:
    ours, who = host
    subprocess.run(["gpgconf", "--homedir", who.home, "--launch", "gpg-agent"], check=True)
    ours.done("show", "a", who=who, env=with_file(tmp_path, SESAME))
    assert gpg.agents(who.home) == 1


def test_many_commands_at_once_do_not_stop_each_others_agent(
    host: tuple[Shared, Person], tmp_path: Path
) -> None:
    ours, who = host
    environment = {
        **os.environ,
        **with_file(tmp_path, SESAME),
        "GNUPGHOME": str(who.home),
        "PYTHONPATH": PATH,
    }
    argv = [sys.executable, "-m", "tskeyvault", "--vault", str(ours.directory), "show", "a"]
    running = [
        subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    assert [one.communicate(timeout=60)[0] for one in running] == [b"the value"] * 6
    assert gpg.agents(who.home) == 0


# Time.


def hanging(folder: Path, word: str) -> dict[str, str]:
    """Return the environment of a gpg that hangs when *word* is among its arguments."""
    program = folder / "bin/gpg"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *{word}*) echo $$ > {folder}/pid; sleep 1000 ;; esac\nexec /usr/bin/gpg "$@"\n'
    )
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_gpg_that_hangs_is_ended_in_time(host: tuple[Shared, Person], tmp_path: Path) -> None:
    ours, _ = host
    services(ours.directory, '[services.web.files.key]\nsecret = "a"\n')
    out = tmp_path / "out"
    out.mkdir()
    ours.refused(
        7, "not done within 1 s", "materialize", "web", "--directory", out, "--allow-disk", "--timeout", "1",
        env=hanging(tmp_path, "--decrypt"),
    )  # fmt: skip
    assert list(out.iterdir()) == []
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_a_change_that_is_stopped_leaves_everything_and_no_gpg(
    host: tuple[Shared, Person], tmp_path: Path
) -> None:
    ours, _ = host
    ours.put("b")
    before = ours.state()
    path = tmp_path / "mallory.asc"
    path.write_bytes(ours.team.mallory.public)
    environment = {**os.environ, **hanging(tmp_path, "--skip-verify"), "GNUPGHOME": str(ours.team.alice.home)}
    argv = [sys.executable, "-m", "tskeyvault", "recipients", "add", str(path)]
    running = subprocess.Popen(
        argv, env=environment | {"PYTHONPATH": PATH}, cwd=ours.directory, stderr=subprocess.PIPE
    )
    pid = tmp_path / "pid"
    end = time.monotonic() + 30
    while not (pid.exists() and pid.read_text().strip()) and time.monotonic() < end:
        os.sched_yield()
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 7, errors
    assert b"stopped by SIGTERM" in errors
    assert not is_running(int(pid.read_text()))
    assert ours.state() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_stopped_leaves_no_agent_with_the_passphrase(
    host: tuple[Shared, Person], tmp_path: Path, number: signal.Signals
) -> None:
    ours, who = host
    environment = {**os.environ, **with_file(tmp_path, SESAME), **hanging(tmp_path, "--decrypt")}
    program = tmp_path / "bin/gpg"
    program.write_text(program.read_text().replace("echo", '/usr/bin/gpg "$@" >/dev/null 2>&1; echo'))
    running = subprocess.Popen(
        [sys.executable, "-m", "tskeyvault", "show", "a"],
        env=environment | {"GNUPGHOME": str(who.home), "PYTHONPATH": PATH},
        cwd=ours.directory,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    pid = tmp_path / "pid"
    end = time.monotonic() + 30
    while not (pid.exists() and pid.read_text().strip()) and time.monotonic() < end:
        os.sched_yield()
    running.send_signal(number)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 7, errors
    assert gpg.agents(who.home) == 0
