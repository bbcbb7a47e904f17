"""``vault unit`` without a systemd: what it prints, installs below another root, and refuses."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.vaults import Result, run_vault

SERVICES = """
[services.web]
files.key.secret = "a"
units = ["web.service", "worker@.service"]
[services.ts-ai.files.tskey]
secret = "a"
[services.ts-ai.sidecar]
tags = ["tag:ai"]
containers = ["comfyui", "invokeai"]
publish = ["127.0.0.1:8188:8188"]
[services.ts-brief.files.tskey]
secret = "a"
[services.ts-brief.sidecar]
ephemeral = true
"""
SERVICES += """
[services.lock]
files.tskey.secret = "a"
sidecar = {}
[services.asks]
credentials = { tskey = "a", "b@c" = "b" }
[services.both]
credentials = { tskey = "a" }
files.key.secret = "a"
units = ["web.service", "worker@.service"]
[services.ts-asks]
credentials = { tskey = "a" }
files.tskey.secret = "a"
sidecar = {}
[services.ts-sets]
layout = "generations"
files.tskey.secret = "a"
sidecar = {}
[services.sets]
layout = "generations"
files.key.secret = "a"
"""
UNIT = "[Service]\nExecStart=/bin/true\n"
QUADLETS = "etc/containers/systemd"
DROP_IN = "50-tskeyvault.conf"
Unit = Callable[..., Result]


def made(vault: Path) -> Path:
    """Make a vault of nothing but what it says of services: that is all that a unit is made of."""
    (vault / "secrets").mkdir(parents=True)
    (vault / "vault.toml").write_text(f'[vault]\nformat = 1\nid = "{"0" * 32}"\n{SERVICES}')
    return vault


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (path := tmp_path / "root").mkdir()
    return path


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    vault = made(tmp_path / "vault")
    (tmp_path / "web.service").write_text(UNIT)

    def run(*arguments: str | Path) -> Result:
        done = run_vault("--vault", vault, "unit", *arguments)
        assert "Traceback" not in done.err
        return done

    return run


def drop_in(unit: Unit, tmp_path: Path, text: str, *options: str) -> list[str]:
    """Return the lines of the drop-in for a unit of this text, but for the first two."""
    (tmp_path / "x.service").write_text(text)
    done = unit(
        "web", "--for", "systemd", "--unit", "odd-x.service", "--from", tmp_path / "x.service", *options
    )
    assert done.code == 0, done.err
    lines = done.out.decode().splitlines()
    assert lines[:3] == [
        f"# /etc/systemd/system/odd-x.service.d/{DROP_IN}",
        "# vault unit web --for systemd",
        "[Service]",
    ]
    return [line.split("=", 1)[0] if line.startswith("Exec") else line for line in lines[3:]]


OWN = ["RuntimeDirectory=odd-x", "RuntimeDirectoryMode=0700"]
PRE, POST, LIMIT = "ExecStartPre", "ExecStopPost", "LimitCORE=0"
LONGER = "TimeoutStartSec=90"
CASES: dict[str, tuple[str, tuple[str, ...], list[str]]] = {
    "one with nothing": (UNIT, (), [*OWN, PRE, LONGER, LIMIT]),
    "one with a directory": (f"{UNIT}RuntimeDirectory=a\n", (), [PRE, LONGER, LIMIT]),
    "one that takes its directory back": (f"{UNIT}RuntimeDirectory=a\nRuntimeDirectory=\n", (), [*OWN, PRE, LONGER, LIMIT]),
    "one that keeps its directory": (f"{UNIT}RuntimeDirectory=a\nRuntimeDirectoryPreserve=yes\n", (), [PRE, POST, LONGER, LIMIT]),
    "another directory": (UNIT, ("--directory", "/run/a"), [PRE, POST, LONGER, LIMIT]),
    "one of two directories": (f"{UNIT}RuntimeDirectory=a b\n", ("--directory", "/run/a"), [PRE, POST, LONGER, LIMIT]),
    "one in a hurry": (f"{UNIT}TimeoutStartSec=5\n", (), [*OWN, PRE, LONGER, LIMIT]),
    "one in a hurry both ways": (f"{UNIT}TimeoutSec=5s\n", (), [*OWN, PRE, LONGER, LIMIT]),
    "one with time": (f"{UNIT}TimeoutStartSec=10min\n", (), [*OWN, PRE, LIMIT]),
    "one that runs once": (f"{UNIT}Type=oneshot\n", (), [*OWN, PRE, LIMIT]),
    "a slow key": (UNIT, ("--timeout", "200"), [*OWN, PRE, "TimeoutStartSec=230", LIMIT]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_drop_in_has_what_is_missing_for(unit: Unit, tmp_path: Path, case: str) -> None:
    text, options, lines = CASES[case]
    assert drop_in(unit, tmp_path, text, *options) == lines


@pytest.mark.parametrize(("line", "said"), [
    ("RuntimeDirectory=a b", "has several runtime directories"),
    ("RuntimeDirectory=a\nRuntimeDirectoryPreserve=restart\nDynamicUser=yes", "preserves the directory of a dynamic user"),
])  # fmt: skip
def test_where_a_directory_has_to_be_named_it_is_said(
    unit: Unit, tmp_path: Path, line: str, said: str
) -> None:
    (tmp_path / "x.service").write_text(f"{UNIT}{line}\n")
    done = unit("web", "--for", "systemd", "--unit", "x.service", "--from", tmp_path / "x.service")
    assert (done.code, done.out) == (2, b"")
    assert said in done.err
    assert "hint: " in done.err
    assert "--directory" in done.err


@pytest.mark.parametrize(("lines", "options"), [
    ("User=app\nRuntimeDirectory=a\nRuntimeDirectoryPreserve=yes\nEnvironmentFile=-/run/a/x.env", ()),
    ("DynamicUser=yes\nRuntimeDirectory=a b\nEnvironmentFile=-%t/a/x.env", ("--directory", "/run/a")),
    ("DynamicUser=yes\nRuntimeDirectory=a\nRuntimeDirectoryPreserve=yes\nEnvironmentFile=-/run/private/a/x.env", ("--directory", "/run/private/a")),
    ("User=app\nStateDirectory=a/b\nEnvironmentFile=/var/lib/a/b/x.env", ()),
])  # fmt: skip
def test_root_runs_nothing_with_variables_that_the_units_user_sets(
    unit: Unit, tmp_path: Path, lines: str, options: tuple[str, ...]
) -> None:
    (tmp_path / "x.service").write_text(f"{UNIT}{lines}\n")
    done = unit("web", "--for", "systemd", "--unit", "x.service", "--from", tmp_path / "x.service", *options)
    assert (done.code, done.out) == (2, b"")
    assert "where its user could have root's line load a library of theirs" in done.err
    assert "hint: " in done.err


@pytest.mark.parametrize("lines", [
    "User=app\nRuntimeDirectory=a\nEnvironmentFile=-/run/a/x.env",
    "RuntimeDirectory=a\nRuntimeDirectoryPreserve=yes\nEnvironmentFile=-/run/a/x.env",
    "User=app\nStateDirectory=a\nEnvironmentFile=/etc/default/a",
])  # fmt: skip
def test_variables_that_only_root_sets_are_no_reason_to_refuse(
    unit: Unit, tmp_path: Path, lines: str
) -> None:
    assert PRE in drop_in(unit, tmp_path, f"{UNIT}{lines}\n")


SOCKET = "/run/vault/encrypted.sock"
FROM_SOCKET = {
    "credentials alone": (
        "asks", "asks.service", [f"LoadCredentialEncrypted=tskey:{SOCKET}", f"LoadCredentialEncrypted=b@c:{SOCKET}"]
    ),
    "credentials and files": (
        "both", "web.service", ["RuntimeDirectory=web", "RuntimeDirectoryMode=0700", PRE, f"LoadCredentialEncrypted=tskey:{SOCKET}"]
    ),
    "an instance": (
        "both", "worker@1.service", ["RuntimeDirectory=%N", "RuntimeDirectoryMode=0700", PRE, f"LoadCredentialEncrypted=tskey:{SOCKET}"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FROM_SOCKET)
def test_a_drop_in_asks_the_socket_for(unit: Unit, tmp_path: Path, case: str) -> None:
    service, name, wanted = FROM_SOCKET[case]
    (tmp_path / "x.service").write_text(f"{UNIT}ExecStartPre=/bin/true\n")
    done = unit(service, "--for", "systemd", "--unit", name, "--from", tmp_path / "x.service")
    assert done.code == 0, done.err
    lines = done.out.decode().splitlines()[3:]
    assert [line.split("=", 1)[0] if line.startswith("Exec") else line for line in lines] == [
        *wanted,
        LONGER,
        LIMIT,
    ]
    assert f"hint: credentials come from {SOCKET}" in done.err
    assert ("run before this one, without the secrets" in done.err) == (PRE in wanted)


def test_the_commands_name_program_vault_and_identity_in_full(unit: Unit, tmp_path: Path) -> None:
    (tmp_path / "id").touch()
    command = ["web", "--for", "systemd", "--unit", "x.service", "--from", tmp_path / "web.service"]
    done = unit(*command, "--identity", os.path.relpath(tmp_path / "id"))
    (line,) = (it for it in done.out.decode().splitlines() if it.startswith("ExecStartPre=+/"))
    assert line.endswith(f" --vault {tmp_path}/vault --identity {tmp_path}/id materialize web")


def test_a_quadlet_is_printed_with_a_drop_in_for_each_container(unit: Unit) -> None:
    text = unit("ts-ai", "--for", "quadlet", "--userspace", "--argument=--ssh").out.decode()
    assert [line for line in text.splitlines() if line.startswith("# /")] == [
        f"# /{QUADLETS}/ts-ai.container",
        f"# /{QUADLETS}/comfyui.container.d/{DROP_IN}",
        f"# /{QUADLETS}/invokeai.container.d/{DROP_IN}",
    ]
    assert 'Environment="TS_EXTRA_ARGS=--advertise-tags=tag:ai --ssh"' in text
    assert 'Environment="TS_AUTHKEY=file:/run/secrets/tailscale/tskey"' in text
    assert "Volume=/run/ts-ai:/run/secrets/tailscale:ro\n" in text
    assert "Volume=/var/lib/tailscale-ts-ai:/var/lib/tailscale\n" in text
    assert "PublishPort=127.0.0.1:8188:8188\n" in text
    assert "/dev/net/tun" not in text
    assert "NET_ADMIN" not in text


@pytest.mark.parametrize("kind", ["quadlet", "compose"])
def test_an_ephemeral_sidecar_keeps_nothing(unit: Unit, kind: str) -> None:
    text = unit("ts-brief", "--for", kind).out.decode()
    assert "/var/lib" not in text
    assert "STATE" not in text
    assert ("TS_AUTH_ONCE=false" in text) or ('TS_AUTH_ONCE: "false"' in text)


@pytest.mark.parametrize("kind", ["quadlet", "compose"])
def test_the_host_chooses_image_and_state(unit: Unit, kind: str) -> None:
    text = unit("ts-ai", "--for", kind, "--image", "localhost/x:1", "--state", "/srv/ts").out.decode()
    assert "localhost/x:1" in text
    assert "/srv/ts" in text
    assert "/var/lib/tailscale-ts-ai" not in text
    assert "StateDirectory" not in text


def installed(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_an_install_shows_what_changes_and_writes_it_whole(unit: Unit, root: Path) -> None:
    command = ("ts-ai", "--for", "quadlet", "--install", "--root", root)
    asked = unit(*command)
    assert (asked.code, installed(root)) == (2, {})
    assert "--yes" in asked.err
    done = unit(*command, "--yes")
    assert done.code == 0, done.err
    assert done.out == asked.out
    assert f"+++ /{QUADLETS}/ts-ai.container" in done.out.decode()
    assert "+Network=ts-ai.container" in done.out.decode()
    assert len(installed(root)) == 3
    assert {path.stat().st_mode & 0o7777 for path in root.rglob("*.con*") if path.is_file()} == {0o644}
    again = unit(*command)
    assert (again.code, again.out) == (0, b"")
    assert again.err.endswith("vault: nothing to do: it is installed so\n")


def test_an_install_takes_away_what_is_no_longer_wanted(unit: Unit, root: Path, tmp_path: Path) -> None:
    command = ("ts-ai", "--for", "quadlet", "--install", "--root", root, "--yes")
    unit(*command)
    path = tmp_path / "vault/vault.toml"
    path.write_text(path.read_text().replace('"comfyui", ', ""))
    foreign = root / QUADLETS / "comfyui.container.d/own.conf"
    foreign.write_text("[Container]\n")
    done = unit(*command)
    assert f"removed: /{QUADLETS}/comfyui.container.d/{DROP_IN}" in done.err
    assert sorted(installed(root)) == [
        f"{QUADLETS}/comfyui.container.d/own.conf",
        f"{QUADLETS}/invokeai.container.d/{DROP_IN}",
        f"{QUADLETS}/ts-ai.container",
    ]
    done = unit("ts-ai", "--for", "quadlet", "--uninstall", "--root", root, "--yes")
    assert (done.code, list(installed(root))) == (0, [f"{QUADLETS}/comfyui.container.d/own.conf"])
    done = unit("ts-ai", "--for", "quadlet", "--uninstall", "--root", root, "--yes")
    assert (done.code, done.out) == (0, b"")


def test_somebody_elses_file_is_kept(unit: Unit, root: Path) -> None:
    path = root / QUADLETS / "ts-ai.container"
    path.parent.mkdir(parents=True)
    path.write_text("[Container]\n")
    done = unit("ts-ai", "--for", "quadlet", "--install", "--root", root, "--yes")
    assert done.code == 2
    assert "not made by this" in done.err
    assert installed(root) == {f"{QUADLETS}/ts-ai.container": "[Container]\n"}


@pytest.mark.parametrize(
    "place", ["", QUADLETS, f"{QUADLETS}/comfyui.container.d", f"{QUADLETS}/ts-ai.container"]
)
def test_no_link_is_followed_when_installing(unit: Unit, root: Path, tmp_path: Path, place: str) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    path = root / (place or "etc")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(elsewhere / "file" if path.suffix == ".container" else elsewhere)
    done = unit("ts-ai", "--for", "quadlet", "--install", "--root", root, "--yes")
    assert done.code == 5, done.err
    assert list(elsewhere.iterdir()) == []
    assert installed(root) == {}


def test_a_drop_in_of_another_service_is_named_with_what_takes_it_away(
    unit: Unit, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.service").write_text(UNIT)
    install = ("--unit", "x.service", "--from", tmp_path / "x.service", "--install", "--root", root, "--yes")
    assert unit("web", "--for", "systemd", *install).code == 0
    before = installed(root)
    done = unit("sets", "--for", "systemd", *install)
    assert (done.code, done.out, installed(root)) == (2, b"", before)
    assert "made by 'vault unit web --for systemd'\n" in done.err
    assert "hint: vault unit web --for systemd --uninstall takes it away" in done.err


def test_what_lies_beside_them_is_somebody_elses_affair(unit: Unit, root: Path, tmp_path: Path) -> None:
    (root / QUADLETS).mkdir(parents=True)
    (root / QUADLETS / "other.container.d").symlink_to(tmp_path)
    (root / QUADLETS / "other.container").symlink_to("/nowhere")
    (root / QUADLETS / "large.container").write_bytes(bytes((1 << 20) + 1))
    os.mkfifo(root / QUADLETS / "pipe.container")
    assert unit("ts-ai", "--for", "quadlet", "--install", "--root", root, "--yes").code == 0


UNITS = ("--unit", "web.service", "--unit", "worker@.service")
REFUSED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "an unknown service": (("other", "--for", "quadlet"), 3, "service 'other' is not in vault.toml"),
    "a service that is no sidecar": (("web", "--for", "quadlet"), 2, "is no sidecar"),
    "units called otherwise": (("web", "--for", "systemd"), 2, "names units that are not called like service 'web': worker@.service\nhint: where they are meant: --unit web.service --unit worker@.service\n"),
    "units called otherwise, on NixOS": (("web", "--for", "nixos"), 2, "not called like service 'web': worker@.service\n"),
    "a unit that systemd does not know": (("web", "--for", "systemd", *UNITS), 3, "knows no unit 'web.service'"),
    "what is no unit": (("web", "--for", "systemd", "--unit", "../x.service"), 2, "not the name of a service unit"),
    "a name that is no directory": (("web", "--for", "systemd", "--unit", "a\\x2db.service", "--from", "/dev/null"), 2, "--directory"),
    "one text for two units": (("web", "--for", "systemd", *UNITS, "--from", "/dev/null"), 2, "--from is the text of one unit"),
    "a text that is not there": (("web", "--for", "systemd", "--unit", "x.service", "--from", "/nowhere"), 3, "'/nowhere'"),
    "options of podman for systemd": (("web", "--for", "systemd", "--userspace"), 2, "does not go with --for systemd"),
    "options of systemd for quadlet": (("ts-ai", "--for", "quadlet", "--directory", "/run/x"), 2, "does not go with --for quadlet"),
    "an installed compose file": (("ts-ai", "--for", "compose", "--install"), 2, "the configuration is yours"),
    "an image that is none": (("ts-ai", "--for", "quadlet", "--image", "x\nPodmanArgs=--privileged"), 2, "--image"),
    "a state with options": (("ts-ai", "--for", "quadlet", "--state", "/a:/b:rw"), 2, "--state"),
    "a state that is relative": (("ts-ai", "--for", "compose", "--state", "a"), 2, "--state"),
    "a key as an argument": (("ts-ai", "--for", "quadlet", "--argument=--auth-key=x"), 2, "is given by other means"),
    "a port that is none": (("ts-ai", "--for", "quadlet", "--publish", "80"), 2, "--publish"),
    "a unit that gets no credentials": (("asks", "--for", "systemd", "--unit", "x.service", "--from", "/dev/null"), 2, "would be refused the credentials: vault.toml gives them to asks.service"),
    "a unit that gets no credentials, on NixOS": (("asks", "--for", "nixos", "--unit", "x.service"), 2, "would be refused the credentials"),
    "a sidecar of NixOS with a unit": (("ts-ai", "--for", "nixos", "--unit", "x.service"), 2, "whose unit NixOS names"),
    "a directory without files": (("asks", "--for", "systemd", "--directory", "/run/x", "--from", "/dev/null"), 2, "has no files"),
    "credentials for a quadlet": (("asks", "--for", "quadlet"), 2, "cannot give service 'asks' its credentials"),
    "credentials for a sidecar": (("ts-asks", "--for", "quadlet"), 2, "cannot give service 'ts-asks' its credentials"),
    "credentials for compose": (("ts-asks", "--for", "compose"), 2, "cannot give service 'ts-asks' its credentials"),
    "credentials for a sidecar of NixOS": (("ts-asks", "--for", "nixos"), 2, "cannot give service 'ts-asks' its credentials"),
    "generations for a quadlet": (("ts-sets", "--for", "quadlet"), 2, "--for quadlet knows no layout 'generations'"),
    "somebody else's directory for a quadlet": (("lock", "--for", "quadlet"), 2, "'/run/lock' is there"),
    "somebody else's directory for compose": (("lock", "--for", "compose"), 2, "'/run/lock' is there, and nothing was delivered there for 'lock'"),
    "generations for compose": (("ts-sets", "--for", "compose"), 2, "--for compose knows no layout 'generations'"),
    "generations for NixOS": (("sets", "--for", "nixos"), 2, "--for nixos knows no layout 'generations'"),
    "a root without installing": (("ts-ai", "--for", "quadlet", "--root", "/x"), 2, "go with --install or --uninstall"),
    "a yes to nothing": (("ts-ai", "--for", "quadlet", "--yes"), 2, "go with --install or --uninstall"),
    "a time to take away": (("ts-ai", "--for", "quadlet", "--uninstall", "--timeout", "5"), 2, "--timeout"),
    "a time for NixOS": (("sets", "--for", "nixos", "--timeout", "5"), 2, "services.vault-materialize.timeout"),
    "no time": (("ts-ai", "--for", "quadlet", "--timeout", "0"), 2, "--timeout"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_reason_is(unit: Unit, case: str) -> None:
    arguments, code, said = REFUSED[case]
    done = unit(*arguments)
    assert (done.code, done.out) == (code, b"")
    assert said in done.err


def test_a_vault_whose_name_is_two_lines_is_not_written_into_a_unit(tmp_path: Path) -> None:
    vault = made(tmp_path / "va\nExecStart=x")
    for kind in ("quadlet", "compose"):
        done = run_vault("--vault", vault, "unit", "ts-ai", "--for", kind)
        assert (done.code, done.out) == (2, b"")
        assert "cannot be written into a unit" in done.err
