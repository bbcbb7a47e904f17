"""What somebody who can commit to the repository tries beyond its ciphertexts: git, ids, folders, variables."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import needs
from support.vaults import Made, made_key, make_vault, run_vault, services

VALUE = b"first value"


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Give a vault, in which the test stands, with the secret ``prod/db``."""
    made = make_vault(tmp_path / "repository/infra")
    monkeypatch.chdir(made.directory)
    assert run_vault("insert", "prod/db", input=VALUE).code == 0
    return made


@pytest.fixture
def target() -> Iterator[Path]:
    """Give a directory on tmpfs."""
    with tempfile.TemporaryDirectory(prefix="tskeyvault-test-", dir="/dev/shm") as path:
        yield Path(path)


def stranger(folder: Path) -> tuple[Path, str]:
    """Return the identity file and the recipient of somebody else."""
    identity = folder / "stranger"
    subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
    said = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True, text=True)
    return identity, said.stdout.strip()


def test_a_committed_bare_repository_runs_nothing(vault: Made, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    (vault.directory / "HEAD").write_text("ref: refs/heads/main\n")
    for name in ("objects", "refs"):
        (vault.directory / name).mkdir()
    command = f"touch {proof}; false"
    (vault.directory / "config").write_text(
        f'[core]\nbare = false\nworktree = "."\nfsmonitor = "{command}"\n'
    )
    done = run_vault("insert", "a/b", input=b"value")
    assert not proof.exists()
    assert done.code in {0, 6}
    assert not [*vault.directory.glob("hooks/*")]


def test_another_vaults_id_brings_none_of_its_approvals(vault: Made, tmp_path: Path) -> None:
    identity, recipient = stranger(tmp_path)
    other = make_vault(tmp_path / "other").directory
    assert run_vault("recipients", "add", recipient, "--vault", other).code == 0
    (ours, theirs) = (
        re.search(r'id = "(\w+)"', (at / "vault.toml").read_text()) for at in (vault.directory, other)
    )
    assert ours
    assert theirs
    text = (vault.directory / "vault.toml").read_text()
    (vault.directory / "vault.toml").write_text(text.replace(ours[1], theirs[1]))
    recipients = "secrets/.age-recipients"
    (vault.directory / recipients).write_text((other / recipients).read_text())

    done = run_vault("insert", "key2", input=b"value")
    assert (done.code, done.out) == (5, b"")
    assert "are not those this host approved" in done.err
    assert not (vault.directory / "secrets/key2.age").exists()
    assert run_vault("show", "prod/db", "-i", identity).code == 5


def test_adding_a_reader_opens_no_folder_whose_own_readers_were_removed(vault: Made, tmp_path: Path) -> None:
    mallory, known = stranger(tmp_path)
    assert run_vault("recipients", "add", known, "--name", "mallory").code == 0
    closed = vault.directory / "secrets/prod/.age-recipients"
    closed.write_text(f"{vault.recipient}\n")
    assert run_vault("recipients", "ack", "--yes").code == 0
    assert run_vault("insert", "prod/db", "--force", input=VALUE).code == 0
    assert run_vault("show", "prod/db", "-i", mallory).code == 4
    before = (vault.directory / "secrets/prod/db.age").read_bytes()
    closed.unlink()

    (tmp_path / "host").mkdir()
    _, host = stranger(tmp_path / "host")
    done = run_vault("recipients", "add", host, "--name", "host")
    assert done.code == 5
    assert "the file is gone" in done.err
    assert (vault.directory / "secrets/prod/db.age").read_bytes() == before
    assert host not in (vault.directory / "secrets/.age-recipients").read_text()


@pytest.mark.parametrize(
    "name", ["BASH_ENV", "ENV", "LD_PRELOAD", "LD_AUDIT", "PYTHONPATH", "NODE_OPTIONS", "PERL5LIB", "PATH", "RUBYOPT", "GIT_SSH"]
)  # fmt: skip
def test_no_secret_becomes_a_variable_that_loads_code(vault: Made, target: Path, name: str) -> None:
    services(
        vault.directory, f'[services.s.files."x.env"]\nformat = "env"\nvalues = {{ {name} = "prod/db" }}\n'
    )
    done = run_vault("materialize", "s", "--directory", target)
    assert (done.code, os.listdir(target)) == (2, [])
    assert f"variable '{name}' can make a program load code" in done.err


@pytest.mark.parametrize("generation", [2**53 - 1, 10**9])
def test_a_forged_generation_does_not_use_up_the_numbers(vault: Made, generation: int) -> None:
    path = vault.directory / "secrets/prod/db.age"
    code = (
        "import sys; from tskeyvault_age import file; from tskeyvault_age.x25519 import X25519Recipient as R\n"
        "sys.stdout.buffer.write(file.encrypt(b'forged', [R.parse(sys.argv[1])], sys.argv[2].encode()))"
    )
    own = run_vault("show", "prod/db")
    assert own.out == VALUE
    state = json.loads(next(Path(os.environ["XDG_STATE_HOME"]).glob("tskeyvault/*.json")).read_text())
    assert state["seen"]["secrets/prod/db.age"][0] == 1
    bound = {
        "vault": next(Path(os.environ["XDG_STATE_HOME"]).glob("tskeyvault/*.json")).stem,
        "name": "prod/db",
    }
    bound |= {"created": "2026-01-01T00:00:00Z", "recipients": "0" * 64}
    binding = json.dumps(
        {**bound, "expires": None, "generation": generation}, sort_keys=True, separators=(",", ":")
    )
    path.write_bytes(_forged(code, vault.recipient, binding))

    refused = run_vault("show", "prod/db")
    assert (refused.code, refused.out) == (5, b"")
    assert f"generation {generation} is not plausible" in refused.err
    assert run_vault("insert", "prod/db", "--force", input=b"again").code == 0
    assert run_vault("show", "prod/db").out == b"again"


def test_a_default_acl_gives_nobody_more_than_the_mode(vault: Made, target: Path) -> None:
    needs.root()
    # struct posix_acl_xattr_header and entries (linux/posix_acl_xattr.h): version 2; u::rwx u:65534:rwx g::- m::rwx o::-
    entries = (
        (0x01, 7, 0xFFFFFFFF),
        (0x02, 7, 65534),
        (0x04, 0, 0xFFFFFFFF),
        (0x10, 7, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    )
    acl = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, bits, who in entries
    )
    target.chmod(0o755)
    os.setxattr(target, "system.posix_acl_default", acl)
    services(vault.directory, '[services.s.files.key]\nsecret = "prod/db"\nmode = "0440"\n')
    assert run_vault("materialize", "s", "--directory", target).code == 0
    assert "system.posix_acl_access" not in os.listxattr(target / "key")
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", str(target / "key")]
    assert subprocess.run(as_nobody, check=False, capture_output=True).stdout == b""


def test_what_is_removed_and_inserted_elsewhere_is_newer_for_all(vault: Made, tmp_path: Path) -> None:
    assert run_vault("insert", "prod/db", "--force", input=b"second").code == 0
    clone = tmp_path / "clone"
    assert run_vault("rm", "prod/db", "--force").code == 0
    subprocess.run(["git", "clone", "-q", vault.directory, clone], check=True)
    elsewhere = {"XDG_STATE_HOME": str(tmp_path / "elsewhere")}
    assert run_vault("recipients", "ack", "--yes", "--vault", clone, env=elsewhere).code == 0
    assert run_vault("insert", "prod/db", "--vault", clone, input=b"third", env=elsewhere).code == 0
    subprocess.run(["git", "pull", "-q", clone, "HEAD"], check=True)
    done = run_vault("show", "prod/db")
    assert (done.code, done.out) == (0, b"third"), done.err


def test_the_repository_of_another_user_is_not_taken_for_none(vault: Made) -> None:
    needs.root()
    top = subprocess.run(["git", "rev-parse", "--show-toplevel"], check=True, capture_output=True, text=True)
    os.chown(top.stdout.strip(), 65534, 65534)
    done = run_vault("insert", "other", input=b"value")
    assert done.code == 6
    assert "dubious ownership" in done.err
    assert vault.directory.exists()


@pytest.mark.parametrize("words", [("insert", "ts/{}"), ("show", " {}"), ("show", "x/{}"), ("materialize", "{}"), ("ls", "--vault", "{}")])  # fmt: skip
def test_a_key_in_the_wrong_place_is_neither_stored_nor_shown(vault: Made, words: tuple[str, ...]) -> None:
    key = made_key().decode()
    done = run_vault(*(word.format(key) for word in words), input=b"value")
    assert done.code in {2, 3}
    assert key not in done.err + done.out.decode()
    assert not [path for path in vault.directory.rglob("*") if key in path.name]


def _forged(code: str, recipient: str, binding: str) -> bytes:
    from support.vaults import run_python

    return run_python("-c", code, recipient, binding).out
