"""Plugin programs at their work: wrapping, unwrapping, many files, every prompt, and their names."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.age_plugin_kit import Pair, Person, children, install, install_text, make_pair
from tskeyvault.errors import LockedError, PluginError, UsageError
from tskeyvault.spec import Stanza
from tskeyvault_age import bech32, program

FOREIGN = Stanza(("foreign", "a~"), bytes(96))


@pytest.fixture(autouse=True)
def directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Path]:
    """Install the demo program; at the end nothing of it is left, and nothing was printed."""
    before = children()
    directory = tmp_path / "bin"
    install(directory)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    yield directory
    assert children() == before
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def pair() -> Pair:
    return make_pair()


def files_for(pair: Pair, count: int) -> tuple[list[bytes], list[tuple[Stanza, ...]]]:
    """Return file keys, and the stanzas of a header for each."""
    keys = [secrets.token_bytes(16) for _ in range(count)]
    ours = [program.wrap("demo", [pair.recipient()], key, Person())[0] for key in keys]
    return keys, [(FOREIGN, *stanzas) for stanzas in ours]


def test_what_is_wrapped_is_unwrapped(pair: Pair) -> None:
    keys, files = files_for(pair, 3)
    stranger = make_pair()
    files[1:1] = [(), (FOREIGN,), files_for(stranger, 1)[1][0]]
    found = program.unwrap("demo", [pair.identity()], files, Person())
    assert found == {0: keys[0], 4: keys[1], 5: keys[2]}


def test_several_recipients_and_identities_share_a_run(pair: Pair) -> None:
    other, key = make_pair(), secrets.token_bytes(16)
    stanzas, labels = program.wrap("DEMO", [pair.recipient(), other.identity()], key, Person())
    assert [stanza.args[0] for stanza in stanzas] == ["demo", "demo"]
    assert labels == frozenset()
    for identities in ([pair.identity()], [other.identity()], [make_pair().identity(), other.identity()]):
        assert program.unwrap("demo", identities, [stanzas], Person()) == {0: key}


def test_many_files_take_one_run(pair: Pair) -> None:
    _, files = files_for(pair, 1)
    user = Person(secret=b"1234")
    found = program.unwrap("demo", [pair.identity("pin=1234")], files * 1500, user)
    assert len(found) == 1500
    assert user.heard == ["age-plugin-demo: PIN, please"]


def test_no_files_need_no_run(directory: Path, pair: Pair) -> None:
    (directory / "age-plugin-demo.before").write_text("exit")
    assert program.unwrap("demo", [pair.identity()], [(), ()], Person()) == {}


def test_large_stanzas_pass(pair: Pair) -> None:
    keys, files = files_for(pair, 1)
    large = (*(Stanza(("large", "x" * 2000), os.urandom(size)) for size in (47, 48, 49, 1 << 19)), *files[0])
    assert program.unwrap("demo", [pair.identity()], [large], Person()) == {0: keys[0]}


def test_labels(pair: Pair) -> None:
    _, labels = program.wrap("demo", [pair.recipient("labels=postquantum+b")], bytes(16), Person())
    assert labels == {"postquantum", "b"}


def test_grease_goes_both_ways(pair: Pair) -> None:
    for _ in range(6):  # ours is there two times in three
        stanzas, _ = program.wrap("demo", [pair.recipient("grease")], bytes(range(16)), Person())
        found = program.unwrap("demo", [pair.identity("grease")], [stanzas], Person())
        assert found == {0: bytes(range(16))}


@pytest.mark.parametrize(
    ("word", "user", "heard"),
    [
        ("pin=1234", Person(secret=b"1234"), ["age-plugin-demo: PIN, please"]),
        ("public=me ü", Person(public="me ü"), ["age-plugin-demo: who are you"]),
        ("confirm=eWVw+bm8", Person(sure=True), ["age-plugin-demo: really [yep] [no]", "ok-yes"]),
        ("confirm=eWVw+bm8", Person(sure=False), ["age-plugin-demo: really [yep] [no]", "ok-no"]),
        ("confirm=eWVw", Person(sure=True), ["age-plugin-demo: really [yep] []", "ok-yes"]),
        ("confirm=eWVw", Person(), ["age-plugin-demo: really [yep] []", "fail"]),
        ("say=746f756368206974", Person(), ["age-plugin-demo: touch it"]),
        ("say=", Person(), ["age-plugin-demo"]),
        ("say=1b5b326dff0a200a78e280ae", Person(), [r"age-plugin-demo: \x1b[2m� x\u202e"]),
        ("say=" + "61" * 400, Person(), [f"age-plugin-demo: {'a' * 240}…"]),
    ],
)
@pytest.mark.parametrize("identity", [False, True])
def test_prompts_reach_the_user(
    word: str, user: Person, heard: list[str], identity: bool, pair: Pair
) -> None:
    user.heard.clear()
    key = bytes(range(16))
    stanzas, _ = program.wrap("demo", [pair.recipient(*([] if identity else [word]))], key, user)
    assert bool(user.heard) is not identity
    if identity:
        assert program.unwrap("demo", [pair.identity(word)], [stanzas], user) == {0: key}
    said = [
        f"age-plugin-demo: answer {text}" if text in {"ok-yes", "ok-no", "fail"} else text for text in heard
    ]
    assert user.heard == said


def test_a_prompt_that_is_not_answered(pair: Pair) -> None:
    _, files = files_for(pair, 1)
    with pytest.raises(LockedError, match=r"^age-plugin-demo cannot use the identity: no PIN$"):
        program.unwrap("demo", [pair.identity("pin=1234")], files, Person())
    with pytest.raises(PluginError, match=r"^age-plugin-demo failed: nobody$"):
        program.unwrap("demo", [pair.identity("public=me")], files, Person())


def test_an_answer_is_not_repeated(pair: Pair) -> None:
    _, files = files_for(pair, 1)
    with pytest.raises(LockedError, match=r"^age-plugin-demo cannot use the identity$"):
        program.unwrap("demo", [pair.identity("pin=1234")], files, Person(secret=b"4321 and more"))


def test_a_wrong_pin_is_sent_once(pair: Pair) -> None:
    _, files = files_for(pair, 1)
    user = Person(secret=b"4321")
    with pytest.raises(LockedError):
        program.unwrap("demo", [pair.identity("pin=1234", "single")], files * 4, user)
    assert len(user.heard) == 1


def test_the_users_time_is_not_the_programs(pair: Pair) -> None:
    import time

    user = Person(public="me", look=lambda: time.sleep(2.5))
    assert program.wrap("demo", [pair.recipient("public=me")], bytes(16), user, seconds=2)[0]


def test_the_file_key_stands_nowhere(pair: Pair) -> None:
    seen: list[bytes] = []
    before = children()

    def look() -> None:
        for child in children() - before:
            process = Path("/proc") / child
            seen.extend((process / file).read_bytes() for file in ("cmdline", "environ"))

    key = secrets.token_bytes(12).hex()[:16].encode()
    os.environ["AGEDEBUG"] = "plugin"
    try:
        program.wrap("demo", [pair.recipient("public=me")], key, Person(public="me", look=look))
    finally:
        del os.environ["AGEDEBUG"]
    assert len(seen) == 2
    assert all(key not in text for text in seen)
    assert b"PATH=" in seen[1]
    assert b"AGEDEBUG" not in seen[1]


def test_errors_of_recipients_are_told_by_number(pair: Pair) -> None:
    for words, recipients, number in (
        ("fail=recipient+0", [pair.identity(), pair.recipient("fail=recipient+0")], 2),
        ("fail=identity+0", [pair.recipient("fail=identity+0"), pair.identity()], 2),
    ):
        with pytest.raises(UsageError, match=f"refuses recipient {number}: see ") as error:
            program.wrap("demo", recipients, bytes(16), Person())
        assert r"no \x1b[31mluck today" in str(error.value), words
        assert len(str(error.value)) < 300


@pytest.mark.parametrize("form", ["raw", "base64", "hex"])
def test_words_with_the_file_key_are_not_shown(form: str, pair: Pair) -> None:
    key = secrets.token_bytes(16)
    with pytest.raises(PluginError) as error:
        program.wrap("demo", [pair.recipient(f"fail=internal+{form}")], key, Person())
    assert str(error.value) == "age-plugin-demo failed"


def test_one_damaged_file_does_not_lose_the_others(pair: Pair) -> None:
    keys, files = files_for(pair, 3)
    user = Person()
    found = program.unwrap("demo", [pair.identity("damaged=1")], files, user)
    assert found == {0: keys[0], 2: keys[2]}
    assert user.heard == ["age-plugin-demo cannot open file 2: this stanza is damaged"]
    with pytest.raises(LockedError, match="cannot open file 1: this stanza is damaged"):
        program.unwrap("demo", [pair.identity("damaged=0")], files[:1], user)


@pytest.mark.parametrize("word", ["single", "single-exit"])
def test_a_program_that_can_do_one_file_only(word: str, pair: Pair) -> None:
    keys, files = files_for(pair, 4)
    user = Person()
    found = program.unwrap("demo", [pair.identity(word)], files, user)
    assert found == dict(enumerate(keys))
    assert user.heard == []


def test_no_program(pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="needs the program age-plugin-demo") as error:
        program.wrap("demo", [pair.recipient()], bytes(16), Person())
    assert error.value.hint
    with pytest.raises(LockedError, match="needs the program age-plugin-demo"):
        program.unwrap("demo", [pair.identity()], [(FOREIGN,)], Person())


def test_programs_come_from_absolute_entries_of_path(
    pair: Pair, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directory)
    for path in ("", ".", f"../{directory.name}", f":{directory.name}:"):
        monkeypatch.setenv("PATH", path)
        with pytest.raises(UsageError, match="needs the program"):
            program.wrap("demo", [pair.recipient()], bytes(16), Person())


NAMES = [
    "",
    "..",
    "a/b",
    "x/../../../bin/sh",
    "../x",
    "a..b",
    "a b",
    "a\nb",
    "a\0b",
    "é",
    "a;b",
    "x" * 101,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leads_elsewhere_is_refused(
    name: str, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2024-56327: with a folder age-plugin-x, the name x/../evil led to any program."""
    install_text(tmp_path / "evil", f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    install_text(directory / "evil", f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (directory / "age-plugin-x").mkdir()
    monkeypatch.chdir(directory)
    for tried in (name, "x/../evil", f"x/../../{tmp_path.name}/evil", "x/../../evil"):
        with pytest.raises(UsageError, match="cannot be the name"):
            program.wrap(tried, [], bytes(16), Person())
        with pytest.raises(UsageError, match="cannot be the name"):
            program.unwrap(tried, [], [(FOREIGN,)], Person())
    assert not (tmp_path / "ran").exists()


def test_a_folder_is_no_program(directory: Path) -> None:
    (directory / "age-plugin-x").mkdir()
    with pytest.raises(UsageError, match="needs the program age-plugin-x"):
        program.wrap("x", [bech32.encode("age1x", b"")], bytes(16), Person())


def test_the_name_is_looked_for_in_lower_case(directory: Path, pair: Pair) -> None:
    install(directory, "age-plugin-a.b_c+d-2")
    recipient = bech32.encode("age1a.b_c+d-2", pair.public)
    stanzas, _ = program.wrap("A.b_C+d-2", [recipient], bytes(16), Person())
    assert len(stanzas) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "age1demo1",
        "age1demo1qqqq\n-> wrap-file-key\n",
        bech32.encode("age1demo", bytes(32))[:-1] + "?",
        bech32.encode("age1other", bytes(32)),
        bech32.encode("age", bytes(32)),
        bech32.encode("AGE-PLUGIN-OTHER-", bytes(32)),
    ],
)
def test_only_keys_of_its_kind_reach_the_program(text: str, pair: Pair) -> None:
    with pytest.raises(UsageError, match=r"^recipient 2") as error:
        program.wrap("demo", [pair.recipient(), text], bytes(16), Person())
    assert len(text) < 5 or text not in str(error.value)
    with pytest.raises(UsageError, match=r"^the identity"):
        program.unwrap("demo", [text], [(FOREIGN,)], Person())
    with pytest.raises(UsageError, match=r"^the identity"):
        program.unwrap("demo", [pair.recipient()], [(FOREIGN,)], Person())
