"""The units of docs/pass.md and docs/gpg-teams.md under a real systemd: they start with their key, or not at all."""

import hashlib
from collections.abc import Iterator

import pytest

from support import documents, needs
from support.faults import assert_refused
from support.host import Host, shell
from support.vaults import made_key

PAGES = {"sidecar-pass": "docs/pass.md", "sidecar-gpg": "docs/gpg-teams.md"}
VAULT = "/opt/tskeyvault/bin/vault"
ENTRY = "/root/.password-store/tailscale/container-key.gpg"
THEIRS = "/root/.gnupg /root/.password-store /root/gpg-passphrase"
GPG = "/usr/bin/gpg"
STATE = "/var/lib/tskeyvault"
SESAME = "open sesame"
KEY = "gpg --batch --quiet --pinentry-mode loopback --passphrase '{}' --quick-generate-key {} future-default default never"
TO = "gpg --batch --quiet --yes --trust-model always --output"
MADE = f"""
export HOME=/root GNUPGHOME=/root/.gnupg XDG_CONFIG_HOME=/srv/gpg/config XDG_STATE_HOME=/srv/gpg/state
export GIT_CONFIG_GLOBAL=/srv/team/gitconfig
rm -rf /root/.gnupg /root/.password-store /srv/gpg; mkdir -m 0700 /root/.gnupg; mkdir /srv/gpg
{KEY.format("", "open@example.invalid")}
{KEY.format(SESAME, "locked@example.invalid")}
printf '{SESAME}\\n' > /root/gpg-passphrase; chmod 0600 /root/gpg-passphrase
pass init open@example.invalid >/dev/null
mkdir /root/.password-store/tailscale
cat > /srv/gpg/value
{TO} {ENTRY} --recipient open@example.invalid --encrypt /srv/gpg/value
{VAULT} init --backend age /srv/gpg/passing
cat /srv/gpg/passing/vault.toml - > /srv/gpg/toml <<'END'
{{service}}
END
cp /srv/gpg/toml /srv/gpg/passing/vault.toml
{VAULT} init --backend gpg --recipient locked@example.invalid /srv/gpg/team
{VAULT} --vault /srv/gpg/team insert key < /srv/gpg/value
printf '[services.sidecar.files.tskey]\\nsecret = "key"\\n' >> /srv/gpg/team/vault.toml
gpgconf --kill all; rm /srv/gpg/value
"""
VAULTS = {"sidecar-pass": "/srv/gpg/passing", "sidecar-gpg": "/srv/gpg/team"}


@pytest.fixture(scope="module", autouse=True)
def value(host: Host) -> Iterator[str]:
    """Give what the store and the gpg vault of the machine's root hold, once they are made."""
    needs.program("gpg", "pass", "tree")
    value = made_key().decode() + host.mark
    (service,) = documents.texts("docs/pass.md", "toml")
    host.machine.run("sh", "-euc", MADE.format(service=service), input=value)
    yield value
    shell(host.machine, f"rm -rf {THEIRS} /srv/gpg")


@pytest.fixture
def unit(host: Host, name: str, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Give a name for the documented unit and its text; what was changed of its secrets is put back in the end."""
    which = str(request.param)
    text = documents.units(PAGES[which])[f"{which}.service"]
    shell(
        host.machine, f"mkdir /srv/kept; chmod --reference=/root /srv/kept; cp -a {THEIRS} {STATE} /srv/kept"
    )
    yield name, text.replace("/srv/vault", VAULTS[which]).replace(which, name)
    assert "gpg-agent" not in host.machine.run("ps", "-eo", "comm").stdout
    again = (
        f"rm -rf {THEIRS} {STATE}; mv /srv/kept/tskeyvault {STATE}; cp -a /srv/kept/. /root; rm -r /srv/kept"
    )
    shell(host.machine, f"[ ! -e {GPG}.kept ] || mv {GPG}.kept {GPG}; {again}")


@pytest.mark.parametrize("unit", sorted(PAGES), indirect=True)
def test_the_service_starts_with_its_key(host: Host, unit: tuple[str, str], value: str) -> None:
    name, text = unit
    outcome = host.start(f"{name}.service", text)
    assert outcome.ok, outcome.journal
    proof = host.proof(f"{name}.service")
    assert (proof.sha256, proof.mode) == (hashlib.sha256(value.encode()).hexdigest(), 0o400)
    assert SESAME not in host.machine.journal()


FAULTS = {
    "sidecar-pass": {
        "an entry that is missing": (f"rm {ENTRY}", 3, "container-key"),
        "a store that is missing": ("rm -r /root/.password-store", 3, "there is no pass store"),
        "an empty entry": (
            f"{TO} {ENTRY} --recipient open@example.invalid --encrypt /dev/null", 7, "is empty",
        ),
        "a key that is locked": (
            f"echo x | {TO} {ENTRY} --recipient locked@example.invalid --encrypt", 4, "pinentry",
        ),
        "a gpg that fails": (f"mv {GPG} {GPG}.kept; cp /bin/false {GPG}", 6, "gpg failed without a reason"),
        "a home of gpg that is missing": ("rm -r /root/.gnupg", 4, "not encrypted to a key of yours"),
        "a damaged entry": (f"truncate -s -1 {ENTRY}", 5, "secret 'tailscale/container-key': "),
    },
    "sidecar-gpg": {
        "a wrong passphrase": ("echo wrong > /root/gpg-passphrase", 4, "secret 'key': the passphrase is wrong"),
        "no passphrase": ("echo > /root/gpg-passphrase", 4, "does not hold a passphrase"),
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("unit", "fault"), [(which, fault) for which in FAULTS for fault in FAULTS[which]], indirect=["unit"]
)
def test_the_service_does_not_start_for(host: Host, unit: tuple[str, str], fault: str) -> None:
    name, text = unit
    script, status, message = next(faults[fault] for faults in FAULTS.values() if fault in faults)
    shell(host.machine, f"export GNUPGHOME=/root/.gnupg; {script}")
    assert_refused(host, name, host.start(f"{name}.service", text), status, message)


SANDBOXES = {
    "ProtectHome=yes": "gpg cannot work: its home '/root/.gnupg' is not there",
    "ProtectHome=read-only": "no gpg-agent can be started: its home '/root/.gnupg' is read-only",
    "User=daemon": "gpg cannot work: its home '/root/.gnupg' cannot be entered by user 1",
}


@pytest.mark.parametrize("line", SANDBOXES)
@pytest.mark.parametrize("unit", ["sidecar-gpg"], indirect=True)
def test_a_home_that_the_unit_takes_away_is_what_is_named(
    host: Host, unit: tuple[str, str], line: str
) -> None:
    name, text = unit
    outcome = host.start(f"{name}.service", text.replace("[Service]", f"[Service]\n{line}"))
    assert_refused(host, name, outcome, 6, SANDBOXES[line])
