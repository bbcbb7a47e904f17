"""Hooks that were there before ours: what they find around themselves is what they found before."""

import os
import shutil
from pathlib import Path

import pytest

from support import witness
from support.installing import blocks, vault
from support.repositories import Repository

DISPATCHER = """\
#!/bin/sh
echo "${{0##*/}} $*" >>'{log}'
"""
LOOKING = """\
#!/bin/sh
. "$(dirname "$0")/_/helper.sh"
. "$(dirname -- "$0")/../../scripts/more.sh"
. "$(cd "$(dirname "$0")" && pwd)/beside.sh"
. "$(dirname "$(readlink -f "$0")")/beside.sh"
. "$(git rev-parse --git-dir)/hooks/beside.sh"
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def commit(repository: Repository) -> None:
    repository.git("commit", "--quiet", "--allow-empty", "--message", "change")


def lines(log: Path) -> list[str]:
    found = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return found


@pytest.mark.parametrize("made", ["copies", "links", "links to one of them"])
def test_a_program_that_looks_at_what_it_is_called_still_knows(
    made: str, repository: Repository, tmp_path: Path
) -> None:
    hooks = repository.directory / ".git/hooks"
    text = DISPATCHER.format(log=tmp_path / "log")
    script(hooks / {"links to one of them": "pre-commit"}.get(made, "dispatcher"), text)
    for event in ("pre-commit", "commit-msg", "post-commit"):
        if made == "copies":
            script(hooks / event, text)
        elif not (hooks / event).exists():
            (hooks / event).symlink_to("dispatcher" if made == "links" else "pre-commit")
    before = witness.everything(repository.directory / ".git")
    commit(repository)
    expected = lines(tmp_path / "log")
    assert expected == ["pre-commit ", "commit-msg .git/COMMIT_EDITMSG", "post-commit "]
    for _ in range(2):
        vault(repository, "install")
        commit(repository)
        assert lines(tmp_path / "log") == expected
    vault(repository, "uninstall")
    assert witness.everything(repository.directory / ".git") == before


def test_what_a_hook_looks_for_around_itself_is_there(
    repository: Repository, tmp_path: Path, key: bytes
) -> None:
    hooks, log = repository.directory / ".git/hooks", tmp_path / "log"
    script(hooks / "pre-commit", LOOKING)
    for path in (hooks / "_/helper.sh", hooks / "beside.sh", repository.directory / "scripts/more.sh"):
        script(path, f"echo {path.name} >>'{log}'\n")
    (hooks / "commit-msg").symlink_to("../../scripts/message")
    script(repository.directory / "scripts/message", f"#!/bin/sh\necho message >>'{log}'\n")
    commit(repository)
    expected = lines(log)
    assert expected == ["helper.sh", "more.sh", *["beside.sh"] * 3, "message"]
    before = witness.everything(repository.directory / ".git")
    vault(repository, "install")
    commit(repository)
    assert lines(log) == expected
    blocks(repository, key)
    script(hooks / "late.sh", "")
    (hooks / "beside.sh").rename(tmp_path / "beside.sh")
    vault(repository, "install")
    kept = hooks.with_name("hooks.pre-vault")
    assert sorted(path.name for path in kept.iterdir()) == ["_", "commit-msg", "late.sh", "pre-commit"]
    (tmp_path / "beside.sh").rename(hooks / "beside.sh")
    (hooks / "late.sh").unlink()
    vault(repository, "uninstall")
    assert witness.everything(repository.directory / ".git") == before


def test_without_others_hooks_nothing_is_put_beside_them(repository: Repository) -> None:
    script(repository.directory / ".git/hooks/helper.sh", "")
    script(repository.directory / ".git/hooks/post-commit", "#!/bin/sh\n")
    vault(repository, "install")
    assert not (repository.directory / ".git/hooks.pre-vault").exists()


def test_a_folder_of_hooks_that_is_a_link_is_written_nothing_into(
    repository: Repository, tmp_path: Path, key: bytes
) -> None:
    hooks, log = repository.directory / ".git/hooks", tmp_path / "log"
    shutil.rmtree(hooks)
    hooks.symlink_to("../scripts")
    for event in ("pre-commit", "post-commit"):
        script(repository.directory / "scripts" / event, DISPATCHER.format(log=log))
    before = witness.everything(repository.directory)
    shared = witness.everything(repository.directory / "scripts")
    for _ in range(2):
        vault(repository, "install")
        assert repository.vault("hooks", "status").code == 0
        commit(repository)
        assert lines(log) == ["pre-commit ", "post-commit "]
        assert "pre-commit: 1 key found" in blocks(repository, key)
        assert witness.everything(repository.directory / "scripts") == shared
        lines(log)
    script(hooks / "pre-push", "#!/bin/sh\n")  # another program, later
    during = witness.everything(repository.directory)
    for verb in ("install", "uninstall"):
        done = repository.vault("hooks", verb)
        assert done.code == 6
        assert f"'{hooks}/pre-push' is " in done.err
        assert f"where '{hooks}.pre-vault' leads" in done.err
        assert witness.everything(repository.directory) == during
    (hooks / "pre-push").unlink()
    vault(repository, "uninstall")
    assert witness.everything(repository.directory) == before


# Frameworks, which keep the hook that they find as NAME.legacy and run it.

FRAMEWORK = """\
#!/bin/sh
# File generated by pre-commit: https://pre-commit.com
echo "{name} ${{0##*/}}" >>'{log}'
here=$(dirname "$0")
if [ -x "$here/pre-commit.legacy" ]; then "$here/pre-commit.legacy" || exit; fi
"""


def framework(repository: Repository, log: Path, name: str = "framework") -> None:
    """Do what ``pre-commit install`` does."""
    hook = repository.directory / ".git/hooks/pre-commit"
    if hook.exists() and "File generated" not in hook.read_text():
        hook.rename(hook.with_name("pre-commit.legacy"))
    script(hook, FRAMEWORK.format(log=log, name=name))


@pytest.mark.parametrize(
    "order",
    ["f v", "f v f", "f v f v", "v f", "v f v", "v f v f v", "f v v", "f f v f f v"],
)
def test_a_framework_that_comes_before_or_after_runs_once_and_so_do_all(
    order: str, repository: Repository, tmp_path: Path, key: bytes
) -> None:
    hook, log = repository.directory / ".git/hooks/pre-commit", tmp_path / "log"
    script(hook, f"#!/bin/sh\necho own >>'{log}'\n")
    expected = ["own"]
    for step in order.split():
        if step == "f":
            framework(repository, log)
            expected = ["framework", "own"]
        else:
            vault(repository, "install")
        commit(repository)
        assert sorted(line.split()[0] for line in lines(log)) == expected
    assert "1 key found" in blocks(repository, key)
    lines(log)
    vault(repository, "uninstall")
    assert repository.attempt("hook", "run", "pre-commit").code == 0
    assert sorted(line.split()[0] for line in lines(log)) == ["framework", "own"]
    assert "File generated" in hook.read_text()
    found = {path.name for path in hook.parent.iterdir() if not path.name.endswith(".sample")}
    assert found == {"pre-commit", "pre-commit.legacy"}
    assert not hook.parent.with_name("hooks.pre-vault").exists()


def test_a_hook_that_took_our_place_stays_and_the_one_that_we_kept_too(
    repository: Repository, tmp_path: Path
) -> None:
    hook = repository.directory / ".git/hooks/pre-commit"
    witness.put(hook, tmp_path / "one")
    vault(repository, "install")
    hook.rename(hook.with_name("pre-commit.old"))  # as lefthook does
    witness.put(hook, tmp_path / "other")
    said = vault(repository, "uninstall")
    kept = repository.directory / ".git/hooks.pre-vault/pre-commit"
    assert f"'{kept}' stays there: another hook has taken its place" in said
    assert str(tmp_path / "one") in kept.read_text()
    assert str(tmp_path / "other") in hook.read_text()
    assert not hook.with_name("pre-commit.old").exists()


# Links in git's directory.


@pytest.mark.parametrize("name", ["vault", "vault/hooks", "vault/scanned"])
def test_a_link_in_the_place_of_our_folders_is_refused(
    name: str, repository: Repository, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    path = repository.directory / ".git" / name
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)
    done = repository.vault("hooks", "install")
    assert done.code == 6
    assert f"'{path}' is a link" in done.err
    repository.vault("hooks", "uninstall")
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("suffix", ["", ".vault-new"])
def test_a_link_in_the_place_of_our_files_is_replaced_and_not_followed(
    suffix: str, repository: Repository, tmp_path: Path, key: bytes
) -> None:
    vault(repository, "install")
    before = witness.everything(repository.directory / ".git")
    target = tmp_path / "target"
    target.write_bytes(b"of somebody\n")
    for name in ("hooks/pre-push", "vault/events", "vault/salt"):
        path = repository.directory / ".git" / f"{name}{suffix}"
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        (repository.directory / ".git" / name).unlink(missing_ok=True)
        if not suffix:
            path.symlink_to(target)
    vault(repository, "install")
    assert target.read_bytes() == b"of somebody\n"
    assert "pre-commit: 1 key found" in blocks(repository, key)
    if suffix:
        after = witness.everything(repository.directory / ".git")
        assert {path for path in after if "scanned/" not in path} == set(before)


def test_a_pipe_in_the_place_of_a_hook_is_not_waited_for(repository: Repository) -> None:
    os.mkfifo(repository.directory / ".git/hooks/pre-commit", 0o644)
    vault(repository, "install")
    commit(repository)
    vault(repository, "uninstall")
    assert (repository.directory / ".git/hooks/pre-commit").is_fifo()
