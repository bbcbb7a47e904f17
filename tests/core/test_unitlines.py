"""What lines of units become once the file that they name is in the vault."""

from pathlib import Path

import pytest

from tskeyvault import unitfiles, unitlines
from tskeyvault.names import Reference
from tskeyvault.unitlines import Import

OLD = "/etc/tailscale-keys/container-key"
COMMAND = "/opt/vault --vault /srv/vault"
NEW = "ExecStartPre=+/opt/vault --vault /srv/vault materialize web"
OWN = ("RuntimeDirectory=web", "RuntimeDirectoryMode=0700")
DELIVERED = "/run/web/container-key"
AGE = Import(f"{OLD}.age", {"": Reference("", "a")}, is_encrypted=True)
FILE = Import(OLD, {"": Reference("", "a")})
VARIABLES = Import(OLD, {"A": Reference("", "a")})
ASKS = "LoadCredentialEncrypted=k:/run/vault/encrypted.sock"

UNITS = {
    "a plain path": (FILE, ["[Service]", f"ExecStart=/bin/x --key={OLD} -v"], [*OWN, NEW, f"ExecStart=/bin/x --key={DELIVERED} -v"]),
    "the file scheme": (FILE, ["[Service]", f"Environment=TS_AUTHKEY=file:{OLD}"], [*OWN, NEW, f"Environment=TS_AUTHKEY=file:{DELIVERED}"]),
    "an environment file": (FILE, ["[Service]", f"EnvironmentFile=-{OLD}"], [*OWN, NEW, f"EnvironmentFile=-{DELIVERED}"]),
    "its own directory": (
        FILE,
        ["[Service]", "RuntimeDirectory=own", f"ExecStart=/bin/x {OLD}"],
        [NEW, "ExecStart=/bin/x /run/own/container-key"],
    ),
    "several directories": (
        FILE,
        ["[Service]", "RuntimeDirectory=own two", f"ExecStart=/bin/x {OLD}"],
        [f"{NEW} --directory /run/own", "ExecStart=/bin/x /run/own/container-key"],
    ),
    "a credential": (
        FILE,
        ["[Service]", f"LoadCredential=k:{OLD}", "ExecStart=/bin/x ${CREDENTIALS_DIRECTORY}/k %d/k"],
        [ASKS],
    ),
    "a credential that comes from the socket already": (FILE, ["[Service]", ASKS], []),
    "a credential and a path": (
        FILE,
        ["[Service]", f"LoadCredential=k:{OLD}", f"ExecStart=/bin/x %d/k {OLD}"],
        [ASKS, *OWN, NEW, f"ExecStart=/bin/x %d/k {DELIVERED}"],
    ),
    "a credential by a name that the vault has for none": (
        FILE,
        ["[Service]", f"LoadCredential=%n:{OLD}", "ExecStart=/bin/x %d/%n"],
        [*OWN, NEW, f"ExecStart=/bin/x {DELIVERED}"],
    ),
    "an environment file as a credential": (
        VARIABLES,
        ["[Service]", f"LoadCredential=k:{OLD}", "ExecStart=/bin/x ${CREDENTIALS_DIRECTORY}/k"],
        [*OWN, NEW, f"ExecStart=/bin/x {DELIVERED}"],
    ),
    "an environment file with more in it": (
        VARIABLES._replace(is_whole=False),
        ["[Service]", f"EnvironmentFile={OLD}"],
        [*OWN, NEW, f"EnvironmentFile={OLD}", f"EnvironmentFile=-{DELIVERED}"],
    ),
    "a file by a name that the vault has for none": (
        FILE._replace(path="/srv/.env"),
        ["[Service]", "EnvironmentFile=/srv/.env"],
        [*OWN, NEW, "EnvironmentFile=-/run/web/env"],
    ),
    "a volume of quadlet": (
        FILE,
        ["[Container]", f"Volume={OLD}:/run/secrets/key:ro"],
        [f"Volume={DELIVERED}:/run/secrets/key:ro", "[Service]", *OWN, NEW],
    ),
    "an age file": (AGE, ["[Service]", f"ExecStartPre=sh -c 'age -d {OLD}.age > /run/x'", "ExecStart=x"], [*OWN, NEW]),
    "a longer name": (FILE, ["[Service]", f"ExecStart=/bin/x {OLD}2 {OLD}.age /x{OLD} {OLD}/y"], []),
    "a comment": (FILE, ["[Service]", f"# {OLD}"], []),
}  # fmt: skip


@pytest.mark.parametrize("name", UNITS)
def test_a_line_that_names_the_file_names_what_is_delivered(tmp_path: Path, name: str) -> None:
    imported, lines, wanted = UNITS[name]
    folder, file = (
        ("containers/systemd", "web.container")
        if "[Container]" in lines
        else ("systemd/system", "web.service")
    )
    path = tmp_path / "etc" / folder / file
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n")
    (unit,) = unitfiles.services(str(tmp_path))
    assert unit.name == "web.service"
    advice = list(unitlines.advice(unit, imported, COMMAND))
    assert [line for change in advice for line in change.new] == wanted
    assert {change.path for change in advice} <= {str(path)}
    assert [change.old for change in advice if change.number] == [
        lines[change.number - 1] for change in advice if change.number
    ]


def test_the_table_of_the_service_is_toml_whatever_the_names_are(tmp_path: Path) -> None:
    import tomllib

    path = tmp_path / "etc/systemd/system/a:b@.service"
    path.parent.mkdir(parents=True)
    path.write_text("[Service]\nEnvironmentFile=/x/side car.env\n")
    (unit,) = unitfiles.services(str(tmp_path))
    imported = Import("/x/side car.env", {"A": Reference("", 'quo"te'), "B": Reference("pass", "b/c")})
    found = tomllib.loads("\n".join(unitlines.table(unit, imported)))
    values = {"A": 'quo"te', "B": "pass:b/c"}
    assert found == {
        "services": {
            "a-b": {"units": ["a:b@.service"], "files": {"side car.env": {"format": "env", "values": values}}}
        }
    }


TABLES: dict[str, tuple[str, list[str], dict[str, object]]] = {
    "a credential": ("web.service", [f"LoadCredential=k:{OLD}"], {"credentials": {"k": "a"}}),
    "two, in a template": (
        "web@.service",
        [f"LoadCredential=k:{OLD}", f"LoadCredential=a.b:{OLD}"],
        {"units": ["web@.service"], "credentials": {"k": "a", "a.b": "a"}},
    ),
    "a credential and a path": (
        "web.service",
        [f"LoadCredential=k:{OLD}", f"ExecStart=/bin/x {OLD}"],
        {"credentials": {"k": "a"}, "files": {"container-key": {"secret": "a"}}},
    ),
    "a path in a template": (
        "web@.service",
        [f"ExecStart=/bin/x {OLD}"],
        {"units": ["web@.service"], "files": {"container-key": {"secret": "a"}}},
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_what_is_printed_for_vault_toml_is_taken_there_and_gives_it_to_that_unit(
    tmp_path: Path, name: str
) -> None:
    import tomllib

    from tskeyvault import services

    file, lines, wanted = TABLES[name]
    path = tmp_path / "etc/systemd/system" / file
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(["[Service]", *lines, ""]))
    (unit,) = unitfiles.services(str(tmp_path))
    found = tomllib.loads("\n".join(unitlines.table(unit, FILE)))
    assert found == {"services": {"web": wanted}}
    assert services.service("web", found["services"]["web"]).units == (file,)


def test_each_instance_of_a_template_gets_a_directory_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "etc/systemd/system/web@.service"
    path.parent.mkdir(parents=True)
    path.write_text(f"[Service]\nExecStart=/bin/x {OLD}\n")
    (unit,) = unitfiles.services(str(tmp_path))
    (change,) = unitlines.advice(unit, FILE, COMMAND)
    assert change.new == (
        "RuntimeDirectory=%N", "RuntimeDirectoryMode=0700", NEW, "ExecStart=/bin/x /run/%N/container-key",
    )  # fmt: skip


def test_drop_ins_count_after_the_file_and_an_earlier_folder_stands_for_a_later(tmp_path: Path) -> None:
    files = {
        "etc/systemd/system/web.service": "[Service]\nExecStartPre=one\nRuntimeDirectory=a \\\n# not this\n  b\n",
        "usr/lib/systemd/system/web.service": "[Service]\nExecStartPre=never\n",
        "usr/lib/systemd/system/web.service.d/20.conf": "[Service]\nExecStartPre=three\n",
        "etc/systemd/system/web.service.d/10.conf": "[Service]\nExecStartPre=\nExecStartPre=two\n",
        "etc/systemd/system/web.service.d/20.txt": "[Service]\nExecStartPre=never\n",
        "etc/systemd/system/web.socket": "[Service]\nExecStartPre=never\n",
        "etc/systemd/system/multi-user.target.wants/other.service": "[Service]\nExecStartPre=never\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (unit,) = unitfiles.services(str(tmp_path))
    assert [line.value for line in unit.settings("ExecStartPre")] == ["two", "three"]
    assert unit.words("RuntimeDirectory") == ["a", "b"]
    assert [line.number for line in unit.settings("RuntimeDirectory")] == [3]
