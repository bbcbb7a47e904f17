"""``vault scan`` of what is not staged: the whole history, a range, a stream, files and folders."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.guarded import Guarded, guarded
from support.repositories import Repository
from support.vaults import PATH, Result, made_key, run_vault
from tskeyvault_hooks import git
from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.finder import Finder


@pytest.fixture
def repository(tmp_path: Path) -> Guarded:
    """Give a repository with hooks."""
    return guarded(tmp_path / "repository")


def reported(done: Result) -> list[tuple[str, int, str]]:
    """Return place, line and commit of each finding of ``vault scan --json``."""
    assert done.code == 1, done.err
    return [(it["place"], it["line"], it["commit"]) for it in json.loads(done.out)["findings"]]


def test_a_history_without_keys_is_said_to_have_none(repository: Guarded) -> None:
    count = len(repository.git("cat-file", "--batch-all-objects", "--batch-check").splitlines())
    done = repository.vault("scan", "--history")
    assert (done.code, done.out) == (0, b"")
    assert re.search(rf"scanned {count} objects, \d+ bytes: no key found", done.err)


def test_a_key_of_the_history_is_found_with_commit_and_path(repository: Guarded, key: bytes) -> None:
    commit = repository.leak("deep/a fïle\n", b"a\nkey = " + key)
    repository.git("mv", "deep/a fïle\n", "elsewhere")
    repository.lets_by("commit", "--quiet", "--message", "moved")
    repository.git("rm", "--quiet", "elsewhere")
    repository.git("commit", "--quiet", "--message", "removed")
    (found,) = reported(repository.vault("scan", "--history", "--json"))
    assert found == ("deep/a fïle\n", 2, commit[: len(found[2])])
    assert found[2]


def test_every_object_is_scanned_once(repository: Guarded, key: bytes) -> None:
    repository.leak("one", key)
    repository.leak("two", key)
    repository.git("gc", "--quiet")
    repository.git("repack", "--quiet", "-a")
    assert len(reported(repository.vault("scan", "--history", "--json"))) == 1


def test_keys_outside_of_files_are_found_in_the_history(repository: Guarded, key: bytes) -> None:
    repository.lets_by("commit", "--quiet", "--allow-empty", "--file", "-", data=b"change\n\n" + key)
    commit = repository.git("rev-parse", "HEAD")
    repository.git("tag", "--annotate", "--file", "-", "v1", data=made_key())
    repository.leak(made_key().decode(), b"clean\n")
    repository.git("update-ref", f"refs/x/{made_key().decode()}", "HEAD~1")
    repository.git(
        "tag", "--annotate", "--message", "x", "v2", env={"GIT_COMMITTER_NAME": made_key().decode()}
    )
    found = {
        (place.partition("/")[0], commit)
        for place, _, commit in reported(repository.vault("scan", "--history", "--json"))
    }
    assert found == {
        ("the message of a commit", commit),
        ("the message of a tag", ""),
        ("the header of a tag", ""),
        ("the name of the ref refs", ""),
        ("the name of a file", ""),
    }


def test_what_no_commit_has_is_found_too(repository: Guarded, key: bytes) -> None:
    blob = repository.git("hash-object", "-w", "--stdin", data=key)
    done = repository.vault("scan", "--history", "--json")
    assert reported(done) == [(f"object {blob[:12]}", 1, "")]
    assert blob in done.out.decode()


def test_a_large_history_is_scanned_in_parallel(repository: Guarded) -> None:
    keys = [made_key() for _ in range(20)]
    files = [
        b"content %d " % number + (keys[number // 150] if not number % 150 else b"") for number in range(3000)
    ]
    rows = b"".join(b"M 644 inline f%d\ndata %d\n%s\n" % (n, len(it), it) for n, it in enumerate(files))
    commit = b"commit refs/heads/many\ncommitter a <b> 0 +0000\ndata 0\n" + rows
    repository.git("fast-import", "--quiet", data=commit)
    done = repository.vault("scan", "--history", "--json")
    assert {place for place, _, _ in reported(done)} == {f"f{number}" for number in range(0, 3000, 150)}
    total = len(repository.git("cat-file", "--batch-all-objects", "--batch-check").splitlines())
    assert json.loads(done.out)["objects"] == total
    assert not any(it in done.out + done.err.encode() for it in keys)


def test_a_bare_repository_is_scanned_from_within(tmp_path: Path, key: bytes) -> None:
    bare = Repository(tmp_path / "bare", "--bare")
    bare.git("hash-object", "-w", "--stdin", data=key)
    done = bare.vault("scan", "--history")
    assert done.code == 1
    assert "1 key found" in done.err


def test_a_bare_repository_that_a_work_tree_brought_is_refused(repository: Guarded) -> None:
    Repository(repository.directory / "brought", "--bare")
    done = run_vault("scan", "--history", cwd=repository.directory / "brought")
    assert done.code not in {0, 1}
    assert "bare repository" in done.err


def test_a_range_is_scanned_and_nothing_else(repository: Guarded, key: bytes) -> None:
    repository.leak("old", made_key())
    first = repository.commit("clean", b"clean 1\n")
    commit = repository.leak("file", b"\n\n" + key)
    repository.commit("file", b"clean\n")
    (found,) = reported(repository.vault("scan", "--range", f"{first}..HEAD", "--json"))
    assert found == ("file", 3, commit[: len(found[2])])
    assert repository.vault("scan", "--range", "HEAD~1..HEAD").code == 0
    assert len(reported(repository.vault("scan", "--range", "main", "--json"))) == 2


@pytest.mark.parametrize("text", ["nowhere..HEAD", "--all", "-x", "HEAD..", "no such thing"])
def test_a_range_that_git_does_not_know_is_an_error(text: str, repository: Guarded) -> None:
    done = repository.vault("scan", f"--range={text}")
    assert done.code == (0 if text == "HEAD.." else 6)


def test_standard_input_is_scanned(tmp_path: Path, key: bytes) -> None:
    done = run_vault("scan", "--stdin", cwd=tmp_path, input=b"a\nb\n" + key)
    assert done.code == 1
    assert b"  standard input:3: Tailscale key" in done.out
    assert key not in done.out
    done = run_vault("scan", "--stdin", cwd=tmp_path, input=b"nothing\n")
    assert (done.code, done.out) == (0, b"")
    assert "scanned 1 object, 8 bytes: no key found" in done.err


def test_a_key_anywhere_in_a_long_stream_is_found(tmp_path: Path, key: bytes) -> None:
    for before in ((1 << 20) - 30, (2 << 20) - 1, (3 << 20) + 5):
        done = run_vault("scan", "--stdin", cwd=tmp_path, input=b"a b\n" * (before // 4) + key + b"\n" * 9999)
        assert done.code == 1
        assert b"standard input:%d:" % (before // 4 + 1) in done.out


def test_files_and_folders_are_scanned(tmp_path: Path, key: bytes) -> None:
    folder = tmp_path / "folder"
    (folder / "deep/er").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git/config").write_bytes(key)
    (folder / "deep/er/file").write_bytes(b"\n" + key)
    (folder / "clean").write_text("clean\n")
    done = run_vault("scan", "folder", cwd=tmp_path)
    assert done.code == 1
    assert done.out.count(b"\n") == 1
    assert b"  folder/deep/er/file:2: Tailscale key" in done.out
    assert run_vault("scan", "folder/clean", cwd=tmp_path).code == 0
    assert run_vault("scan", "folder/clean", "folder/deep", cwd=tmp_path).code == 1


def test_of_a_link_in_a_folder_the_target_is_scanned_as_git_stores_it(tmp_path: Path, key: bytes) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside").write_bytes(key)
    (folder / "link").symlink_to("../outside")
    (folder / "loop").symlink_to(".")
    assert run_vault("scan", "folder", cwd=tmp_path).code == 0
    (folder / "told").symlink_to(os.fsdecode(key))
    done = run_vault("scan", "folder", cwd=tmp_path)
    assert done.code == 1
    assert b"  folder/told:1:" in done.out


def test_a_link_that_is_named_is_followed(tmp_path: Path, key: bytes) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_bytes(key)
    for target in ("folder", "folder/file"):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(target)
        assert run_vault("scan", "link", cwd=tmp_path).code == 1


def test_what_has_no_content_of_its_own_is_passed_over_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder/pipe")
    assert run_vault("scan", "folder", cwd=tmp_path).code == 0


def test_what_is_named_and_cannot_be_scanned_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("pipe", "/dev/zero", "nowhere", "pipe/below", "a\0b"[:1] * 300):
        done = run_vault("scan", path, cwd=tmp_path)
        assert done.code == 6, path
        assert path[:50] in done.err
        assert "Traceback" not in done.err


def test_a_very_deep_folder_is_scanned(tmp_path: Path, key: bytes) -> None:
    deep = "/".join(["a"] * 1100)  # more than Python calls a function in itself
    subprocess.run(["mkdir", "-p", deep], cwd=tmp_path, check=True)
    (tmp_path / deep / "file").write_bytes(key)
    assert run_vault("scan", "a", cwd=tmp_path).code == 1
    subprocess.run(["rm", "-r", "a"], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    "arguments",
    [["--staged", "."], ["--history", "--stdin"], ["--reason", "a test"], ["--until", "2030-01-01"]],
    ids=" ".join,
)
def test_arguments_that_contradict_are_refused(arguments: list[str], repository: Guarded) -> None:
    assert repository.vault("scan", *arguments).code == 2


def test_outside_of_a_repository_there_is_nothing_staged(tmp_path: Path) -> None:
    done = run_vault("scan", cwd=tmp_path)
    assert done.code == 6
    assert "no git repository" in done.err


OBJECTS = st.lists(st.binary(max_size=200), max_size=8)


def batch(contents: list[bytes]) -> bytes:
    """Return what ``git cat-file --batch`` would write for blobs of *contents*."""
    return b"".join(b"%040x blob %d\n%s\n" % (n, len(it), it) for n, it in enumerate(contents))


def parsed(stream: bytes, piece: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """Return id and content of the objects in *stream*, which is read in pieces of that size."""
    fd = git.stored(stream)
    with monkeypatch.context() as patch:
        patch.setattr(git, "_PIPE", piece)
        try:
            read = [(it, list(rest or ())) for it, rest in git.objects(fd, lambda _: True)]
            assert all(all(pieces) for it, pieces in read if it.size)  # nothing would end it too early
            return [(it.id, b"".join(pieces)) for it, pieces in read]
        finally:
            os.close(fd)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=OBJECTS, piece=st.integers(1, 300))
def test_objects_are_the_same_however_they_are_read(
    contents: list[bytes], piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [(f"{n:040x}", it) for n, it in enumerate(contents)]
    assert parsed(batch(contents), piece, monkeypatch) == expected


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=OBJECTS, piece=st.integers(1, 300), cut=st.integers(1))
def test_a_stream_that_ends_early_is_an_error_or_lacks_whole_objects(
    contents: list[bytes], piece: int, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = batch(contents)
    whole = [(f"{n:040x}", it) for n, it in enumerate(contents)]
    ends = [len(batch(contents[:count])) for count in range(len(contents) + 1)]
    at = cut % (len(stream) + 1)
    if at in ends:
        assert parsed(stream[:at], piece, monkeypatch) == whole[: ends.index(at)]
    else:
        with pytest.raises(ScanError):
            parsed(stream[:at], piece, monkeypatch)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=OBJECTS, piece=st.integers(1, 300), read=st.lists(st.booleans(), min_size=8, max_size=8))
def test_objects_that_nobody_reads_hide_none_behind_them(
    contents: list[bytes], piece: int, read: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = git.stored(batch(contents))
    monkeypatch.setattr(git, "_PIPE", piece)
    seen = []
    for found, rest in git.objects(fd, lambda _: True):
        seen.append(found.id)
        if read[len(seen) - 1]:
            assert b"".join(rest or ()) == contents[len(seen) - 1]
    os.close(fd)
    assert len(seen) == len(contents)


@settings(deadline=None, max_examples=50)
@given(places=st.lists(st.integers(0, 40), min_size=1, max_size=4), split=st.integers(1, 997))
def test_pieces_of_any_size_have_the_same_keys(places: list[int], split: int) -> None:
    keys = [made_key() for _ in places]
    text = b"".join(
        b"line\n" * place + b"key = " + it + b"\n" for it, place in zip(keys, places, strict=True)
    )
    pieces = [text[start : start + split] for start in range(0, len(text), split)]
    whole = [(hit.secret, hit.line) for hit in Finder().find(text)]
    assert len(whole) == len(keys)
    assert sorted((hit.secret, hit.line) for hit in Finder().find_in(iter(pieces))) == sorted(whole)


MEASURE = """
from tskeyvault_hooks import pushes, scan
from tskeyvault_hooks.finder import Finder
found = scan.Scan(Finder())
pushes.between(found, "HEAD")
most = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(most, found.findings[0].line, found.bytes)
"""


def test_a_large_file_is_scanned_to_its_end_in_little_memory(repository: Guarded, key: bytes) -> None:
    size = 128 << 20
    with (repository.directory / "large").open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(b"\nkey = " + key)
    repository.git("-c", "core.compression=1", "add", "large")
    repository.lets_by("commit", "--quiet", "--message", "large")
    (repository.directory / "large").unlink()
    done = subprocess.run(
        [sys.executable, "-S", "-c", MEASURE],
        cwd=repository.directory,
        env={**os.environ, "PYTHONPATH": PATH},
        check=True,
        capture_output=True,
    )
    memory, line, scanned = map(int, done.stdout.split())
    assert memory < 100 << 10  # KiB
    assert line == 2
    assert scanned > size
