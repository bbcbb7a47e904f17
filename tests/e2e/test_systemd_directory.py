"""A directory or a file in it that is not as it should be: the unit fails, or the plant leads nowhere."""

import pytest

from support.faults import assert_delivered, assert_refused, contents, start
from support.host import RUNS, Host, shell


def test_the_unit_fails_without_a_directory_and_is_told_what_makes_one(host: Host, name: str) -> None:
    outcome = start(host, name, "User=root")
    assert_refused(host, name, outcome, 7, "directory /run/sidecar", "hint: RuntimeDirectory=sidecar")


@pytest.mark.parametrize("limit", ["size=12k", "nr_inodes=4"])
def test_the_old_files_stand_when_tmpfs_is_full(host: Host, name: str, limit: str) -> None:
    directory = f"/run/{name}"
    shell(host.machine, f"mkdir {directory}; mount -t tmpfs -o {limit},mode=0700 tmpfs {directory}")
    old = ("tskey", "sidecar.env") if limit.startswith("nr") else ("tskey", "sidecar.env", "other")
    shell(host.machine, f"cd {directory}; for file in {' '.join(old)}; do printf old > $file; done")
    outcome = start(host, name, "User=root", command=f"materialize sidecar --directory {directory}")
    assert_refused(
        host, name, outcome, 7, f"directory {directory}: no space left on device", f"df -i {directory}"
    )
    assert contents(host.machine.path(directory)) == dict.fromkeys(old, "old")


def test_nothing_stands_when_tmpfs_was_filled_by_the_first_of_two(host: Host, name: str) -> None:
    lines = (
        f"RuntimeDirectory={name}",
        f"ExecStartPre=mount -t tmpfs -o size=4k,mode=0700 tmpfs /run/{name}",
    )
    outcome = start(host, name, *lines)
    assert (outcome.ok, outcome.start_pre_status) == (False, 7), outcome.journal
    assert "no space left on device" in outcome.journal
    assert RUNS not in outcome.journal
    assert contents(host.machine.path(f"/run/{name}")) == {}


def test_the_old_files_stand_in_a_directory_that_is_read_only(host: Host, name: str) -> None:
    directory = f"/run/{name}"
    shell(host.machine, f"mkdir -m 0700 {directory}; printf old > {directory}/tskey")
    shell(host.machine, f"mount --bind {directory} {directory}; mount -o remount,bind,ro {directory}")
    outcome = start(host, name, "User=root", command=f"materialize sidecar --directory {directory}")
    assert_refused(host, name, outcome, 7, "read-only file system")
    assert contents(host.machine.path(directory)) == {"tskey": "old"}


PLANTS = {
    "a symbolic link": "ln -sf /run/{name}-victim/file tskey",
    "a dangling link": "ln -sf /run/{name}-victim/none tskey",
    "a hard link": "ln -f /run/{name}-victim/file tskey",
    "a pipe": "rm -f tskey; mkfifo tskey",
    "a file for all": "rm -f tskey; echo mine > tskey; chmod 0666 tskey",
    "a forged record": "rm .vault.sidecar; echo '{{\"../{name}-victim/file\": [[1, 1]]}}' > .vault.sidecar",
    "a link as the record": "ln -sf /run/{name}-victim/file .vault.sidecar",
}


@pytest.mark.parametrize("plant", PLANTS)
def test_what_the_service_plants_is_replaced_and_leads_nowhere(host: Host, name: str, plant: str) -> None:
    lines = ("User=sidecar", f"RuntimeDirectory={name}", "RuntimeDirectoryPreserve=yes")
    assert_delivered(host, name, start(host, name, *lines))
    host.stop(f"{name}.service")
    victim = host.machine.path(f"/run/{name}-victim")
    # The directory is the attacker's, so that fs.protected_hardlinks is not what stops the hard link.
    shell(
        host.machine,
        f"install -d -o sidecar {victim_of(name)}; install -m 0644 /dev/null {victim_of(name)}/file",
    )
    shell(host.machine, f"printf untouched > {victim_of(name)}/file; chown sidecar {victim_of(name)}/file")
    script = PLANTS[plant].format(name=name)
    shell(
        host.machine, f"cd /run/{name}; exec setpriv --reuid=sidecar --clear-groups sh -euc '{quote(script)}'"
    )
    shell(host.machine, f"chown root:root {victim_of(name)}/file")
    assert_delivered(host, name, start(host, name, *lines))
    info = (victim / "file").stat()
    assert contents(victim) == {"file": "untouched"}
    assert (info.st_mode, info.st_uid, info.st_gid, info.st_nlink) == (0o100644, 0, 0, 1)
    target = host.machine.path(f"/run/{name}/tskey").lstat()
    assert (target.st_mode, target.st_nlink) == (0o100400, 1)
    shell(host.machine, f"rm -r {victim_of(name)}")


def victim_of(name: str) -> str:
    return f"/run/{name}-victim"


def quote(script: str) -> str:
    return script.replace("'", "'\\''")


def test_a_directory_that_is_a_link_is_not_followed(host: Host, name: str) -> None:
    shell(host.machine, f"mkdir -m 0700 /run/{name} /run/{name}/real; ln -s real /run/{name}/link")
    command = f"materialize sidecar --directory /run/{name}/link"
    outcome = start(host, name, "User=root", command=command)
    assert_refused(host, name, outcome, 5, "leads through a link")
    assert contents(host.machine.path(f"/run/{name}/real")) == {}


def test_a_directory_behind_a_link_is_not_reached(host: Host, name: str) -> None:
    shell(host.machine, f"mkdir -p -m 0700 /run/{name}/real/deep; ln -s real /run/{name}/link")
    command = f"materialize sidecar --directory /run/{name}/link/deep"
    outcome = start(host, name, "User=root", command=command)
    assert_refused(host, name, outcome, 5, "leads through a link")
    assert contents(host.machine.path(f"/run/{name}/real/deep")) == {}


@pytest.mark.parametrize("mode", ["0777", "0770", "1777"])
def test_the_unit_fails_when_others_may_write_its_directory(host: Host, name: str, mode: str) -> None:
    lines = ("DynamicUser=yes", f"RuntimeDirectory={name}", f"RuntimeDirectoryMode={mode}")
    outcome = start(host, name, *lines)
    assert_refused(
        host, name, outcome, 7, f"'/run/{name}' can be written by others", f"chmod go-w '/run/{name}'"
    )


def test_the_unit_fails_when_others_may_write_above_its_directory(host: Host, name: str) -> None:
    shell(host.machine, f"mkdir -m 0777 /run/{name}; mkdir -m 0700 /run/{name}/inner; chmod 0777 /run/{name}")
    command = f"materialize sidecar --directory /run/{name}/inner"
    outcome = start(host, name, "User=root", command=command)
    assert_refused(host, name, outcome, 7, f"'/run/{name}' can be written by others")
    assert contents(host.machine.path(f"/run/{name}/inner")) == {}


def test_a_disk_is_refused_and_can_be_allowed(host: Host, name: str) -> None:
    directory = f"/var/lib/{name}"
    lines = ("User=root", f"StateDirectory={name}", "StateDirectoryMode=0700")
    command = f"materialize sidecar --directory {directory}"
    outcome = start(host, name, *lines, command=command)
    assert_refused(host, name, outcome, 7, f"'{directory}' is not on tmpfs", "--allow-disk")
    assert contents(host.machine.path(directory)) == {}
    outcome = start(host, name, *lines, command=f"{command} --allow-disk", key=f"{directory}/tskey")
    assert_delivered(host, name, outcome)
    host.machine.run("rm", "-r", directory)


def test_the_unit_fails_when_a_directory_lies_where_a_file_should_be(host: Host, name: str) -> None:
    shell(host.machine, f"mkdir -m 0700 /run/{name} /run/{name}/tskey")
    outcome = start(host, name, "User=root", command=f"materialize sidecar --directory /run/{name}")
    assert_refused(host, name, outcome, 7, "'tskey' is a directory")
    assert list(host.machine.path(f"/run/{name}").iterdir()) == [host.machine.path(f"/run/{name}/tskey")]


def test_the_unit_fails_for_an_owner_that_the_host_does_not_know(host: Host, name: str) -> None:
    outcome = start(host, name, command="materialize stranger")
    assert_refused(host, name, outcome, 7, "no user 'nosuchuser'")


def test_a_directory_of_two_units_goes_with_the_first_and_the_doctor_warns_of_it(
    host: Host, name: str
) -> None:
    other = f"{name}-other.service"
    assert_delivered(host, name, start(host, name, "User=root", f"RuntimeDirectory={name}"))
    host.machine.unit(other, f"[Service]\nRuntimeDirectory={name}\nExecStart=sleep infinity\n")
    host.machine.run("systemctl", "start", other)
    said = host.machine.run("/opt/tskeyvault/bin/vault", "doctor", "unit-directory", check=False)
    host.stop(other)
    host.machine.path(f"/etc/systemd/system/{other}").unlink()
    assert (said.returncode, f"{name}.service: loses its keys when {other} stops" in said.stdout) == (1, True)
    assert not host.machine.path(f"/run/{name}").exists()
