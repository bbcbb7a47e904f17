"""What is asked of systemctl, where a real systemd cannot be brought into the state in question."""

from pathlib import Path

import pytest

from tskeyvault.errors import DeliveryError
from tskeyvault.materialize import units

STUB = """\
#!/bin/sh
printf '%s\\n' "$*" >> "$0.log"
case $* in
  *is-system-running*) echo STATE;;
  *) exit STATUS;;
esac
"""


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the place of the only systemctl that is found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "systemctl"


def stand_in(path: Path, state: str, status: int = 0) -> None:
    """Make a systemctl that says the *state* of the system, and ends with *status* for all else."""
    path.write_text(STUB.replace("STATE", state).replace("STATUS", str(status)).replace("$0", str(path)))
    path.chmod(0o755)


def asked(path: Path) -> list[str]:
    """Return what was asked for, without what only looks."""
    lines = Path(f"{path}.log").read_text().splitlines()
    assert all(line.startswith("--no-ask-password --no-pager ") for line in lines)
    words = [line.removeprefix("--no-ask-password --no-pager ") for line in lines]
    return [line for line in words if not line.startswith(("show ", "is-system-running"))]


@pytest.mark.parametrize(
    ("state", "option"),
    [("starting", "--no-block "), ("initializing", "--no-block "), ("running", ""), ("degraded", "")],
)
def test_while_the_system_starts_a_restart_is_not_waited_for(
    systemctl: Path, state: str, option: str
) -> None:
    stand_in(systemctl, state)
    assert units.restart(["a.service", "b.service"], reload=False) == []
    assert units.restart(["c.service"], reload=True) == []
    assert asked(systemctl) == [
        f"try-restart {option}-- a.service",
        f"try-restart {option}-- b.service",
        f"try-reload-or-restart {option}-- c.service",
    ]


def test_a_systemctl_that_does_not_answer_is_no_leave_to_restart(systemctl: Path) -> None:
    delivery = units.Delivery("web", ("/run/web",))
    with pytest.raises(DeliveryError, match="there is no systemctl on this host"):
        units.using(delivery, ("web.service",))
    stand_in(systemctl, "offline", status=1)
    with pytest.raises(DeliveryError, match="systemctl does not say which units there are"):
        units.using(delivery, ("web.service",))
    assert units.restart(["web.service"], reload=False) == ["web.service"]


def test_a_unit_that_does_not_end_in_time_keeps_no_other_from_its_restart(
    systemctl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "RESTART_SECONDS", 0.3)
    stand_in(systemctl, "running")
    waits = "*try-restart*a.service) exec /bin/sleep 60;;\n  *) exit"
    systemctl.write_text(systemctl.read_text().replace("*) exit", waits))
    assert units.restart(["a.service", "b.service"], reload=False) == ["a.service"]
    assert asked(systemctl) == ["try-restart -- a.service", "try-restart -- b.service"]


SHOWN = """\
#!/bin/sh
cat << 'END'
ExecStartPre={{ path=/bin/true ; argv[]=/bin/true {argv} ; ignore_errors=no ; }}
ExecStart={{ path=/bin/x ; argv[]=/bin/x {start} ; ignore_errors=no ; }}
RuntimeDirectory={runtime}
Id=web.service
LoadState={load}
ActiveState={active}
END
"""


@pytest.mark.parametrize(
    ("argv", "start", "runtime", "gets"),
    [
        ("--vault /srv/vault materialize web", "", "", True),
        ("materialize web --directory /run/x", "", "", True),
        ("materialize webs", "", "", False),
        ("materialize other --timeout 60 web", "", "", False),
        ("web", "", "", False),
        ("", "/run/web/key", "", True),
        ("", "file:/run/web/key", "", True),
        ("", "/run/web", "", True),
        ("", "/run/webs/key", "", False),
        ("", "/run/web-key", "", False),
        ("", "/srv/run/web/key", "", False),
        ("", "", "web", True),
        ("", "", "other web", True),
        ("", "", "web/deeper webs", False),
        ("", "", "", False),
    ],
)
def test_which_units_get_the_files_of_a_service(
    systemctl: Path,
    argv: str,
    start: str,
    runtime: str,
    *,
    gets: bool,
) -> None:
    stub = SHOWN.format(argv=argv, start=start, runtime=runtime, load="loaded", active="active")
    systemctl.write_text(stub.replace("cat", "/bin/cat"))
    systemctl.chmod(0o755)
    delivery = units.Delivery("web", ("/run/web",))
    if gets:
        assert units.using(delivery, ("web.service",)) == ["web.service"]
    else:
        with pytest.raises(DeliveryError, match=r"unit 'web\.service' does not get its files"):
            units.using(delivery, ("web.service",))


def test_a_unit_that_does_not_run_is_not_restarted(systemctl: Path) -> None:
    stub = SHOWN.format(argv="materialize web", start="", runtime="", load="loaded", active="inactive")
    systemctl.write_text(stub.replace("cat", "/bin/cat"))
    systemctl.chmod(0o755)
    assert units.using(units.Delivery("web", ("/run/web",)), ("web.service",)) == []
