"""A pass store by the real pass and by ``vault``, turn about: what either writes, the other reads."""

import os
import secrets
import shutil
import stat
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import gpg, passes
from support.passes import Store
from support.repositories import Repository
from support.team import Team
from support.vaults import make_vault, services

LINES = b"line one\nline two\n"


@pytest.fixture(scope="module")
def people() -> Iterator[Team]:
    """Give the team, whose keys are made once; Alice has all public keys, and trusts them."""
    with passes.acquainted() as found:
        yield found


@pytest.fixture
def store(people: Team, tmp_path: Path) -> Store:
    """Give a store whose only reader is Alice."""
    return passes.made(tmp_path / "store", people.alice)


# Turn about.


@pytest.mark.parametrize("name", ["plain", "folder/with space", "ünïcode/naïve"])
def test_what_either_writes_the_other_reads(store: Store, name: str) -> None:
    store.run_pass("insert", "-m", name, input=LINES)
    assert store.done("show", f"pass:{name}").out == LINES
    store.done("insert", "--force", f"pass:{name}", input=b"ours\nof two lines\n")
    assert store.run_pass("show", name) == b"ours\nof two lines\n"
    assert store.log()[:2] == [f"Add given password for {name} to store."] * 2
    store.run_pass("rm", "-f", name)
    store.refused(3, "not in the vault", "show", f"pass:{name}")


def test_every_verb_leaves_what_pass_would(store: Store) -> None:
    store.done("insert", "pass:a/one", input=LINES)
    store.done("generate", "pass:a/two")
    store.done("cp", "pass:a/one", "pass:b/one")
    store.done("mv", "pass:a/two", "pass:two")
    store.done("rm", "-f", "pass:a/one")
    assert store.log()[:5] == [
        "Remove a/one from store.",
        "Rename a/two to two.",
        "Copy a/one to b/one.",
        "Add generated password for a/two.",
        "Add given password for a/one to store.",
    ]
    assert store.done("ls", "pass:").out == b"b/one\ntwo\n"
    assert store.done("find", "--plugin", "pass", "ONE").out == b"b/one\n"
    assert store.done("grep", "line two", "pass:b").out == b"b/one\n"
    assert store.done("status", "pass:").code == 0
    assert store.run_pass("show", "b/one") == LINES
    assert not (store.directory / "a").exists()


def test_an_edit_is_read_by_pass(store: Store) -> None:
    store.run_pass("insert", "-m", "entry", input=LINES)
    store.done("edit", "pass:entry", env={"EDITOR": "sed -i s/two/2/"})
    assert store.run_pass("show", "entry") == b"line one\nline 2\n"
    assert store.log()[0] == "Edit password for entry using sed -i s/two/2/."


def test_what_is_made_has_the_modes_that_pass_gives(store: Store) -> None:
    store.done("insert", "pass:deep/entry", input=LINES)
    path = store.directory / "deep/entry.gpg"
    assert [stat.S_IMODE(it.stat().st_mode) for it in (path.parent, path)] == [0o700, 0o600]
    store.done("insert", "pass:wide/entry", input=LINES, env={"PASSWORD_STORE_UMASK": "027"})
    path = store.directory / "wide/entry.gpg"
    assert [stat.S_IMODE(it.stat().st_mode) for it in (path.parent, path)] == [0o750, 0o640]


def test_the_store_of_the_home_is_the_default(people: Team) -> None:
    store = passes.made(Path(os.environ["HOME"]) / ".password-store", people.alice)
    store.run_pass("insert", "-m", "entry", input=LINES)
    assert store.done("show", "pass:entry", env={"PASSWORD_STORE_DIR": ""}).out == LINES
    shutil.rmtree(store.directory)
    store.directory.parent.mkdir(exist_ok=True)
    done = store.vault("show", "pass:entry")
    assert (done.code, "there is no pass store" in done.err) == (3, True)


# Who reads.


def test_several_ids_comments_and_those_of_a_folder(store: Store, people: Team) -> None:
    store.run_pass("init", people.alice.address, f"0x{people.bob.fingerprint[-16:]}")
    store.run_pass("init", "-p", "own", people.alice.fingerprint)
    ids = store.directory / ".gpg-id"
    ids.write_text(
        f"# all of us\n{ids.read_text().replace(people.alice.address, f'{people.alice.address} # me')}"
    )
    store.git("commit", "-qam", "comments")
    store.refused(5, "vault recipients ack --plugin pass", "insert", "pass:entry", input=LINES)
    store.done("recipients", "ack", "--plugin", "pass", "--yes")
    store.done("insert", "pass:entry", input=LINES)
    store.done("insert", "pass:own/entry", input=LINES)
    assert (store.readers("entry"), store.readers("own/entry")) == (2, 1)
    assert gpg.run(people.bob.home, "--decrypt", store.directory / "entry.gpg") == LINES


def test_a_change_of_ids_is_made_good_by_either(store: Store, people: Team) -> None:
    store.done("insert", "pass:entry", input=LINES)
    store.run_pass("init", people.alice.fingerprint, people.bob.fingerprint)
    assert store.readers("entry") == 2
    (store.directory / ".gpg-id").write_text(f"{people.alice.fingerprint}\n")
    store.done("recipients", "ack", "--plugin", "pass", "--yes")
    assert "re-encrypted 1 of 1" in store.done("rekey", "pass:").err
    assert store.readers("entry") == 1
    before = (store.directory / "entry.gpg").read_bytes()
    store.run_pass("init", people.alice.fingerprint)
    assert (store.directory / "entry.gpg").read_bytes() == before
    assert store.run_pass("show", "entry") == LINES


def test_what_comes_into_another_folder_is_read_by_those_who_read_there(store: Store, people: Team) -> None:
    store.run_pass("init", "-p", "own folder", people.alice.fingerprint, people.bob.fingerprint)
    store.done("recipients", "ack", "--plugin", "pass", "--yes")
    store.done("insert", "pass:entry", input=LINES)
    store.done("mv", "pass:entry", "pass:own folder/ünïcode")
    assert store.readers("own folder/ünïcode") == 2
    store.run_pass("mv", "own folder/ünïcode", "entry")
    assert (store.readers("entry"), store.done("show", "pass:entry").out) == (1, LINES)
    store.run_pass("cp", "entry", "own folder/theirs")
    store.done("cp", "pass:entry", "pass:own folder/ours")
    assert [store.readers(f"own folder/{name}") for name in ("theirs", "ours")] == [2, 2]
    store.run_pass("init", "-p", "own folder", people.bob.fingerprint, people.mallory.fingerprint)
    store.done("recipients", "ack", "--plugin", "pass", "--yes")
    store.refused(4, "not encrypted to a key of yours", "show", "pass:own folder/ours")
    assert gpg.run(people.mallory.home, "--decrypt", store.directory / "own folder/ours.gpg") == LINES
    assert store.done("show", "pass:entry").out == LINES


def test_a_group_is_whom_gpg_conf_says(people: Team, tmp_path: Path) -> None:
    alice = gpg.clone(people.alice, people.folder / "grouped")
    (alice.home / "gpg.conf").write_text(f"group ops={people.alice.fingerprint} {people.bob.fingerprint}\n")
    store = passes.made(tmp_path / "store", alice, "ops")
    store.done("insert", "pass:ours", input=LINES)
    store.run_pass("insert", "-m", "theirs", input=LINES)
    assert (store.readers("ours"), store.readers("theirs")) == (2, 2)
    assert "nothing to re-encrypt" in store.done("rekey", "pass:").err


def test_the_key_of_the_environment_is_in_the_place_of_the_file(store: Store, people: Team) -> None:
    store.done("insert", "pass:entry", input=LINES, env={"PASSWORD_STORE_KEY": people.bob.fingerprint})
    assert gpg.run(people.bob.home, "--decrypt", store.directory / "entry.gpg") == LINES
    assert store.readers("entry") == 1


@pytest.mark.parametrize(
    "options", ["--agent-program /tmp/x", "--load-extension=/tmp/x", "--homedir /tmp", "--verify-options x"]
)
def test_options_for_gpg_that_run_or_load_are_refused_by_name(store: Store, options: str) -> None:
    name = options.replace("=", " ").split()[0]
    given = {"PASSWORD_STORE_GPG_OPTS": options}
    store.refused(2, f"option '{name}' is refused", "insert", "pass:entry", input=LINES, env=given)


def test_other_options_for_gpg_are_used(store: Store) -> None:
    given = {"PASSWORD_STORE_GPG_OPTS": "--no-permission-warning --cipher-algo AES192"}
    store.done("insert", "pass:entry", input=LINES, env=given)
    assert store.run_pass("show", "entry") == LINES


# Beside a vault.


def test_a_service_gets_what_lies_in_the_store(store: Store, tmp_path: Path) -> None:
    store.run_pass("insert", "-m", "tailscale/container-key", input=b"a value\n")
    vault = make_vault(tmp_path / "vault").directory
    services(vault, '[services.s.files.key]\nsecret = "pass:tailscale/container-key"\nformat = "line"\n')
    target = tmp_path / "run"
    target.mkdir(mode=0o700)
    store.done("--vault", vault, "materialize", "s", "--directory", target, "--allow-disk")
    assert (target / "key").read_bytes() == b"a value"
    shutil.rmtree(vault)
    given = ("--secret", "pass:tailscale/container-key", "--to", target / "other", "--allow-disk")
    store.done("materialize", *given)
    assert (target / "other").read_bytes() == b"a value\n"


def test_a_process_gets_an_entry_as_a_variable(store: Store, tmp_path: Path) -> None:
    store.run_pass("insert", "-m", "db/password", input=b"a value\n")
    vault = make_vault(tmp_path / "vault").directory
    services(vault, '[services.s.files.env]\nformat = "env"\nvalues = { PASSWORD = "pass:db/password" }\n')
    assert store.done("--vault", vault, "run", "s", "--", "printenv", "PASSWORD").out == b"a value\n"
    store.run_pass("rm", "-f", "db/password")
    store.refused(3, "db/password", "--vault", vault, "run", "s", "--", "printenv", "PASSWORD")


def test_the_hooks_and_a_scan_know_the_entries_that_services_get(store: Store, tmp_path: Path) -> None:
    value = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(24))
    store.run_pass("insert", "-m", "db/password", input=f"{value}\n".encode())
    make_vault(tmp_path / "vault")
    repository = Repository(tmp_path / "vault")
    services(repository.directory, '[services.s.files.key]\nsecret = "pass:db/password"\nformat = "line"\n')
    for verb in ("install", "refresh"):
        done = repository.vault("hooks", verb, env=store.environment)
        assert done.code == 0, done.err
    assert "the hooks know 1 of 1 values" in done.err
    leak = repository.write("leak", f"x = '{value}'\n".encode())
    repository.git("add", "leak")
    refused = repository.attempt("commit", "--message", "leak")
    found = repository.vault("scan", leak)
    assert (refused.code, found.code) == (1, 1)
    for said in (refused.err, found.out.decode() + found.err):
        assert "leak:1: value of secret 'pass:db/password'" in said
        assert value not in said


@pytest.mark.parametrize("verb", ["add", "rm"])
def test_who_reads_a_store_is_changed_by_pass_alone(store: Store, people: Team, verb: str) -> None:
    for where in (["--plugin", "pass"], ["--plugin", "pass", "--folder", "own"]):
        store.refused(2, "hint: pass init ID", "recipients", verb, people.bob.fingerprint, *where)


def test_a_vault_does_not_take_the_name_of_the_store_for_its_own(store: Store, tmp_path: Path) -> None:
    vault = make_vault(tmp_path / "vault").directory
    (vault / "secrets/x.pass").write_bytes(b"planted")
    assert store.done("--vault", vault, "ls").out == b""
    store.refused(2, "different places", "--vault", vault, "mv", "pass:a", "age:a")
    text = (vault / "vault.toml").read_text().replace('"age"', '"pass"')
    (vault / "vault.toml").write_text(text)
    store.refused(2, "do not lie in a vault", "--vault", vault, "ls")


def test_signers_and_members_whose_keys_are_no_good_are_found(people: Team, tmp_path: Path) -> None:
    alice = gpg.clone(people.alice, people.folder / "checked")
    old = gpg.another(alice, "Old signer", expires="20200601T000000", made="20200101T000000")
    gone = gpg.another(alice, "Gone signer")
    certificate = (alice.home / f"openpgp-revocs.d/{gone.fingerprint}.rev").read_bytes()
    gpg.run(alice.home, "--import", input=certificate.replace(b":-----BEGIN", b"-----BEGIN"))
    weak = "%no-protection\nKey-Type: RSA\nKey-Length: 1024\nSubkey-Type: RSA\nSubkey-Length: 1024\nName-Email: weak@example.invalid\n%commit\n"
    gpg.run(alice.home, "--gen-key", input=weak.encode())
    store = passes.made(tmp_path / "store", alice)
    (store.directory / "own").mkdir()
    (store.directory / "own/.gpg-id").write_text(f"{alice.fingerprint}\nweak@example.invalid\n")
    env = {"PASSWORD_STORE_SIGNING_KEY": f"{old.fingerprint} {gone.fingerprint}"}
    done = store.vault("recipients", "check", "--plugin", "pass", env=env)
    assert done.code == 1
    for wanted in (
        f"signer {old.fingerprint} is of no use: has expired",
        f"signer {gone.fingerprint} is of no use: is revoked",
        "(<weak@example.invalid>) is weak: 1024 bits",
    ):
        assert wanted in done.err.replace("(weak@example.invalid)", "(<weak@example.invalid>)"), done.err


def test_plain_files_and_missing_signers_are_found(store: Store) -> None:
    store.done("insert", "pass:folder/entry", input=LINES)
    for name in ("note.txt", "folder/typed.gpg"):
        (store.directory / name).write_text("plain")
    env = {"PASSWORD_STORE_SIGNING_KEY": "A" * 40}
    done = store.vault("recipients", "check", "--plugin", "pass", env=env)
    assert done.code == 1
    for name in ("note.txt", "folder/typed.gpg"):
        assert f"'{name}' in the store is not encrypted by pass" in done.err
    assert f"signer {'A' * 40} is not in your keyring" in done.err
    assert "entry" not in done.err


def test_what_is_wrong_with_a_list_is_told_with_what_mends_it_in_a_store(store: Store, people: Team) -> None:
    ids = store.directory / ".gpg-id"
    ids.write_text(f"{people.alice.fingerprint}\n{'A' * 40}\n")
    check = ("recipients", "check", "--plugin", "pass")
    done = store.vault(*check)
    assert done.code == 1
    assert "hint: have it renewed, then: gpg --import FILE; or pass init ID... without it" in done.err
    assert "hint: vault recipients ack --plugin pass" in done.err
    store.done("recipients", "ack", "--plugin", "pass", "--yes")
    store.refused(2, f"hint: vault {' '.join(check)}", "insert", "pass:entry", input=LINES)
    (store.directory / "own").mkdir()
    (store.directory / "own/.gpg-id").symlink_to(ids)
    store.refused(5, "'own/.gpg-id': ", *check)
