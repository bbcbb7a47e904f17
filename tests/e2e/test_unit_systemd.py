"""``vault unit --for systemd`` on a machine: drop-ins for units that are there, under systemd 252 and 257."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from support.host import KEY, RUNS, VAULT, Host, quoted, shell

PROGRAM = "/opt/tskeyvault/bin/vault"
DROP_IN = "50-tskeyvault.conf"
START = "ExecStart=/usr/local/bin/sidecar"


class Case(NamedTuple):
    """A unit that is there, and what is asked for."""

    lines: str
    directory: str
    """Where its files have to be."""
    options: tuple[str, ...] = ()
    name: str = "existing.service"
    started: str = "existing.service"


CASES = {
    "root": Case(f"{START} /run/existing/tskey", "/run/existing"),
    "a user": Case(f"User=sidecar\n{START} ${{RUNTIME_DIRECTORY}}/tskey", "/run/existing"),
    "a dynamic user with a directory": Case(
        f"DynamicUser=yes\nRuntimeDirectory=own\n{START} /run/own/tskey", "/run/own"
    ),
    "one that keeps its directory": Case(
        f"RuntimeDirectory=kept\nRuntimeDirectoryPreserve=yes\n{START} /run/kept/tskey", "/run/kept"
    ),
    "another directory": Case(f"{START} /run/other/tskey", "/run/other", ("--directory", "/run/other")),
    "one in a hurry": Case(f"TimeoutStartSec=1\n{START} /run/existing/tskey", "/run/existing"),
    "a template": Case(
        f"DynamicUser=yes\n{START} ${{RUNTIME_DIRECTORY}}/tskey",
        "/run/web@one",
        (),
        "web@.service",
        "web@one.service",
    ),
    "a name with escapes": Case(
        f"{START} /run/other/tskey",
        "/run/other",
        ("--directory", "/run/other"),
        "a\\x2db.service",
        "a\\x2db.service",
    ),
}


@pytest.fixture(scope="module", params=["host", "trixie"])
def host(request: pytest.FixtureRequest) -> Host:
    """Give the machine that all share, with systemd 252, or one with 257; set up as docs/systemd.md says."""
    found = request.getfixturevalue(request.param)
    return found if isinstance(found, Host) else Host(found)


@pytest.fixture
def unit(host: Host, request: pytest.FixtureRequest) -> Iterator[Case]:
    """Give a unit that is there, with its drop-in; both are gone in the end."""
    case = CASES[request.param]
    host.install(case.name, f"[Service]\n{case.lines}\n")
    shell(host.machine, f"mkdir -p -m 0700 {quoted(case.directory)}" if case.options else "true")
    yield case
    host.stop(case.started)
    shell(
        host.machine,
        f"rm -rf {quoted(case.directory, f'/etc/systemd/system/{case.name}', f'/etc/systemd/system/{case.name}.d')}",
    )
    host.machine.run("systemctl", "daemon-reload")
    assert host.leaks() == []


def install(host: Host, case: Case, vault: str = VAULT, what: str = "--install") -> str:
    argv = (
        PROGRAM,
        "--vault",
        vault,
        "unit",
        "sidecar",
        "--for",
        "systemd",
        "--unit",
        case.name,
        *case.options,
    )
    done = host.machine.run(*argv, what, "--yes")
    return done.stdout + done.stderr


@pytest.mark.parametrize("unit", CASES, indirect=True)
def test_a_unit_that_is_there_gets_its_key(host: Host, unit: Case) -> None:
    assert f"wrote: /etc/systemd/system/{unit.name}.d/{DROP_IN}" in install(host, unit)
    verified = host.machine.run("systemd-analyze", "verify", unit.started, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    outcome = host.machine.start(unit.started)
    assert outcome.ok, outcome.journal
    assert host.proof(unit.started).sha256 == host.digest()
    assert host.machine.path(unit.directory).joinpath("tskey").stat().st_mode == 0o100400
    assert install(host, unit) == "vault: nothing to do: it is installed so\n"  # also while it runs
    host.stop(unit.started)
    assert host.machine.run("find", "/run", "-name", "tskey").stdout == ""
    assert f"removed: /etc/systemd/system/{unit.name}.d/{DROP_IN}" in install(host, unit, what="--uninstall")


@pytest.mark.parametrize(
    "unit", ["root", "a dynamic user with a directory", "another directory"], indirect=True
)
def test_it_does_not_start_when_its_key_fails(host: Host, unit: Case) -> None:
    vault = host.copy("broken")
    shell(host.machine, f"truncate -s -1 {vault}/secrets/{KEY}.age")
    install(host, unit, vault)
    outcome = host.machine.start(unit.started)
    assert (outcome.ok, outcome.result) == (False, "exit-code")
    assert RUNS not in outcome.journal
    assert host.machine.run("find", "/run", "-name", "tskey").stdout == ""


@pytest.mark.parametrize("unit", ["root"], indirect=True)
def test_an_install_that_was_cut_off_before_systemd_knew_is_finished_by_the_next(
    host: Host, unit: Case
) -> None:
    install(host, unit)
    path = f"/etc/systemd/system/{unit.name}.d/{DROP_IN}"
    text = host.machine.path(path).read_text()
    host.machine.run("rm", path)
    host.machine.run("systemctl", "daemon-reload")
    host.machine.write(path, text)
    assert install(host, unit) == "vault: nothing to do: it is installed so\n"
    known = host.machine.run("systemctl", "show", "--property=DropInPaths", unit.name).stdout
    assert path in known


ODD = """o dd %h $HOME ${X} 'a "b" ; #"""


@pytest.mark.parametrize("unit", ["root"], indirect=True)
def test_odd_names_reach_the_program_as_they_are(host: Host, unit: Case) -> None:
    vault, program = f"/srv/{ODD}\\", "/opt/o dd %h $HOME ${X} ; #"
    shell(
        host.machine,
        f"rm -rf {quoted(vault)}; cp -a {VAULT} {quoted(vault)}; ln -sfn /opt/tskeyvault {quoted(program)}",
    )
    odd = ODD.replace("$", "$$")
    toml = host.machine.path(vault) / "vault.toml"
    toml.write_text(f"""{toml.read_text()}\n[services.{json.dumps(odd)}.files.tskey]\nsecret = "{KEY}"\n""")
    argv = (f"{program}/bin/vault", "--vault", vault, "unit", odd, "--for", "systemd", "--unit", unit.name)
    host.machine.run(*argv, "--install", "--yes")
    verified = host.machine.run("systemd-analyze", "verify", unit.started, check=False)
    outcome = host.machine.start(unit.started)
    shell(host.machine, f"rm -rf {quoted(vault, program)}")
    assert outcome.ok, outcome.journal
    assert host.proof(unit.started).sha256 == host.digest()
    assert (verified.returncode, verified.stderr) == (0, "")


def test_a_directory_of_another_unit_is_not_taken(host: Host) -> None:
    """It would be removed when the unit stops."""
    argv = (
        PROGRAM,
        "--vault",
        VAULT,
        "unit",
        "sidecar",
        "--for",
        "systemd",
        "--unit",
        "dbus.service",
        "--install",
        "--yes",
    )
    done = host.machine.run(*argv, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'/run/dbus' is there, and not as the runtime directory of 'dbus.service'" in done.stderr
    assert not host.machine.path(f"/etc/systemd/system/dbus.service.d/{DROP_IN}").exists()


def test_an_uninstall_under_a_service_that_runs_says_what_stays(host: Host) -> None:
    host.install("early.service", f"[Service]\nDynamicUser=yes\n{START} /run/early/tskey\n")
    command = (
        PROGRAM,
        "--vault",
        VAULT,
        "unit",
        "sidecar",
        "--for",
        "systemd",
        "--yes",
        "--unit",
        "early.service",
    )
    host.machine.run(*command, "--install")
    assert host.machine.start("early.service").ok
    said = host.machine.run(*command, "--uninstall").stderr
    host.stop("early.service")
    assert "warning: nothing removes '/run/early' any more" in said
    assert host.machine.path("/run/early/tskey").exists()
    shell(host.machine, said.rpartition("and then: ")[2])
    assert not host.machine.path("/run/early").exists()
    host.machine.run(*command, "--install")
    assert "warning" not in host.machine.run(*command, "--uninstall").stderr


def test_what_runs_before_the_key_is_there_is_said(host: Host) -> None:
    host.machine.unit("early.service", "[Service]\nExecStartPre=/bin/true\nExecStart=/bin/true\n")
    done = host.machine.run(
        PROGRAM, "--vault", VAULT, "unit", "sidecar", "--for", "systemd", "--unit", "early.service"
    )
    assert "warning: unit 'early.service' has ExecStartPre= of its own" in done.stderr
