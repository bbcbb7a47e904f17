"""What goes wrong in the vault, and with several starts at once: the unit fails or succeeds as a whole."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator

import pytest

from support.faults import assert_delivered, assert_refused, contents, start, unit_text
from support.host import KEY, RUNS, VAULT, Host, shell

SECRET_FILE = f"secrets/{KEY}.age"
SECONDS = 30


DAMAGES = {
    "a secret that is missing": (f"rm {SECRET_FILE}", 3, f"'{KEY}'"),
    "an empty secret": (f"age -R secrets/.age-recipients -o {SECRET_FILE} </dev/null", 5, f"'{KEY}'"),
    "a damaged ciphertext": (f"printf x | dd of={SECRET_FILE} bs=1 seek=700 conv=notrunc", 5, f"'{KEY}'"),
    "a ciphertext that ends early": (f"truncate -s -1 {SECRET_FILE}", 5, f"'{KEY}'"),
    "a ciphertext of nothing": (f"truncate -s 0 {SECRET_FILE}", 5, f"'{KEY}'"),
    "the file of another secret": (
        f"cp secrets/one.age {SECRET_FILE}",
        5,
        "that of secret 'one', copied over it",
    ),
    "a link in the store": (
        f"mv {SECRET_FILE} {SECRET_FILE}.x; ln -s container-key.age.x {SECRET_FILE}",
        5,
        KEY,
    ),
    "a service that is not there": ("sed -i s/services.sidecar/services.other/ vault.toml", 3, "'sidecar'"),
    "a vault.toml that is broken": ("echo '[' >> vault.toml", 2, "vault.toml"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_unit_fails_for(host: Host, name: str, damage: str) -> None:
    script, status, message = DAMAGES[damage]
    vault = host.copy(name)
    shell(host.machine, f"cd {vault}; {{ {script}; }} 2>/dev/null")
    assert_refused(host, name, start(host, name, vault=vault), status, message)


def test_the_unit_fails_for_an_empty_secret_of_plain_age_under_a_new_name(host: Host, name: str) -> None:
    vault = host.copy(name)
    shell(host.machine, f"cd {vault}; age -R secrets/.age-recipients -o secrets/new.age </dev/null")
    shell(host.machine, f"cd {vault}; sed -i 's|{KEY}|new|' vault.toml")
    assert_refused(host, name, start(host, name, vault=vault), 7, "secret 'new' is empty")


def test_the_unit_fails_for_a_ciphertext_that_was_rolled_back(host: Host, name: str) -> None:
    older = host.copy(name)
    host.insert(KEY)
    host.vault("--vault", VAULT, "materialize", "sidecar", "--check")
    assert_refused(
        host, name, start(host, name, vault=older), 5, f"secret '{KEY}': rolled back to generation"
    )


@pytest.mark.parametrize("damage", ["rm secrets/three.age", "truncate -s -1 secrets/three.age"])
def test_none_of_three_is_delivered_when_the_last_fails(host: Host, name: str, damage: str) -> None:
    vault = host.copy(name)
    shell(host.machine, f"cd {vault}; {damage}; mkdir -m 0700 /run/{name}; echo old > /run/{name}/first")
    command = f"materialize three --directory /run/{name}"
    outcome = start(host, name, "User=root", vault=vault, command=command)
    assert_refused(host, name, outcome, 3 if damage.startswith("rm") else 5, "'three'")
    assert contents(host.machine.path(f"/run/{name}")) == {"first": "old\n"}


def test_the_unit_fails_for_an_identity_that_opens_nothing(host: Host, name: str) -> None:
    host.vault("keygen", "--output", f"/root/{name}")
    outcome = start(host, name, command=f"--identity /root/{name} materialize sidecar")
    assert_refused(host, name, outcome, 4, f"'{KEY}'")


def test_the_unit_fails_without_an_identity(host: Host, name: str) -> None:
    lines = ("DynamicUser=yes", f"RuntimeDirectory={name}", f"StateDirectory={name}")
    outcome = start(host, name, *lines, f"Environment=HOME=%S/{name}", prefix="")
    assert_refused(host, name, outcome, 4, "no identity")


def test_the_unit_fails_when_the_identity_is_named_and_not_there(host: Host, name: str) -> None:
    outcome = start(host, name, command="--identity /etc/nowhere materialize sidecar")
    assert_refused(host, name, outcome, 4, "--identity names no file")


@pytest.mark.parametrize(
    "user", ["User=nobody\nEnvironment=HOME=/nowhere", "DynamicUser=yes"], ids=["home", "no home"]
)
def test_a_unit_without_privileges_is_told_to_have_a_state_directory(
    host: Host, name: str, user: str
) -> None:
    lines = (
        user,
        f"RuntimeDirectory={name}",
        "LoadCredential=tskeyvault-identity:/etc/tskeyvault/identities",
    )
    outcome = start(host, name, *lines, prefix="")
    # systemd sets no HOME for a dynamic user.
    assert_refused(host, name, outcome, 2 if user == "DynamicUser=yes" else 7, "StateDirectory=")


@contextlib.contextmanager
def held(host: Host, directory: str) -> Iterator[int]:
    """Hold the lock of a directory inside, as another run that does not end would."""
    descriptor = os.open(host.machine.path(directory), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def test_a_start_that_systemd_ends_leaves_nothing(host: Host, name: str) -> None:
    shell(host.machine, f"mkdir -m 0700 /run/{name}; printf old > /run/{name}/tskey")
    command = f"materialize sidecar --directory /run/{name}"
    with held(host, f"/run/{name}"):
        outcome = start(host, name, "User=root", "TimeoutStartSec=1", command=command)
    assert (outcome.ok, outcome.result) == (False, "timeout"), outcome.journal
    assert "materialize: stopped by SIGTERM" in outcome.journal
    assert "SIGKILL" not in outcome.journal
    assert RUNS not in outcome.journal
    assert contents(host.machine.path(f"/run/{name}")) == {"tskey": "old"}


def test_a_limit_of_its_own_says_what_took_so_long(host: Host, name: str) -> None:
    shell(host.machine, f"mkdir -m 0700 /run/{name}; printf old > /run/{name}/tskey")
    command = f"materialize sidecar --timeout 1 --directory /run/{name}"
    with held(host, f"/run/{name}"):
        outcome = start(host, name, "User=root", command=command)
    assert_refused(host, name, outcome, 7, "materialize: not done within 1 s", "--timeout gives it longer")
    assert contents(host.machine.path(f"/run/{name}")) == {"tskey": "old"}


def waiting(host: Host, directory: str) -> int:
    """Return how many processes inside have the directory open."""
    count = 0
    for process in host.machine.path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            count += any(os.readlink(fd) == directory for fd in (process / "fd").iterdir())
    return count


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"


def test_two_starts_at_once_wait_for_each_other_and_both_succeed(host: Host, name: str) -> None:
    shell(host.machine, f"mkdir -m 0700 /run/{name}")
    other = host.copy(name)
    shell(host.machine, f"sed -i 's|{KEY}|one|' {other}/vault.toml")
    names = [f"{name}.service", f"{name}-other.service"]
    for unit, vault in zip(names, (VAULT, other), strict=True):
        command = f"materialize sidecar --directory /run/{name}"
        host.install(
            unit, unit_text(name, "User=root", vault=vault, command=command, key=f"/run/{name}/tskey")
        )
    with held(host, f"/run/{name}"):
        host.machine.run("systemctl", "start", "--no-block", *names)
        until(lambda: waiting(host, f"/run/{name}") == 2)
        assert contents(host.machine.path(f"/run/{name}")) == {}
    host.machine.run("systemctl", "start", *names)
    delivered = contents(host.machine.path(f"/run/{name}"))
    value = delivered["tskey"]
    assert value in {host.keys[KEY], host.keys["one"]}
    assert delivered["sidecar.env"] == f"TS_AUTHKEY={value}\n"
    host.stop(*names)


def test_twenty_units_at_once_all_get_their_key(host: Host) -> None:
    host.install("many@.service", unit_text("many-%i"))
    names = [f"many@{number}.service" for number in range(20)]
    host.machine.run("systemctl", "start", *names)
    try:
        assert [host.proof(name).sha256 for name in names] == [host.digest()] * 20
    finally:
        host.stop(*names)
    assert not list(host.machine.path("/run").glob("many-*"))
    assert host.leaks() == []


def test_a_start_that_is_killed_is_made_good_by_the_next(host: Host, name: str) -> None:
    shell(host.machine, f"mkdir -m 0700 /run/{name}; : > /run/{name}/.vault-0123456789abcdef")
    command = f"materialize sidecar --directory /run/{name}"
    text = unit_text(name, "User=root", command=command, key=f"/run/{name}/tskey")
    host.install(f"{name}.service", text)
    with held(host, f"/run/{name}"):
        host.machine.run("systemctl", "start", "--no-block", f"{name}.service")
        until(lambda: waiting(host, f"/run/{name}") == 1)
        host.machine.run("systemctl", "kill", "--signal=SIGKILL", f"{name}.service")
        until(lambda: waiting(host, f"/run/{name}") == 0)
    assert ".vault-0123456789abcdef" in contents(host.machine.path(f"/run/{name}"))
    assert_delivered(host, name, host.machine.start(f"{name}.service"))
    assert set(contents(host.machine.path(f"/run/{name}"))) == {"tskey", "sidecar.env", ".vault.sidecar"}
