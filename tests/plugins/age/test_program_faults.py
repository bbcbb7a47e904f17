"""Plugin programs that misbehave: each ends in the right error, in bounded time, and leaves nothing."""

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.age_plugin_kit import Pair, Person, children, group, install, install_text, make_pair
from tskeyvault import process
from tskeyvault.errors import LockedError, PluginError, UsageError
from tskeyvault.spec import Stanza
from tskeyvault_age import bech32, program
from tskeyvault_age.protocol import encode

SOON = 20.0
"""Seconds in which even a slow machine is through with what has a limit of one."""
OTHER = encode("msg", body=b"hello").hex()


@pytest.fixture(autouse=True)
def directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Path]:
    """Install the demo program; at the end nothing of it is left, and nothing was printed, in time."""
    before, start = children(), time.monotonic()
    directory = tmp_path / "bin"
    install(directory)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    yield directory
    assert children() == before
    assert capfd.readouterr() == ("", "")
    assert time.monotonic() - start < SOON


@pytest.fixture(scope="module")
def pair() -> Pair:
    return make_pair()


@pytest.fixture(scope="module")
def files(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Stanza, ...]]:
    directory = tmp_path_factory.mktemp("bin")
    install(directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
        return [
            program.wrap("demo", [pair.recipient()], secrets.token_bytes(16), Person())[0] for _ in range(2)
        ]


BOTH = {
    "hang": "did not answer within 1 s",
    "stubborn,hang": "did not answer within 1 s",
    "close": "ended before it was done",
    "exit": "ended before it was done",
    "drip": "asks too often|sends more than 2 MiB|did not answer within 1 s",
    f"flood={b'x'.hex()}": "sends a line of more than 65536 bytes",
    f"flood={OTHER}": "asks too often|sends more than 2 MiB|did not answer within 1 s",
    f"flood={b'-> ok '.hex()}": "sends a line of more than 65536 bytes",
    f"flood={encode('unknown', body=bytes(48)).hex()}": "sends more than 2 MiB|did not answer",
    f"raw={b'hello'.hex()}0a": "breaks the plugin protocol: a line that is no command",
    f"raw={b'-> msg'.hex()}0a2d3e20780a": "breaks the plugin protocol: not canonical base64",
    f"raw={b'->  msg'.hex()}0a0a": "breaks the plugin protocol: a line that is no command",
    f"raw={b'-> msg '.hex()}0a0a": "breaks the plugin protocol: a line that is no command",
    f"raw={b'-> '.hex()}0a0a": "breaks the plugin protocol: a line that is no command",
    "raw=2d3e20f6fc0a0a": "breaks the plugin protocol: a line that is no command",
    f"raw={b'-> msg'.hex()}0d0a0d0a": "breaks the plugin protocol: a line that is no command",
    f"raw={b'-> msg'.hex()}0a" + "41" * 65 + "0a": "breaks the plugin protocol: a line that is too long",
    f"raw={b'-> msg'.hex()}0a" + "410a": "breaks the plugin protocol: not canonical base64",
    f"raw={b'-> msg'.hex()}0a" + "41413d3d0a": "breaks the plugin protocol: not canonical base64",
    f"raw={b'-> confirm'.hex()}0a0a": "breaks the plugin protocol: a malformed confirm",
    f"raw={b'-> confirm a b c'.hex()}0a0a": "breaks the plugin protocol: ",
    f"raw={b'-> confirm YQ YQ YQ'.hex()}0a0a": "breaks the plugin protocol: a malformed confirm",
    f"raw={b'-> confirm ?'.hex()}0a0a": "breaks the plugin protocol: not canonical base64",
    "fail=internal": "failed: see no ",
    "fail=unheard+of": "failed: see no ",
    "fail=identity": "breaks the plugin protocol: a malformed error",
    "fail=identity+0+0": "breaks the plugin protocol: a malformed error",
    "fail=identity+1": "breaks the plugin protocol: an error about what was never sent",
    "fail=identity+-1": "breaks the plugin protocol: an error about what was never sent",
    "fail=identity+00": "breaks the plugin protocol: an error about what was never sent",
    "fail=identity+" + "9" * 30: "breaks the plugin protocol: an error about what was never sent",
    "index=1": "breaks the plugin protocol: ",
    "index=-1": "breaks the plugin protocol: ",
    "index=00": "breaks the plugin protocol: ",
}


@pytest.mark.parametrize("words", BOTH)
@pytest.mark.parametrize("identity", [False, True])
def test_misbehaviour_in_both_machines(
    words: str, identity: bool, pair: Pair, files: list[tuple[Stanza, ...]]
) -> None:
    def tried() -> None:
        if identity:
            program.unwrap("demo", [pair.identity(words)], files[:1], Person(), seconds=1)
        else:
            program.wrap("demo", [pair.recipient(words)], bytes(range(16)), Person(), seconds=1)

    with pytest.raises(PluginError, match=f"^age-plugin-demo ({BOTH[words]})"):
        tried()


@pytest.mark.parametrize(
    ("words", "reason"),
    {
        "labels=a+a": "a label twice",
        "labels=a,labels-again=a": "labels twice",
        "only=1": "1 stanzas for 2 recipients",
        "only=0": "0 stanzas for 2 recipients",
        "fail=recipient": "a malformed error",
        "fail=recipient+2": "an error about what was never sent",
        f"raw={b'-> recipient-stanza'.hex()}0a0a": "a stanza for no file",
        f"raw={b'-> recipient-stanza 0'.hex()}0a0a": "a stanza for no file",
        f"flood={encode('recipient-stanza', '0', 'x').hex()}": "too many stanzas",
    }.items(),
)
def test_misbehaviour_while_wrapping(words: str, reason: str, pair: Pair) -> None:
    with pytest.raises(PluginError, match=f"breaks the plugin protocol: {reason}|sends more than 2 MiB"):
        program.wrap("demo", [pair.recipient(words), make_pair().recipient()], bytes(16), Person(), seconds=9)


@pytest.mark.parametrize(
    ("words", "reason"),
    {
        "index=2": "a key for a file that was never sent",
        "twice": "two keys for one file",
        "index=0": "two keys for one file",
        "length=15": "a key of a wrong length",
        "length=17": "a key of a wrong length",
        "length=0": "a key of a wrong length",
        "fail=stanza+0": "a malformed error",
        "fail=stanza+2+0": "an error about what was never sent",
        "fail=stanza+0+1": "an error about what was never sent",
        f"raw={b'-> file-key'.hex()}0a0a": "a key for a file that was never sent",
    }.items(),
)
def test_misbehaviour_while_unwrapping(
    words: str, reason: str, pair: Pair, files: list[tuple[Stanza, ...]]
) -> None:
    with pytest.raises(PluginError, match=f"breaks the plugin protocol: {reason}"):
        program.unwrap("demo", [pair.identity(words)], files, Person(), seconds=9)


def test_keys_from_before_a_crash_are_kept(pair: Pair, files: list[tuple[Stanza, ...]]) -> None:
    assert set(program.unwrap("demo", [pair.identity("died")], files, Person())) == {0, 1}


def test_an_unusable_identity(pair: Pair, files: list[tuple[Stanza, ...]]) -> None:
    with pytest.raises(LockedError, match="cannot use identity 2: see no"):
        program.unwrap("demo", [make_pair().identity(), pair.identity("fail=identity+1")], files, Person())


@pytest.mark.parametrize("how", ["exit", "deaf", "loud"])
def test_a_program_that_does_not_read(how: str, directory: Path, pair: Pair) -> None:
    (directory / "age-plugin-demo.before").write_text(how)
    large = Stanza(("large",), bytes(1 << 20))
    with pytest.raises(PluginError, match=r"^age-plugin-demo (ended|did not answer|sends more|breaks)"):
        program.unwrap("demo", [pair.identity()], [[large]], Person(), seconds=1)
    with pytest.raises(PluginError, match=r"^age-plugin-demo (ended|did not answer|sends more|breaks)"):
        program.wrap("demo", [pair.recipient()], bytes(16), Person(), seconds=1)


def test_a_program_that_cannot_be_started(directory: Path, pair: Pair) -> None:
    for text in ("", "no program", "#!/nowhere/to/be/found\n"):
        install_text(directory / "age-plugin-demo", text)
        with pytest.raises(PluginError, match=r"cannot be started|is not installed"):
            program.wrap("demo", [pair.recipient()], bytes(16), Person())


def test_a_grandchild_that_holds_the_pipes_is_ended(pair: Pair, tmp_path: Path) -> None:
    number = tmp_path / "n"
    words = f"grandchild={number}"
    stanzas, _ = program.wrap("demo", [pair.recipient(words)], bytes(16), Person())
    assert len(stanzas) == 1
    assert not _alive(int(number.read_text()))
    with pytest.raises(PluginError):
        program.wrap("demo", [pair.recipient(words, "exit")], bytes(16), Person(), seconds=1)
    assert not _alive(int(number.read_text()))


def _alive(number: int) -> bool:
    """Tell whether the process lives on; the signal that ends it takes a moment."""
    for _ in range(100):
        try:
            if Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except OSError:
            return False
        time.sleep(0.05)
    return True


def test_noise_is_not_shown(pair: Pair) -> None:
    assert program.wrap("demo", [pair.recipient("noise")], bytes(16), Person())[0]


def test_an_exception_of_the_user_ends_the_program(pair: Pair) -> None:
    leaders: list[str] = []
    before = children()

    def interrupt() -> None:
        leaders.extend(children() - before)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        program.wrap("demo", [pair.recipient("public=a")], bytes(16), Person(look=interrupt))
    assert leaders
    assert not any(group(int(leader)) for leader in leaders)


def test_the_user_is_told_once_that_a_program_is_silent(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_SILENCE", 0.2)
    user = Person()
    program.wrap("demo", [pair.recipient("hang=1.5")], bytes(16), user)
    assert user.heard == ["waiting for age-plugin-demo"]


def test_success_renews_the_time(pair: Pair, files: list[tuple[Stanza, ...]]) -> None:
    fast = Person()
    assert len(program.unwrap("demo", [pair.identity("slow=0.7")], files * 2, fast, seconds=2)) == 4


words = st.sampled_from(
    [b"-> ", b"msg", b" ", b"\n", b"\n\n", b"0", b"1", b"done", b"error", b"internal", b"stanza", b"identity",
     b"recipient", b"file-key", b"recipient-stanza", b"labels", b"confirm", b"YQ", b"request-secret", b"A" * 22,
     b"A" * 64, b"-> msg\n\n", b"-> file-key 0\n", b"-> done\n\n", b"-> recipient-stanza 0 x\n\n"]
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    said=st.lists(words | st.binary(max_size=20)).map(b"".join) | st.binary(),
    key=st.binary(min_size=16, max_size=16),
)
def test_whatever_a_program_says(said: bytes, key: bytes, directory: Path) -> None:
    (directory / "said").write_bytes(said)
    install_text(directory / "age-plugin-any", f"#!/bin/sh\ncat {directory}/said\n")
    try:
        stanzas, _ = program.wrap("any", [bech32.encode("age1any", b"")], key, Person(), seconds=9)
    except (PluginError, UsageError):
        pass
    else:
        assert all(all(stanza.args) for stanza in stanzas)
    try:
        files = [[Stanza(("x",), b"")]]
        found = program.unwrap("any", [bech32.encode("AGE-PLUGIN-ANY-", b"")], files, Person(), seconds=9)
    except (PluginError, LockedError):
        pass
    else:
        assert all(index == 0 and len(found[index]) == 16 for index in found)
