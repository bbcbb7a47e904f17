"""The machine itself, before anything is concluded from what units do on it."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support import needs
from support.systemd import Machine

PYTHON = "/opt/tskeyvault/bin/python"
WHO = "import os, tskeyvault; print('uid', os.getuid())"


def oneshot(code: str, *lines: str) -> str:
    command = f'{PYTHON} -c "{code}"'
    return "\n".join(["[Service]", "Type=oneshot", f"ExecStart={command}", *lines, ""])


USERS = {"User=root": "0", "User=nobody": "65534", "DynamicUser=yes": "6[0-9]{4}"}


@pytest.mark.parametrize("user", USERS)
def test_every_kind_of_user_runs_the_installed_python(machine: Machine, user: str) -> None:
    machine.unit("who.service", oneshot(WHO, user))
    outcome = machine.start("who.service")
    assert outcome.ok, outcome.journal
    assert outcome.result == "success"
    assert re.search(f"uid {USERS[user]}$", outcome.journal, re.MULTILINE)


def test_the_installed_package_is_byte_compiled_and_not_the_checkout(machine: Machine) -> None:
    where = machine.run(
        PYTHON, "-c", "import tskeyvault; print(tskeyvault.__file__, tskeyvault.__cached__)"
    ).stdout
    module, compiled = where.split()
    assert module.startswith("/opt/tskeyvault/lib/")
    assert machine.path(compiled).exists()
    assert machine.run("find", "/opt/tskeyvault", "-perm", "/022", "!", "-type", "l").stdout == ""


@pytest.mark.parametrize("user", ["User=nobody", "DynamicUser=yes"])
def test_a_credential_arrives(machine: Machine, user: str) -> None:
    machine.write("/etc/planted", "sixteen and more bytes", 0o600)
    code = "import os; print('It: ' + open(os.environ['CREDENTIALS_DIRECTORY'] + '/it').read())"
    machine.unit("credential.service", oneshot(code, user, "LoadCredential=it:/etc/planted"))
    outcome = machine.start("credential.service")
    assert outcome.ok, outcome.journal
    assert "It: sixteen and more bytes\n" in outcome.journal


def test_a_failure_before_the_start_is_told(machine: Machine) -> None:
    unit = oneshot(
        "print('never')", "ExecStartPre=/bin/true", "ExecStartPre=/bin/sh -c 'echo because >&2; exit 7'"
    )
    machine.unit("before.service", unit)
    outcome = machine.start("before.service")
    assert (outcome.ok, outcome.result, outcome.start_pre_status) == (False, "exit-code", 7)
    assert "because" in outcome.journal
    assert "never" not in outcome.journal


def test_a_failure_of_the_main_process_is_told(machine: Machine) -> None:
    machine.unit("main.service", oneshot("import sys; sys.exit(9)", "ExecStartPre=/bin/true"))
    outcome = machine.start("main.service")
    assert (outcome.ok, outcome.result, outcome.exec_main_status) == (False, "exit-code", 9)
    assert outcome.start_pre_status == 0


def test_success_is_told_of_a_unit_that_is_gone_again(machine: Machine) -> None:
    machine.unit("gone.service", oneshot("pass", "ExecStartPre=/bin/true"))
    assert machine.start("gone.service")[:4] == (True, "success", 0, 0)
    machine.unit("gone.service", oneshot("pass"))
    assert machine.start("gone.service")[:4] == (True, "success", 0, None)


def test_a_unit_that_does_not_exist_was_not_started(machine: Machine) -> None:
    assert machine.start("nowhere.service")[:2] == (False, "not-started")


def test_an_outcome_has_the_journal_of_its_own_start_only(machine: Machine) -> None:
    machine.unit("twice.service", oneshot("print('the first')"))
    assert "the first" in machine.start("twice.service").journal
    machine.unit("twice.service", oneshot("print('the second')"))
    journal = machine.start("twice.service").journal
    assert "the second" in journal
    assert "the first" not in journal
    assert "the first" in machine.journal("twice.service")
    assert "the first" in machine.journal()
    assert machine.journal("nowhere.service") == ""


def test_input_reaches_a_program_inside(machine: Machine) -> None:
    assert machine.run("cat", input="handed in").stdout == "handed in"
    assert machine.run("false", check=False).returncode == 1


def test_leaks_are_found_wherever_they_are(machine: Machine) -> None:
    environment = "[Service]\nEnvironment=KEY=planted-environment\nExecStart=/bin/sleep 600\n"
    machine.unit("leaking.service", environment)
    machine.unit("talking.service", oneshot("print('planted-' + 'printed')"))
    machine.unit("arguing.service", "[Service]\nExecStart=/bin/sh -c 'sleep 600 # planted-argument'\n")
    for name in ("leaking", "talking", "arguing"):
        assert machine.start(f"{name}.service").ok
    environment_leaks = machine.leaks(b"planted-environment")
    assert "systemctl show" in environment_leaks
    assert any("/environ (sleep)" in place for place in environment_leaks)
    assert machine.leaks(b"planted-printed") == ["journal"]
    assert any("/cmdline (sh)" in place for place in machine.leaks(b"planted-argument"))
    assert machine.leaks(b"planted-nowhere") == []
    machine.run("systemctl", "stop", "leaking", "arguing")


def left_behind(name: str, state: str) -> list[str]:
    cgroups = [str(path) for path in Path("/sys/fs/cgroup").rglob(f"sbx-{name}-*")]
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if state in line]
    return [*cgroups, *mounts, *([state] if Path(state).exists() else [])]


def test_a_shut_down_machine_leaves_nothing() -> None:
    needs.systemd()
    with Machine() as second:
        leader = Path(f"/proc/{second.leader}")
        second.unit("lasting.service", "[Service]\nExecStart=/bin/sleep 600\n")
        assert second.start("lasting.service").ok
        state = second._state
        assert left_behind(second.name, state)
    assert not leader.exists()
    assert left_behind(second.name, state) == []


def test_a_machine_dies_with_the_tests_that_hold_it() -> None:
    needs.systemd()
    code = """\
import os
from support.systemd import Machine
machine = Machine()
machine.boot()
print(machine.leader, machine.name, machine._state, flush=True)
os.kill(os.getpid(), 9)
"""
    tests = Path(__file__).parents[1]
    killed = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=tests
    )
    assert killed.returncode == -9, killed.stderr
    leader, name, state = killed.stdout.split()
    deadline = time.monotonic() + 30
    while left_behind(name, state) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{leader}").exists()
    assert left_behind(name, state) == []
