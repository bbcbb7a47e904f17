"""What the documents say of systemd itself, and what is built on that, on 252 and on 257."""

from collections.abc import Iterator

import pytest

from support.systemd import Machine

SOCKET = "/run/claims.sock"
LONGEST = 83
CREDENTIALS = 243
_CLEAN_UP = """systemctl stop 'claims*'; systemctl reset-failed 'claims*'
rm -rf /etc/systemd/system/claims* /run/claims* /run/private/claims*; systemctl daemon-reload"""


@pytest.fixture(params=["machine", "trixie"])
def system(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Give a machine, on which no unit ``claims*`` is left."""
    system: Machine = request.getfixturevalue(request.param)
    yield system
    system.run("sh", "-uc", _CLEAN_UP)


def oneshot(system: Machine, name: str, *lines: str) -> str:
    """Install a unit that runs and ends."""
    system.unit(f"{name}.service", "\n".join(["[Service]", "Type=oneshot", *lines, ""]))
    return f"{name}.service"


@pytest.fixture
def silent(system: Machine) -> str:
    """Give a socket that answers nothing: each connection is closed at once."""
    system.unit("claims.socket", f"[Socket]\nListenStream={SOCKET}\nAccept=yes\n")
    system.unit("claims@.service", "[Service]\nStandardInput=socket\nExecStart=/bin/true\n")
    system.run("systemctl", "start", "claims.socket")
    return "claims.socket"


def test_silence_is_an_empty_credential_and_each_line_asks_anew(system: Machine, silent: str) -> None:
    size = "ExecStart=sh -c 'echo \"size=$(stat -c %%s ${CREDENTIALS_DIRECTORY}/key)\"'"
    lines = (f"LoadCredential=key:{SOCKET}", "ExecStartPre=/bin/true", "ExecStartPre=/bin/true", size)
    outcome = system.start(oneshot(system, "claims-ask", *lines))
    assert (outcome.ok, "size=0" in outcome.journal) == (True, True), outcome.journal
    assert system.run("systemctl", "show", "-p", "NAccepted", silent).stdout == "NAccepted=3\n"


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize(("length", "status"), [(LONGEST, 0), (100, CREDENTIALS)])
def test_a_socket_is_asked_for_names_of_83_characters(system: Machine, length: int, status: int) -> None:
    key = "k" * (length - len("claims-long.service"))
    unit = oneshot(system, "claims-long", f"LoadCredential={key}:{SOCKET}", "ExecStart=/bin/true")
    assert system.start(unit).exec_main_status == status


def test_credentials_lie_in_memory_that_is_never_swapped(system: Machine) -> None:
    show = "ExecStart=findmnt -no FSTYPE,OPTIONS --target ${CREDENTIALS_DIRECTORY}"
    said = system.start(oneshot(system, "claims-memory", "SetCredential=key:x", show)).journal
    assert " ramfs " in said or (" tmpfs " in said and "noswap" in said), said


@pytest.mark.parametrize(("prefix", "result"), [("", "resources"), ("-", "success")])
def test_an_environment_file_that_the_unit_itself_makes_needs_the_dash(
    system: Machine, prefix: str, result: str
) -> None:
    unit = oneshot(
        system,
        "claims-file",
        "RuntimeDirectory=claims-file",
        f"EnvironmentFile={prefix}/run/claims-file/env",
        "ExecStartPre=sh -c 'echo VALUE=read >/run/claims-file/env'",
        "ExecStart=sh -c 'echo value=$VALUE'",
    )
    outcome = system.start(unit)
    assert (outcome.result, "value=read" in outcome.journal) == (result, result == "success")


def test_the_preserved_directory_of_a_dynamic_user_is_a_link(system: Machine) -> None:
    lines = ("DynamicUser=yes", "RuntimeDirectory=claims-kept", "RuntimeDirectoryPreserve=yes")
    assert system.start(oneshot(system, "claims-kept", *lines, "ExecStart=/bin/true")).ok
    assert system.run("readlink", "/run/claims-kept").stdout == "private/claims-kept\n"


def test_roots_line_has_the_variables_that_the_units_user_wrote(system: Machine) -> None:
    """Why ``vault unit`` refuses an ``EnvironmentFile=`` in a directory that outlasts the service."""
    lines = (
        "User=nobody",
        "RuntimeDirectory=claims-own",
        "RuntimeDirectoryPreserve=yes",
        "EnvironmentFile=-/run/claims-own/x.env",
        "ExecStartPre=+/bin/sh -c 'echo \"root has $$(id -u)<${MINE}>\"'",
        "ExecStart=/bin/sh -c 'echo MINE=planted >/run/claims-own/x.env'",
    )
    unit = oneshot(system, "claims-own", *lines)
    assert "root has 0<>" in system.start(unit).journal
    assert "root has 0<planted>" in system.start(unit).journal
