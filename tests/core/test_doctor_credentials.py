"""What the doctor says of units that ask the vault's server for credentials, on a tree that stands for a host."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import needs
from tskeyvault import doctor
from tskeyvault.cli import terminal
from tskeyvault.doctor.finding import Finding
from tskeyvault.doctor.host import Host
from tskeyvault.locate import Place
from tskeyvault.vault import opened

UNITS = "etc/systemd/system"
HOST_KEY = "var/lib/systemd/credential.secret"
ENCRYPTED, PLAIN = "/run/vault/encrypted.sock", "/run/vault/credentials.sock"
ASKS = f"LoadCredentialEncrypted=tskey:{ENCRYPTED}"
IN_PLAIN = f"LoadCredential=tskey:{PLAIN}"
VAULT = f"""[vault]
format = 1
id = "{"0" * 32}"
[services.web]
credentials = {{ tskey = "a/key" }}
[services."tpl@"]
units = ["tpl@one.service"]
credentials = {{ tskey = "a/key" }}
[services.first]
units = ["twice.service"]
credentials = {{ tskey = "a/key" }}
[services.second]
units = ["twice.service"]
credentials = {{ tskey = "b/key" }}
"""
LISTENS = f"[Socket]\nListenStream={PLAIN}\nListenStream={ENCRYPTED}\n"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Give a host that serves web.service its credential, and has a stand-in for systemctl."""
    root = tmp_path.resolve() / "root"
    for folder in (UNITS, "run/systemd/system", "run/vault", "var/lib/systemd"):
        (root / folder).mkdir(parents=True, mode=0o700)
    (root / HOST_KEY).touch()
    (root / UNITS / "served.socket").write_text(LISTENS)
    unit(root, "web.service", ASKS)
    (programs := tmp_path / "programs").mkdir()
    (programs / "systemctl").write_text(f"#!/bin/sh\nexec cat {root}/state\n")
    (programs / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    (root / "state").write_text("ActiveState=active\nUnitFileState=enabled\n")
    (tmp_path / "vault/secrets").mkdir(parents=True)
    (tmp_path / "vault/vault.toml").write_text(VAULT)
    monkeypatch.chdir(root / "run/vault")
    with (
        socket.socket(socket.AF_UNIX) as made,
        opened(Place(str(tmp_path / "vault")), os.environ, terminal.USER) as vault,
    ):
        made.bind("encrypted.sock")
        os.chmod("encrypted.sock", 0o600)
        yield Host(str(root), os.environ, "", "vault", vault, "")


def unit(root: Path, name: str, *lines: str) -> None:
    (root / UNITS / name).write_text("\n".join(["[Service]", *lines, ""]))


def found(host: Host, check: str) -> list[Finding]:
    report = doctor.run(host, [check])
    assert report.not_checked == {}
    assert all(finding.check == check for finding in report.findings)
    return report.findings


def test_a_host_where_all_is_well_has_no_finding(host: Host) -> None:
    needs.root()
    unit(Path(host.root), "tpl@.service", ASKS)
    unit(Path(host.root), "replaced.service", IN_PLAIN, "LoadCredential=", "LoadCredential=tskey:/etc/other")
    unit(Path(host.root), "web.service", IN_PLAIN, ASKS)
    assert found(host, "credential-server") == []
    assert found(host, "credential-units") == []


@pytest.mark.parametrize(
    ("state", "message", "repair"),
    [
        ("ActiveState=inactive\nUnitFileState=enabled\n", "does not listen", "systemctl stop served.service && systemctl enable --now served.socket"),
        ("ActiveState=active\nUnitFileState=disabled\n", "after the next boot", "systemctl enable served.socket"),
    ],
)  # fmt: skip
def test_a_socket_that_does_not_listen_is_named(host: Host, state: str, message: str, repair: str) -> None:
    needs.root()
    Path(host.root, "state").write_text(state)
    (finding,) = found(host, "credential-server")
    assert (finding.thing, finding.repair) == ("served.socket", repair)
    assert message in finding.message


def test_a_socket_that_is_not_there_is_named(host: Host) -> None:
    needs.root()
    path = Path(host.root, UNITS, "served.socket")
    path.write_text(f"[Socket]\nListenStream={PLAIN}\n")
    (finding,) = found(host, "credential-server")
    assert (finding.thing, finding.message) == (
        ENCRYPTED, "web.service asks there, and no socket unit listens there"
    )  # fmt: skip
    assert f"ListenStream={ENCRYPTED}" in finding.repair
    assert "served.socket.d/vault.conf" in finding.repair


def test_a_socket_is_there_before_a_unit_is_sent_to_it(host: Host) -> None:
    needs.root()
    Path(host.root, UNITS, "served.socket").write_text(f"[Socket]\nListenStream={PLAIN}\n")
    unit(Path(host.root), "web.service", IN_PLAIN)
    (finding,) = found(host, "credential-server")
    assert finding.message == "web.service should ask there, and no socket unit listens there"
    assert f"ListenStream={ENCRYPTED}" in finding.repair


def test_a_host_without_a_key_to_encrypt_with_is_named(host: Host) -> None:
    needs.root()
    Path(host.root, HOST_KEY).unlink()
    (finding,) = found(host, "credential-server")
    assert (finding.thing, finding.repair) == (str(Path(host.root, HOST_KEY)), "systemd-creds setup")


def test_without_any_socket_unit_the_page_is_named_that_has_one(host: Host) -> None:
    needs.root()
    Path(host.root, UNITS, "served.socket").unlink()
    (finding,) = found(host, "credential-server")
    assert "docs/systemd.md" in finding.repair


def test_a_socket_that_others_can_use_or_exchange_is_named(host: Host) -> None:
    needs.root()
    folder = Path(host.root, "run/vault")
    (folder / "encrypted.sock").chmod(0o666)
    (finding,) = found(host, "credential-server")
    assert (finding.thing, "mode 0666" in finding.message) == (str(folder / "encrypted.sock"), True)
    assert "SocketMode=0600" in finding.repair
    (folder / "encrypted.sock").chmod(0o600)
    folder.chmod(0o733)
    (finding,) = found(host, "credential-server")
    assert (finding.thing, "another socket" in finding.message) == (str(folder), True)
    assert finding.repair == f"chown root:root {folder} && chmod 0700 {folder}"


def test_a_unit_that_asks_in_plain_text_is_named_and_the_repair_repairs_it(host: Host) -> None:
    path = Path(host.root, UNITS, "web.service")
    path.write_text(f"[Service]\nUser=web\n{IN_PLAIN}\nExecStart=/bin/x\n")
    (finding,) = found(host, "credential-units")
    assert finding.thing == f"{path}:3"
    assert "web.service takes a part of credential 'tskey' for the whole" in finding.message
    assert os.system(finding.repair) == 0  # noqa: S605 - as somebody types it
    assert path.read_text() == f"[Service]\nUser=web\n{ASKS}\nExecStart=/bin/x\n"


@pytest.mark.parametrize(
    ("name", "line", "message", "repair"),
    [
        ("web.service", ASKS.replace("=tskey", "=a.b"), "'a.b', which vault.toml does not give it",
         'add to credentials of [services.web] in vault.toml: "a.b" = "SECRET"'),
        ("stranger.service", ASKS, "'tskey', which vault.toml does not give it",
         'write into vault.toml: [services.stranger] units = ["stranger.service"] credentials = { tskey = "SECRET" }'),
        ("twice.service", ASKS, "two services give twice.service different secrets as credential 'tskey'", "give them two IDs"),
    ],
)  # fmt: skip
def test_a_unit_that_would_be_refused_is_named(
    host: Host, name: str, line: str, message: str, repair: str
) -> None:
    unit(Path(host.root), name, line)
    (finding,) = found(host, "credential-units")
    assert finding.thing == name
    assert message in finding.message
    assert finding.repair == repair
