"""``vault hooks refresh``: the hooks know the vault's values and the plugins' patterns, and nobody learns them there."""

import os
import secrets
import shutil
import signal
import string
from pathlib import Path

import pytest

from support.guarded import assert_silent
from support.repositories import Repository
from support.vaults import SOURCES, Result, made_key, make_vault, run_python

FILES = (f"own-{os.geteuid()}", f"own-{os.geteuid()}.key")


def password() -> bytes:
    """Return a random value that looks like nothing that the hooks know."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(20)).encode()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Give a vault with hooks."""
    make_vault(tmp_path / "vault")
    made = Repository.__new__(Repository)
    made.directory, made._git = tmp_path / "vault", "git"
    done(made, "hooks", "install")
    return made


def done(
    repository: Repository, *arguments: str, data: bytes = b"", env: dict[str, str] | None = None
) -> Result:
    result = repository.vault(*arguments, data=data, env=env)
    assert result.code == 0, result.err
    return result


def state(repository: Repository) -> Path:
    return repository.directory / ".git/vault"


def blocked(repository: Repository, text: bytes, *, env: dict[str, str] | None = None) -> str:
    """Commit *text*, which has to fail without showing it; return what was said."""
    repository.add("leak", b"x = '" + text + b"'\n")
    refused = repository.attempt("commit", "--message", "change", env=env)
    assert refused.code == 1
    assert_silent(refused, text)
    repository.git("rm", "--quiet", "--force", "leak")
    return refused.err


def test_a_value_of_the_vault_is_stopped_once_it_is_known(repository: Repository) -> None:
    value = password()
    done(repository, "insert", "web/password", data=value)
    before = repository.git("rev-parse", "HEAD")
    repository.add("leak", value)
    repository.git("commit", "--quiet", "--message", "change")
    repository.git("reset", "--quiet", "--hard", before)
    assert "vault: the hooks know 1 of 1 values\n" in done(repository, "hooks", "refresh").err
    said = blocked(repository, value)
    assert "  leak:1: value of secret 'web/password' " in said
    message = repository.attempt("commit", "--allow-empty", "--message", f"now {value.decode()}")
    assert message.code == 1
    assert "vault: commit-msg: 1 key found" in message.err


def test_words_with_spaces_are_stopped_in_a_message_too(repository: Repository) -> None:
    words = b" ".join(secrets.token_hex(3).encode() for _ in range(8))
    done(repository, "insert", "phrase", data=words)
    done(repository, "hooks", "refresh")
    refused = repository.attempt("commit", "--allow-empty", "--message", f"it is {words.decode()}")
    assert refused.code == 1
    assert "vault: commit-msg: 1 key found" in refused.err
    done(repository, "rm", "--force", "phrase")
    done(repository, "hooks", "refresh")
    assert not list(state(repository).glob("slow*"))
    repository.git("commit", "--quiet", "--allow-empty", "--message", f"it was {words.decode()}")


def test_what_is_known_lies_in_gits_own_directory_for_this_user_alone(repository: Repository) -> None:
    value = password()
    done(repository, "insert", "web/password", data=value)
    status = repository.git("status", "--porcelain", "--ignored")
    done(repository, "hooks", "refresh")
    assert repository.git("status", "--porcelain", "--ignored") == status
    assert {(state(repository) / name).stat().st_mode & 0o777 for name in FILES} == {0o600}
    for path in state(repository).rglob("*"):
        assert path.is_dir() or value[:8] not in path.read_bytes()
    done(repository, "hooks", "uninstall")
    assert not state(repository).exists()


def test_each_refresh_forgets_the_one_before(repository: Repository) -> None:
    old, new = password(), password()
    done(repository, "insert", "name", data=old)
    done(repository, "hooks", "refresh")
    key = (state(repository) / FILES[1]).read_bytes()
    done(repository, "insert", "--force", "name", data=new)
    done(repository, "hooks", "refresh")
    assert (state(repository) / FILES[1]).read_bytes() != key
    blocked(repository, new)
    repository.commit("old", old)


def test_what_is_left_out_is_named_and_why(repository: Repository, tmp_path: Path) -> None:
    done(repository, "insert", "good", data=password())
    done(repository, "insert", "short", data=b"hunter2")
    done(repository, "insert", "damaged", data=password())
    path = repository.directory / "secrets/damaged.age"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    result = done(repository, "hooks", "refresh")
    assert "vault: the hooks know 1 of 3 values\n" in result.err
    assert "secret 'short' is too short or too simple to be told from other text: left out" in result.err
    assert "secret 'damaged' is left out: " in result.err
    none = done(repository, "hooks", "refresh", env={"XDG_CONFIG_HOME": str(tmp_path / "nowhere")})
    assert "vault: the hooks know 0 of 3 values\n" in none.err
    assert none.err.count("is left out: ") == 3


def test_without_a_vault_there_is_nothing_to_learn(tmp_path: Path) -> None:
    plain = Repository(tmp_path / "plain")
    done(plain, "hooks", "install")
    before = sorted(state(plain).rglob("*"))
    result = plain.vault("hooks", "refresh")
    assert result.code == 3
    assert sorted(state(plain).rglob("*")) == before


def test_another_repository_can_learn_the_values_of_a_vault(repository: Repository, tmp_path: Path) -> None:
    value = password()
    done(repository, "insert", "name", data=value)
    program = Repository(tmp_path / "program")
    done(program, "hooks", "install")
    done(program, "hooks", "refresh", "--vault", str(repository.directory))
    assert "value of secret 'name'" in blocked(program, value)


@pytest.mark.parametrize("name", [*FILES, "patterns"])
@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "gone", "a folder"])
def test_what_is_damaged_lets_nothing_pass_until_it_is_made_anew(
    name: str, damage: str, repository: Repository, demo: dict[str, str]
) -> None:
    done(repository, "insert", "name", data=password())
    done(repository, "hooks", "refresh", env=demo)
    path = state(repository) / name
    data = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "gone":
        changed = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
        path.write_bytes({"cut": data[:-9], "changed": changed, "empty": b""}[damage])
    repository.add("clean")
    refused = repository.attempt("commit", "--message", "change")
    if (name, damage) == ("patterns", "gone"):
        assert refused.code == 0  # there may be none
        return
    assert refused.code == 1
    assert "so nothing passes\nhint: vault hooks refresh\n" in refused.err
    if damage == "a folder":
        path.rmdir()
    done(repository, "hooks", "refresh", env=demo)
    repository.git("commit", "--quiet", "--message", "change")


KILLED = """
import os, signal, sys
from tskeyvault.cli import main
left, rename = int(sys.argv[1]), os.rename
def dying(*arguments, **options):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    rename(*arguments, **options)
os.rename = dying
sys.exit(main(["hooks", "refresh"]))
"""


def test_whenever_a_refresh_is_killed_no_known_value_passes(
    repository: Repository, demo: dict[str, str]
) -> None:
    old, new = password(), password()
    done(repository, "insert", "name", data=old)
    done(repository, "hooks", "refresh", env=demo)
    done(repository, "insert", "--force", "name", data=new)
    backup = repository.directory.parent / "state"
    shutil.copytree(state(repository), backup, symlinks=True)
    codes: list[int] = []
    while 0 not in codes:
        shutil.rmtree(state(repository))
        shutil.copytree(backup, state(repository), symlinks=True)
        codes.append(run_python("-c", KILLED, str(len(codes)), env=demo, cwd=repository.directory).code)
        repository.add("leak", old + b"\n" + new)  # of which one is known at any time, or nothing passes
        assert repository.attempt("commit", "--message", "change").code == 1
        done(repository, "hooks", "refresh", env=demo)
        blocked(repository, new)
    assert codes[:-1] == [-signal.SIGKILL] * (len(codes) - 1)
    assert len(codes) > 2


# Plugins.


@pytest.fixture
def demo(tmp_path: Path) -> dict[str, str]:
    """Install the plugin of ``tests/third_party`` for this user, and configure it; give what finds it."""
    packages = tmp_path / "packages"
    packages.mkdir()
    shutil.copy(SOURCES / "tests/third_party/tskeyvault_demo/tskeyvault_demo.py", packages)
    info = packages / "tskeyvault_demo-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tskeyvault-demo\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[tskeyvault.plugins]\ndemo = tskeyvault_demo:Plugin\n")
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "tskeyvault/config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    before = config.read_text() if config.exists() else ""
    config.write_text(f'{before}\n[plugins.demo]\nkey_file = "{tmp_path}/passphrase"\n')
    (tmp_path / "passphrase").write_bytes(made_key())
    return {"PYTHONPATH": str(packages)}


def token() -> bytes:
    return b"demo_token_" + secrets.token_hex(16).encode()


@pytest.mark.parametrize("verb", ["install", "refresh"])
def test_what_a_plugin_knows_is_looked_for_without_it(
    verb: str, repository: Repository, demo: dict[str, str]
) -> None:
    repository.commit("before", token())
    done(repository, "hooks", verb, env=demo)
    assert "  leak:1: Demo token " in blocked(repository, token())
    refused = repository.attempt("commit", "--allow-empty", "--message", token().decode())
    assert refused.code == 1
    found = repository.vault("scan", "--stdin", data=token())
    assert found.code == 1
    repository.commit("clean")


def test_a_plugin_that_is_no_longer_named_is_forgotten(repository: Repository, demo: dict[str, str]) -> None:
    done(repository, "hooks", "refresh", env=demo)
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "tskeyvault/config.toml"
    config.write_text(config.read_text().partition("[plugins.demo]")[0])
    done(repository, "hooks", "refresh")
    repository.commit("after", token())


def test_a_plugin_that_is_gone_is_said_before_anything_changes(
    repository: Repository, demo: dict[str, str]
) -> None:
    done(repository, "hooks", "refresh", env=demo)
    before = {path: path.read_bytes() for path in state(repository).iterdir() if path.is_file()}
    for verb in ("install", "refresh"):
        result = repository.vault("hooks", verb)
        assert result.code == 6
        assert "plugin 'demo' is not installed" in result.err
    assert {path: path.read_bytes() for path in state(repository).iterdir() if path.is_file()} == before
    blocked(repository, token())
