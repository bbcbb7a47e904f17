"""Recipients files, and that only what this host has approved is encrypted to."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tskeyvault import files, recipients
from tskeyvault.errors import ConfigError, IntegrityError, NotFoundError
from tskeyvault.recipients import Recipient, Recipients, RecipientsChangedError
from tskeyvault.state import State
from tskeyvault.store import Store

TOP = "secrets/.age-recipients"
NEARER = "secrets/team/.age-recipients"
NEAREST = "secrets/team/inner/.age-recipients"

LINES = st.text(
    st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp")), min_size=1, max_size=30
).map(str.strip)
TEXTS = LINES.filter(lambda line: bool(line) and not line.startswith("#"))
LABELS = LINES.filter(lambda line: line == line.lstrip("# "))


class Case:
    """A store, and what this host has approved of it."""

    def __init__(self, directory: Path, store: Store):
        self.directory = directory
        self.store = store
        self.state = State(str(directory / "state"), "0" * 32)

    def write(self, path: str, text: str) -> None:
        """Write the recipients file *path*."""
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def approve(self) -> None:
        """Approve all as it lies there, and nothing else."""
        changes = recipients.changes(self.store, self.state)
        self.state.approve({change.path: None if change.gone else change.now for change in changes})
        assert recipients.changes(self.store, self.state) == []

    def approved(self, folder: str) -> Recipients:
        """Return the approved recipients for *folder*."""
        return recipients.approved(self.store, self.state, str(self.directory), "age", folder)

    def refused(self, folder: str) -> RecipientsChangedError:
        """Return the refusal of the recipients for *folder*, which changes nothing."""
        before = self.state.approved_paths
        with pytest.raises(RecipientsChangedError) as caught:
            self.approved(folder)
        assert caught.value.exit_code == 5
        assert caught.value.hint == "vault recipients ack, when this is how it should be"
        assert self.state.approved_paths == before
        return caught.value


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    """Give a store whose recipients, a and b, are approved."""
    root = tmp_path / "vault"
    (root / "secrets").mkdir(parents=True)
    with files.directory(str(root)) as fd:
        case = Case(root, Store(fd))
        case.write(TOP, "# Ann\nage1a\n# Bob\nage1b\n")
        case.approve()
        yield case


def test_a_comment_above_is_the_label() -> None:
    parsed = recipients.parse(
        TOP, b"# Ann\nage1a\n\n# lost\n\nage1b\n#\nage1c\n## Dan #2 \r\n  age1d  \nage1e"
    )
    assert parsed.path == TOP
    assert parsed.entries == (
        Recipient("age1a", "Ann"),
        Recipient("age1b", ""),
        Recipient("age1c", ""),
        Recipient("age1d", "Dan #2"),
        Recipient("age1e", ""),
    )
    assert parsed.texts == ("age1a", "age1b", "age1c", "age1d", "age1e")


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# nobody\n", b"  \t "])
def test_a_file_may_name_nobody(data: bytes) -> None:
    assert recipients.parse(TOP, data).entries == ()


@given(st.lists(st.builds(Recipient, text=TEXTS, label=LABELS)))
def test_what_is_rendered_is_parsed_again(entries: list[Recipient]) -> None:
    file = Recipients(TOP, tuple(entries))
    assert recipients.parse(TOP, recipients.render(file)) == file


@given(st.binary(max_size=80))
def test_any_bytes_are_recipients_or_a_configuration_error(data: bytes) -> None:
    try:
        parsed = recipients.parse(TOP, data)
    except ConfigError:
        return
    assert recipients.parse(TOP, recipients.render(parsed)) == parsed


@pytest.mark.parametrize("separator", ["\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r"])
def test_no_line_hides_in_a_comment(separator: str) -> None:
    # git, editors and age itself show and read this as one comment.
    try:
        parsed = recipients.parse(TOP, f"# Ann{separator}age1evil\nage1a\n".encode())
    except ConfigError:
        return
    assert parsed.texts == ("age1a",)


def test_the_nearest_file_governs(case: Case) -> None:
    case.write(NEARER, "age1t\n")
    (case.directory / "secrets/team/inner").mkdir()
    assert recipients.governing(case.store, "age", "").path == TOP
    assert recipients.governing(case.store, "age", "other/none").path == TOP
    assert recipients.governing(case.store, "age", "team").texts == ("age1t",)
    assert recipients.governing(case.store, "age", "team/inner").path == NEARER


def test_without_recipients_it_is_said_how_to_add_one(case: Case) -> None:
    with pytest.raises(NotFoundError, match="'team' has no recipients for plugin 'demo'") as caught:
        recipients.governing(case.store, "demo", "team")
    assert caught.value.hint == "vault recipients add RECIPIENT --plugin demo"
    case.write(TOP, "# nobody\n")
    with pytest.raises(NotFoundError, match=f"'{TOP}' names nobody") as caught:
        recipients.governing(case.store, "age", "")
    assert caught.value.hint == "vault recipients add RECIPIENT"


def test_a_linked_recipients_file_is_refused(case: Case) -> None:
    (case.directory / "others").write_text("age1evil\n")
    (case.directory / TOP).unlink()
    (case.directory / TOP).symlink_to("../others")
    with pytest.raises(IntegrityError):
        case.approved("")


def test_a_file_that_is_too_large_is_refused(case: Case) -> None:
    with (case.directory / TOP).open("wb") as file:
        file.truncate(recipients.MAX_SIZE + 1)
    with pytest.raises(IntegrityError, match="larger than"):
        case.approved("")


def test_what_was_approved_is_used(case: Case) -> None:
    assert case.approved("").texts == ("age1a", "age1b")
    assert case.approved("team/inner").texts == ("age1a", "age1b")


def test_nothing_is_approved_on_a_new_host(case: Case) -> None:
    os.unlink(case.directory / "state" / f"{'0' * 32}.json")
    case.state = State(str(case.directory / "state"), "0" * 32)
    change = case.refused("").change
    assert [entry.text for entry in change.added] == ["age1a", "age1b"]


@pytest.mark.parametrize(
    "text",
    ["age1a\nage1b\n", "age1b\n# Ann\nage1a\n", "# Ann\nage1a\n\n\nage1b", "age1a\nage1b\nage1a\n"],
    ids=["without names", "reordered", "reformatted", "repeated"],
)
def test_the_same_recipients_in_another_dress_are_no_change(case: Case, text: str) -> None:
    case.write(TOP, text)
    assert set(case.approved("").texts) == {"age1a", "age1b"}
    assert recipients.changes(case.store, case.state) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# Bob\nage1a\n# Ann\nage1b\n", ("+ age1a  (Bob)", "+ age1b  (Ann)")),
        ("# Anna\nage1a\n# Bob\nage1b\n", ("+ age1a  (Anna)",)),
    ],
)
def test_a_name_is_approved_as_its_recipients_since_it_is_removed_by_it(
    case: Case, text: str, shown: tuple[str, ...]
) -> None:
    case.write(TOP, text)
    assert case.refused("").change.lines == shown


def test_the_marks_of_a_merge_are_no_recipients(case: Case) -> None:
    for mark in ("<<<<<<< HEAD", "=======", ">>>>>>> other", "||||||| base"):
        case.write(TOP, f"age1a\n{mark}\nage1b\n")
        with pytest.raises(ConfigError, match="marks of a merge conflict"):
            case.approved("")


def test_an_added_recipient_is_refused_and_shown(case: Case) -> None:
    case.write(TOP, "age1a\nage1b\n# Eve\nage1e\n")
    error = case.refused("team")
    assert error.change.lines == ("+ age1e  (Eve)",)
    assert error.message.splitlines()[:2] == [
        f"the recipients in '{TOP}' are not those this host approved",
        "  + age1e  (Eve)",
    ]


def test_a_removed_recipient_is_refused_and_shown(case: Case) -> None:
    case.write(TOP, "age1b\n")
    assert case.refused("").change.lines == ("- age1a  (Ann)",)


def test_an_exchanged_recipient_is_refused_and_shown(case: Case) -> None:
    case.write(TOP, "# Ann\nage1e\nage1b\n")
    assert case.refused("").change.lines == ("+ age1e  (Ann)", "- age1a  (Ann)")


def test_a_recipient_is_shown_safely(case: Case) -> None:
    case.write(TOP, "age1a\nage1b\n# \x1b[2J\u202e\nage1\x1be\n")
    assert all(line.isprintable() for line in case.refused("").message.splitlines())


def test_a_new_nearer_file_is_refused_also_with_the_same_recipients(case: Case) -> None:
    case.write(NEARER, "age1a\nage1b\n")
    assert case.refused("team").change.path == NEARER
    assert case.refused("team/inner").change.path == NEARER
    assert case.approved("").path == TOP
    assert case.approved("teams").path == TOP


def test_a_new_nearer_file_that_names_nobody_hides_nobody(case: Case) -> None:
    case.write(NEARER, "# nobody\n")
    with pytest.raises(NotFoundError, match="names nobody"):
        case.approved("team")


def test_an_approved_nearer_file_that_is_gone_is_refused(case: Case) -> None:
    case.write(NEARER, "age1t\n")
    case.approve()
    (case.directory / NEARER).unlink()
    for folder in ("team", "team/inner"):
        error = case.refused(folder)
        assert error.change.lines == ("the file is gone", "- age1t")
        assert error.change.path == NEARER
    assert case.approved("").path == TOP


def test_the_same_holds_when_its_folder_is_gone_too(case: Case) -> None:
    case.write(NEARER, "age1t\n")
    case.approve()
    (case.directory / NEARER).unlink()
    (case.directory / "secrets/team").rmdir()
    assert case.refused("team").change.gone
    assert recipients.changes(case.store, case.state) == [
        recipients.Change(NEARER, (), (Recipient("age1t", ""),), gone=True, now=())
    ]


def test_of_two_that_are_between_either_is_refused_when_gone(case: Case) -> None:
    case.write(NEARER, "age1t\n")
    case.write(NEAREST, "age1i\n")
    case.approve()
    (case.directory / NEARER).unlink()
    assert case.approved("team/inner").path == NEAREST
    assert case.refused("team").change.path == NEARER
    (case.directory / NEAREST).unlink()
    assert case.refused("team/inner").change.gone


def test_an_approval_of_one_vault_is_none_for_another(case: Case) -> None:
    case.state = State(str(case.directory / "state"), "1" * 32)
    case.refused("")


def test_all_changes_are_found_at_once(case: Case) -> None:
    case.write(NEARER, "age1t\n")
    case.write("secrets/x/.age-recipients", "age1x\n")
    case.approve()
    case.write(TOP, "age1b\n")
    case.write("secrets/y/.demo-recipients", "demo:1\n")
    (case.directory / NEARER).unlink()
    found = {change.path: change.lines for change in recipients.changes(case.store, case.state)}
    assert found == {
        TOP: ("- age1a  (Ann)",),
        "secrets/y/.demo-recipients": ("+ demo:1",),
        NEARER: ("the file is gone", "- age1t"),
    }
