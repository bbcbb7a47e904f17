"""Every unit of the documents, started by a real systemd: the service gets its key, and nobody else does."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from support import documents
from support.host import DOCUMENT, KEY, RUNS, Host


class Case(NamedTuple):
    """What a documented unit promises."""

    directory: str
    user: str
    """``""`` for a dynamic one."""
    environment: bool = False


CASES = {
    "sidecar-root.service": Case("/run/sidecar-root", "root"),
    "sidecar-user.service": Case("/run/sidecar-user", "sidecar"),
    "sidecar-dynamic.service": Case("/run/sidecar-dynamic", ""),
    "sidecar-env.service": Case("/run/sidecar-env", "", environment=True),
    "sidecar-hardened.service": Case("/run/sidecar-hardened", ""),
    "sidecar-fixed.service": Case("/run/sidecar-keys", "root"),
    "tailscale-sidecar.service": Case("/run/tailscale-sidecar", "root"),
}
ELSEWHERE = {"web.service", "vault-apply.service", "vault-apply.timer"}
"""Shown in the documents too, and started by test_systemd_apply.py."""
README_UNIT = "tailscale-sidecar.service"
FIXED = "sidecar-fixed.service"


CREDENTIALS = {
    *("tskeyvault-credentials.socket", "tskeyvault-credentials.service"),
    *("sidecar-credential.service", "sidecar-encrypted.service"),
}
"""Those of test_systemd_credentials_docs.py."""


def text_of(unit: str) -> str:
    if unit == README_UNIT:
        (text,) = documents.texts("README.md", "ini")
        return text
    return documents.units(DOCUMENT)[unit]


@pytest.fixture
def unit(host: Host, request: pytest.FixtureRequest) -> Iterator[str]:
    """Start the documented unit, and stop it in the end."""
    name = str(request.param)
    outcome = host.start(name, text_of(name))
    assert outcome.ok, outcome.journal
    assert outcome.start_pre_status == 0
    assert RUNS in outcome.journal
    yield name
    host.stop(name)
    host.machine.run("rm", "-rf", CASES[name].directory)


every_unit = pytest.mark.parametrize("unit", CASES, indirect=True)
only_fixed = pytest.mark.parametrize("unit", [FIXED], indirect=True)


def uid_of(host: Host, case: Case) -> int:
    """Return the user that the service has to run as; the range is systemd's own for dynamic users."""
    if case.user:
        return int(host.machine.run("id", "-u", case.user).stdout)
    return host.machine.path(case.directory).stat().st_uid


def refused_to_nobody(host: Host, path: str) -> bool:
    argv = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", path)
    done = host.machine.run(*argv, check=False)
    return done.stdout == "" and "Permission denied" in done.stderr


def test_every_unit_of_the_documents_has_a_case_here() -> None:
    assert {*documents.units(DOCUMENT), README_UNIT} - CREDENTIALS == set(CASES) | ELSEWHERE
    others = {
        "docs/podman.md",
        "docs/gpg-teams.md",
        "docs/pass.md",
        "docs/migration.md",
    }  # they have tests of their own
    shown = [it for it in documents.names() if it not in others for _ in documents.texts(it, "ini")]
    assert sorted(shown) == sorted(["README.md", *[DOCUMENT] * len(documents.units(DOCUMENT))])


@pytest.mark.parametrize("name", [*CASES, *sorted(ELSEWHERE)])
def test_systemd_finds_nothing_wrong_with_a_documented_unit(host: Host, name: str) -> None:
    host.machine.unit(name, text_of(name))
    done = host.machine.run("systemd-analyze", "verify", f"/etc/systemd/system/{name}", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@every_unit
def test_the_service_reads_exactly_its_key(host: Host, unit: str) -> None:
    case = CASES[unit]
    uid = uid_of(host, case)
    if not case.user:
        assert 61184 <= uid <= 65519
    proof = host.proof(unit)
    assert (proof.sha256, proof.uid) == (host.digest(), uid)
    if not case.environment:
        assert (proof.mode, proof.owner, proof.group) == (0o400, uid, proof.gid)


@every_unit
def test_what_is_delivered_is_its_owners_alone(host: Host, unit: str) -> None:
    case = CASES[unit]
    uid = uid_of(host, case)
    directory = host.machine.path(case.directory)
    expected = {"tskey"} if unit == README_UNIT else {"tskey", "sidecar.env"}
    assert {path.name for path in directory.iterdir() if not path.name.startswith(".")} == expected
    assert directory.stat().st_mode & 0o7777 & ~0o755 == 0
    for name in expected:
        info = (directory / name).stat()
        assert (info.st_mode, info.st_uid, info.st_nlink) == (0o100400, uid, 1)
        assert refused_to_nobody(host, f"{case.directory}/{name}")
    assert (directory / "tskey").read_text() == host.keys[KEY]


@every_unit
def test_the_key_can_be_seen_nowhere_else(host: Host, unit: str) -> None:
    leaks = host.leaks()
    if CASES[unit].environment:
        assert [re.sub(r"\d+", "PID", place) for place in leaks] == ["/proc/PID/environ (sidecar)"]
    else:
        assert leaks == []


@every_unit
def test_a_restart_brings_the_key_that_is_in_the_vault_by_then(host: Host, unit: str) -> None:
    before = host.digest()
    host.insert(KEY)
    assert host.proof(unit).sha256 == before
    host.machine.run("systemctl", "restart", unit)
    assert host.proof(unit).sha256 == host.digest() != before


@pytest.mark.parametrize("unit", [name for name in CASES if name != FIXED], indirect=True)
def test_a_stop_leaves_nothing(host: Host, unit: str) -> None:
    host.machine.run("systemctl", "stop", unit)
    assert not host.machine.path(CASES[unit].directory).exists()
    assert host.leftovers() == []


@only_fixed
def test_a_stop_takes_from_a_directory_of_ones_own_what_was_delivered(host: Host, unit: str) -> None:
    directory = host.machine.path(CASES[unit].directory)
    (directory / "foreign").write_text("somebody else's")
    host.machine.run("systemctl", "stop", unit)
    assert {path.name: path.read_text() for path in directory.iterdir()} == {"foreign": "somebody else's"}


@only_fixed
def test_a_stop_takes_it_also_when_the_vault_is_gone(host: Host, unit: str) -> None:
    host.machine.run("mv", "/srv/vault", "/srv/moved")
    try:
        host.machine.run("systemctl", "stop", unit)
    finally:
        host.machine.run("mv", "/srv/moved", "/srv/vault")
    assert list(host.machine.path(CASES[unit].directory).iterdir()) == []


@pytest.mark.parametrize("unit", ["sidecar-hardened.service"], indirect=True)
def test_the_hardened_unit_is_exposed_to_little(host: Host, unit: str) -> None:
    said = host.machine.run("systemd-analyze", "--no-pager", "security", unit, check=False).stdout
    exposure = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", said)
    assert exposure, said
    assert float(exposure[1]) < 2.0
    status = host.machine.run("systemctl", "show", "--value", "--property=MainPID", unit).stdout.strip()
    facts = host.machine.path(f"/proc/{status}/status").read_text()
    assert re.search(r"^CapBnd:\s+0+$", facts, re.MULTILINE)
    assert re.search(r"^Seccomp:\s+2$", facts, re.MULTILINE)


@pytest.mark.parametrize("unit", ["sidecar-dynamic.service"], indirect=True)
def test_a_start_that_changes_nothing_says_so(host: Host, unit: str) -> None:
    line = "ExecStartPre=+/opt/tskeyvault/bin/vault --vault /srv/vault materialize sidecar\n"
    text = text_of(unit)
    assert line in text
    outcome = host.start("twice.service", text.replace(line, line * 2).replace(unit[:-8], "twice"))
    host.stop("twice.service")
    assert outcome.ok, outcome.journal
    said = [line.split(": ", 1)[1] for line in outcome.journal.splitlines() if "/run/twice/" in line]
    files = ["/run/twice/tskey", "/run/twice/sidecar.env"]
    assert sorted(said) == sorted(
        f"vault: {verb}: {file}" for verb in ("wrote", "already right") for file in files
    )
