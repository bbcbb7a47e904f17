"""Units with a fault in them, and what is asserted of every one that is refused."""

from pathlib import Path

from support.host import RUNS, VAULT, Host
from support.systemd import Outcome

_PROGRAM = "/opt/tskeyvault/bin/vault"


def unit_text(
    name: str,
    *lines: str,
    vault: str = VAULT,
    command: str = "materialize sidecar",
    key: str = "${RUNTIME_DIRECTORY}/tskey",
    prefix: str = "+",
) -> str:
    """Return a unit with these *lines*; by default they give it a user and a directory of its own."""
    own = lines or ("DynamicUser=yes", f"RuntimeDirectory={name}", "RuntimeDirectoryMode=0700")
    before = f"ExecStartPre={prefix}{_PROGRAM} --vault {vault} {command}"
    return "\n".join(["[Service]", *own, before, f"ExecStart=/usr/local/bin/sidecar {key}", ""])


def start(host: Host, name: str, *lines: str, **parts: str) -> Outcome:
    """Start such a unit."""
    return host.start(f"{name}.service", unit_text(name, *lines, **parts))


def assert_refused(host: Host, name: str, outcome: Outcome, status: int, *messages: str) -> None:
    """Assert that the service never ran, for the reasons given, and that no directory stayed for it."""
    told = (outcome.ok, outcome.result, outcome.start_pre_status)
    assert told == (False, "exit-code", status), outcome.journal
    for message in messages:
        assert message in outcome.journal, outcome.journal
    for never in (RUNS, "Traceback", "defect"):
        assert never not in outcome.journal
    text = host.machine.path(f"/etc/systemd/system/{name}.service").read_text()
    if f"RuntimeDirectory={name}" in text:
        assert not host.machine.path(f"/run/{name}").exists()


def assert_delivered(host: Host, name: str, outcome: Outcome) -> None:
    """Assert that the service has read the key."""
    assert outcome.ok, outcome.journal
    assert host.proof(f"{name}.service").sha256 == host.digest()


def contents(directory: Path) -> dict[str, str]:
    """Return what lies in *directory*, which are files alone."""
    return {path.name: path.read_text() for path in directory.iterdir()}
