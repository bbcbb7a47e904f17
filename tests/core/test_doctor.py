"""Each check of the host on a tree that stands for one: one thing is broken, it is found, and the repair repairs it."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from support.nested import nested
from support.vaults import PATH, made_key
from tskeyvault import doctor
from tskeyvault.cli import terminal
from tskeyvault.doctor.finding import Finding
from tskeyvault.doctor.host import Host
from tskeyvault.locate import Place
from tskeyvault.vault import opened

PROGRAM = f"{shlex.quote(sys.executable)} -m tskeyvault"
KEYS = "etc/tailscale-keys"
UNITS = "etc/systemd/system"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give the file system of a host where all is well, with the folders of the older methods."""
    found = tmp_path.resolve() / "root"
    for folder in (KEYS, "var/lib/tailscale-keys", "run/web", UNITS, "proc"):
        (found / folder).mkdir(parents=True, mode=0o700)
    (found / KEYS / "container-key").write_text("nothing")
    (found / KEYS / "container-key").chmod(0o600)
    (found / "proc/swaps").write_text("Filename Type Size Used Priority\n/dev/zram0 partition 1 0 100\n")
    unit(found, "web", "RuntimeDirectory=web", "ExecStartPre=+/opt/vault --vault /srv materialize web")
    return found


def host(root: Path) -> Host:
    return Host(str(root), os.environ, "", PROGRAM, None, "no vault here")


def unit(root: Path, name: str, *lines: str, folder: str = UNITS, file: str = "") -> None:
    path = root / folder / (file or f"{name}.service")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["[Service]", *lines, ""]))


def found(root: Path, check: str) -> list[Finding]:
    return doctor.run(host(root), [check]).findings


def repaired(finding: Finding) -> None:
    env = {**os.environ, "PYTHONPATH": PATH}
    subprocess.run(["sh", "-euc", finding.repair], check=True, env=env, cwd="/", timeout=60)


VARIABLES = (
    "RuntimeDirectory=%N",
    "EnvironmentFile=-%t/old/x.env",
    "ExecStartPre=+vault materialize web --directory /run/old",
)


class Broken(NamedTuple):
    """One thing that is wrong."""

    do: Callable[[Path], object]
    check: str
    thing: str
    message: str


def _file(root: Path, path: str, content: bytes = b"") -> str:
    (root / path).parent.mkdir(parents=True)
    (root / path).write_bytes(content)
    return f"/{path}"


def _device(root: Path, name: str, uuid: str, *slaves: str, used: bool = False) -> None:
    if used:
        _swap(root, f"/dev/{name}")
    number = f"253:{sum(name.encode())}"
    folder = root / f"sys/dev/block/{number}"
    (folder / "slaves").mkdir(parents=True)
    for slave in slaves:
        (folder / "slaves" / slave).touch()
    if uuid:
        (folder / "dm").mkdir()
        (folder / "dm/uuid").write_text(uuid)
    (root / f"sys/class/block/{name}").mkdir(parents=True)
    (root / f"sys/class/block/{name}/dev").write_text(f"{number}\n")


def _swap(root: Path, path: str) -> None:
    with (root / "proc/swaps").open("a") as file:
        file.write(f"{path} partition 1 0 -2\n")


def _on_lvm(root: Path, below: str) -> None:
    _device(root, "dm-0", below)
    _device(root, "dm-1", "LVM-x", "dm-0")
    _swap(root, "/dev/dm-1")


def _hostile(root: Path) -> None:
    path = root / KEYS / "a\nb\x1b[2J'$(touch x)"
    path.write_text("x")
    path.chmod(0o644)


def _pipe(root: Path) -> None:
    os.mkfifo(root / KEYS / "pipe", 0o600)
    (root / KEYS / "pipe").chmod(0o622)


RUN = {
    "a key that all can read": Broken(
        lambda root: (root / KEYS / "container-key").chmod(0o644), "key-files", f"{KEYS}/container-key", "mode 0644"
    ),
    "a folder that all can enter": Broken(
        lambda root: (root / KEYS).chmod(0o755), "key-files", KEYS, "mode 0755 lets others in"
    ),
    "a name with control characters": Broken(_hostile, "key-files", "a\\nb\\x1b[2J", "mode 0644"),
    "a pipe": Broken(_pipe, "key-files", "pipe", "mode 0622"),
    "a file of an interrupted delivery": Broken(
        lambda root: (root / "run/web/.vault-0123456789abcdef").touch(), "run-leftovers", "run/web/.vault-", "cut off"
    ),
    "one deep below": Broken(
        lambda root: _file(root, "run/private/x/.vault-0123456789abcdef"),
        "run-leftovers", "run/private/x/.vault-", "cut off",
    ),
}  # fmt: skip
"""Those whose repair can be run."""

SEEN = {
    "swap on a partition": Broken(
        lambda root: _device(root, "sda2", "", used=True), "swap", "/dev/sda2", "not known"
    ),
    "swap on an LVM that is not encrypted": Broken(lambda root: _on_lvm(root, "LVM-y"), "swap", "/dev/dm-1", "not known"),
    "swap in a file": Broken(lambda root: _swap(root, "/swap\\040file"), "swap", "/swap file", "not known"),
    "a plain file as a credential": Broken(
        lambda root: unit(root, "old", "LoadCredential=tskey:/etc/tailscale-keys/container-key"),
        "unit-files", "old.service:2", "old.service takes a key from the plain file /etc/tailscale-keys/container-key",
    ),
    "an environment file": Broken(
        lambda root: unit(root, "old", "EnvironmentFile=-/var/lib/tailscale-keys/sidecar.env"),
        "unit-files", "old.service:2", "plain file /var/lib/tailscale-keys/sidecar.env",
    ),
    "a volume of quadlet": Broken(
        lambda root: unit(root, "", "Volume=/etc/tailscale-keys/k:/k:ro", folder="etc/containers/systemd", file="ts.container"),
        "unit-files", "ts.container:2", "ts.service takes a key from the plain file /etc/tailscale-keys/k",
    ),
    "a drop-in": Broken(
        lambda root: unit(root, "", "ExecStart=/bin/x \\", "  --key=/etc/tailscale-keys/k", folder=f"{UNITS}/web.service.d", file="a.conf"),
        "unit-files", "a.conf:2", "web.service takes a key from the plain file /etc/tailscale-keys/k",
    ),
    "a file elsewhere with a key in it": Broken(
        lambda root: unit(root, "old", f"LoadCredential=x:{_file(root, 'srv/any', made_key())}"),
        "unit-files", "old.service:2", "plain file /srv/any",
    ),
    "a key in a unit": Broken(
        lambda root: unit(root, "old", f"Environment=TS_AUTHKEY={made_key().decode()}"),
        "unit-files", "old.service:2", "Environment= holds a key itself",
    ),
    "a unit that does not clean up": Broken(
        lambda root: unit(root, "web", "ExecStartPre=+/opt/vault materialize web --directory /run/keys"),
        "unit-clean-up", "web.service", "leaves its keys in /run/keys",
    ),
    "one without a directory of its own": Broken(
        lambda root: unit(root, "old", "ExecStartPre=+/opt/vault --vault /x materialize web"),
        "unit-clean-up", "old.service", "leaves its keys in /run/web",
    ),
    "one that keeps its directory": Broken(
        lambda root: unit(root, "old", "RuntimeDirectory=old", "RuntimeDirectoryPreserve=yes", "ExecStartPre=+vault materialize web"),
        "unit-clean-up", "old.service", "leaves its keys in /run/old",
    ),
    "one that delivers a single file": Broken(
        lambda root: unit(root, "old", "ExecStartPre=+vault materialize --secret a --to /run/old/key"),
        "unit-clean-up", "old.service", "leaves its keys in /run/old",
    ),
    "one that undoes its clean-up": Broken(
        lambda root: unit(
            root, "old", "ExecStartPre=+vault materialize web --directory=/run/old",
            "ExecStopPost=+vault materialize web --clean --directory /run/old", "ExecStopPost=",
        ),
        "unit-clean-up", "old.service", "leaves its keys in /run/old",
    ),
    "a directory that another unit removes": Broken(
        lambda root: unit(root, "other", "RuntimeDirectory=web"),
        "unit-directory", "web.service", "loses its keys when other.service stops: RuntimeDirectory=web is removed then",
    ),
    "one that another removes with all below it": Broken(
        lambda root: unit(root, "old", "RuntimeDirectory=web/old:link", "ExecStartPre=+vault materialize web --directory /run/web/old"),
        "unit-directory", "old.service", "loses its keys when web.service stops: RuntimeDirectory=web ",
    ),
    "one that every instance has": Broken(
        lambda root: unit(root, "many@", "RuntimeDirectory=%p", "ExecStartPre=+vault materialize web"),
        "unit-directory", "many@.service", "loses its keys when another of its instances stops: RuntimeDirectory=many ",
    ),
    "variables in a directory that stays": Broken(
        lambda root: unit(root, "old", *VARIABLES, "User=app", "RuntimeDirectoryPreserve=restart"),
        "unit-environment", "old.service", "its user can write /run/old/x.env, and so have root's vault load",
    ),
    "variables that are read at the stop": Broken(
        lambda root: unit(root, "old", *VARIABLES, "DynamicUser=1", "ExecStopPost=+vault materialize web --clean"),
        "unit-environment", "old.service", "its user can write /run/old/x.env",
    ),
    "variables in a directory for state": Broken(
        lambda root: unit(root, "old@", *VARIABLES, "User=app", "StateDirectory=%p", "EnvironmentFile=%S/old/x"),
        "unit-environment", "old@.service", "its user can write /var/lib/old/x",
    ),
}  # fmt: skip

HEALTHY: dict[str, tuple[Callable[[Path], object], str]] = {
    "a host where all is well": (lambda _root: None, ""),
    "no folders of older methods": (lambda root: (root / KEYS).rename(root / "x"), "key-files"),
    "encrypted swap below LVM": (lambda root: _on_lvm(root, "CRYPT-LUKS2-x"), "swap"),
    "a masked unit": (lambda root: (root / UNITS / "old.service").symlink_to("/dev/null"), "unit-files"),
    "a pipe for a unit": (lambda root: os.mkfifo(root / UNITS / "old.service"), "unit-files"),
    "what is delivered": (lambda root: unit(root, "old", "EnvironmentFile=-/run/old/sidecar.env"), "unit-files"),
    "a unit that is shadowed": (
        lambda root: unit(root, "web", "ExecStartPre=vault materialize x", folder="usr/lib/systemd/system"), "unit-clean-up"
    ),
    "a unit that cleans up": (
        lambda root: unit(
            root, "old", "ExecStartPre=+vault materialize web --directory /run/old",
            "ExecStopPost=+vault materialize web --clean --directory /run/old",
        ),
        "unit-clean-up",
    ),
    "a folder below its own": (
        lambda root: unit(root, "old", "RuntimeDirectory=old", "ExecStartPre=+vault materialize web --directory %t/old/keys"),
        "unit-clean-up",
    ),
    "a second name of a unit": (lambda root: (root / UNITS / "alias.service").symlink_to("web.service"), "unit-directory"),
    "a directory for each instance": (
        lambda root: unit(root, "web@", "RuntimeDirectory=%p-%i", "ExecStartPre=+vault materialize web"),
        "unit-directory",
    ),
    "a directory of two that stays": (
        lambda root: unit(root, "old", "RuntimeDirectory=web", "RuntimeDirectoryPreserve=yes"), "unit-directory"
    ),
    "variables in a directory of each start": (lambda root: unit(root, "old", *VARIABLES, "User=app"), "unit-environment"),
    "variables of root's own": (
        lambda root: unit(root, "old", *VARIABLES, "User=root", "RuntimeDirectoryPreserve=yes"), "unit-environment"
    ),
    "variables of a user who delivers": (
        lambda root: unit(
            root, "old", *VARIABLES, "ExecStartPre=", "ExecStartPre=-vault materialize web", "User=app",
            "RuntimeDirectoryPreserve=yes",
        ),
        "unit-environment",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RUN)
def test_what_is_broken_is_found_and_its_repair_repairs_it(root: Path, name: str) -> None:
    broken = RUN[name]
    broken.do(root)
    (finding,) = found(root, broken.check)
    assert (finding.check, broken.thing in finding.thing, broken.message in finding.message) == (
        broken.check,
        True,
        True,
    )
    assert finding.thing.isprintable()
    assert finding.repair.isprintable()
    repaired(finding)
    assert found(root, broken.check) == []


def test_folders_in_folders_do_not_end_the_check(root: Path) -> None:
    (root / KEYS / "b").touch(0o644)
    with nested(root / KEYS, 1200):
        assert [finding.thing.endswith("/b") for finding in found(root, "key-files")] == [True]


@pytest.mark.parametrize("name", SEEN)
def test_what_is_broken_is_found_with_its_repair(root: Path, name: str) -> None:
    broken = SEEN[name]
    broken.do(root)
    (finding,) = found(root, broken.check)
    assert (finding.check, finding.thing.endswith(broken.thing)) == (broken.check, True), finding
    assert broken.message in finding.message
    assert finding.repair


@pytest.mark.parametrize("name", HEALTHY)
def test_what_is_as_it_should_be_is_no_finding(root: Path, name: str) -> None:
    make, check = HEALTHY[name]
    make(root)
    checks = (
        [check]
        if check
        else [
            "key-files",
            "run-leftovers",
            "swap",
            "unit-files",
            "unit-clean-up",
            "unit-directory",
            "unit-environment",
        ]
    )
    assert doctor.run(host(root), checks) == doctor.Report([], {})


def test_a_delivery_that_is_at_work_leaves_nothing(root: Path) -> None:
    import fcntl

    (root / "run/web/.vault-0123456789abcdef").touch()
    fd = os.open(root / "run/web", os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        assert found(root, "run-leftovers") == []
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (
            "EnvironmentFile=/var/lib/tailscale-keys/sidecar.env",
            "import env:/var/lib/tailscale-keys/sidecar.env tailscale/",
        ),
        ("LoadCredential=k:/etc/tailscale-keys/k", "import file:/etc/tailscale-keys/k tailscale/k"),
        (
            "ExecStartPre=sh -c 'age -d /etc/tailscale-keys/k.age'",
            "import age:/etc/tailscale-keys/k.age tailscale/k",
        ),
        (
            "ExecStartPre=sh -c 'age -d -i /etc/tailscale-keys/id /etc/tailscale-keys/k.age >/run/k'",
            "import --identity /etc/tailscale-keys/id age:/etc/tailscale-keys/k.age tailscale/k",
        ),
        ("ExecStartPre=/etc/tailscale-keys/extract-key.sh", "docs/migration.md"),
        ("BindPaths=/etc/tailscale-keys", "for each file in it"),
    ],
)
def test_the_repair_of_a_plain_file_is_the_import_for_its_kind(root: Path, line: str, kind: str) -> None:
    (root / KEYS / "extract-key.sh").touch(mode=0o700)
    unit(root, "old", line)
    (finding,) = found(root, "unit-files")
    assert kind in finding.repair


ASKS = "LoadCredentialEncrypted=tskey:/run/vault/encrypted.sock"
REFUSED_KEYS = {
    "a credential": ("asks", [ASKS], "asked/key"),
    "a credential of a service that lists the unit": ("other", [ASKS], "asked/key"),
    "a credential that nothing gives": ("stranger", [ASKS], "NAME"),
    "a file": ("filed", ["RuntimeDirectory=filed", "ExecStartPre=+vault materialize filed"], "filed/key"),
}


@pytest.mark.parametrize("name", REFUSED_KEYS)
def test_the_secret_that_tailscale_refuses_is_named_as_vault_toml_has_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What systemd says is what a stand-in says: a real one, with its journal, is in test_migration.py."""
    stem, lines, secret = REFUSED_KEYS[name]
    unit(root, stem, *lines, "ExecStart=/usr/local/bin/sidecar")
    (root / "run/systemd/system").mkdir(parents=True)
    (programs := tmp_path / "programs").mkdir()
    entry = f'{{"MESSAGE": "authentication key invalid", "_SYSTEMD_UNIT": "{stem}.service", "__MONOTONIC_TIMESTAMP": "9"}}'
    shows = f"Id={stem}.service\nInactiveExitTimestampMonotonic=10\nConditionTimestampMonotonic=8"
    for program, said in (("systemctl", shows), ("journalctl", entry)):
        (programs / program).write_text(f"#!/bin/sh\necho '{said}'\n")
        (programs / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    (tmp_path / "vault/secrets").mkdir(parents=True)
    (tmp_path / "vault/vault.toml").write_text(
        f'[vault]\nformat = 1\nid = "{"0" * 32}"\n[services.asks]\nunits = ["asks.service", "other.service"]\n'
        'credentials = { tskey = "asked/key" }\nfiles.other.secret = "other/key"\n'
        '[services.filed]\nfiles.tskey.secret = "filed/key"\ncredentials = { x = "credential/key" }\n'
    )
    with opened(Place(str(tmp_path / "vault")), os.environ, terminal.USER) as vault:
        (finding,) = doctor.run(replace(host(root), found=vault), ["tailscale"]).findings
    assert f" insert --force {secret} && systemctl restart {stem}.service" in finding.repair


def test_a_key_is_never_in_what_is_said(root: Path) -> None:
    key = made_key().decode()
    (root / KEYS / key).touch(mode=0o644)
    unit(root, "old", f"ExecStart=/bin/x --auth-key={key}", f"LoadCredential=x:/etc/tailscale-keys/{key}")
    unit(root, key, "ExecStartPre=+vault materialize x")
    report = doctor.run(host(root), ["key-files", "unit-files", "unit-clean-up"])
    assert len(report.findings) == 4
    assert key not in repr(report)


@pytest.mark.parametrize(
    "check", ["vault", "recipients", "readers", "expiry", "plugins", "work-tree", "hooks", "tailscale"]
)
def test_what_cannot_be_checked_here_is_said_and_is_no_finding(root: Path, check: str) -> None:
    report = doctor.run(host(root), [check])
    reason = "systemd does not run here" if check == "tailscale" else "no vault here"
    assert report == doctor.Report([], {check: reason})


@pytest.mark.parametrize(
    ("version", "message"),
    [("v1.1.1", "age 1.1.1 is older than 1.2.1"), ("1.2.1", ""), ("v1.10.0", ""), ("(devel)", ""), ("", "")],
)
def test_an_age_program_is_judged_by_its_version(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, message: str
) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    assert found(root, "age-program") == []  # nobody needs one
    (folder / "age").write_text(f"#!/bin/sh\necho '{version}'\n")
    (folder / "age").chmod(0o755)
    assert [message in finding.message for finding in found(root, "age-program")] == (
        [True] if message else []
    )
