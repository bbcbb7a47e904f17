"""docs/pass.md does what it says: its blocks are run, one after the other."""

import os
import subprocess
import sys
from pathlib import Path

from support import documents, gpg, needs, passes
from support.vaults import make_vault, services
from tskeyvault import config

PAGE = "docs/pass.md"


def test_the_blocks_of_the_page_work_one_after_the_other(tmp_path: Path) -> None:
    needs.program("gpg", "pass", "git", "tree")
    with gpg.homes() as homes:
        store = passes.Store(tmp_path / "store", gpg.person(homes, "Reader"))
        store.run_pass("init", store.who.fingerprint)
        (tmp_path / "key").write_bytes(b"a value\n")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        for block in documents.texts(PAGE, "sh"):
            done = subprocess.run(
                ["sh", "-euc", block],
                cwd=tmp_path,
                env={**os.environ, **store.environment, "PATH": path},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        assert done.stdout.endswith("db/password\ntailscale/container-key\na value\n")


def test_the_service_of_the_page_is_one(tmp_path: Path) -> None:
    vault = make_vault(tmp_path / "vault").directory
    (text,) = documents.texts(PAGE, "toml")
    services(vault, text)
    (file,) = config.parse((vault / "vault.toml").read_bytes()).service("tailscale-sidecar").files
    assert str(file.secret) == "pass:tailscale/container-key"
