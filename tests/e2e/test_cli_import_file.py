"""``vault import`` out of plain files, environment files and age files: whole or not at all, and nothing else lost."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support import needs
from support.vaults import Made, Result, made_key, make_vault, run_vault

KEY = "tailscale/container-key"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Give an age vault."""
    return make_vault(tmp_path / "vault")


@pytest.fixture
def vault(made: Made) -> Path:
    """Give its directory."""
    return made.directory


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Give the folder of the old method, real path and all."""
    folder = tmp_path.resolve() / "tailscale-keys"
    folder.mkdir(mode=0o700)
    return folder


def bring(vault: Path, *arguments: str | Path) -> Result:
    return run_vault("import", "--vault", vault, *arguments)


def shown(vault: Path, name: str) -> bytes:
    done = run_vault("show", "--vault", vault, name)
    assert done.code == 0, done.err
    return done.out


def names(vault: Path) -> list[str]:
    return run_vault("ls", "--vault", vault).out.decode().split()


def last(vault: Path) -> str:
    argv = ["git", "-C", str(vault), "log", "-1", "--format=%s"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("ending", [b"", b"\n", b"\n\n"])
def test_a_plain_file_is_imported_with_its_exact_bytes(vault: Path, old: Path, ending: bytes) -> None:
    key = made_key() + ending
    (old / "container-key").write_bytes(key)
    done = bring(vault, f"file:{old}/container-key", KEY)
    assert done.code == 0, done.err
    assert shown(vault, KEY) == key
    assert ("ends with a newline, which was kept" in done.err) == bool(ending)
    assert f"copied to '{KEY}', and read back" in done.err
    assert "is still there" in done.err
    assert (old / "container-key").read_bytes() == key
    assert last(vault) == f"Import {KEY}"
    assert key.strip().decode() not in done.err + done.out.decode()


def test_a_folder_gets_the_name_of_the_file_and_force_replaces(vault: Path, old: Path) -> None:
    (old / "container-key").write_bytes(b"one")
    assert bring(vault, f"file:{old}/container-key", "tailscale/").code == 0
    (old / "container-key").write_bytes(b"two")
    again = bring(vault, f"file:{old}/container-key", "tailscale/", "--shred-source")
    assert (again.code, f"secret '{KEY}' exists" in again.err) == (2, True)
    assert (old / "container-key").read_bytes() == b"two"
    assert bring(vault, f"file:{old}/container-key", "tailscale/", "--force").code == 0
    assert shown(vault, KEY) == b"two"


def test_all_variables_of_an_environment_file_become_secrets_and_it_is_shredded(
    vault: Path, old: Path
) -> None:
    path = old / "sidecar.env"
    path.write_text("# for the sidecar\nTS_AUTHKEY='a key'\nOTHER=\"b\\\nc\"\nEMPTY=\n")
    done = bring(vault, f"env:{path}", "tailscale/", "--shred-source")
    assert done.code == 0, done.err
    assert (shown(vault, "tailscale/TS_AUTHKEY"), shown(vault, "tailscale/OTHER")) == (b"a key", b"bc")
    assert names(vault) == ["tailscale/OTHER", "tailscale/TS_AUTHKEY"]
    assert "variable 'EMPTY' is empty: left out" in done.err
    assert "rotate the key" in done.err
    assert list(old.iterdir()) == []


def test_one_variable_is_imported_by_its_name(vault: Path, old: Path) -> None:
    path = old / "sidecar.env"
    path.write_text("TS_AUTHKEY=one\nTS_HOSTNAME=two\n")
    for arguments, message in (
        ((KEY,), "has several variables"),
        ((KEY, "--variable", "NONE"), "has no variable 'NONE'"),
        ((KEY, "--variable", "TS_AUTHKEY", "--shred-source"), "the file also has TS_HOSTNAME"),
    ):
        done = bring(vault, f"env:{path}", *arguments)
        assert (done.code, message in done.err) == (2, True), done.err
    assert bring(vault, f"env:{path}", KEY, "--variable", "TS_AUTHKEY").code == 0
    assert names(vault) == [KEY]
    assert shown(vault, KEY) == b"one"
    assert path.exists()


def test_a_variable_that_vault_toml_refuses_is_refused_before_anything_is_written(
    vault: Path, old: Path
) -> None:
    path = old / "sidecar.env"
    path.write_text("TS_AUTHKEY=one\nPATH=/bin\n")
    done = bring(vault, f"env:{path}", "t/", "--shred-source")
    assert (done.code, "variable 'PATH' can make a program load code" in done.err) == (2, True), done.err
    assert "hint: say it in the unit, Environment=PATH=" in done.err
    assert (names(vault), path.exists()) == ([], True)
    assert bring(vault, f"env:{path}", "t/", "--variable", "TS_AUTHKEY").code == 0


def test_nothing_is_shredded_that_was_not_understood(vault: Path, old: Path) -> None:
    path = old / "sidecar.env"
    path.write_text("A=1\nbare\n")
    done = bring(vault, f"env:{path}", "t/", "--shred-source")
    assert (done.code, "line 2 of the file sets nothing" in done.err) == (2, True)
    assert (names(vault), path.exists()) == ([], True)
    assert "line 2 of the file sets nothing" in bring(vault, f"env:{path}", "t/").err


def test_the_identity_that_opens_the_vault_is_not_shredded(vault: Path) -> None:
    path = Path(os.environ["XDG_CONFIG_HOME"]).resolve() / "tskeyvault/identities"
    before = path.read_bytes()
    done = bring(vault, f"file:{path}", "t/identity", "--shred-source")
    assert (done.code, "is an identity, without which the vault stays closed" in done.err) == (2, True), (
        done.err
    )
    assert (path.read_bytes(), names(vault)) == (before, [])


@pytest.mark.parametrize("armor", [[], ["--armor"]])
def test_an_age_file_is_opened_with_the_users_identity(made: Made, old: Path, armor: list[str]) -> None:
    needs.program("age")
    path = old / "container-key.age"
    argv = ["age", *armor, "-r", made.recipient, "-o", str(path)]
    subprocess.run(argv, input=b"the key\n", check=True)
    done = bring(made.directory, f"age:{path}", "tailscale/")
    assert done.code == 0, done.err
    assert shown(made.directory, KEY) == b"the key\n"
    shredding = bring(made.directory, f"age:{path}", "other", "--shred-source")
    assert (shredding.code, "needs no shredding" in shredding.err) == (2, True)


def test_an_age_file_is_opened_with_an_identity_that_is_named(vault: Path, old: Path, tmp_path: Path) -> None:
    needs.program("age", "age-keygen")
    subprocess.run(["age-keygen", "-o", tmp_path / "id"], check=True, capture_output=True)
    recipient = subprocess.run(
        ["age-keygen", "-y", tmp_path / "id"], check=True, capture_output=True, text=True
    )
    path = old / "k.age"
    subprocess.run(["age", "-r", recipient.stdout.strip(), "-o", path], input=b"key", check=True)
    refused = bring(vault, f"age:{path}", KEY)
    assert (refused.code, names(vault)) == (4, [])
    assert "hint: --identity FILE names what opens it\n" in refused.err
    assert bring(vault, f"age:{path}", KEY, "--identity", tmp_path / "id").code == 0
    assert shown(vault, KEY) == b"key"


def test_an_age_file_that_was_never_written_is_told(vault: Path, old: Path) -> None:
    (old / "k.age").touch()
    done = bring(vault, f"age:{old}/k.age", KEY)
    assert (done.code, "' is empty\nhint: what was to write it" in done.err, names(vault)) == (5, True, [])


def _link(path: Path) -> None:
    (path.parent / "real").write_bytes(b"real")
    path.symlink_to("real")


def _hard_link(path: Path) -> None:
    path.write_bytes(b"real")
    os.link(path, path.parent / "real")


def _huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


PLANTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...], int, str]] = {
    "a link": (_link, (), 5, "leads through a link"),
    "a pipe": (os.mkfifo, (), 5, "not a regular file"),
    "a folder": (Path.mkdir, (), 5, "not a regular file"),
    "nothing": (lambda _path: None, (), 3, "is not there"),
    "an empty file": (Path.touch, (), 2, "an empty secret is refused"),
    "a huge file": (
        _huge,
        (),
        5,
        "is larger than",
    ),
    "two names": (_hard_link, ("--shred-source",), 2, "has 2 names"),
    "a move": (Path.touch, ("--move",), 2, "--shred-source overwrites"),
    "a variable": (Path.touch, ("--variable", "A"), 2, "goes with env:FILE alone"),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_no_plain_file_of_its_own_is_refused_and_stays(vault: Path, old: Path, plant: str) -> None:
    make, arguments, code, message = PLANTS[plant]
    make(old / "key")
    before = sorted(os.listdir(old))
    done = bring(vault, f"file:{old}/key", KEY, *arguments)
    assert (done.code, message in done.err) == (code, True), done.err
    assert (sorted(os.listdir(old)), names(vault)) == (before, [])
    if (old / "real").exists():
        assert (old / "real").read_bytes() == b"real"


def test_a_link_on_the_way_to_the_file_is_not_followed(vault: Path, old: Path) -> None:
    (old / "key").write_bytes(b"key")
    (old.parent / "alias").symlink_to(old)
    done = bring(vault, f"file:{old.parent}/alias/key", KEY, "--shred-source")
    assert (done.code, "realpath" in done.err) == (5, True)
    assert (old / "key").read_bytes() == b"key"


def test_what_cannot_be_written_into_the_vault_is_not_shredded(vault: Path, old: Path) -> None:
    (old / "key").write_bytes(b"key")
    (vault / "secrets/.age-recipients").write_text("age1nonsense\n")
    done = bring(vault, f"file:{old}/key", KEY, "--shred-source")
    assert done.code in {2, 5}
    assert (old / "key").read_bytes() == b"key"


def test_a_secret_of_the_age_plugin_is_still_a_secret_and_not_a_file(vault: Path) -> None:
    done = bring(vault, "age:some/secret", "other")
    assert (done.code, "another program's store" in done.err) == (2, True)
    assert "for a plain file, file:PATH or env:PATH" in done.err


def test_what_the_old_guide_says_of_age_and_a_yubikey_does_not_work() -> None:
    needs.program("age", "ssh-keygen")
    key = Path(os.environ["HOME"]) / "ecdsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", key], check=True)
    done = subprocess.run(
        ["age", "-r", key.with_suffix(".pub").read_text().strip()],
        input=b"x",
        capture_output=True,
        check=False,
    )
    assert (done.returncode, b"unknown recipient type" in done.stderr) == (1, True), done.stderr
