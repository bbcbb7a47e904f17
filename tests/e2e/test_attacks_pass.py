"""Attacks on a pass store by whoever can write to it: each is refused, and nothing else happens."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import gpg, needs, passes
from support.gpg import Person
from support.passes import Store
from support.team import Team
from support.vaults import PATH, made_key

LINES = b"a value of one line\n"


@pytest.fixture(scope="module")
def people() -> Iterator[Team]:
    """Give the team, whose keys are made once; Alice has all public keys, and trusts them."""
    with passes.acquainted() as found:
        yield found


@pytest.fixture
def store(people: Team, tmp_path: Path) -> Store:
    """Give a store whose only reader is Alice, with two entries that she has seen."""
    found = passes.made(tmp_path / "store", people.alice)
    for name in ("bank", "evil"):
        found.done("insert", f"pass:{name}", input=LINES)
    return found


# Entries.


def test_an_entry_copied_over_anothers_name_is_refused(store: Store) -> None:
    shutil.copy(store.directory / "bank.gpg", store.directory / "evil.gpg")
    assert store.run_pass("show", "evil") == LINES  # CVE-2020-28086, which pass still has
    store.refused(5, "is that of secret 'bank', copied over it", "show", "pass:evil")


def test_an_entry_copied_to_a_new_name_is_told(store: Store) -> None:
    shutil.copy(store.directory / "bank.gpg", store.directory / "new.gpg")
    assert "is the very file of secret 'bank'" in store.done("show", "pass:new").err


def test_an_entry_rolled_back_is_refused(store: Store) -> None:
    old = (store.directory / "bank.gpg").read_bytes()
    store.done("insert", "--force", "pass:bank", input=b"newer\n")
    (store.directory / "bank.gpg").write_bytes(old)
    store.refused(5, "rolled back", "show", "pass:bank")


def test_the_hint_of_a_rollback_is_a_command_that_works_anywhere(store: Store, tmp_path: Path) -> None:
    store.done("insert", "pass:with space", input=b"older\n")
    path = store.directory / "with space.gpg"
    old = path.read_bytes()
    store.done("insert", "--force", "pass:with space", input=b"newer\n")
    path.write_bytes(old)
    said = store.vault("show", "pass:with space").err
    history, _, command = said.partition("hint: ")[2].partition(" says who did it; when it is meant: ")
    assert command.strip() == "pass show -- 'with space' | vault insert --force 'pass:with space'"
    for line in (history, command.replace("vault ", f"{sys.executable} -m tskeyvault ")):
        environment = {**os.environ, "PYTHONPATH": PATH, **store.environment}
        subprocess.run(
            ["sh", "-euc", line], env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=60
        )
    assert store.done("show", "pass:with space").out == b"older\n"


# Who reads.


def test_a_reader_added_in_a_pulled_commit_has_to_be_approved(store: Store, people: Team) -> None:
    with (store.directory / ".gpg-id").open("a") as file:
        file.write(f"{people.mallory.fingerprint}\n")
    store.git("commit", "-qam", "pulled")
    wanted = f"+ {people.mallory.fingerprint}"
    store.refused(5, wanted, "insert", "pass:new", input=LINES)
    store.refused(5, wanted, "insert", "--force", "pass:bank", input=LINES)
    store.refused(5, wanted, "rekey", "pass:")


def test_a_nearer_list_that_is_gone_has_to_be_approved(store: Store, people: Team) -> None:
    store.run_pass("init", "-p", "own", people.alice.fingerprint)
    store.done("recipients", "ack", "--plugin", "pass", "--yes")
    (store.directory / "own/.gpg-id").unlink()
    store.refused(5, "the file is gone", "insert", "pass:own/new", input=LINES)


@pytest.mark.parametrize("line", ["--output=/tmp/x", "-r", "nobody@example.invalid", "a\x1b[2Jb", "'; id; '"])
def test_a_line_that_is_no_key_encrypts_nothing(store: Store, line: str) -> None:
    (store.directory / ".gpg-id").write_text(f"{store.who.fingerprint}\n{line}\n")
    done = store.vault("recipients", "ack", "--plugin", "pass", "--yes")
    assert "\x1b" not in done.err
    assert store.vault("insert", "pass:new", input=LINES).code in {2, 5, 6}
    assert not (store.directory / "new.gpg").exists()


# Signers.


def signed(store: Store, by: Person, *options: str) -> None:
    """Sign the list of *store* by a key of *by*."""
    path = store.directory / ".gpg-id"
    path.with_suffix(".sig").unlink(missing_ok=True)
    (store.directory / ".gpg-id.sig").unlink(missing_ok=True)
    gpg.run(by.home, *options, "--local-user", by.fingerprint, "--detach-sign", path)


def by_signer(who: Person) -> dict[str, dict[str, str]]:
    """Return what makes *who* the one signer."""
    return {"env": {"PASSWORD_STORE_SIGNING_KEY": who.fingerprint}}


def test_a_signed_list_needs_no_approval(store: Store, people: Team) -> None:
    env = {"PASSWORD_STORE_SIGNING_KEY": people.alice.fingerprint}
    store.run_pass("init", people.alice.fingerprint, people.bob.fingerprint, env=env)
    store.done("insert", "pass:new", input=LINES, env=env)
    assert store.readers("new") == 2


def test_no_signature_and_a_strangers_are_refused(store: Store, people: Team) -> None:
    store.refused(5, "is not signed", "insert", "pass:new", input=LINES, **by_signer(people.bob))
    signed(store, people.mallory)
    store.refused(5, "not a good one", "insert", "pass:new", input=LINES, **by_signer(people.bob))


def test_a_list_changed_after_it_was_signed_is_refused(store: Store, people: Team) -> None:
    signed(store, people.bob)
    store.done("insert", "pass:new", input=LINES, **by_signer(people.bob))
    with (store.directory / ".gpg-id").open("a") as file:
        file.write(f"{people.mallory.fingerprint}\n")
    store.refused(5, "not a good one", "insert", "pass:other", input=LINES, **by_signer(people.bob))


@pytest.fixture(scope="module")
def signer(people: Team) -> Person:
    """Give a signer whose key is old enough to have signed something long ago."""
    found = gpg.another(people.bob, "Signer", made="20240101T000000")
    gpg.run(people.alice.home, "--import", input=found.public)
    return found


@pytest.fixture
def lists(store: Store, people: Team, signer: Person) -> dict[str, bytes]:
    """Give what signed lists an attacker has kept: of before Mallory was taken out, and with her key."""
    kept = {}
    for name, ids in (("old", [people.alice, people.mallory]), ("new", [people.alice])):
        (store.directory / ".gpg-id").write_text("".join(f"{who.fingerprint}\n" for who in ids))
        signed(store, signer, *([] if name == "new" else ["--faked-system-time", "20250101T000000"]))
        for file in (".gpg-id", ".gpg-id.sig"):
            kept[f"{name}{file}"] = (store.directory / file).read_bytes()
    return kept


def test_a_signed_list_that_is_brought_back_is_refused(
    store: Store, signer: Person, lists: dict[str, bytes]
) -> None:
    store.done("insert", "pass:new", input=LINES, **by_signer(signer))
    for file in (".gpg-id", ".gpg-id.sig"):
        (store.directory / file).write_bytes(lists[f"old{file}"])
    store.refused(5, "was rolled back", "insert", "pass:other", input=LINES, **by_signer(signer))
    store.refused(5, "was rolled back", "rekey", "pass:", **by_signer(signer))
    signed(store, signer)  # who says by that that it is meant
    store.done("insert", "pass:other", input=LINES, **by_signer(signer))
    assert store.readers("other") == 2


def test_a_nearer_signed_list_that_is_gone_is_refused(
    store: Store, signer: Person, lists: dict[str, bytes]
) -> None:
    (store.directory / "own").mkdir()
    for file in (".gpg-id", ".gpg-id.sig"):
        (store.directory / "own" / file).write_bytes(lists[f"new{file}"])
        (store.directory / file).write_bytes(lists[f"old{file}"])
    store.done("insert", "pass:own/new", input=LINES, **by_signer(signer))
    (store.directory / "own/.gpg-id").unlink()
    (store.directory / "own/.gpg-id.sig").unlink()
    store.refused(5, "the file is gone", "insert", "pass:own/other", input=LINES, **by_signer(signer))
    store.done("recipients", "ack", "--plugin", "pass", "--yes", **by_signer(signer))
    store.done("insert", "pass:own/other", input=LINES, **by_signer(signer))
    assert (store.readers("own/new"), store.readers("own/other")) == (1, 2)


def test_an_expired_signer_is_refused_whom_pass_accepts(store: Store, people: Team) -> None:
    old = gpg.another(people.alice, "Old", expires="20200601T000000", made="20200101T000000")
    signed(store, old, "--faked-system-time", "20200201T000000")
    env = by_signer(old)["env"]
    store.run_pass("insert", "-m", "theirs", input=LINES, env=env)
    store.refused(5, "not a good one", "insert", "pass:new", input=LINES, env=env)


def test_a_revoked_signer_is_refused_whom_pass_accepts(store: Store, people: Team) -> None:
    gone = gpg.another(people.alice, "Gone")
    signed(store, gone)
    env = by_signer(gone)["env"]
    store.done("insert", "pass:before", input=LINES, env=env)
    certificate = people.alice.home / f"openpgp-revocs.d/{gone.fingerprint}.rev"
    gpg.run(
        people.alice.home, "--import", input=certificate.read_bytes().replace(b":-----BEGIN", b"-----BEGIN")
    )
    store.run_pass("insert", "-m", "theirs", input=LINES, env=env)
    store.refused(5, "not a good one", "insert", "pass:new", input=LINES, env=env)


def test_text_in_the_report_is_no_signature(store: Store, people: Team) -> None:
    wanted = people.bob.fingerprint
    lie = f"\n[GNUPG:] GOODSIG {wanted[-16:]} x\n[GNUPG:] VALIDSIG {wanted} 0 0 0 0 0 0 0 0 {wanted}\n"
    notation = f"note@example.org={lie.replace(chr(10), ' ')}"
    signed(store, people.mallory, "--set-notation", notation, "--sig-policy-url", "https://x/%0A[GNUPG:]")
    store.refused(5, "not a good one", "insert", "pass:new", input=LINES, **by_signer(people.bob))
    (store.directory / ".gpg-id.sig").write_bytes(lie.encode())
    store.refused(5, "not a good one", "insert", "pass:new", input=LINES, **by_signer(people.bob))


def test_a_signer_by_anything_but_a_full_fingerprint_is_refused(store: Store, people: Team) -> None:
    env = {"PASSWORD_STORE_SIGNING_KEY": people.bob.fingerprint[-16:]}
    store.refused(2, "full fingerprints", "insert", "pass:new", input=LINES, env=env)


# What gpg says, and what happens meanwhile.


def test_a_hostile_user_id_and_file_name_say_nothing(store: Store, people: Team) -> None:
    forged = "x [GNUPG:] GOODMDC %0A[GNUPG:] END_DECRYPTION"
    bob = gpg.clone(people.bob, people.folder / "claiming")
    gpg.run(bob.home, "--quick-add-uid", bob.fingerprint, f"{forged} (GOODSIG) <claiming@example.invalid>")
    gpg.run(store.who.home, "--import", input=bob.public)
    (store.directory / ".gpg-id").write_text(f"{store.who.fingerprint}\nclaiming@example.invalid\n")
    said = store.done("recipients", "ack", "--plugin", "pass", "--yes").err
    assert "\n[GNUPG:]" not in said
    store.done("insert", "pass:new", input=LINES)
    assert store.readers("new") == 2
    named = f"a\n[GNUPG:] DECRYPTION_OKAY\n[GNUPG:] GOODMDC\n[GNUPG:] END_DECRYPTION\n{forged}"
    to = ("--trust-model", "always", "--recipient", store.who.fingerprint, "--set-filename", named)
    whole = gpg.run(store.who.home, *to, "--encrypt", input=LINES)
    (store.directory / "whole.gpg").write_bytes(whole)
    (store.directory / "cut.gpg").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert store.done("show", "pass:whole").out == LINES
    store.refused(5, "damaged", "show", "pass:cut")
    commented = gpg.run(
        store.who.home, *to[:4], "--armor", "--comment", "[GNUPG:] GOODMDC", "--encrypt", input=LINES
    )
    (store.directory / "commented.gpg").write_bytes(commented)
    assert store.done("show", "pass:commented").out == LINES


def before_gpg(folder: Path, script: str) -> dict[str, str]:
    """Return the environment in which *script* is run before each gpg, whose arguments it has."""
    folder.mkdir()
    wrapper = folder / "gpg"
    wrapper.write_text(f'#!/bin/bash\n{script}\nexec /usr/bin/gpg "$@"\n')
    wrapper.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("when", ["--encrypt", "--verify"])
def test_a_list_that_changes_between_check_and_use_is_not_used(
    store: Store, people: Team, tmp_path: Path, when: str
) -> None:
    signed(store, people.bob)
    planted = f"echo {people.mallory.fingerprint} >> {store.directory}/.gpg-id"
    env = before_gpg(tmp_path / "bin", f'case "$*" in *{when}*) {planted} ;; esac')
    if when == "--verify":
        env |= by_signer(people.bob)["env"]
    done = store.vault("insert", "pass:new", input=LINES, env=env)
    assert people.mallory.fingerprint in (store.directory / ".gpg-id").read_text()
    if when == "--verify":  # the list is checked twice: before the value is read, and when it is written
        assert (done.code, (store.directory / "new.gpg").exists()) == (5, False)
    else:
        assert (done.code, store.readers("new")) == (0, 1)


def test_no_entry_stands_where_others_see_it_while_gpg_runs(store: Store, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    look = "cat /proc/[0-9]*/cmdline /proc/$$/environ /proc/$PPID/environ; ls -lR /proc/$$/fd /dev/shm"
    env = before_gpg(tmp_path / "bin", f"{{ {look}; }} 2>/dev/null >> {seen}")
    secret = made_key()
    store.done("insert", "pass:watched", input=secret, env=env)
    assert store.done("show", "pass:watched", env=env).out == secret
    store.done("mv", "pass:watched", "pass:moved", env=env)
    text = seen.read_bytes()
    assert text.count(b"--encrypt") > 1
    assert b"--decrypt" in text
    assert secret not in text
    argv: list[str | Path] = ["grep", "-rlaF", secret.decode(), "/dev/shm", tmp_path, store.directory]  # noqa: S108 - only looked at
    assert subprocess.run(argv, capture_output=True, check=False).stdout == b""


# Links and names.


def test_no_link_in_the_store_is_followed(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy(store.directory / "bank.gpg", outside / "x.gpg")
    (store.directory / "link.gpg").symlink_to(outside / "x.gpg")
    (store.directory / "folder").symlink_to(outside)
    store.refused(5, "link", "show", "pass:link")
    store.refused(5, "link", "show", "pass:folder/x")
    store.refused(5, "link", "insert", "pass:folder/new", input=LINES)
    listed = store.done("ls", "pass:")
    assert listed.out == b"bank\nevil\n"
    store.done("insert", "--force", "pass:evil", input=LINES)
    ids = (store.directory / ".gpg-id").rename(outside / "ids")
    (store.directory / ".gpg-id").symlink_to(ids)
    store.refused(5, "link", "insert", "pass:new", input=LINES)
    assert sorted(path.name for path in outside.iterdir()) == ["ids", "x.gpg"]


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "-r", "--help", ".git/config", "a//b", "a\nb", "a\x1bb"]
)
def test_names_that_lead_elsewhere_are_refused(store: Store, name: str) -> None:
    store.refused(2, "", "insert", f"pass:{name}", input=LINES)
    store.refused(2, "", "show", f"pass:{name}")


def test_hostile_file_names_are_passed_over(store: Store) -> None:
    for name in ("-r.gpg", "a\x1b[2Jb.gpg", "a\nb.gpg", "plain.txt"):
        (store.directory / name).write_bytes(b"x")
    done = store.done("ls", "pass:")
    assert done.out == b"bank\nevil\n"
    assert "\x1b" not in done.err
    assert done.err.count("passed over") == 4
    store.done("insert", "pass:new", input=LINES)


def test_git_runs_nothing_that_the_store_names(store: Store, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    (store.directory / ".extensions").mkdir()
    (store.directory / ".extensions/show.bash").write_text(f"touch {witness}\n")
    (store.directory / ".extensions/show.bash").chmod(0o755)
    store.done("show", "pass:bank", env={"PASSWORD_STORE_ENABLE_EXTENSIONS": "true"})
    assert not witness.exists()


def test_a_secret_is_nowhere_but_in_its_file(store: Store, tmp_path: Path) -> None:
    secret = made_key()
    log = tmp_path / "trace"
    argv: list[str | Path] = ["strace", "-f", "-qq", "-s", "4096", "-e", "trace=execve", "-v", "-o", log]
    needs.program("strace")

    subprocess.run(
        [*argv, sys.executable, "-m", "tskeyvault", "insert", "pass:traced"],
        input=secret,
        check=True,
        capture_output=True,
        env={**os.environ, **store.environment, "PYTHONPATH": PATH},
        timeout=60,
    )
    assert store.done("show", "pass:traced").out == secret
    assert log.stat().st_size
    home = Path(os.environ["HOME"])
    found = [
        path
        for root in (tmp_path, home, store.directory)
        for path in root.rglob("*")
        if path.is_file() and secret in path.read_bytes()
    ]
    assert found == []
