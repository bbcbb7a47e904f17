"""What cannot be scanned does not pass: damage, missing objects, a git that fails, no disk, a scanner that is killed."""

import os
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from support.guarded import Guarded, guarded
from support.repositories import Done, Repository


@pytest.fixture
def repository(tmp_path: Path) -> Guarded:
    """Give a repository with hooks."""
    return guarded(tmp_path / "repository")


def loose(repository: Repository, revision: str) -> Path:
    """Return the file of a loose object, which can be written to."""
    name = repository.git("rev-parse", revision)
    path = repository.directory / ".git/objects" / name[:2] / name[2:]
    path.chmod(0o600)
    return path


def hook(repository: Guarded, event: str, *words: str, first: str = "", data: bytes = b"") -> Done:
    """Run the installed hook of *event* as git would, after *first* was run by the same shell."""
    done = subprocess.run(
        ["sh", "-c", f'{first}\nexec "$@"', "sh", repository.hook(event), *words],
        cwd=repository.directory,
        env={**os.environ, "GIT_INDEX_FILE": ".git/index"},
        input=data,
        capture_output=True,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr.decode())


def assert_clear(said: str) -> None:
    """Check that one line says that nothing passes, and that no traceback does."""
    told = [line for line in said.splitlines() if line.startswith("vault: ")]
    assert len(told) == 1, said
    assert told[0].endswith(", so nothing passes")
    assert "Traceback" not in said
    assert "defect" not in said


def fake_git(folder: Path, script: str, command: str = "cat-file") -> str:
    """Make a git in *folder* that runs *script* in place of its *command*; return what puts it on PATH."""
    folder.mkdir()
    real = shutil.which("git")
    (folder / "git").write_text(
        f'#!/bin/sh\ncase " $* " in *" {command} "*) {script} ;; esac\nexec {real} "$@"\n'
    )
    (folder / "git").chmod(0o755)
    return f"PATH={folder}:$PATH"


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "overwritten": lambda data: b"x" * len(data),
    "empty": lambda _: b"",
    "cut": lambda data: data[: len(data) // 2],
    "one bit changed": lambda data: data[:-8] + bytes([data[-8] ^ 1]) + data[-7:],
    "of a wrong size": lambda _: zlib.compress(b"blob 4\0something else"),
    "of no type": lambda _: zlib.compress(b"thing 4\0some"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_object_in_the_index_blocks_the_commit(
    damage: str, repository: Guarded, key: bytes
) -> None:
    repository.add("file", b"content of the file " * 30)
    path = loose(repository, ":file")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    staged = repository.staged()
    said = repository.refuses("commit", "--message", "change", key=key)
    assert_clear(said)
    assert "hint: see: git fsck" in said
    assert repository.staged() == staged


def test_a_missing_object_in_the_index_blocks_the_commit(repository: Guarded, key: bytes) -> None:
    repository.add("file", b"content")
    name = repository.git("rev-parse", ":file")
    loose(repository, ":file").unlink()
    said = repository.refuses("commit", "--message", "change", key=key)
    assert_clear(said)
    assert name in said
    done = repository.vault("scan")
    assert done.code == 6
    assert "Traceback" not in done.err


def test_a_git_that_names_a_folder_and_not_its_files_blocks_the_commit(
    repository: Guarded, tmp_path: Path
) -> None:
    row = f":040000 040000 {'1' * 40} {repository.git('rev-parse', 'HEAD^{tree}')} M\\0folder\\0"
    first = fake_git(tmp_path / "git", f"printf '{row}'; exit", "diff-index")
    done = hook(repository, "pre-commit", first=first)
    assert done.code == 1
    assert_clear(done.err)
    assert "hint: git sparse-checkout reapply --no-sparse-index" in done.err


def test_a_missing_head_blocks_the_commit(repository: Guarded, key: bytes) -> None:
    repository.add("file", b"content")
    loose(repository, "HEAD^{tree}").unlink()
    assert_clear(repository.refuses("commit", "--message", "change", key=key))


def test_a_missing_object_blocks_the_push(repository: Guarded, key: bytes, tmp_path: Path) -> None:
    repository.git("remote", "add", "origin", Repository(tmp_path / "remote", "--bare").directory)
    repository.commit("file", b"content")
    loose(repository, "HEAD:file").unlink()
    assert_clear(repository.refuses("push", "origin", "main", key=key))


@pytest.mark.parametrize("damage", ["overwritten", "empty", "cut", "one bit changed"])
def test_a_damaged_object_fails_the_scan_of_a_history(damage: str, repository: Guarded) -> None:
    repository.commit("file", b"content of the file " * 30)
    path = loose(repository, "HEAD:file")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    done = repository.vault("scan", "--history")
    assert done.code == 6
    assert "no keys found" not in done.err
    assert "Traceback" not in done.err


def test_a_damaged_pack_fails_the_scan_of_a_history_in_every_process(repository: Guarded) -> None:
    rows = b"".join(b"M 644 inline f%d\ndata 9\nfile %04d\n" % (n, n) for n in range(3000))
    commit = b"commit refs/heads/many\ncommitter a <b> 0 +0000\ndata 0\n" + rows
    repository.git("fast-import", "--quiet", data=commit)
    (pack,) = (repository.directory / ".git/objects/pack").glob("*.pack")
    pack.chmod(0o600)
    data = pack.read_bytes()
    for place in (len(data) // 4, len(data) * 9 // 10):
        pack.write_bytes(data[:place] + bytes(99) + data[place + 99 :])
        done = repository.vault("scan", "--history")
        assert done.code == 6
        assert "no keys found" not in done.err
        assert "Traceback" not in done.err


@pytest.mark.parametrize("name", ["patterns", f"own-{os.geteuid()}", f"own-{os.geteuid()}.key", "salt"])
def test_damaged_state_blocks_a_commit_with_a_key(name: str, repository: Guarded, key: bytes) -> None:
    repository.add("file", key)
    for data in (b"\xff damaged \0\n", b"\n"):
        (repository.directory / ".git/vault" / name).write_bytes(data)
        for more in ([], ["--no-verify"]):
            repository.refuses("commit", "--message", "change", *more, key=key)


def test_a_state_that_is_a_folder_blocks_the_commit(repository: Guarded, key: bytes) -> None:
    (repository.directory / ".git/vault/patterns").unlink(missing_ok=True)
    (repository.directory / ".git/vault/patterns").mkdir()
    assert_clear(repository.refuses("commit", "--allow-empty", "--message", "change", key=key))


def test_a_list_of_exceptions_that_is_missing_in_the_index_blocks_the_commit(
    repository: Guarded, key: bytes
) -> None:
    repository.commit(".tskeyvault-allow", b"# salt 0123\n")
    repository.add("file", key)
    loose(repository, ":.tskeyvault-allow").unlink()
    repository.refuses("commit", "--message", "change", key=key)


FAILING = {
    "says nothing": "exit 0",
    "reads all and says nothing": "cat >/dev/null; exit 0",
    "fails and says nothing": "exit 3",
    "fails and says why": "echo 'fatal: no such thing' >&2; exit 128",
    "is killed": "kill -9 $$",
    "stops in the middle of a line": "printf '0123456789'; exit 0",
    "stops in the middle of an object": "printf '%s blob 99\\nsome' 0123; exit 0",
    "says that the object is missing": "echo '0123 missing'; exit 0",
    "says something else": "echo 'what is this'; exit 0",
    "says very much on standard error": "head -c 300000 /dev/zero >&2; exit 1",
}


@pytest.mark.parametrize("failing", FAILING)
def test_a_git_that_fails_blocks_the_commit(failing: str, repository: Guarded, tmp_path: Path) -> None:
    repository.add("file", b"clean\n")
    done = hook(repository, "pre-commit", first=fake_git(tmp_path / "bin", FAILING[failing]))
    assert done.code == 1
    assert_clear(done.err)


def test_a_git_that_says_much_and_succeeds_does_not_hang(repository: Guarded, tmp_path: Path) -> None:
    repository.add("file", b"clean\n")
    first = fake_git(tmp_path / "bin", "head -c 300000 /dev/zero >&2")
    assert hook(repository, "pre-commit", first=first).code == 0


def test_without_git_nothing_passes(repository: Guarded, tmp_path: Path) -> None:
    for first in (f"PATH={tmp_path}", "PATH=", "PATH=/nowhere"):
        for event in ("pre-commit", "prepare-commit-msg"):
            done = hook(repository, event, "README", first=first)
            assert done.code == 1
            told = [line for line in done.err.splitlines() if line.startswith("vault: ")]
            assert told == [f"vault: {event}: git cannot be started, so nothing passes"]
            assert "Traceback" not in done.err


def test_a_scanner_that_is_killed_blocks_the_commit(repository: Guarded, tmp_path: Path) -> None:
    repository.add("file", b"clean\n")
    for signal in ("KILL", "TERM", "SEGV", "HUP"):
        first = fake_git(tmp_path / signal, f"kill -{signal} $PPID; sleep 1; exit 0")
        done = hook(repository, "pre-commit", first=first)
        assert done.code == 1
        assert "the scanner failed with status" in done.err
        assert "so nothing passes" in done.err


def test_a_scanner_that_is_interrupted_says_so(repository: Guarded, tmp_path: Path) -> None:
    repository.add("file", b"clean\n")
    done = hook(repository, "pre-commit", first=fake_git(tmp_path / "bin", "kill -INT $PPID; exit 0"))
    assert done.code == 1
    assert_clear(done.err)


def test_without_space_on_the_disk_no_key_passes(repository: Guarded, key: bytes) -> None:
    full = "ulimit -f 0; trap '' XFSZ"
    repository.add("file", b"clean\n")
    assert hook(repository, "pre-commit", first=full).code == 0
    repository.add("file", key)
    done = hook(repository, "pre-commit", first=full)
    assert done.code == 1
    assert "so nothing passes" in done.err
    line = f"main {repository.git('rev-parse', 'HEAD')} refs/heads/main {'0' * 40}\n"
    done = hook(repository, "pre-push", "origin", "x", first=full, data=line.encode())
    assert done.code == 1
    assert_clear(done.err)


def test_with_too_few_descriptors_no_key_passes(repository: Guarded) -> None:
    repository.add("file", b"clean\n")
    for most in range(11, 16):
        done = hook(repository, "pre-commit", first=f"ulimit -n {most}")
        assert done.code == 0 or "so nothing passes" in done.err
        assert "Traceback" not in done.err


def test_the_report_needs_nobody_who_reads_it(repository: Guarded, key: bytes) -> None:
    repository.add("file", key)
    refs = repository.refs()
    for closed in ("2>&-", "<&- >&- 2>&-", "2>/dev/full"):
        done = repository.attempt("-c", f"alias.c=!git commit --message change {closed}", "c")
        assert done.code != 0
        assert repository.refs() == refs
        assert hook(repository, "pre-commit", first=f"exec {closed}").code == 1


def test_tracing_git_hides_nothing(repository: Guarded, key: bytes) -> None:
    repository.add("file", key)
    for name in ("GIT_TRACE", "GIT_TRACE_SETUP", "GIT_TRACE2"):
        repository.refuses("commit", "--message", "change", key=key, env={name: "1"})
