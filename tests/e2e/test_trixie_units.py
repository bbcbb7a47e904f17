"""The documented units under the systemd of Debian 13: the same outcomes as under that of Debian 12."""

import pytest

from support import documents
from support.host import DOCUMENT, KEY, RUNS, Host
from support.systemd import Machine

UNITS = documents.units(DOCUMENT)


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


FAULTS = {
    "a damaged secret": "secrets=$(find {vault}/secrets -name 'container-key*'); echo damaged > $secrets",
    "a missing secret": "rm $(find {vault}/secrets -name 'container-key*')",
    "an empty secret": ": > $(find {vault}/secrets -name 'container-key*')",
}


@pytest.mark.parametrize("unit", ["sidecar-root.service", "sidecar-user.service", "sidecar-dynamic.service"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_service_whose_secret_fails_does_not_start(host: Host, unit: str, fault: str) -> None:
    vault = host.copy("broken")
    host.machine.run("sh", "-euc", FAULTS[fault].format(vault=vault))
    outcome = host.start(unit, UNITS[unit].replace("--vault /srv/vault", f"--vault {vault}"))
    host.stop(unit)
    assert (outcome.ok, outcome.result) == (False, "exit-code")
    assert RUNS not in outcome.journal
    assert KEY in outcome.journal
    assert not host.machine.path(f"/run/{unit.removesuffix('.service')}").exists()
    assert host.leaks() == []
