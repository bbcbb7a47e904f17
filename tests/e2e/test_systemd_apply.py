"""Changed keys under a real systemd: exactly the units that use them hear of it, and what they get is the value."""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from support import documents
from support.host import DOCUMENT, KEY, RUNS, VAULT, Host, shell
from support.systemd import Machine
from tskeyvault.materialize import formats
from tskeyvault.names import Reference
from tskeyvault.services import File

PROGRAM = "/opt/tskeyvault/bin/vault"


class Seen(NamedTuple):
    """What tells of a unit whether it was restarted or reloaded, and whether its file was written."""

    pid: str
    reloads: str
    """The process of the last reload, or 0."""
    file: tuple[int, str]


def unit_text(service: str, directory: str = "", more: str = "") -> str:
    directory = directory or service
    lines = (
        "DynamicUser=yes",
        f"RuntimeDirectory={directory}",
        "RuntimeDirectoryMode=0700",
        f"ExecStartPre=+{PROGRAM} --vault {VAULT} materialize {service}",
        "ExecStart=/usr/local/bin/sidecar ${RUNTIME_DIRECTORY}/key",
        "ExecReload=/bin/kill -HUP $MAINPID",
        more,
    )
    return "\n".join(["[Service]", *lines, ""])


@pytest.fixture
def both(host: Host) -> Iterator[Host]:
    """Start left, which is restarted, and right, which is reloaded; nothing may have seen a key."""
    for name in ("left", "right"):
        outcome = host.start(f"{name}.service", unit_text(name))
        assert outcome.ok, outcome.journal
    yield host
    host.stop("left.service", "right.service")
    assert host.leaks() == []
    assert host.leftovers() == []


def seen(host: Host, unit: str, path: str = "") -> Seen:
    path = path or f"/run/{unit.removesuffix('.service')}/key"
    shown = host.machine.run("systemctl", "show", "--property=MainPID,ExecReload", unit).stdout
    found = host.machine.path(path)
    (pid,) = re.findall(r"^MainPID=(.*)$", shown, re.MULTILINE)
    (reloads,) = re.findall(r"^ExecReload=.* pid=(\d+) ", shown, re.MULTILINE)
    return Seen(pid, reloads, (found.stat().st_ino, found.read_text()))


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def apply(host: Host, *arguments: str) -> Said:
    done = host.machine.run(PROGRAM, "--vault", VAULT, "apply", *arguments, check=False)
    assert "Traceback" not in done.stderr
    return Said(done.returncode, done.stdout, done.stderr)


def test_exactly_the_changed_unit_is_restarted_or_reloaded(both: Host) -> None:
    before = {name: seen(both, f"{name}.service") for name in ("left", "right")}
    assert apply(both, "--restart") == Said(0, "", "")
    assert {name: seen(both, f"{name}.service") for name in before} == before

    both.insert("one")
    would = apply(both, "--restart", "--dry-run")
    assert would == Said(1, "would write: /run/left/key\nwould restart: left.service\n", "")
    assert {name: seen(both, f"{name}.service") for name in before} == before
    done = apply(both, "--restart")
    assert done == Said(0, "", "vault: wrote: /run/left/key\nvault: restarted: left.service\n")
    left = seen(both, "left.service")
    assert left.pid != before["left"].pid
    assert (left.reloads, left.file[1]) == ("0", both.keys["one"])
    assert both.proof("left.service").sha256 == both.digest("one")
    assert seen(both, "right.service") == before["right"]

    both.insert("two")
    done = apply(both, "--restart")
    assert done == Said(0, "", "vault: wrote: /run/right/key\nvault: reloaded: right.service\n")
    right = seen(both, "right.service")
    assert (right.pid, before["right"].reloads, right.file[1]) == (
        before["right"].pid,
        "0",
        both.keys["two"],
    )
    assert right.reloads != "0"
    assert seen(both, "left.service") == left
    assert apply(both, "--restart") == Said(0, "", "")
    assert (seen(both, "left.service"), seen(both, "right.service")) == (left, right)


def test_what_was_written_without_a_restart_is_restarted_by_the_next_one_and_once(both: Host) -> None:
    before = seen(both, "left.service")
    both.insert("one")
    assert apply(both, "left") == Said(0, "", "vault: wrote: /run/left/key\n")
    assert seen(both, "left.service").pid == before.pid
    assert apply(both, "--restart") == Said(0, "", "vault: restarted: left.service\n")
    assert seen(both, "left.service").pid != before.pid
    assert apply(both, "--restart") == Said(0, "", "")


def test_a_start_of_the_unit_is_what_the_next_restart_would_be_and_a_delivery_by_hand_is_not(
    both: Host,
) -> None:
    restarted = Said(0, "", "vault: restarted: left.service\n")
    for by_hand, said in ((True, restarted), (False, Said(0, "", ""))):
        both.insert("one")
        assert apply(both, "left").code == 0
        if by_hand:
            both.vault("--vault", VAULT, "materialize", "left", "--directory", "/run/left")
        else:
            both.machine.run("systemctl", "restart", "left.service")
        assert apply(both, "--restart") == said


def test_a_failing_secret_never_restarts_anything_of_its_service(both: Host) -> None:
    both.insert("one")
    both.insert("two")
    left, right = seen(both, "left.service"), seen(both, "right.service")
    shell(both.machine, f"mv {VAULT}/secrets/one.age /srv/one.age")
    try:
        for words in (("left", "--restart"), ("left", "--restart", "--dry-run"), ("--restart",)):
            done = apply(both, *words)
            assert (done.code, "service 'left': secret 'one': not in the vault" in done.err) == (3, True)
            assert "restart" not in done.err + done.out
            assert seen(both, "left.service") == left
    finally:
        shell(both.machine, f"mv /srv/one.age {VAULT}/secrets/one.age")
    now = seen(both, "right.service")
    assert (now.pid, now.file[1]) == (right.pid, both.keys["two"])
    assert now.reloads != right.reloads
    assert apply(both, "--restart").err == "vault: wrote: /run/left/key\nvault: restarted: left.service\n"


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ("thief", "unit 'left.service' does not get its files, and so is not restarted"),
        ("lost", "none of its units is on this host"),
    ],
)
def test_a_commit_cannot_have_a_unit_restarted_that_does_not_get_the_files(
    both: Host, service: str, message: str
) -> None:
    unit = f"{service}.service"
    assert both.start(unit, unit_text(service)).ok
    try:
        both.insert("three")
        before = seen(both, unit), seen(both, "left.service")
        for words in ((service, "--restart"), ("--restart",), ("--restart", "--dry-run")):
            done = apply(both, *words)
            assert (done.code, f"vault: service '{service}': {message}\nhint: " in done.err) == (7, True)
            assert (seen(both, unit), seen(both, "left.service")) == before
    finally:
        both.stop(unit)


def test_the_files_of_a_unit_that_gets_credentials_by_now_go(both: Host) -> None:
    both.install("left.service", "[Service]\nExecStart=/usr/local/bin/sidecar /credential\n")
    credentials = r's/^\[services.left.files.key\]$/[services.left]\ncredentials.key = "one"\n[services.unused.files.key]/'
    shell(both.machine, f"cp {VAULT}/vault.toml /srv/whole.toml; sed -i '{credentials}' {VAULT}/vault.toml")
    pid = both.machine.run("systemctl", "show", "--property=MainPID", "left.service").stdout
    try:
        assert apply(both, "left", "--restart") == Said(0, "", "vault: removed: /run/left/key\n")
        assert both.machine.run("systemctl", "show", "--property=MainPID", "left.service").stdout == pid
    finally:
        shell(both.machine, f"mv /srv/whole.toml {VAULT}/vault.toml; rm -rf /run/left")


def test_a_unit_that_reads_the_files_of_another_is_restarted_with_it(both: Host) -> None:
    reader = "BindReadOnlyPaths=/run/thief\n[Unit]\nRequires=thief.service\nAfter=thief.service\n"
    assert both.start("thief.service", unit_text("thief")).ok
    both.install("left.service", unit_text("left", more=reader))
    both.machine.run("systemctl", "restart", "left.service")
    try:
        both.insert("three")
        before, runs = seen(both, "left.service"), both.machine.journal("left.service").count(RUNS)
        done = apply(both, "thief", "--restart")
        said = ["wrote: /run/thief/key", "restarted: thief.service", "restarted: left.service"]
        assert done == Said(0, "", "".join(f"vault: {line}\n" for line in said))
        assert seen(both, "left.service").pid != before.pid
        assert both.machine.journal("left.service").count(RUNS) == runs + 1
    finally:
        both.stop("thief.service")


def test_a_template_stands_for_all_instances_that_run(host: Host) -> None:
    host.install("many@.service", unit_text("many", "many-%i"))
    host.machine.write("/etc/systemd/system/many@a.service.d/ready.conf", "[Service]\nType=notify\n")
    instances = ("many@a.service", "many@b.service")
    try:
        host.machine.run("systemctl", "start", *instances)
        paths = {f"many@{name}.service": f"/run/many-{name}/key" for name in "ab"}
        before = {unit: seen(host, unit, path) for unit, path in paths.items()}
        host.insert("three")
        done = apply(host, "many", "--restart")
        assert done.code == 0, done.err
        for unit, path in paths.items():
            now = seen(host, unit, path)
            assert (now.pid != before[unit].pid, now.file[1]) == (True, host.keys["three"])
            assert f"vault: restarted: {unit}\n" in done.err
    finally:
        host.stop(*instances)


def test_a_restart_that_fails_is_told(both: Host) -> None:
    both.insert("one")
    broken = "/etc/systemd/system/left.service.d/broken.conf"
    both.machine.write(broken, "[Service]\nExecStartPre=/bin/false\n")
    both.machine.run("systemctl", "daemon-reload")
    try:
        done = apply(both, "--restart")
        assert done.code == 7
        assert "service 'left': left.service could not be restarted\nhint: systemctl status left.service" in (
            done.err
        )
    finally:
        both.machine.run("rm", broken)
        both.machine.run("systemctl", "daemon-reload")


def test_the_documented_service_reloads_and_finds_its_generation(host: Host) -> None:
    unit, conf = "web.service", "/run/web/current/web.conf"
    outcome = host.start(unit, documents.units(DOCUMENT)[unit])
    assert outcome.ok, outcome.journal
    try:
        before = seen(host, unit, conf)
        assert before.file[1] == f'[tailscale]\nkey  = "{host.keys[KEY]}"\nnote = "5$ a month"\n'
        around, inside = (host.machine.path(path).stat() for path in ("/run/web", "/run/web/.1.web"))
        assert (inside.st_mode, inside.st_uid, inside.st_gid) == (
            around.st_mode,
            around.st_uid,
            around.st_gid,
        )
        assert 61184 <= inside.st_uid <= 65519
        host.insert(KEY)
        done = apply(host, "web", "--restart")
        assert done == Said(0, "", f"vault: wrote: {conf}\nvault: reloaded: {unit}\n")
        after = seen(host, unit, conf)
        assert (after.pid, after.reloads != before.reloads) == (before.pid, True)
        assert host.keys[KEY] in after.file[1]
        assert {path.name for path in host.machine.path("/run/web").iterdir()} == {
            "current",
            ".1.web",
            ".2.web",
        }
    finally:
        host.stop(unit)
    assert not host.machine.path("/run/web").exists()
    assert host.leaks() == []


def test_the_documented_timer_brings_a_new_key_by_itself(both: Host) -> None:
    units = documents.units(DOCUMENT)
    timer, service = "vault-apply.timer", "vault-apply.service"
    for name in (service, timer):
        both.machine.unit(name, units[name])
    both.machine.run("systemctl", "start", timer)
    elapses = "--property=NextElapseUSecRealtime,Unit"
    shown = both.machine.run("systemctl", "show", elapses, timer).stdout
    assert re.search(r"^NextElapseUSecRealtime=.*:(00|15|30|45|01|16|31|46):", shown, re.MULTILINE), shown
    assert f"Unit={service}\n" in shown
    both.machine.run("systemctl", "stop", timer)
    both.insert("one")
    soon = "[Timer]\nOnActiveSec=0\nAccuracySec=1us\nRandomizedDelaySec=0\n"
    both.machine.write(f"/etc/systemd/system/{timer}.d/soon.conf", soon)
    told = "[Service]\nExecStartPost=/bin/sh -c 'echo > /run/applied'\n"
    both.machine.write(f"/etc/systemd/system/{service}.d/told.conf", told)
    both.machine.run("mkfifo", "/run/applied")
    both.machine.run("systemctl", "daemon-reload")
    both.machine.run("systemctl", "start", timer)
    both.machine.run("timeout", "60", "cat", "/run/applied")  # a pipe: until the service has run
    both.machine.run("systemctl", "stop", timer)
    assert "vault: restarted: left.service" in both.machine.journal(service)
    assert both.proof("left.service").sha256 == both.digest("one")


NASTY = [
    "plain", " leading", "trailing ", "trailing tab\t", "  ", "a b", "#comment", ";comment", "a#b", "a ;b", "a # b", "$HOME",
    "${HOME}", "$$", "$(id)", "`id`", "'", '"', "''", '""', '"a"', "'a'", "a'b", 'a"b', "\\", "\\\\", "\\\\\\", "a\\", "\\n", '\\"',
    "\\$", "\\`", "\\'", "\\#", "\\ ", "\\x41", "\\101", "%h", "%%", "%", "~", "~/x", "!x", "*", "?", "[a]", "{a,b}", "&", "|",
    "<a>", "=", "a=b", "=a", "-", "é", "鍵🔑", "e\u0301", "\t", "a\tb", "export A=b", "a" * 5000, "\\" * 999, '"' * 999,
]  # fmt: skip

PRINT = """\
import json, os
print(json.dumps({name: os.environb[name.encode()].hex() for name in map(os.fsdecode, os.environb) if name[:2] == "V_"}))
"""


def test_what_a_process_gets_from_systemd_is_the_value_byte_for_byte(machine: Machine) -> None:
    values = {f"V_{number}": text.encode() for number, text in enumerate(NASTY)}
    references = {name: Reference("", name) for name in values}
    file = File("nasty.env", None, tuple(references.items()), "env", 0o400, "", "")
    data = formats.render(file, {references[name]: value for name, value in values.items()})
    machine.write("/run/nasty.env", data.decode())
    machine.write("/run/nasty.py", PRINT)
    machine.unit(
        "nasty.service",
        "[Service]\nType=oneshot\nEnvironmentFile=/run/nasty.env\nStandardOutput=file:/run/nasty.json\n"
        "ExecStart=/usr/bin/python3 -I /run/nasty.py\n",
    )
    outcome = machine.start("nasty.service")
    assert outcome.ok, outcome.journal
    found = json.loads(machine.path("/run/nasty.json").read_text())
    assert {name: bytes.fromhex(value) for name, value in found.items()} == values
