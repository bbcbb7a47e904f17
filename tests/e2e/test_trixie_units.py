"""The documented units under the systemd of Debian 13: the same outcomes as under that of Debian 12."""

import pytest

from support import documents
from support.host import DOCUMENT, KEY, RUNS, Host, shell
from support.systemd import Machine

UNITS = {name: text for name, text in documents.units(DOCUMENT).items() if name.startswith("sidecar-")}
"""Those that get a key; what else stands there is started by test_systemd_credentials.py, and the like."""


@pytest.fixture(scope="module")
def host(trixie: Machine) -> Host:
    """Give that machine set up as docs/systemd.md says."""
    return Host(trixie)


@pytest.mark.parametrize("unit", UNITS)
def test_a_documented_unit_gets_its_key_and_leaves_nothing(host: Host, unit: str) -> None:
    outcome = host.start(unit, UNITS[unit])
    assert outcome.ok, outcome.journal
    assert RUNS in outcome.journal
    assert host.proof(unit).sha256 == host.digest()
    leaks = host.leaks()
    host.stop(unit)
    assert all("/environ" in place for place in leaks) if "-env" in unit else leaks == []
    assert host.machine.run("find", "/run", "-name", "tskey").stdout == ""
    assert host.leftovers() == []


REFUSED = [
    ("sidecar-root.service", "rm"),
    ("sidecar-user.service", "truncate -s -1"),
    ("sidecar-dynamic.service", "age -R secrets/.age-recipients -o /dev/stdout </dev/null | tee"),
]
"""A unit, and what is done to the file of its secret."""


@pytest.mark.parametrize(("unit", "damage"), REFUSED)
def test_a_service_whose_secret_fails_does_not_start(host: Host, unit: str, damage: str) -> None:
    vault = host.copy("broken")
    shell(host.machine, f"cd {vault}; {damage} secrets/{KEY}.age >/dev/null")
    outcome = host.start(unit, UNITS[unit].replace("--vault /srv/vault", f"--vault {vault}"))
    host.stop(unit)
    assert (outcome.ok, outcome.result) == (False, "exit-code")
    assert RUNS not in outcome.journal
    assert KEY in outcome.journal
    assert not host.machine.path(f"/run/{unit.removesuffix('.service')}").exists()
    assert host.leaks() == []
