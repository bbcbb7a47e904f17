"""``vault doctor`` in a clone: one thing is broken, it is found, its repair is run as printed, and all is quiet."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support import needs
from support.documents import CHECKOUT
from support.nested import nested
from support.terminal import Terminal
from support.vaults import PATH, Result, copy_world, made_key, make_vault, run_python, run_vault
from tskeyvault.doctor import CHECKS as ALL_CHECKS

CHECKS = ("identities", "vault", "recipients", "readers", "expiry", "plugins", "work-tree", "hooks")
"""Those that this host, whatever it is, has no part in."""


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a home and a vault, made once, in which all is well."""
    world = tmp_path_factory.mktemp("world").resolve()
    names = {"HOME": "home", "XDG_CONFIG_HOME": "home/config", "XDG_STATE_HOME": "home/state"}
    for folder in names.values():
        (world / folder).mkdir(mode=0o700, exist_ok=True)
    git = "[user]\n\tname = T\n\temail = t@example.org\n"
    (world / "home/.gitconfig").write_text(git)
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in names.items():
            patch.setenv(name, str(world / folder))
        patch.setenv("GIT_CONFIG_GLOBAL", str(world / "home/.gitconfig"))
        vault = make_vault(world / "vault").directory
        assert run_vault("insert", "--vault", vault, "tailscale/key", input=made_key()).code == 0
        assert run_vault("hooks", "install", cwd=vault).code == 0
        yield world


@pytest.fixture
def vault(healthy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a copy of that vault, in whose home the test is."""
    world = tmp_path.resolve() / "world"
    copy_world(healthy, world)
    for name, folder in {
        "HOME": "home",
        "XDG_CONFIG_HOME": "home/config",
        "XDG_STATE_HOME": "home/state",
    }.items():
        monkeypatch.setenv(name, str(world / folder))
    # As one who has installed it: repairs name the program by its path.
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert run_vault("hooks", "install", cwd=world / "vault").code == 0  # those of where it was are of there
    return world / "vault"


def doctor(vault: Path, *arguments: str) -> Result:
    return run_vault("doctor", "--vault", vault, *(arguments or CHECKS))


def findings(vault: Path, *checks: str) -> list[dict[str, str]]:
    done = doctor(vault, "--json", *(checks or CHECKS))
    report = json.loads(done.out)
    assert report["not_checked"] == {}
    assert done.code == (1 if report["findings"] else 0), done.err
    return [dict(found) for found in report["findings"]]


def _identity() -> Path:
    return Path(os.environ["XDG_CONFIG_HOME"]) / "tskeyvault/identities"


def _stranger() -> str:
    env = {
        name: str(Path(os.environ["HOME"]) / "other")
        for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
    }
    return run_vault("keygen", env=env).out.decode().strip()


def _recipient(vault: Path) -> None:
    with (vault / "secrets/.age-recipients").open("a") as file:
        file.write(f"# a stranger\n{_stranger()}\n")


def _approved_recipient(vault: Path) -> None:
    _recipient(vault)
    assert run_vault("recipients", "ack", "--yes", "--vault", vault).code == 0


def _expiring(vault: Path, when: str) -> None:
    done = run_vault("insert", "--force", "--vault", vault, "--expires", when, "tailscale/key", input=b"x")
    assert done.code == 0, done.err


def _hook(vault: Path) -> None:
    (vault / ".git/hooks/pre-commit").write_text("#!/bin/sh\n")


class Broken(NamedTuple):
    """One thing that is wrong in a clone."""

    do: Callable[[Path], object]
    check: str
    thing: str
    message: str


BROKEN = {
    "an identity that others read": Broken(lambda _: _identity().chmod(0o644), "identities", "identities", "mode 0644"),
    "a folder that others write": Broken(
        lambda _: _identity().parent.chmod(0o777), "identities", "tskeyvault", "lets others exchange"
    ),
    "a recipient that nobody approved": Broken(
        _recipient, "recipients", "secrets/.age-recipients", "other recipients than this host has approved: + age1"
    ),
    "a secret for those before": Broken(_approved_recipient, "readers", "tailscale/key", "encrypted to other recipients"),
    "a secret that expires": Broken(lambda it: _expiring(it, "5d"), "expiry", "tailscale/key", "expires in 4 days"),
    "a plain key nobody committed": Broken(
        lambda it: (it / "note").write_bytes(made_key() + b"\n"), "work-tree", "/note", "holds a key in plain: "
    ),
    "a plain key that git ignores": Broken(
        lambda it: [(it / name).write_bytes(data) for name, data in ((".gitignore", b"note\n"), ("note", made_key()))],
        "work-tree", "/note", "in line 1",
    ),
    "a hook of somebody else": Broken(_hook, "hooks", "vault", "pre-commit: "),
}  # fmt: skip


def _repair(command: str) -> None:
    """Run what was printed, as somebody would: on a terminal, with a new value where one is asked for."""
    if "recipients ack" in command:
        with Terminal(program=("sh", "-euc", command)) as terminal:
            terminal.expect("[y/N]")
            terminal.type(b"y\n")
            assert terminal.end() == 0, terminal.seen
        return
    subprocess.run(
        ["sh", "-euc", command], check=True, input=made_key(), timeout=60, cwd="/", capture_output=True
    )


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found_and_its_repair_repairs_it(vault: Path, name: str) -> None:
    broken = BROKEN[name]
    broken.do(vault)
    found = [finding for finding in findings(vault, broken.check) if broken.message in finding["message"]]
    assert len(found) == 1, findings(vault)
    assert found[0]["check"] == broken.check
    assert found[0]["thing"].endswith(broken.thing)
    _repair(found[0]["repair"])
    assert findings(vault, broken.check) == []


def test_all_is_quiet_where_all_is_well_and_also_in_a_dirty_or_unborn_repository(vault: Path) -> None:
    (vault / "new").write_text("not committed")
    (vault / "secrets/.age-recipients").chmod(0o600)
    assert findings(vault) == []
    subprocess.run(["git", "update-ref", "-d", "HEAD"], cwd=vault, check=True)
    assert findings(vault) == []


def test_a_secret_that_has_expired_and_one_that_is_damaged_are_told_apart(vault: Path) -> None:
    (vault / "secrets/tailscale/key.age").write_bytes(b"damaged")
    (vault / "secrets/stray.age").symlink_to("tailscale/key.age")
    told = {(it["check"], it["thing"]): it["message"] for it in findings(vault, "vault", "readers", "expiry")}
    assert set(told) == {("readers", "tailscale/key"), ("vault", "stray.age")}


def test_a_vault_that_cannot_be_read_is_a_finding_and_the_host_is_still_checked(vault: Path) -> None:
    (vault / "vault.toml").write_text("nonsense")
    _identity().chmod(0o640)
    done = doctor(vault, "vault", "identities", "expiry", "--json")
    report = json.loads(done.out)
    assert (done.code, [it["check"] for it in report["findings"]]) == (1, ["identities", "vault"])
    assert list(report["not_checked"]) == ["expiry"]
    assert "vault.toml" in report["findings"][1]["message"]


def test_no_vault_and_no_git_are_no_findings(vault: Path, tmp_path: Path) -> None:
    done = run_vault("doctor", "vault", "hooks", cwd=tmp_path)
    assert (done.code, "not checked: hooks: no vault here or above" in done.err) == (0, True)
    named = run_vault("doctor", "--vault", tmp_path)
    assert (named.code, "holds no vault.toml" in named.err) == (3, True)
    (vault / ".git").rename(tmp_path / "git")
    (vault / "note").write_bytes(made_key())
    done = run_vault("doctor", "hooks", "work-tree", "--vault", vault)
    assert (done.code, "not checked: hooks: the vault is in no git work tree" in done.err) == (1, True)
    assert b"work-tree: " in done.out


def test_what_is_said_and_the_exit_code_are_for_people_too(vault: Path) -> None:
    _identity().chmod(0o644)
    done = doctor(vault, "identities", "expiry")
    path = _identity()
    said = f"identities: {path}: mode 0644 lets others in\n  repair: chmod go= {shlex.quote(str(path))}\n"
    assert (done.code, done.out.decode()) == (1, said)
    assert done.err == "vault: 2 checks: 1 finding\n"
    path.chmod(0o600)
    assert doctor(vault, "identities").err == "vault: 1 checks: nothing found\n"


def test_the_checks_are_listed_and_a_wrong_name_is_told(vault: Path) -> None:
    listed = [line.split()[0] for line in doctor(vault, "--list").out.decode().splitlines()]
    assert set(CHECKS) < set(listed)
    assert list(json.loads(doctor(vault, "--list", "--json").out)) == listed
    done = doctor(vault, "identies")
    assert (done.code, "hint: did you mean 'identities'" in done.err) == (2, True)


def test_hostile_files_beside_the_vault_do_not_hold_it_up(vault: Path) -> None:
    key = made_key()
    os.mkfifo(vault / "pipe")
    (vault / "loop").symlink_to("loop")
    (vault / "out").symlink_to("/")
    (vault / "huge").touch()
    os.truncate(vault / "huge", 1 << 40)
    hostile = vault / "a\nb\x1b[2J"
    hostile.write_bytes(b"key = " + key)
    done = doctor(vault, "work-tree")
    assert done.code == 1
    assert b"a\\nb\\x1b[2J: holds a key in plain" in done.out
    assert b"-inum" in done.out
    assert f"work-tree: files that were not looked at: 1 larger than 64 MiB, as '{vault}/huge'" in done.err
    assert key not in done.out + done.err.encode()
    assert b"\x1b" not in done.out


def test_folders_in_folders_in_folders_hide_nothing(vault: Path) -> None:
    (vault / "b").mkdir()
    too_long_for_a_path = 2100
    with nested(vault, 1500) as last, nested(vault / "b", too_long_for_a_path):
        with open(os.open("key", os.O_WRONLY | os.O_CREAT, dir_fd=last), "wb") as file:
            file.write(made_key())
        done = doctor(vault, "work-tree")
    assert (done.code, done.out.count(b"holds a key in plain")) == (1, 1), done.err
    assert "not looked at: 1 cannot be read" in done.err


def test_a_file_that_cannot_be_read_hides_none_that_comes_after_it(vault: Path) -> None:
    (vault / "a").touch(mode=0)
    (vault / "b").write_bytes(made_key())
    bare = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    if bare:
        needs.program("setpriv")
    argv = [*bare, sys.executable, "-m", "tskeyvault", "--vault", str(vault), "doctor", "work-tree"]
    env = {**os.environ, "PYTHONPATH": PATH}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1, done.stderr
    assert f"{vault}/b: holds a key in plain" in done.stdout
    assert f"files that were not looked at: 1 cannot be read, as '{vault}/a'" in done.stderr


PLUGIN = """
import time
from tskeyvault.spec import Finding, hookimpl

@hookimpl
def vault_check():
    {body}
"""


def _plugin(vault: Path, folder: Path, body: str) -> dict[str, str]:
    """Install a plugin of a third party that the vault uses; return the environment that has it."""
    (folder / "weak-1.dist-info").mkdir(parents=True)
    (folder / "weak-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: weak\nVersion: 1\n")
    (folder / "weak-1.dist-info/entry_points.txt").write_text("[tskeyvault.plugins]\nweak = weak_plugin\n")
    (folder / "weak_plugin.py").write_text(PLUGIN.format(body=body))
    with (vault / "vault.toml").open("a") as file:
        file.write('[services.x.files.a]\nsecret = "weak:a"\n')
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return (Finding('its key is weak', 'make another'),)", "its key is weak"),
        ("raise RuntimeError('the value')", "vault_check failed with RuntimeError"),
        ("return 'nonsense'", "vault_check returned str, not tuple"),
        ("import os; os.kill(os.getpid(), 9)", "its check ended without a word"),
    ],
)
def test_what_a_plugin_finds_and_that_it_fails_are_findings(
    vault: Path, tmp_path: Path, body: str, message: str
) -> None:
    env = _plugin(vault, tmp_path / "site", body)
    done = run_vault("doctor", "--vault", vault, "plugins", "expiry", env=env)
    assert done.code == 1
    assert f"plugins: weak: {message}" in done.out.decode()
    assert b"the value" not in done.out + done.err.encode()
    assert "2 checks: 1 finding\n" in done.err


def test_a_plugin_that_hangs_is_a_finding_and_the_next_check_is_made(vault: Path, tmp_path: Path) -> None:
    body = "while True:\n        try: time.sleep(600)\n        except BaseException: pass"
    env = _plugin(vault, tmp_path / "site", body)
    short = (
        "import sys; from tskeyvault.doctor import plugins as p; p.SECONDS = p.GRACE = 0.2; "
        "from tskeyvault.cli import main; sys.exit(main())"
    )
    done = run_python("-c", short, "doctor", "--vault", vault, "plugins", "expiry", "--json", env=env)
    (finding,) = json.loads(done.out)["findings"]
    assert (done.code, finding["check"], finding["thing"]) == (1, "plugins", "weak")
    assert "did not end within 0.2 s" in finding["message"]


def test_every_check_and_every_message_of_tailscale_is_in_the_page_on_troubleshooting() -> None:
    page = (CHECKOUT / "docs/troubleshooting.md").read_text()
    checks = page.partition("## The container")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", checks, re.MULTILINE) == list(ALL_CHECKS)
    for message in ("authentication key invalid", "unauthorized", "device already exists"):
        assert f"| `{message}` |" in page
