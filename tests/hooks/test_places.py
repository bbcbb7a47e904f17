"""What need not be scanned of a push: what the very place has that it goes to, and nothing that another place has."""

import re
from pathlib import Path

import pytest

from support.guarded import Guarded, found, guarded
from support.repositories import Repository
from support.vaults import made_key
from tskeyvault_hooks import places


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Give an empty repository to push to, which is no remote yet."""
    return Repository(tmp_path / "other", "--bare").directory


@pytest.fixture
def client(tmp_path: Path, key: bytes) -> Guarded:
    """Give a clone with hooks, of a repository ``remote`` that has an old key, on a branch ``feature`` without a new one."""
    old = guarded(tmp_path / "old")
    old.leak("old", key)
    old.lets_by("branch", "side")
    old.commit("old", b"clean\n")
    old.git("clone", "--quiet", "--bare", ".", tmp_path / "remote")
    old.git("clone", "--quiet", tmp_path / "remote", tmp_path / "client")
    made = found(tmp_path / "client")
    assert made.vault("hooks", "install").code == 0
    made.git("switch", "--quiet", "--create", "feature")
    made.commit("new")
    return made


def test_what_the_remote_has_since_it_was_cloned_is_not_scanned_again(client: Guarded) -> None:
    client.git("push", "--quiet", "origin", "feature")
    new = made_key()
    client.leak("leak", new)
    client.git("branch", "another")
    assert "scanned 3 objects" in client.refuses("push", "origin", "another", key=new)


def test_what_others_pushed_is_not_scanned_after_it_was_fetched(
    client: Guarded, key: bytes, tmp_path: Path
) -> None:
    client.git("push", "--quiet", "origin", "feature")
    theirs = found(tmp_path / "old")
    theirs.leak("theirs", key + b"\n")
    theirs.lets_by("push", "--quiet", tmp_path / "remote", "HEAD:main")
    client.git("fetch", "--quiet")
    client.git("fetch", "--quiet", "origin", "side")  # FETCH_HEAD says nothing of main any more
    client.lets_by("merge", "--quiet", "--no-edit", "origin/main")
    client.git("push", "--quiet", "origin", "feature:again")


def test_what_a_remote_has_is_new_to_a_url_that_no_remote_has(
    client: Guarded, key: bytes, other: Path
) -> None:
    for url in (str(other), f"file://{other}"):
        client.refuses("push", url, "feature", key=key)
    client.git("remote", "add", "public", other)
    client.refuses("push", "public", "feature", key=key)
    client.git("config", "remote.pushDefault", "public")
    client.refuses("push", key=key)


def test_the_url_of_a_remote_is_as_good_as_its_name(client: Guarded, tmp_path: Path) -> None:
    client.git("push", "--quiet", tmp_path / "remote", "feature")
    client.git("branch", "another", "origin/main")
    client.git("push", "--quiet", f"{tmp_path}/remote/", "another")


@pytest.mark.parametrize("pushed_before", [False, True], ids=["first push", "later push"])
def test_what_a_remote_had_is_new_where_it_was_changed_to(
    client: Guarded, key: bytes, other: Path, *, pushed_before: bool
) -> None:
    if pushed_before:
        client.git("push", "--quiet", "origin", "feature")
    client.git("remote", "set-url", "origin", other)
    for branch in ("feature", "main", "feature:another"):
        client.refuses("push", "origin", branch, key=key)


def test_tracking_refs_of_an_earlier_place_do_not_count_when_something_was_pushed(
    client: Guarded, key: bytes, other: Path
) -> None:
    client.git("remote", "set-url", "origin", other)
    client.git("switch", "--quiet", "--orphan", "clean")
    client.commit("clean")
    client.git("push", "--quiet", "origin", "clean")
    client.git("branch", "another")
    client.git("push", "--quiet", "origin", "another")
    client.refuses("push", "origin", "feature", key=key)
    client.git("remote", "set-url", "origin", other.with_name("remote"))
    client.git("fetch", "--quiet")
    client.git("push", "--quiet", "origin", "feature")


def test_what_was_fetched_from_the_new_place_is_known_there(client: Guarded, key: bytes, other: Path) -> None:
    client.lets_by("push", "--quiet", other, "main")
    client.git("remote", "set-url", "origin", other)
    client.refuses("push", "origin", "feature", key=key)
    client.git("fetch", "--quiet")
    client.git("push", "--quiet", "origin", "feature")


def test_what_the_same_ref_has_there_is_known_without_a_remote(client: Guarded, other: Path) -> None:
    client.lets_by("push", "--quiet", other, "main:feature")
    client.git("push", "--quiet", other, "feature")


def test_remotes_whose_names_begin_alike_are_told_apart(
    client: Guarded, key: bytes, other: Path, tmp_path: Path
) -> None:
    client.git("switch", "--quiet", "--orphan", "clean")
    client.commit("clean")
    client.git("remote", "add", "o", other)
    client.git("push", "--quiet", "o", "clean")
    client.git("config", "remote.o/x.url", str(tmp_path / "remote"))
    client.git("config", "remote.o/x.fetch", "+refs/heads/*:refs/remotes/o/x/*")
    client.git("fetch", "--quiet", "o/x")
    assert client.git("rev-parse", "refs/remotes/o/x/main")
    client.refuses("push", "o", "feature", key=key)


def test_two_remotes_with_the_same_tracking_refs_count_for_none(
    client: Guarded, key: bytes, other: Path
) -> None:
    client.git("remote", "add", "public", other)
    client.git("config", "remote.public.fetch", "+refs/heads/*:refs/remotes/origin/*")
    client.refuses("push", "public", "feature", key=key)


def test_another_place_to_push_to_has_not_what_is_fetched(client: Guarded, key: bytes, other: Path) -> None:
    client.git("config", "remote.origin.pushurl", str(other))
    client.refuses("push", "origin", "feature", key=key)
    client.git("config", "--unset", "remote.origin.pushurl")
    client.git("config", f"url.{other}.pushInsteadOf", str(other.with_name("remote")))
    client.refuses("push", "origin", "feature", key=key)
    client.git("config", "--remove-section", f"url.{other}")
    client.git("push", "--quiet", "origin", "feature")


def test_a_short_form_of_a_url_is_the_same_place(client: Guarded, tmp_path: Path) -> None:
    client.git("config", f"url.{tmp_path}/.insteadOf", "here:")
    client.git("remote", "set-url", "origin", "here:remote")
    client.git("push", "--quiet", "origin", "feature")
    client.git("branch", "another", "origin/main")
    client.git("push", "--quiet", "here:remote", "another")


def test_in_a_mirror_the_refs_of_its_own_are_not_what_the_remote_has(client: Guarded, tmp_path: Path) -> None:
    client.git("clone", "--quiet", "--mirror", tmp_path / "remote", tmp_path / "mirror")
    mirror = found(tmp_path / "mirror")
    assert mirror.vault("hooks", "install").code == 0
    new = made_key()
    tree = mirror.git(
        "mktree",
        data=b"100644 blob %s\tfile\n" % mirror.git("hash-object", "-w", "--stdin", data=new).encode(),
    )
    mirror.git("update-ref", "refs/heads/main", mirror.git("commit-tree", tree, "-p", "main", "-m", "x"))
    mirror.refuses("push", "origin", key=new)


def test_a_record_that_cannot_be_kept_makes_more_to_scan_and_nothing_else(client: Guarded) -> None:
    (client.directory / ".git/vault" / places.FILE).mkdir()
    client.git("push", "--quiet", "origin", "feature")
    client.git("push", "--quiet", "origin", "feature:again")


def test_no_url_is_kept(client: Guarded) -> None:
    client.git("push", "--quiet", "origin", "feature")
    kept = (client.directory / ".git/vault" / places.FILE).read_text()
    assert re.fullmatch(r"([0-9a-f]+ ?)+\n", kept)


@pytest.mark.parametrize(
    "urls",
    [
        ["https://example.org/a/b.git", "https://x:y@EXAMPLE.org/a/b/", "git@example.org:a/b", "ssh://git@example.org:22/a/b"],
        ["https://example.org:8443/a/b"],
        ["https://example.org/a/c.git"],
        ["https://example.com/a/b.git"],
        ["/srv/a.git", "file:///srv/a", "/srv/a/.git", "/srv//x/../a/"],
        ["/srv/b"],
    ],
    ids=lambda urls: urls[0],
)  # fmt: skip
def test_places_are_told_apart_by_host_and_path(urls: list[str]) -> None:
    known = {places._place(url) for url in urls}
    assert len(known) == 1
    rest = {
        "https://example.org/a/b",
        "https://example.org:8443/a/b",
        "https://example.org/a/c",
        "https://example.com/a/b",
        "/srv/a",
        "/srv/b",
    }
    assert sum(places._place(url) in known for url in rest) == 1
