"""docs/gpg-teams.md does what it says: every block is run, by whom it names, one after the other."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import documents, gpg, needs
from tskeyvault import local

PAGE = "docs/gpg-teams.md"
SECONDS = 120
PEOPLE = ("Alice", "Bob", "Carol", "web1")
PINENTRY = """\
#!/bin/sh
# Enters the same passphrase, whatever it is for.
echo OK
while read -r word _; do
    [ "$word" = GETPIN ] && echo 'D correct horse'
    echo OK
done
"""


@pytest.fixture
def homes() -> Iterator[Path]:
    """Give a folder with a home of gpg for each of them, where somebody enters a passphrase."""
    needs.program("gpg", "git", "awk")
    with gpg.homes() as folder:
        for name in PEOPLE:
            (folder / name).mkdir(mode=0o700)
            pinentry = folder / name / "pinentry"
            pinentry.write_text(PINENTRY)
            pinentry.chmod(0o755)
            (folder / name / "gpg-agent.conf").write_text(f"pinentry-program {pinentry}\n")
        yield folder


class Session:
    """The folders of all four, and a server for git that is called as in the document."""

    def __init__(self, root: Path, homes: Path):
        self._root, self._homes = root, homes
        remote = root / "remote/infra.git"
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", remote], check=True)
        with Path(os.environ["GIT_CONFIG_GLOBAL"]).open("a") as config:
            config.write(f'[url "{remote.parent}/"]\n\tinsteadOf = git@example.org:team/\n')
        for name in PEOPLE:
            (root / name).mkdir()

    def run(self, script: str, who: str) -> subprocess.CompletedProcess[str]:
        """Run *script* as *who*; everybody then has the key files that there are."""
        folder = self._root / who
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        own = {"HOME": folder, "XDG_CONFIG_HOME": folder / ".config", "XDG_STATE_HOME": folder / ".state"}
        environment = {name: str(value) for name, value in own.items()} | {
            "PATH": path,
            "GNUPGHOME": str(self._homes / who),
        }
        done = subprocess.run(
            ["sh", "-euc", script],
            check=False,
            capture_output=True,
            text=True,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            timeout=SECONDS,
        )
        for file in folder.glob("*.asc"):
            for name in PEOPLE:
                if not (self._root / name / file.name).exists():
                    shutil.copy(file, self._root / name)
        return done


def test_the_blocks_of_the_page_work_one_after_the_other(tmp_path: Path, homes: Path) -> None:
    session = Session(tmp_path, homes)
    said = []
    for block in documents.texts(PAGE, "sh"):
        who = block.partition("\n")[0].removeprefix("# ")
        done = session.run(block, who)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        said.append(f"{done.stdout}{done.stderr}")
    making, _, _, _, adding, approving, server, leaving, renewing = said
    assert "it is read by" in making
    assert adding.count("can read 2 secrets") == 2
    assert "web1 <root@web1.example.org> can read 1 secret" in adding
    assert "Carol <carol@example.org>" in approving
    assert server
    assert "rotate 1 secret" in leaving
    assert "Bob <bob@example.org>" in renewing

    for name, secret, code in (
        ("web1", "db/password", 4),
        ("Carol", "db/password", 4),
        ("Bob", "web/session-key", 0),
    ):
        script = f"rm -rf infra; git clone -q git@example.org:team/infra.git; cd infra; vault show {secret}"
        assert session.run(script, name).returncode == code
    keys = sorted((tmp_path / "Bob/infra/secrets/.public-keys").iterdir())
    assert len(keys) == 3


def test_the_configuration_of_the_page_is_one(tmp_path: Path) -> None:
    (text,) = documents.texts(PAGE, "toml")
    settings = tmp_path / "tskeyvault/config.toml"
    settings.parent.mkdir()
    settings.write_text(text)
    found = local.load({"XDG_CONFIG_HOME": str(tmp_path)})
    assert found.plugins == {"gpg": {"passphrase_file": "/root/gpg-passphrase", "home": "/root/.gnupg"}}
