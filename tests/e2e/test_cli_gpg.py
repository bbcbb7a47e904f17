"""A vault of gpg secrets, day by day: its members, their keys, and everything that plain gpg and pass make of it."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import gpg, needs
from support.gpg import Person
from support.team import Shared, Team, made, subkey, team


@pytest.fixture(scope="module")
def people() -> Iterator[Team]:
    """Give the team, whose keys are made once."""
    needs.program("gpg")
    with team() as found:
        yield found


@pytest.fixture
def ours(people: Team, tmp_path: Path) -> Shared:
    """Give a vault whose only reader is Alice."""
    return made(people, tmp_path / "vault")


def files(home: Path) -> dict[str, bytes]:
    """Return the files of gpg in *home*, but for its agent's and its random numbers."""
    return {
        path.name: path.read_bytes()
        for path in home.iterdir()
        if path.is_file() and path.name != "random_seed"
    }


# From nothing.


def test_a_new_vault_has_its_makers_key_and_is_a_pass_store(ours: Shared) -> None:
    needs.program("pass")
    alice = ours.team.alice
    assert (ours.secrets / ".gpg-id").read_text() == f"# Alice <{alice.address}>\n{alice.fingerprint}\n"
    assert [path.name for path in ours.keys.iterdir()] == [alice.file]
    assert ours.git("status", "--short") == ""
    ours.put("web/key", b"line one\nline two")
    assert ours.done("show", "web/key").out == b"line one\nline two"
    assert gpg.run(alice.home, "--decrypt", ours.secrets / "web/key.gpg") == b"line one\nline two"
    environment = {
        "PASSWORD_STORE_DIR": str(ours.secrets),
        "GNUPGHOME": str(alice.home),
        "PATH": "/usr/bin:/bin",
    }
    shown = subprocess.run(["pass", "show", "web/key"], capture_output=True, check=True, env=environment)
    assert shown.stdout == b"line one\nline two"


def test_what_pass_writes_opens(ours: Shared) -> None:
    needs.program("pass")
    environment = {
        "PASSWORD_STORE_DIR": str(ours.secrets),
        "GNUPGHOME": str(ours.team.alice.home),
        "PATH": "/usr/bin:/bin",
        "HOME": str(ours.directory.parent),
    }
    argv = ["pass", "insert", "--multiline", "by pass/schlüssel"]
    subprocess.run(argv, input=b"a\nb\n", env=environment, check=True, capture_output=True)
    shown = ours.done("show", "by pass/schlüssel")
    assert (shown.out, shown.err) == (b"a\nb\n", "")
    assert json.loads(ours.done("status", "--json").out)[0]["findings"] == []


def test_who_has_several_keys_says_which(people: Team, tmp_path: Path) -> None:
    someone = gpg.clone(people.alice, people.folder / "several")
    second = gpg.another(someone, "Second")
    ours = Shared(tmp_path, people._replace(alice=someone))
    init = ("init", "--backend", "gpg", tmp_path / "vault")
    done = ours.vault(*init)
    assert (done.code, (tmp_path / "vault").exists()) == (2, False)
    assert "you have several keys" in done.err
    assert second.fingerprint in done.err
    assert ours.vault(*init, "--recipient", second.address).code == 0
    assert second.fingerprint in (tmp_path / "vault/secrets/.gpg-id").read_text()


def test_who_has_no_key_is_told(people: Team, tmp_path: Path) -> None:
    home = people.folder / "nobody"
    home.mkdir(mode=0o700)
    ours = Shared(tmp_path, people)
    done = ours.vault("init", "--backend", "gpg", tmp_path / "vault", env={"GNUPGHOME": str(home)})
    assert done.code == 4
    assert "you have no gpg key" in done.err
    assert "gpg --full-generate-key" in done.err


# Members.


@pytest.mark.parametrize("key", ["0123456789ABCDEF" * 2 + "01234567", "nobody@example.invalid"])
def test_a_key_that_is_nowhere_is_asked_for_as_a_file(ours: Shared, key: str) -> None:
    said = ours.refused(3, f"'{key}' is no key in your keyring", "recipients", "add", key)
    assert "hint: vault recipients add FILE, the file that they export with gpg --armor --export" in said


def test_a_member_reads_everything_after_one_commit(ours: Shared) -> None:
    alice, bob = ours.team.alice, ours.team.bob
    for name in ("a", "web/b", "web/deep/c"):
        ours.put(name, name.encode())
    before, count = files(alice.home), int(ours.git("rev-list", "--count", "HEAD"))
    said = ours.add(bob).err
    assert f"Bob <{bob.address}> can read 3 secrets" in said
    assert int(ours.git("rev-list", "--count", "HEAD")) == count + 1
    assert ours.git("status", "--short") == ""
    assert (ours.secrets / ".gpg-id").read_text().endswith(f"# Bob <{bob.address}>\n{bob.fingerprint}\n")
    assert files(alice.home) == before, "the user's keyring was touched"
    for name in ("a", "web/b", "web/deep/c"):
        assert ours.readers(name) == {subkey(alice), subkey(bob)}
        assert ours.done("show", name, who=bob).out == name.encode()
    ours.refused(4, "not encrypted to a key of yours", "show", "a", who=ours.team.mallory)


@pytest.mark.parametrize("how", ["fingerprint", "spaced", "long id", "address", "binary file"])
def test_a_member_is_added_by(people: Team, tmp_path: Path, how: str) -> None:
    alice = gpg.clone(people.alice, people.folder / how.replace(" ", ""))
    gpg.run(alice.home, "--import", input=people.bob.public)
    ours = made(people._replace(alice=alice), tmp_path / "vault")
    (tmp_path / "bob.gpg").write_bytes(gpg.run(people.bob.home, "--export"))
    whole = people.bob.fingerprint
    spaced = " ".join(re.findall("....", whole))
    texts = {
        "fingerprint": whole, "spaced": spaced, "long id": f"0x{whole[-16:]}", "address": people.bob.address,
        "binary file": str(tmp_path / "bob.gpg"),
    }  # fmt: skip
    ours.done("recipients", "add", texts[how])
    assert whole in (ours.secrets / ".gpg-id").read_text().split()
    assert sorted(path.name for path in ours.keys.iterdir()) == sorted([alice.file, people.bob.file])


def test_a_plan_changes_nothing(ours: Shared) -> None:
    ours.put("a")
    path = ours.directory.parent / "bob.asc"
    path.write_bytes(ours.team.bob.public)
    before = ours.state()
    assert (
        "to re-encrypt, encrypted to other recipients: a"
        in ours.done("recipients", "add", path, "--plan").err
    )
    assert ours.state() == before


def test_whoever_leaves_reads_nothing_new_and_their_key_goes(ours: Shared) -> None:
    alice, bob = ours.team.alice, ours.team.bob
    ours.put("a")
    ours.add(bob)
    done = ours.done("recipients", "rm", bob.address)
    assert "rotate 1 secret" in done.err
    assert done.out == b"a\n"
    assert [path.name for path in ours.keys.iterdir()] == [alice.file]
    assert ours.readers("a") == {subkey(alice)}
    assert ours.git("status", "--short") == ""
    ours.refused(3, "is not among the recipients", "recipients", "rm", bob.fingerprint)


def test_a_folder_has_its_own_members_and_keeps_their_keys(ours: Shared) -> None:
    alice, bob = ours.team.alice, ours.team.bob
    ours.put("a")
    ours.put("prod/b")
    ours.add(bob, "--folder", "prod")
    assert (ours.readers("a"), ours.readers("prod/b")) == ({subkey(alice)}, {subkey(alice), subkey(bob)})
    ours.add(bob)
    ours.done("recipients", "rm", bob.fingerprint)
    assert (ours.keys / bob.file).exists()
    ours.done("recipients", "rm", f"Bob <{bob.address}>", "--folder", "prod")
    assert not (ours.keys / bob.file).exists()


def test_nobody_shuts_themselves_out_unasked(ours: Shared) -> None:
    ours.add(ours.team.bob)
    ours.refused(2, "you yourself would not read it", "recipients", "rm", ours.team.alice.address)


def test_a_line_may_be_an_address_an_id_or_a_group(people: Team, tmp_path: Path) -> None:
    alice = gpg.clone(people.alice, people.folder / "grouped")
    (alice.home / "gpg.conf").write_text(
        f"group friends = {people.bob.address} {people.mallory.fingerprint}\n"
    )
    ours = made(people._replace(alice=alice), tmp_path / "vault")
    for one in (people.bob, people.mallory):
        (ours.keys / one.file).write_bytes(one.public)
    (ours.secrets / ".gpg-id").write_text(f"{alice.address} # that is me\n\n# everybody\nfriends\n")
    ours.done("recipients", "ack", "--yes")
    ours.put("a")
    assert ours.readers("a") == {subkey(one) for one in (alice, people.bob, people.mallory)}
    (file,) = json.loads(ours.done("recipients", "ls", "--json").out)
    assert [{reader["recipient"] for reader in line["readers"]} for line in file["recipients"]] == [
        {alice.fingerprint},
        {people.bob.fingerprint, people.mallory.fingerprint},
    ]
    said = ours.done("recipients", "ls").out.decode()
    assert f"  {people.bob.fingerprint}  Bob <{people.bob.address}>" in said
    (ours.secrets / ".gpg-id").write_text(f"0x{alice.fingerprint[-16:]}\n")
    ours.done("recipients", "ack", "--yes")
    assert "encrypted to other recipients: a" in ours.done("rekey").err
    assert ours.readers("a") == {subkey(alice)}


def test_who_reads_is_seen_without_a_key(ours: Shared) -> None:
    ours.put("a")
    stranger = gpg.run(
        ours.team.mallory.home,
        "--encrypt",
        "--trust-model",
        "always",
        "-r",
        ours.team.mallory.fingerprint,
        input=b"x",
    )
    (ours.secrets / "b.gpg").write_bytes(stranger)
    hidden = ("--trust-model", "always", "--hidden-recipient", ours.team.alice.fingerprint, "--encrypt")
    (ours.secrets / "c.gpg").write_bytes(gpg.run(ours.team.alice.home, *hidden, input=b"y"))
    ours.git("add", "--all")
    home = {"GNUPGHOME": str(ours.team.mallory.home)}
    rows = json.loads(ours.vault("status", "--json", env=home).out)
    owed = ["encrypted to other recipients: vault rekey"]
    assert {row["name"]: row["findings"] for row in rows} == {"a": [], "b": owed, "c": owed}
    assert "to re-encrypt, encrypted to other recipients: b, c" in ours.done("rekey", "--plan").err
    ours.refused(4, "secret 'b': not encrypted to a key of yours", "rekey")
    (ours.secrets / "b.gpg").unlink()
    assert "re-encrypted 1 of 2 secrets" in ours.done("rekey").err
    assert ours.done("show", "c").out == b"y"
    assert ours.readers("c") == {subkey(ours.team.alice)}


def test_an_expiry_date_has_no_place(ours: Shared) -> None:
    ours.refused(2, "has no place for an expiry date", "insert", "a", "--expires", "90d", input=b"x")


# Keys that cannot be used.


def soon(people: Team, name: str, days: int) -> Person:
    return gpg.person(people.folder, name, expires=f"{days}d")


def test_check_warns_thirty_days_ahead(ours: Shared) -> None:
    assert ours.vault("recipients", "check").code == 0
    ours.add(soon(ours.team, "Much", 40))
    assert ours.vault("recipients", "check").code == 0
    late = soon(ours.team, "Late", 20)
    ours.add(late)
    done = ours.vault("recipients", "check")
    assert done.code == 1
    assert re.search(
        rf"recipient {late.fingerprint} \(Late <{late.address}>\) expires in (19|20) days", done.err
    )
    assert done.err.count("expires in") == 1
    found = json.loads(ours.vault("recipients", "check", "--json").out)
    assert [reader["expires"] == "" for reader in found["readers"]] == [True, False, False]
    assert len(found["findings"]) == 1


def spoiled(people: Team, how: str) -> tuple[Person, bytes]:
    """Return somebody whose key cannot be encrypted to, and their public key as it now is."""
    if how == "has expired":
        someone = gpg.person(people.folder, "Gone", made="20200101T000000", expires="1y")
    else:
        someone = gpg.person(people.folder, "Revoked")
        certificate = (someone.home / f"openpgp-revocs.d/{someone.fingerprint}.rev").read_bytes()
        gpg.run(someone.home, "--import", input=certificate.replace(b":-----BEGIN", b"-----BEGIN"))
    return someone, someone.public


@pytest.mark.parametrize("how", ["has expired", "is revoked"])
def test_a_key_that_cannot_be_used_stops_everything_and_can_be_removed(ours: Shared, how: str) -> None:
    ours.put("a")
    before = gpg.person(ours.team.folder, f"fresh{how[-7:]}")
    ours.add(before)
    someone, public = spoiled(ours.team, how)
    path = ours.directory.parent / "key.asc"
    path.write_bytes(public)
    ours.refused(2, how, "recipients", "add", path)
    (ours.keys / someone.file).write_bytes(public)
    with (ours.secrets / ".gpg-id").open("a") as file:
        file.write(f"{someone.fingerprint}\n")
    ours.done("recipients", "ack", "--yes")
    said = ours.refused(2, how, "insert", "b", input=b"x")
    assert someone.fingerprint in said
    assert how in ours.vault("recipients", "check").err
    assert how in ours.done("recipients", "ls").out.decode()
    ours.done("recipients", "rm", someone.address)
    assert not (ours.keys / someone.file).exists()
    ours.put("b")


def test_two_whose_keys_have_expired_are_removed_together(ours: Shared) -> None:
    ours.put("a")
    gone = [
        gpg.person(ours.team.folder, f"Old{number}", made="20200101T000000", expires="1y")
        for number in (1, 2)
    ]
    with (ours.secrets / ".gpg-id").open("a") as file:
        for one in gone:
            (ours.keys / one.file).write_bytes(one.public)
            file.write(f"{one.fingerprint}\n")
    ours.done("recipients", "ack", "--yes")
    ours.done("recipients", "rm", gone[0].address, gone[1].fingerprint)
    assert [path.name for path in ours.keys.iterdir()] == [ours.team.alice.file]
    ours.put("c")


def test_a_disabled_key_is_not_exported(people: Team, tmp_path: Path) -> None:
    alice = gpg.clone(people.alice, people.folder / "disabling")
    gpg.run(alice.home, "--import", input=people.bob.public)
    gpg.run(alice.home, "--command-fd", "0", "--edit-key", people.bob.fingerprint, input=b"disable\nsave\n")
    ours = made(people._replace(alice=alice), tmp_path / "vault")
    ours.refused(2, "is disabled", "recipients", "add", people.bob.address)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{bob}", "has no valid public key in the vault"),
        ("bob@example.invalid", "has no valid public key in the vault"),
        ("twins@example.invalid", "is ambiguous"),
        ("12345678", "is neither a full fingerprint"),
        ("--output=x", "is neither a full fingerprint"),
        ("Alice", "is neither a full fingerprint"),
        ("{alice}!", "is neither a full fingerprint"),
    ],
)
def test_a_line_that_means_nobody_or_several_stops_everything(ours: Shared, line: str, problem: str) -> None:
    ours.put("a")
    for number in (1, 2):
        twin = gpg.person(ours.team.folder, f"Twins{number}{abs(hash(ours.directory))}")
        gpg.run(twin.home, "--quick-add-uid", twin.fingerprint, "Twins <twins@example.invalid>")
        (ours.keys / twin.file).write_bytes(twin.public)
    text = line.format(bob=ours.team.bob.fingerprint, alice=ours.team.alice.fingerprint)
    with (ours.secrets / ".gpg-id").open("a") as file:
        file.write(f"{text}\n")
    ours.done("recipients", "ack", "--yes")
    ours.refused(2, "recipient", "insert", "b", input=b"x")
    done = ours.vault("recipients", "check")
    assert done.code == 1
    assert f"recipient {text} {problem}" in done.err
    ours.done("recipients", "rm", "--", text)
    ours.put("b")


# Keys that change.


def test_a_renewed_key_is_taken_and_nothing_else_is_done(people: Team, tmp_path: Path) -> None:
    ours = made(people, tmp_path / "vault")
    ours.put("a")
    late = gpg.person(people.folder, "Renewing", expires="20d")
    ours.add(late)
    path = tmp_path / f"{late.fingerprint}.asc"
    ours.refused(2, "can read that already", "recipients", "add", path)
    old, secret = late.public, (ours.secrets / "a.gpg").read_bytes()
    gpg.run(late.home, "--quick-set-expire", late.fingerprint, "2y")
    gpg.run(late.home, "--quick-set-expire", late.fingerprint, "2y", "*")
    ours.add(late)
    assert (
        ours.git("log", "-1", "--format=%s")
        == f"Renew the key of Renewing <{late.address}> for all secrets\n"
    )
    assert (ours.secrets / "a.gpg").read_bytes() == secret
    assert ours.vault("recipients", "check").code == 0
    path.write_bytes(old)
    ours.refused(2, "can read that already", "recipients", "add", path)  # an older file takes nothing back


def test_a_new_subkey_is_encrypted_to(people: Team, tmp_path: Path) -> None:
    ours = made(people, tmp_path / "vault")
    ours.put("a")
    someone = gpg.person(people.folder, "Changing", made="20240101T000000")
    ours.add(someone)
    old = subkey(someone)
    empty = ("--pinentry-mode", "loopback", "--passphrase", "")
    gpg.run(someone.home, *empty, "--quick-add-key", someone.fingerprint, "cv25519", "encr")
    assert subkey(someone) != old
    ours.add(someone)
    assert ours.readers("a") == {subkey(people.alice), subkey(someone)}
