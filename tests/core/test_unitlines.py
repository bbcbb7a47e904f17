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
        [*OWN, NEW, f"ExecStart=/bin/x {DELIVERED} {DELIVERED}"],
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
    path.write_text(f"[Service]\nEnvironmentFile={OLD}\n")
    (unit,) = unitfiles.services(str(tmp_path))
    imported = Import("/x/side car.env", {"A": Reference("", 'quo"te'), "B": Reference("pass", "b/c")})
    found = tomllib.loads("\n".join(unitlines.table(unit, imported)))
    values = {"A": 'quo"te', "B": "pass:b/c"}
    assert found == {"services": {"a-b": {"files": {"side car.env": {"format": "env", "values": values}}}}}


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
