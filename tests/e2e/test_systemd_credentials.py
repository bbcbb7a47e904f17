"""``vault credential-server`` under a real systemd: a unit gets exactly the credentials that are its own, or fails."""

import os
import re
from collections.abc import Iterator

import pytest

from support.credentials import HOME, LISTENER, PLACES, SERVER, SOCKET, Served, wait
from support.systemd import Machine
from support.vaults import made_key

CREDENTIALS = 243
"""Status EXIT_CREDENTIALS, systemd.exec(5)."""
TELL = "ExecStart=/bin/sh -ec 'cd $CREDENTIALS_DIRECTORY; for it in *; do d=$(sha256sum <$it); echo $it=$${d%% *}; done'"
FOUR = ("one", "two", "three", "four")
MANY = 50


def load(*ids: str) -> str:
    return "\n".join(f"LoadCredentialEncrypted={key}:ENCRYPTED" for key in ids)


def load_plain(*ids: str) -> str:
    return "\n".join(f"LoadCredential={key}:SOCKET" for key in ids)


SERVICES = f"""
[services.web]
units = ["web.service", "web-worker.service", "half.service", "other-namespace.service", "hog.service"]
credentials = {{ key = "spy:key", bytes = "spy:bytes" }}
[services."tpl@"]
credentials = {{ key = "spy:key" }}
[services."crowd@"]
credentials = {{ {", ".join(f'{key} = "spy:{key}"' for key in FOUR)} }}
[services.files]
{"".join(f'files.{key}.secret = "spy:{key}"' + chr(10) for key in FOUR)}
[services.unknown]
credentials = {{ key = "spy:key" }}
[services.broken]
credentials = {{ key = "spy:key", broken = "spy:broken" }}
[services.nothing]
credentials = {{ nothing = "spy:nothing" }}
[services.missing]
credentials = {{ missing = "spy:missing" }}
[services.large]
credentials = {{ large = "spy:large", larger = "spy:larger" }}
"""
UNITS = {
    "web.service": f"DynamicUser=yes\n{load('key', 'bytes')}\n{TELL}",
    "web-worker.service": f"User=nobody\nPrivateUsers=yes\nProtectSystem=strict\n{load_plain('key')}\n{TELL}",
    "tpl@.service": f"{load('key')}\nSlice=some-deep.slice\nDelegate=yes\n{TELL}",
    "crowd@.service": f"{load(*FOUR)}\nExecStartPre=/bin/true\nExecStartPre=/bin/true\n{TELL}",
    "files@.service": (
        f"DynamicUser=yes\nRuntimeDirectory=files-%i\n{PLACES}\n"
        f"ExecStartPre=+/opt/tskeyvault/bin/vault --vault {HOME}/vault materialize files\n"
        "ExecStart=/usr/bin/test -s /run/files-%i/four"
    ),
    "stranger.service": f"{load_plain('key')}\n{TELL}",
    "unknown.service": f"{load('other')}\n{TELL}",
    "broken.service": f"{load_plain('key', 'broken')}\n{TELL}",
    "nothing.service": f"{load('nothing')}\n{TELL}",
    "missing.service": f"{load('missing')}\n{TELL}",
    "large.service": f"{load('large', 'larger')}\n{TELL}",
    "thief.service": f"ExecStart=/usr/bin/python3 /usr/local/bin/asker {SOCKET} web.service key",
    "other-namespace.service": (
        f"ExecStart=unshare --user --map-root-user python3 /usr/local/bin/asker {SOCKET} other-namespace.service key"
    ),
    "half.service": f"ExecStart=/usr/bin/python3 /usr/local/bin/asker {SOCKET} half.service bytes 1 /run/half",
    "hog.service": f"Type=exec\nExecStart=/usr/bin/python3 /usr/local/bin/asker {SOCKET} hog.service nosuch 600 /run/hog",
}
NOTHING_GOT = "got 1048577 bytes, 0 not NUL"


@pytest.fixture(scope="module", params=["machine", "trixie"])
def module(request: pytest.FixtureRequest) -> Served:
    """Give a machine whose vault has secrets of every kind: with systemd 252, and with 257."""
    machine: Machine = request.getfixturevalue(request.param)
    served = Served(machine)
    for name in ("key", "broken", "nothing", *FOUR):
        served.insert(name, made_key() + served.mark)
    served.insert("bytes", os.urandom(400_000))
    served.insert("large", os.urandom(600_000))
    served.insert("larger", os.urandom(600_000))
    served.ciphertext("broken").write_bytes(b"no ciphertext")
    head, newline, _rest = served.ciphertext("nothing").read_bytes().partition(b"\n")
    served.ciphertext("nothing").write_bytes(head + newline)
    served.describe(SERVICES)
    served.install(UNITS)
    machine.run("systemctl", "start", LISTENER)
    return served


@pytest.fixture
def served(module: Served) -> Iterator[Served]:
    """Give the machine with the server at rest, whose log is empty; in the end no value can be seen anywhere."""
    module.reset()
    module.decrypted()
    yield module
    module.reset(name for name in UNITS if "@" not in name)
    assert module.machine.leaks(module.mark) == []


@pytest.mark.parametrize(
    ("unit", "ids"),
    [("web.service", ("key", "bytes")), ("web-worker.service", ("key",)), ("tpl@a\\x2db.service", ("key",))],
)
def test_a_unit_gets_exactly_its_credentials(served: Served, unit: str, ids: tuple[str, ...]) -> None:
    outcome = served.start(unit)
    assert outcome.ok, outcome.journal + served.said()
    assert served.told(unit, *ids)


REFUSED = {
    "stranger.service": "vault.toml gives stranger.service no credentials",
    "unknown.service": "vault.toml does not give it to this unit",
    "broken.service": "secret 'broken'",
    "nothing.service": "secret 'spy:nothing' is empty",
    "missing.service": "secret 'spy:missing'",
    "large.service": "more than 1 MiB together",
}


@pytest.mark.parametrize("unit", sorted(REFUSED))
def test_a_unit_without_its_credentials_fails_and_is_not_run(served: Served, unit: str) -> None:
    outcome = served.start(unit)
    assert not outcome.ok
    assert outcome.exec_main_status == CREDENTIALS
    assert " sh[" not in outcome.journal
    assert re.search(rf"vault: {unit}: credential '\w+' is refused: .*{REFUSED[unit]}", served.said())


def test_a_start_gets_what_the_vault_holds_then(served: Served) -> None:
    assert served.start("web.service").ok
    served.insert("key", made_key() + served.mark)
    assert served.start("web.service").ok
    assert served.told("web.service", "key", "bytes")


def test_many_starts_at_once_all_succeed_with_one_decryption_of_each_secret(served: Served) -> None:
    units = [f"crowd@{number}.service" for number in range(MANY)]
    try:
        done = served.machine.run("systemctl", "start", *units, check=False)
        assert done.returncode == 0, done.stderr + served.said()
        assert served.decrypted() == sorted(FOUR * MANY)
        assert served.told("crowd@0.service", *FOUR)
    finally:
        served.reset(units)


def test_many_deliveries_of_files_at_once_all_succeed_with_one_decryption_of_each_secret(
    served: Served,
) -> None:
    units = [f"files@{number}.service" for number in range(MANY)]
    try:
        done = served.machine.run("systemctl", "start", *units, check=False)
        assert done.returncode == 0, done.stderr + served.machine.journal(units[0])
        assert served.decrypted() == sorted(FOUR * MANY)
        for key in FOUR:
            assert served.machine.path(f"/run/files-7/{key}").read_bytes() == served.values[key]
    finally:
        served.reset(units)


def test_an_unprivileged_user_cannot_connect(served: Served) -> None:
    ask = ("python3", "/usr/local/bin/asker", SOCKET, "web.service", "key")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    done = served.machine.run(*nobody, *ask, check=False)
    assert "Permission denied" in done.stderr
    served.machine.run("chmod", "0666", SOCKET)
    served.machine.run("chmod", "0755", "/run/spied")
    try:
        done = served.machine.run(*nobody, *ask)
    finally:
        served.machine.run("chmod", "0600", SOCKET)
        served.machine.run("chmod", "0700", "/run/spied")
    assert NOTHING_GOT in done.stdout
    assert "is not root's" in served.said()
    assert served.decrypted() == []


def test_root_outside_the_unit_is_refused(served: Served) -> None:
    done = served.machine.run("python3", "/usr/local/bin/asker", SOCKET, "web.service", "key")
    assert NOTHING_GOT in done.stdout
    assert "which asks for credential 'key' of web.service, is not in that unit" in served.said()
    assert served.decrypted() == []


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        ("thief.service", "is not in that unit but in thief.service"),
        ("other-namespace.service", "is in another user namespace"),
    ],
)
def test_a_process_that_is_not_what_it_says_is_refused(served: Served, unit: str, reason: str) -> None:
    outcome = served.start(unit)
    assert outcome.ok, outcome.journal
    assert NOTHING_GOT in outcome.journal
    assert reason in served.said()
    assert served.decrypted() == []


FAULTS = {
    "before it is held": "activation.Keeper.hold = lambda *_: die()",
    "half way": """
activation.Keeper.hold = lambda *_: None
server.Server._send = lambda _, it: (it.socket.send(it.rest[: len(it.rest) // 2]), die())""",
}
FAULTY = f"""
import os, signal, sys
from tskeyvault.__main__ import program
from tskeyvault.credentials import activation, server
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
%s
sys.argv = ["vault", "--vault", "{HOME}/vault", "credential-server"]
sys.exit(program())
"""


@pytest.mark.parametrize("when", FAULTS)
def test_an_answer_that_is_not_whole_is_none(served: Served, when: str) -> None:
    drop_in = f"/run/systemd/system/{SERVER}.d/faulty.conf"
    served.machine.write("/usr/local/lib/faulty.py", FAULTY % FAULTS[when])
    served.machine.write(
        drop_in, "[Service]\nExecStart=\nExecStart=/opt/tskeyvault/bin/python /usr/local/lib/faulty.py\n"
    )
    served.machine.run("systemctl", "daemon-reload")
    try:
        outcome = served.start("web.service")
        assert "status=9/KILL" in served.said()
    finally:
        served.machine.run("rm", drop_in)
        served.machine.run("systemctl", "daemon-reload")
    assert not outcome.ok
    assert outcome.exec_main_status == CREDENTIALS
    assert " sh[" not in outcome.journal


@pytest.mark.parametrize("how", ["kill --signal=KILL", "stop"])
def test_a_unit_whose_server_ends_half_way_fails_and_its_next_start_works(served: Served, how: str) -> None:
    served.hold()
    try:
        served.machine.run("systemctl", "start", "--no-block", "web-worker.service")
        wait(lambda: len(served.processes()) > 1 and state(served, SERVER, "NFileDescriptorStore") == "1")
        served.machine.run("systemctl", *how.split(), SERVER)
        wait(lambda: state(served, "web-worker.service", "ActiveState") == "failed")
    finally:
        served.let_go()
    assert state(served, "web-worker.service", "ExecMainStatus") == str(CREDENTIALS)
    assert served.start("web-worker.service").ok
    assert served.told("web-worker.service", "key")


def test_an_answer_that_a_killed_server_has_begun_never_ends_as_if_it_were_whole(served: Served) -> None:
    served.machine.path("/run/half").touch()
    served.machine.run("systemctl", "start", "--no-block", "half.service")
    wait(lambda: "asked" in served.machine.journal("half.service"))
    served.machine.run("systemctl", "kill", "--signal=KILL", SERVER)
    wait(lambda: "is left from a server that was killed" in served.said())
    served.machine.path("/run/half").unlink()
    wait(lambda: state(served, "half.service", "ActiveState") == "active")
    got = served.machine.journal("half.service").rsplit("got ", 1)[1]
    assert int(got.split()[0]) > 1 << 20


def test_connections_that_are_not_read_keep_nobody_from_starting(served: Served) -> None:
    served.machine.path("/run/hog").touch()
    assert served.machine.start("hog.service").ok
    try:
        wait(lambda: "hog.service has more than 16 connections" in served.said())
        outcome = served.start("web.service")
        assert outcome.ok, outcome.journal
        assert served.told("web.service", "key", "bytes")
    finally:
        served.machine.path("/run/hog").unlink()


def test_without_the_socket_the_unit_fails(served: Served) -> None:
    served.machine.run("systemctl", "stop", LISTENER)
    try:
        outcome = served.start("web.service")
    finally:
        served.machine.run("systemctl", "start", LISTENER)
    assert not outcome.ok
    assert outcome.exec_main_status == CREDENTIALS


@pytest.mark.parametrize("setting", ["PrivateUsers=yes", "ProtectProc=ptraceable"])
def test_a_server_that_cannot_see_who_asks_refuses_everybody(served: Served, setting: str) -> None:
    drop_in = f"/etc/systemd/system/{SERVER}.d/blind.conf"
    served.machine.write(drop_in, f"[Service]\n{setting}\n")
    served.machine.run("systemctl", "daemon-reload")
    try:
        outcome = served.start("web.service")
    finally:
        served.machine.path(drop_in).unlink()
        served.machine.run("systemctl", "daemon-reload")
        served.machine.run("systemctl", "stop", SERVER)
    assert (outcome.ok, outcome.exec_main_status) == (False, CREDENTIALS)
    assert served.decrypted() == []


def state(served: Served, unit: str, name: str) -> str:
    return served.machine.run("systemctl", "show", "--value", "--property", name, unit).stdout.strip()
