"""What somebody tries who can commit to a vault of gpg secrets, or who sits between it and gpg."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import gpg, needs
from support.gpg import Person
from support.team import Shared, Team, made, subkey, team
from support.vaults import PATH, made_key

SESAME = "the passphrase itself"


@pytest.fixture(scope="module")
def people() -> Iterator[Team]:
    """Give the team, whose keys are made once."""
    needs.program("gpg")
    with team() as found:
        yield found


@pytest.fixture
def ours(people: Team, tmp_path: Path) -> Shared:
    """Give a vault whose only reader is Alice, with the secrets ``a`` and ``b``."""
    ours = made(people, tmp_path / "vault")
    ours.put("a", b"the value of a")
    ours.put("b", b"the value of b")
    return ours


def encrypted(ours: Shared, *arguments: str, value: bytes = b"planted") -> bytes:
    """Return what gpg makes of *value* by *arguments*, with Mallory's keyring, which knows Alice."""
    home = ours.team.mallory.home
    gpg.run(home, "--import", input=ours.team.alice.public)
    return gpg.run(home, "--trust-model", "always", *arguments, input=value)


# Ciphertexts.


def test_a_file_copied_over_another_is_refused(ours: Shared) -> None:
    (ours.secrets / "b.gpg").write_bytes((ours.secrets / "a.gpg").read_bytes())
    for command in (("show", "b"), ("rekey",), ("mv", "b", "c")):
        ours.refused(5, "secret 'b': its file is that of secret 'a', copied over it", *command)
    assert ours.vault("status").code == 1
    ours.done("insert", "--force", "b", input=b"again")
    assert ours.done("show", "b").out == b"again"


def test_a_file_copied_to_a_new_name_is_warned_of(ours: Shared) -> None:
    (ours.secrets / "new.gpg").write_bytes((ours.secrets / "a.gpg").read_bytes())
    done = ours.done("show", "new")
    assert done.out == b"the value of a"
    assert "warning: secret 'new' is the very file of secret 'a'" in done.err
    assert ours.done("show", "new").err == ""


def test_a_copy_is_known_where_its_source_was_never_opened(ours: Shared, tmp_path: Path) -> None:
    fresh = {"XDG_STATE_HOME": str(tmp_path / "fresh")}
    assert ours.done("show", "b", env=fresh).out == b"the value of b"
    (ours.secrets / "b.gpg").write_bytes((ours.secrets / "a.gpg").read_bytes())
    ours.refused(5, "secret 'b': its file is that of secret 'a', copied over it", "show", "b", env=fresh)
    newer = {"XDG_STATE_HOME": str(tmp_path / "newer")}
    assert "warning: secret 'a' is the very file of secret 'b'" in ours.done("show", "a", env=newer).err


def test_a_file_that_was_rolled_back_is_refused(ours: Shared) -> None:
    old = (ours.secrets / "a.gpg").read_bytes()
    ours.done("insert", "--force", "a", input=b"newer")
    (ours.secrets / "a.gpg").write_bytes(old)
    ours.refused(5, "secret 'a': rolled back to an earlier file", "show", "a")


def test_the_hint_of_a_rollback_is_a_command_that_works(ours: Shared) -> None:
    old = (ours.secrets / "a.gpg").read_bytes()
    to = ("--encrypt", "--recipient", ours.team.alice.fingerprint)
    (ours.secrets / "a.gpg").write_bytes(encrypted(ours, *to, value=b"planted"))
    assert ours.done("show", "a").out == b"planted"
    (ours.secrets / "a.gpg").write_bytes(old)
    said = ours.refused(5, "rolled back", "show", "a")
    command = said.partition("when it is meant: ")[2].strip()
    assert command == "gpg --decrypt secrets/a.gpg | vault insert --force gpg:a"
    subprocess.run(
        ["sh", "-euc", command.replace("vault ", f"{sys.executable} -m tskeyvault ")],
        env={**os.environ, "PYTHONPATH": PATH, "GNUPGHOME": str(ours.team.alice.home)},
        cwd=ours.directory, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert ours.done("show", "a").out == b"the value of a"


def test_a_refused_file_that_is_taken_back_leaves_nothing(ours: Shared) -> None:
    good = (ours.secrets / "b.gpg").read_bytes()
    for hostile in ((ours.secrets / "a.gpg").read_bytes(), good[:-1] + b"x", b"x"):
        (ours.secrets / "b.gpg").write_bytes(hostile)
        assert ours.vault("show", "b").code == 5
        (ours.secrets / "b.gpg").write_bytes(good)
        assert ours.done("show", "b").out == b"the value of b"


def test_what_a_colleague_writes_is_read_without_a_word(ours: Shared) -> None:
    to = ("--encrypt", "--recipient", ours.team.alice.fingerprint)
    (ours.secrets / "a.gpg").write_bytes(encrypted(ours, *to, value=b"newer"))
    done = ours.done("show", "a")
    assert (done.out, done.err) == (b"newer", "")


FORGED: dict[str, Callable[[Shared], bytes]] = {
    "a message that nobody encrypted": lambda ours: encrypted(ours, "--store"),
    "a message that is only signed": lambda ours: encrypted(ours, "--sign"),
    "a message for a passphrase": lambda ours: encrypted(
        ours, "--pinentry-mode", "loopback", "--passphrase", "x", "--symmetric"
    ),
    "two messages": lambda ours: encrypted(ours, "--encrypt", "-r", ours.team.alice.fingerprint) * 2,
    "a message and more": lambda ours: (
        encrypted(ours, "--encrypt", "-r", ours.team.alice.fingerprint) + encrypted(ours, "--store")
    ),
    "an armor of something else": lambda ours: ours.team.alice.public,
    "text": lambda _ours: b"-----BEGIN PGP MESSAGE-----\n\nAAAA\n-----END PGP MESSAGE-----\n",
    "nothing": lambda _ours: b"",
}


@pytest.mark.parametrize("kind", sorted(FORGED))
def test_what_is_no_encrypted_message_is_never_read(ours: Shared, kind: str) -> None:
    (ours.secrets / "planted.gpg").write_bytes(FORGED[kind](ours))
    ours.refused(5, "secret 'planted': ", "show", "planted")


def test_a_file_name_in_a_message_forges_no_report(ours: Shared) -> None:
    forged = "x\n[GNUPG:] DECRYPTION_OKAY\n[GNUPG:] GOODMDC\n[GNUPG:] END_DECRYPTION\n"
    to = ("--encrypt", "--recipient", ours.team.alice.fingerprint, "--set-filename", forged)
    whole = encrypted(ours, *to, value=b"sound")
    (ours.secrets / "c.gpg").write_bytes(whole)
    assert ours.done("show", "c").out == b"sound"
    (ours.secrets / "d.gpg").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    ours.refused(5, "secret 'd': damaged", "show", "d")


@pytest.mark.parametrize("size", ["8k", "12k"])
def test_a_full_tmpfs_is_no_missing_key(ours: Shared, tmp_path: Path, size: str) -> None:
    ours.add(ours.team.bob)
    before = ours.state()
    full = tmp_path / "full"
    full.mkdir()
    inside = f'mount -t tmpfs -o size={size},mode=700 t {full}; head -c 4k /dev/zero > {full}/x; exec "$@"'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-ec", inside, "sh", sys.executable, "-m", "tskeyvault", "insert", "c"],
        input=b"x", capture_output=True, check=False, timeout=60, cwd=ours.directory,
        env={**os.environ, "PYTHONPATH": PATH, "GNUPGHOME": str(ours.team.alice.home), "XDG_RUNTIME_DIR": str(full)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (7, b""), done.stderr
    assert f"'{full}' has no room for the public keys".encode() in done.stderr
    assert ours.state() == before


# Recipients.


def test_a_recipient_added_in_a_commit_gets_nothing_until_approved(ours: Shared) -> None:
    mallory = ours.team.mallory
    (ours.keys / mallory.file).write_bytes(mallory.public)
    with (ours.secrets / ".gpg-id").open("a") as file:
        file.write(f"# Alice's laptop\n{mallory.fingerprint}\n")
    ours.git("add", "--all")
    ours.git("commit", "--quiet", "--message", "Add my laptop")
    for command in (("insert", "c"), ("insert", "-f", "a"), ("rekey",), ("mv", "a", "c"), ("generate", "d")):
        said = ours.refused(
            5, "the recipients in 'secrets/.gpg-id' are not those this host approved", *command, input=b"x"
        )
        assert f"+ {mallory.fingerprint}  (Alice's laptop)  its key says: Mallory <{mallory.address}>" in said
        commit = ours.git("rev-parse", "--short", "HEAD").strip()
        assert f"when this is how it should be; git revert {commit}, when not" in said
    assert ours.done("show", "a").out == b"the value of a"
    ours.done("recipients", "ack", "--yes")
    ours.put("c")
    assert ours.readers("c") == {subkey(ours.team.alice), subkey(mallory)}


def test_a_list_that_names_nobody_says_what_brings_the_last_one_back(ours: Shared) -> None:
    path = ours.secrets / ".gpg-id"
    before = path.read_bytes()
    key = ours.directory.parent / "bob.asc"
    key.write_bytes(ours.team.bob.public)
    for committed in (False, True):
        for attack in (lambda: path.write_bytes(b""), path.unlink):
            attack()
            if committed:
                ours.git("commit", "--quiet", "--all", "--message", "x")
            for command in (("insert", "c"), ("rekey",), ("recipients", "add", key)):
                said = ours.refused(3, "", *command, input=b"x", who=ours.team.alice)
                undo = said.partition("hint: ")[2].removesuffix(" brings the last one back\n")
                assert " checkout " in undo, said
            subprocess.run(["sh", "-euc", undo], check=True, cwd="/")
            assert path.read_bytes() == before
            if committed:
                ours.git("commit", "--quiet", "--all", "--message", "back")
            assert ours.done("show", "a").out == b"the value of a"


def test_a_list_of_thousands_is_told_in_some_lines_and_approved_in_time(ours: Shared) -> None:
    with (ours.secrets / ".gpg-id").open("a") as file:
        file.writelines(f"{number:040X}\n" for number in range(10_000))
    said = ours.vault("recipients", "check")
    assert said.code == 1
    assert len(said.out.splitlines()) == 200
    assert "and 9801 more who read" in said.err
    assert "and 9801 more findings" in said.err  # one is that it is not approved
    assert len(said.err) < 50_000
    ours.done("recipients", "ack", "--yes")
    # Were each looked for among all, this would take minutes.
    ours.refused(2, "its public key is not in the vault", "insert", "--force", "b", input=b"x")


def test_a_public_key_that_was_deleted_is_what_every_command_tells(ours: Shared) -> None:
    ours.add(ours.team.bob)
    (ours.keys / ours.team.bob.file).unlink()
    wanted = f"{ours.team.bob.fingerprint}"
    checked = ours.vault("recipients", "check")
    assert (checked.code, b"does not expire" in checked.out.split(wanted.encode())[1].splitlines()[0]) == (
        1,
        False,
    )
    assert f"recipient {wanted} has no valid public key in the vault" in checked.err
    assert b"rekey" not in ours.vault("status").out
    assert "re-encrypt" not in ours.vault("rekey", "--plan").err


def test_a_failing_rekey_and_a_check_name_the_file_that_is_wrong(ours: Shared) -> None:
    (ours.secrets / "planted.gpg").write_bytes(b"plain")
    ours.refused(5, "secret 'planted': not in the form of OpenPGP", "rekey")
    (ours.secrets / "planted.gpg").unlink()
    (ours.secrets / "note.txt").write_text("plain")
    done = ours.vault("recipients", "check")
    assert (done.code, "'secrets/note.txt' is no encrypted secret" in done.err) == (1, True), done.err


def test_key_files_that_were_swapped_fail_the_check(ours: Shared) -> None:
    ours.add(ours.team.bob)
    one, other = ours.keys / ours.team.alice.file, ours.keys / ours.team.bob.file
    one.write_bytes(other.read_bytes())
    other.write_bytes(ours.team.alice.public)
    ours.refused(5, "holds the key", "recipients", "check")


def test_who_was_taken_out_above_and_still_reads_below_is_told(ours: Shared) -> None:
    ours.put("web/x")
    ours.add(ours.team.bob)
    ours.add(ours.team.mallory, "--folder", "web")
    said = ours.done("recipients", "rm", ours.team.bob.fingerprint).err
    assert f"warning: {ours.team.bob.fingerprint} still reads 'web'" in said
    assert f"hint: vault recipients rm {ours.team.bob.fingerprint} --folder web" in said
    ours.done("recipients", "rm", ours.team.bob.fingerprint, "--folder", "web")
    assert "no secret in 'wbe' yet" in ours.add(ours.team.bob, "--folder", "wbe").err


def test_an_address_does_not_move_to_another_key(ours: Shared) -> None:
    bob = ours.team.bob
    (ours.keys / bob.file).write_bytes(bob.public)
    (ours.secrets / ".gpg-id").write_text(f"{ours.team.alice.fingerprint}\n{bob.address}\n")
    ours.done("recipients", "ack", "--yes")
    ours.put("c")
    other = gpg.person(ours.team.folder, "Impostor")
    gpg.run(other.home, "--quick-add-uid", other.fingerprint, f"Bob <{bob.address}>")
    (ours.keys / other.file).write_bytes(other.public)
    said = ours.vault("insert", "d", input=b"x")
    assert said.code == 5  # it now means two, so nobody that was approved
    assert "is ambiguous" in ours.vault("recipients", "check").err
    (ours.keys / bob.file).unlink()
    said_now = ours.refused(5, "are not those this host approved", "insert", "d", input=b"x")
    assert f"+ {other.fingerprint}  ({bob.address})" in said_now
    assert f"- {bob.fingerprint}  ({bob.address})" in said_now


def test_a_list_that_changes_between_check_and_use_is_not_used(ours: Shared, tmp_path: Path) -> None:
    mallory = ours.team.mallory
    # Mallory puts herself into the list and her key into the place of Alice's, just before gpg encrypts.
    wrapper = tmp_path / "bin/gpg"
    wrapper.parent.mkdir()
    planted = tmp_path / "planted.asc"
    planted.write_bytes(mallory.public)
    wrapper.write_text(
        f"""#!/bin/sh
case "$*" in *--encrypt*)
    echo {mallory.fingerprint} >> {ours.secrets}/.gpg-id
    cp {planted} {ours.keys}/{mallory.file}
    cp {planted} {ours.keys}/{ours.team.alice.file} ;;
esac
exec /usr/bin/gpg "$@"
"""
    )
    wrapper.chmod(0o755)
    ours.done("insert", "c", input=b"x", env={"PATH": f"{wrapper.parent}:{os.environ['PATH']}"})
    assert ours.readers("c") == {subkey(ours.team.alice)}


def test_the_users_gpg_conf_adds_nobody(people: Team, tmp_path: Path) -> None:
    alice = gpg.clone(people.alice, people.folder / "configured")
    gpg.run(alice.home, "--import", input=people.mallory.public)
    whom = people.mallory.fingerprint
    (alice.home / "gpg.conf").write_text(
        f"encrypt-to {whom}\nhidden-encrypt-to {whom}\ndefault-recipient {whom}\ngroup {alice.fingerprint} = {whom}\n"
        "throw-keyids\narmor\n"
    )
    ours = made(people._replace(alice=alice), tmp_path / "vault")
    ours.put("a")
    assert ours.readers("a") == {subkey(alice)}
    assert ours.done("show", "a").out == b"a value"


# Key files.


def changed(ours: Shared, change: Callable[[Path, Person], None]) -> None:
    change(ours.keys / ours.team.alice.file, ours.team.mallory)


def _two(path: Path, mallory: Person) -> None:
    gpg.run(mallory.home, "--import", input=path.read_bytes())
    path.write_bytes(gpg.run(mallory.home, "--armor", "--export"))


def _private(path: Path, mallory: Person) -> None:
    path.write_bytes(gpg.run(mallory.home, "--armor", "--export-secret-keys", mallory.fingerprint))


def _fifo(path: Path, _mallory: Person) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path, _mallory: Person) -> None:
    (path.parent.parent.parent / "real.asc").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to("../../real.asc")


def _folder(path: Path, _mallory: Person) -> None:
    path.unlink()
    path.mkdir()


def _folder_link(path: Path, _mallory: Person) -> None:
    path.parent.rename(path.parent.parent.parent / "real")
    path.parent.symlink_to("../real")


HOSTILE: dict[str, tuple[Callable[[Path, Person], None], str]] = {
    "another key": (lambda path, mallory: _written(path, mallory.public), "holds the key"),
    "several keys": (_two, "holds several keys"),
    "a private key": (_private, "holds a private key"),
    "text": (lambda path, _: _written(path, b"--output=/etc/passwd\n"), "its armor is damaged"),
    "nothing": (lambda path, _: _written(path, b""), "is not a public key"),
    "too much": (lambda path, _: _written(path, b"x" * (300 << 10)), "is larger than"),
    "a pipe": (_fifo, "is not a regular file"),
    "a link": (_link, "leads through a link"),
    "a link to a folder": (_folder_link, "leads through a link"),
    "a folder": (_folder, "is not a regular file"),
    "a name like an option": (lambda path, _: _written(path.with_name("--import.asc"), b"x"), "its name is not a fingerprint"),
    "a name in lower case": (lambda path, _: _renamed(path, path.name.lower()), "its name is not a fingerprint"),
    "a name with a line end": (
        lambda path, _: _written(path.with_name("x\n[GNUPG:] GOODSIG.asc"), b"x"),
        "its name is not a fingerprint",
    ),
}  # fmt: skip


def _written(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _renamed(path: Path, name: str) -> None:
    path.rename(path.with_name(name))


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_key_file_stops_everything_and_is_named(ours: Shared, kind: str) -> None:
    change, message = HOSTILE[kind]
    changed(ours, change)
    for command in (("insert", "c"), ("recipients", "ls"), ("recipients", "ack", "--yes"), ("rekey",)):
        done = ours.vault(*command, input=b"x")
        assert (done.code, done.out) == (5, b""), done.err
        assert message in done.err
        assert "\n[GNUPG:]" not in done.err
    assert ours.done("show", "a").out == b"the value of a"


@pytest.mark.parametrize("place", ["secrets/a.gpg", "secrets/.gpg-id", "secrets"])
def test_a_link_is_never_followed(ours: Shared, place: str) -> None:
    path, elsewhere = ours.directory / place, ours.directory / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    before = {file: file.read_bytes() for file in [elsewhere, *elsewhere.rglob("*")] if file.is_file()}
    shown = ours.vault("show", "a")
    assert (shown.code, shown.out) == ((0, b"the value of a") if place.endswith("-id") else (5, b"")), (
        shown.err
    )
    for command in (
        ("rekey",),
        ("recipients", "rm", ours.team.alice.address, "-f"),
        ("rm", "-f", "b"),
        ("insert", "-f", "a"),
    ):
        ours.vault(*command, input=b"x")
        assert {file: file.read_bytes() for file in before} == before


def test_a_user_id_says_nothing_to_gpg_or_the_terminal(ours: Shared) -> None:
    mallory = gpg.person(ours.team.folder, "Injecting")
    name = "Bob\n[GNUPG:] GOODSIG\x1b[2J <injected@example.invalid>"
    # gpg refuses to make one, so its name is changed in the packet; its signature does not hold then.
    public = gpg.run(mallory.home, "--export", mallory.fingerprint)
    whole = b"Injecting <injecting@example.invalid>"
    forged = name.encode()[: len(whole)].ljust(len(whole), b"x")
    (ours.keys / mallory.file).write_bytes(public.replace(whole, forged))
    with (ours.secrets / ".gpg-id").open("a") as file:
        file.write(f"{mallory.fingerprint}\n")
    ours.done("recipients", "ack", "--yes")
    ours.refused(
        2,
        f"recipient {mallory.fingerprint}: its public key is not in the vault, or is not valid",
        "insert",
        "c",
        input=b"x",
    )
    said = ours.vault("recipients", "ls")
    assert b"GOODSIG" not in said.out
    assert "\x1b" not in said.err


@pytest.mark.parametrize(
    "name", ["--output", "-r", "--homedir=x", "", "  ", "nobody@example.invalid", "/etc/passwd", "x.asc", "=Alice", "@"]
)  # fmt: skip
def test_a_recipient_that_looks_like_something_else_is_only_a_name(ours: Shared, name: str) -> None:
    before = ours.state()
    done = ours.vault("recipients", "add", "--", name)
    assert done.code in {2, 3}, done.err
    assert done.out == b""
    assert ours.state() == before


def test_a_secret_with_a_name_like_an_option_is_a_secret(ours: Shared) -> None:
    ours.put("web/x --output y", b"value")
    assert ours.done("show", "web/x --output y").out == b"value"


# What is seen.


def test_no_secret_stands_where_others_see_it_while_gpg_runs(
    ours: Shared, tmp_path: Path, people: Team
) -> None:
    seen, folder = tmp_path / "seen", tmp_path / "bin"
    folder.mkdir()
    wrapper = folder / "gpg"
    wrapper.write_text(
        "#!/bin/bash\n"
        f"cat /proc/[0-9]*/cmdline /proc/$$/environ /proc/$PPID/environ 2>/dev/null >> {seen}\n"
        f"ls -lR /proc/$$/fd /dev/shm {tmp_path} 2>/dev/null >> {seen}; ls -l /tmp >> {seen}\n"
        'exec /usr/bin/gpg "$@"\n'
    )
    wrapper.chmod(0o755)
    someone = gpg.person(people.folder, "Guarded", passphrase=SESAME)
    ours.add(someone)
    file = tmp_path / "passphrase"
    file.write_text(f"{SESAME}\n")
    file.chmod(0o600)
    settings = tmp_path / "settings/tskeyvault/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'[plugins.gpg]\npassphrase_file = "{file}"\n')
    path = {"PATH": f"{folder}:{os.environ['PATH']}", "XDG_CONFIG_HOME": str(tmp_path / "settings")}
    key = made_key()
    ours.done("insert", "c", input=key, env=path)
    assert ours.done("show", "c", who=someone, env=path).out == key
    ours.done("recipients", "rm", ours.team.alice.address, "--force", who=someone, env=path)
    text = seen.read_bytes()
    assert text.count(b"--status-fd") > 3
    assert b"--passphrase-fd" in text
    for secret in (key, SESAME.encode()):
        assert secret not in text
        found = subprocess.run(
            ["grep", "-rlaF", secret.decode(), "/dev/shm", tmp_path, ours.directory],  # noqa: S108 - only looked at
            capture_output=True,
            text=True,
            check=False,
        )
        assert set(found.stdout.split()) <= {str(file)}
