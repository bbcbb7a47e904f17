"""docs/migration.md under a real systemd: each old unit starts, and the new one, and not with a secret that fails.

And what vault doctor says of that machine before and after; and that systemd reads environment files as we do.
"""

import json
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from support import documents
from support.envfiles import FILES
from support.host import RUNS, VAULT, Host, shell
from support.vaults import made_key

PAGE = "docs/migration.md"
VAULT_PROGRAM = "/opt/tskeyvault/bin/vault"
GIT = "GIT_CONFIG_GLOBAL=/srv/team/gitconfig"


class Method(NamedTuple):
    """What one section of the page shows, and what was there before it."""

    before: str
    after: str
    imports: str
    shreds: str
    table: str
    prepare: str
    """Shell: makes what the old unit reads of ``$KEY``."""
    secret: str
    environment: bool = False


PREPARE = {
    "ts-file": "mkdir -p -m 700 /etc/tailscale-keys; umask 077; echo $KEY > /etc/tailscale-keys/container-key",
    "ts-env": "mkdir -p -m 700 /var/lib/tailscale-keys; umask 077; echo TS_AUTHKEY=$KEY > /var/lib/tailscale-keys/sidecar.env",
    "ts-pass": """mkdir -m 700 /srv/gnupg; export GNUPGHOME=/srv/gnupg PASSWORD_STORE_DIR=/srv/password-store
gpg --batch --quiet --passphrase '' --quick-gen-key host future-default default never
pass init host; echo $KEY | pass insert -m tailscale/container-key; gpgconf --kill all""",
    "ts-age": """mkdir -p -m 700 /etc/tailscale-keys; cd /etc/tailscale-keys; umask 077; age-keygen -o identity
echo $KEY | age -r "$(age-keygen -y identity)" -o container-key.age""",
}


def methods() -> dict[str, Method]:
    """Return the sections of the page, by the name of their service."""
    units = documents.texts(PAGE, "ini")
    commands = [text for text in documents.texts(PAGE, "sh") if " import " in text]
    tables = [text for text in documents.texts(PAGE, "toml") if text.startswith("[services.")]
    found = {}
    for name, prepare in PREPARE.items():
        before, after = (text for text in units if text.startswith(f"# /etc/systemd/system/{name}.service\n"))
        table = next(text for text in tables if text.startswith(f"[services.{name}."))
        match = re.search(r'"(migrated/[\w-]+)"', table)
        assert match
        mine = [text for text in commands if match[1] in text]
        shreds = next((text for text in mine if "--shred-source" in text), "")
        imports = next(text for text in mine if text != shreds)
        environment = "--environment" in before
        found[name] = Method(before, after, imports, shreds, table, prepare, match[1], environment)
    return found


METHODS = methods()


@pytest.fixture(scope="module")
def ready(host: Host) -> Iterator[Host]:
    """Give the machine as the page begins: its clone has approved who reads, and knows where the store of pass is."""
    approve = documents.texts(PAGE, "sh")[0]
    shell(host.machine, f"export {GIT}; cd /; {approve}")
    (config,) = (text for text in documents.texts(PAGE, "toml") if text.startswith("[plugins.pass]"))
    host.machine.write("/etc/tskeyvault/config.toml", config)
    git = f"export {GIT}; git -C {VAULT}"
    before = shell(host.machine, f"{git} rev-parse HEAD")
    yield host
    # What was imported is in this clone alone: the next that is pulled would not fit.
    shell(
        host.machine, f"{git} reset --quiet --hard {before}\n{git} clean -fdq; rm /etc/tskeyvault/config.toml"
    )


def doctor(host: Host, *checks: str) -> list[dict[str, str]]:
    """Return what doctor finds on the machine."""
    argv = ("env", GIT, VAULT_PROGRAM, "--vault", VAULT, "doctor", "--json", *checks)
    done = host.machine.run(*argv, check=False)
    report = json.loads(done.stdout)
    assert report["not_checked"] == {}, report
    assert done.returncode == (1 if report["findings"] else 0)
    return [dict(finding) for finding in report["findings"]]


def about(host: Host, thing: str, *checks: str) -> list[dict[str, str]]:
    """Return what of it is about *thing*."""
    return [
        finding for finding in doctor(host, *checks) if thing in f"{finding['thing']} {finding['message']}"
    ]


def prove(host: Host, name: str, text: str) -> str:
    """Start a unit that has to start; return what it proves to have read, and stop it."""
    outcome = host.start(f"{name}.service", text)
    assert outcome.ok, outcome.journal
    proof = host.proof(f"{name}.service").sha256
    host.stop(f"{name}.service")
    return proof


def test_a_unit_that_nixos_made_is_changed_in_its_configuration(ready: Host) -> None:
    """NixOS links to its units, which lie where nobody changes them."""
    made = "/nix/store/0-unit-nixed.service/nixed.service"
    ready.machine.write(made, "[Service]\nEnvironmentFile=/srv/nixed.env\nExecStart=/bin/true\n")
    ready.machine.write("/srv/nixed.env", "TS_AUTHKEY=x\n", 0o600)
    link = "/etc/systemd/system/nixed.service"
    argv = (VAULT_PROGRAM, "--vault", VAULT, "import", "--no-commit", "env:/srv/nixed.env", "migrated/nixed")
    shell(ready.machine, f"ln -s {made} {link}")
    try:
        done = ready.machine.run(*argv)
    finally:
        shell(ready.machine, f"rm -r {link} /nix/store/0-unit-nixed.service /srv/nixed.env")
        shell(ready.machine, f"rm {VAULT}/secrets/migrated/nixed.age")
    assert f"{link}:2\n  - EnvironmentFile=/srv/nixed.env\n" in done.stdout
    assert "hint: NixOS makes these units: change its configuration" in done.stderr
    assert "daemon-reload" not in done.stderr


def test_every_block_of_the_page_is_run() -> None:
    blocks = documents.blocks(PAGE)
    counted = {
        language: sum(block.language == language for block in blocks)
        for language in ("ini", "toml", "sh", "text")
    }
    assert counted == {
        "ini": 2 * len(METHODS),
        "toml": len(METHODS) + 1,
        "sh": 1 + len(METHODS) + 2,
        "text": 1,
    }
    assert sum(counted.values()) == len(blocks)


@pytest.mark.parametrize("name", METHODS)
def test_the_old_unit_becomes_the_new_one_which_does_not_start_with_a_secret_that_fails(
    ready: Host, name: str
) -> None:
    host, method = ready, METHODS[name]
    shell(host.machine, f"KEY={shlex.quote(made_key().decode())}\n{method.prepare}")
    old = prove(host, name, method.before)
    if name == "ts-pass":
        assert "(gpg-agent)" in host.machine.journal(f"{name}.service")  # which stayed behind

    done = host.machine.run("sh", "-euc", f"export {GIT}; {method.imports}")
    printed = done.stdout.splitlines()
    if name == "ts-file":
        assert done.stdout == documents.texts(PAGE, "text")[0]
    if name != "ts-pass":  # whose script names no file
        assert about(host, name, "unit-files") != []
        wanted = [*method.after.splitlines()[2:], *method.table.splitlines()]
        new = [line[4:] for line in printed if line.startswith("  + ")]
        assert set(new) <= set(wanted)
        assert not {line[4:] for line in printed if line.startswith("  - ")} & set(wanted)
        assert set(wanted) - set(new) <= set(method.before.splitlines())

    shell(host.machine, f"cat >> {VAULT}/vault.toml <<'EOF'\n\n{method.table}EOF\n")
    assert prove(host, name, method.after) == old
    assert about(host, name, "unit-files", "unit-clean-up") == []

    ciphertext = f"{VAULT}/secrets/{method.secret}.age"
    host.machine.run("mv", ciphertext, f"{ciphertext}.away")
    outcome = host.start(f"{name}.service", method.after)
    assert (outcome.ok, outcome.start_pre_status, RUNS in outcome.journal) == (False, 3, False), (
        outcome.journal
    )
    assert not host.machine.path(f"/run/{name}").exists()
    host.machine.run("mv", f"{ciphertext}.away", ciphertext)
    host.stop(f"{name}.service")

    if method.shreds:
        said = host.machine.run("sh", "-euc", f"export {GIT}; {method.shreds}").stderr
        assert "overwrote and removed /" in said
        assert prove(host, name, method.after) == old
    assert (
        host.machine.run("systemctl", "show", "--property=ActiveState", name).stdout
        == "ActiveState=inactive\n"
    )


def test_the_old_script_of_pass_starts_with_an_empty_key_when_pass_fails(ready: Host) -> None:
    before = METHODS["ts-pass"].before.replace("tailscale/container-key", "tailscale/none")
    before = before.replace("ts-pass", "ts-empty")
    outcome = ready.start("ts-empty.service", before)
    assert outcome.ok, outcome.journal
    assert (
        ready.proof("ts-empty.service").sha256
        == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    ready.stop("ts-empty.service")


def test_a_unit_that_leaves_its_keys_gets_what_cleans_up(ready: Host) -> None:
    unit = f"""[Service]
ExecStartPre=+/usr/bin/mkdir -p -m 0700 /run/stays
ExecStartPre=+{VAULT_PROGRAM} --vault {VAULT} materialize three --directory /run/stays
ExecStart=/usr/local/bin/sidecar /run/stays/first
"""
    assert ready.start("stays.service", unit).ok
    assert about(ready, "/run/stays", "run-leftovers") == []  # it runs
    ready.stop("stays.service")
    (left,) = about(ready, "/run/stays", "run-leftovers")
    assert "'three'" in left["message"]
    shell(ready.machine, left["repair"])
    assert list(ready.machine.path("/run/stays").iterdir()) == []
    (finding,) = about(ready, "stays.service", "unit-clean-up")
    shell(ready.machine, finding["repair"])
    assert about(ready, "stays", "unit-clean-up", "run-leftovers") == []
    assert ready.machine.start("stays.service").ok
    ready.stop("stays.service")
    assert list(ready.machine.path("/run/stays").iterdir()) == []


SAID = {
    "authentication key invalid": "has expired, or was for one use",
    "Unauthorized": "the key may not do this",
    "device already exists": "another one has this host name",
}


def test_what_tailscale_said_in_the_journal_is_explained_until_the_unit_starts_well(ready: Host) -> None:
    key = made_key().decode()
    for number, message in enumerate(SAID):
        # The key is put together by the program, and logged as a careless one would.
        script = f"#!/bin/sh\necho 'backend error: {message}: {key[:12]}'{key[12:]}\nexit 1\n"
        ready.machine.write(f"/usr/local/bin/says-{number}", script, 0o755)
        unit = f"[Service]\nType=oneshot\nExecStart=/usr/local/bin/says-{number}\n"
        ready.machine.unit(f"tailscale-{number}.service", unit)
        assert ready.machine.run("systemctl", "start", f"tailscale-{number}", check=False).returncode == 1
        # What a program writes can reach the journal after its end: --sync does not wait for that.
        heard = (
            f"error: {message}" in ready.machine.journal(f"tailscale-{number}.service") for _ in range(200)
        )
        assert any(heard)
    found = {finding["thing"]: finding for finding in doctor(ready, "tailscale")}
    for number, means in enumerate(SAID.values()):
        assert means in found[f"tailscale-{number}.service"]["message"]
    assert key not in json.dumps(found)
    for number in range(len(SAID)):
        ready.machine.unit(
            f"tailscale-{number}.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\n"
        )
        repair = found[f"tailscale-{number}.service"]["repair"].partition("then: ")[2]
        assert ("insert --force NAME && " in repair) == (number < 2)
        shell(ready.machine, repair.rpartition("&& ")[2])
    assert doctor(ready, "tailscale") == []


def test_systemd_reads_environment_files_as_we_do(ready: Host) -> None:
    machine = ready.machine
    machine.run("mkdir", "-p", "/srv/env", "/srv/out")
    for name, (text, _) in FILES.items():
        machine.path(f"/srv/env/{name}").write_bytes(text)
    machine.unit(
        "reads@.service",
        "[Service]\nType=oneshot\nEnvironmentFile=/srv/env/%i\nExecStart=/bin/cp /proc/self/environ /srv/out/%i\n",
    )
    machine.run("systemctl", "start", *(f"reads@{name}" for name in FILES))
    for name, (_, values) in FILES.items():
        data = machine.path(f"/srv/out/{name}").read_bytes()
        variables = dict(entry.partition(b"=")[::2] for entry in data.split(b"\0") if entry)
        ours = {key: value for key, value in variables.items() if len(key) == 1 or key == b"TS_AUTHKEY"}
        assert ours == {key.encode(): value for key, value in values.items()}, name
