"""The documents do what they say: every fenced block of README.md and docs/ is run."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import documents, needs
from support.documents import CHECKOUT, shell
from support.host import DOCUMENT, KEY, Host
from support.vaults import made_key, make_vault, run_vault
from tskeyvault import local
from tskeyvault.binding import Binding
from tskeyvault.materialize import manifest
from tskeyvault_hooks import allow

README, FORMAT, HOOKS, TUTORIAL = "README.md", "docs/format.md", "docs/hooks.md", "docs/plugins.md"
TEAMS = "docs/gpg-teams.md"
STORES = "docs/pass.md"
PODMAN = "docs/podman.md"
DEMO, TESTS = "sh docs/demo.sh\n", "sh tests/run.sh\n"


@pytest.fixture
def memory() -> Iterator[Path]:
    """Give an empty directory in memory, as a session of a user has one."""
    with tempfile.TemporaryDirectory(prefix="tskeyvault-docs-", dir="/dev/shm") as path:
        yield Path(path)


def test_no_document_has_a_block_that_nobody_runs() -> None:
    # sh: below for the README, by the fixture "host" for the other; ini: test_systemd_units.py, which counts
    # them; toml: all of them, by the fixture "host"; a block without a language is a drawing.
    run = {(README, "sh"), (README, "toml"), (README, "ini"), (README, "")}
    run |= {(DOCUMENT, "sh"), (DOCUMENT, "toml"), (DOCUMENT, "ini")}
    run |= {(TUTORIAL, "sh"), (TUTORIAL, "toml"), (TUTORIAL, "python")}  # test_docs_plugins.py
    run |= {(FORMAT, "text"), (FORMAT, "json"), (FORMAT, "toml")}  # below
    run |= {(HOOKS, "sh"), (HOOKS, "text")}  # test_docs_hooks.py
    run |= {(TEAMS, "sh"), (TEAMS, "toml"), (TEAMS, "ini")}  # test_docs_gpg.py, test_systemd_gpg.py
    run |= {(STORES, "sh"), (STORES, "toml"), (STORES, "ini")}  # test_docs_pass.py, test_systemd_gpg.py
    run |= {("docs/nixos.md", "nix")}  # test_nixos_modules.py, and test_nixos_systemd.py
    run |= {(PODMAN, "sh"), (PODMAN, "toml"), (PODMAN, "ini")}  # test_podman.py, test_docker.py
    run |= {
        ("docs/migration.md", language) for language in ("sh", "toml", "ini", "text")
    }  # test_migration.py
    run |= {("docs/yubikey.md", "sh")}  # test_docs_yubikey.py
    found = {
        (block.document, block.language) for name in documents.names() for block in documents.blocks(name)
    }
    assert found == run
    assert documents.texts(README, "sh")[:2] == [DEMO, TESTS]
    (drawing,) = documents.texts(README, "")
    assert "┌" in drawing


def test_the_demo_shows_the_main_job_and_leaves_nothing(tmp_path: Path, memory: Path) -> None:
    needs.program("git")
    work = tmp_path / "work"
    work.mkdir()
    before = sorted(os.listdir(os.environ["HOME"]))
    done = shell(DEMO, cwd=CHECKOUT, TMPDIR=str(work), XDG_RUNTIME_DIR=str(memory))
    said = done.stdout.decode()
    assert done.returncode == 0, said + done.stderr.decode()
    owner = r"\S+:\S+"
    assert re.search(rf"^drwx------ {owner} {memory}/vault-demo\.\w+$", said, re.MULTILINE)
    for file in ("tskey", r"sidecar\.env"):
        assert re.search(rf"^-r-------- {owner} {memory}/vault-demo\.\w+/{file}$", said, re.MULTILINE)
    assert re.search(r"^tmpfs$", said, re.MULTILINE)
    assert "the plain key is nowhere in git's history" in said
    # All of a key but its ends would be longer than what the demo shows of it.
    assert not re.search(r"tskey-\w+-\w+CNTRL-\w{8}", said)
    assert (list(work.iterdir()), list(memory.iterdir())) == ([], [])
    assert sorted(os.listdir(os.environ["HOME"])) == before


def test_the_script_that_runs_the_tests_is_a_shell_script() -> None:
    script = TESTS.split()[1]
    assert subprocess.run(["sh", "-n", CHECKOUT / script], check=False).returncode == 0


def test_what_the_readme_does_in_use_works_as_one_session(tmp_path: Path) -> None:
    needs.program("git")
    key = made_key()
    bob = {name: str(tmp_path / "bob") for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")}
    Path(bob["HOME"]).mkdir()
    recipient = run_vault("keygen", env=bob).out.decode().strip()
    remote = tmp_path / "remote/infra.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", remote], check=True)
    with Path(os.environ["GIT_CONFIG_GLOBAL"]).open("a") as config:  # the server of the document
        config.write(f'[url "{remote.parent}/"]\n\tinsteadOf = git@example.org:team/\n')
    before, shared, his, daily, hooks = documents.texts(README, "sh")[2:]
    shared, replaced = re.subn(r"age1[0-9a-z]{58}", recipient, shared)
    assert replaced == 1

    mine = shell(f"{before}\n{shared}", cwd=tmp_path, data=key)
    theirs = shell(his, cwd=Path(bob["HOME"]), data=b"", **bob)
    later = shell(daily, cwd=tmp_path / "infra")
    guarded = shell(hooks, cwd=tmp_path / "infra")
    for done in (mine, theirs, later, guarded):
        assert done.returncode == 0, done.stderr.decode()
        assert key not in done.stderr
    assert f"{KEY}\n" in mine.stdout.decode()
    assert (mine.stdout.count(key), theirs.stdout.count(key), later.stdout.count(key)) == (1, 1, 0)
    assert f"  {recipient}  Bob" in theirs.stdout.decode()
    assert KEY in later.stdout.decode()  # to be rotated
    vault = tmp_path / "infra"
    (vault / "notes").write_bytes(run_vault("show", "web/cookie-key", cwd=vault).out)
    blocked = shell("git add notes && git commit -m x", cwd=vault)
    assert b"notes:1: value of secret 'web/cookie-key' " in blocked.stderr
    shell("git rm --cached notes && rm notes", cwd=vault)
    assert key not in b"".join(path.read_bytes() for path in vault.rglob("*") if path.is_file())
    status = subprocess.run(["git", "status", "--porcelain"], check=True, cwd=vault, capture_output=True)
    assert status.stdout == b""


def test_the_commands_for_a_new_host_say_what_the_document_says(host: Host) -> None:
    keygen, clone, listed, check, *changed, key, _enabled, encrypted = host.said
    assert changed == ["", "", ""]  # nothing is delivered yet
    assert "credentials host key set up" in key
    assert re.search(r"^age1[0-9a-z]{58}$", keygen, re.MULTILINE)
    assert "Cloning into '/srv/vault'" in clone
    assert f"{KEY}\n" in listed
    assert "can be delivered to /run/sidecar: tskey, sidecar.env" in check
    info = host.machine.path("/etc/tskeyvault/identities").stat()
    assert (info.st_mode, info.st_uid) == (0o100600, 0)
    assert re.search(r"^age1[0-9a-z]{58}$", encrypted, re.MULTILINE)


def test_every_service_that_the_documents_describe_can_be_delivered(host: Host) -> None:
    tables = "".join(text for name in (README, DOCUMENT) for text in documents.texts(name, "toml"))
    names = set(re.findall(r"^\[services\.([\w-]+)\.", tables, re.MULTILINE))
    assert names == {"sidecar", "tailscale-sidecar", "web"}
    for name in names:
        assert "can be delivered to" in host.vault("--vault", "/srv/vault", "materialize", name, "--check")


def test_the_format_is_what_is_written(tmp_path: Path) -> None:
    made = make_vault(tmp_path / "vault")
    assert (
        run_vault("insert", "tailscale/container-key", "--vault", made.directory, input=made_key()).code == 0
    )
    written = {str(path.relative_to(made.directory)) for path in made.directory.rglob("*") if path.is_file()}
    tree, stanza, allowed = documents.texts(FORMAT, "text")
    shown = set(tree.split())
    assert {path for path in written if not path.startswith(".git/")} <= shown
    head = (made.directory / "secrets/tailscale/container-key.age").read_bytes()
    assert stanza.splitlines()[0].encode() in head.splitlines()
    assert allow.render(allow.parse(allowed.encode())) == allowed.encode()
    *others, ordered = documents.texts(FORMAT, "json")
    assert manifest.parse(ordered.encode(), "the page").units == ("web.service",)
    binding, state = map(json.loads, others)
    assert set(binding) == set(Binding._fields)
    (kept,) = Path(os.environ["XDG_STATE_HOME"]).glob("tskeyvault/*.json")
    assert set(json.loads(kept.read_text())) == set(state)


def test_the_local_configuration_of_the_format_is_read(tmp_path: Path) -> None:
    config = tmp_path / "config/tskeyvault/config.toml"
    config.parent.mkdir(parents=True)
    (text,) = documents.texts(FORMAT, "toml")
    config.write_text(text)
    found = local.load({"XDG_CONFIG_HOME": str(tmp_path / "config")})
    assert (found.vault, found.commit, found.plugins) == ("/srv/vault", True, {"age": {}})
