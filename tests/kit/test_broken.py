"""Plugins that each break one obligation fail the checks of the kit that are about it, and no others."""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest

from kit.broken import contract
from support.documents import CHECKOUT
from tskeyvault.testing import BackendContract

ALL = {name for name in dir(BackendContract) if name.startswith("test_")}
SECRET = re.compile(rb"kit-[0-9a-f]{48}")
SECONDS = 300

ENCRYPTING = {"test_encryption_leaves_no_trace"}
DECRYPTING = {"test_decryption_leaves_no_trace"}
FAILING = {"test_failures_leave_no_trace"}

EXPECTED: dict[str, tuple[set[str], str]] = {
    "accepts_a_cut": (
        {"test_damage_is_refused", "test_a_cut_between_pieces_is_refused"},
        r"must be refused with IntegrityError or LockedError: it was accepted",
    ),
    "accepts_damage": ({"test_damage_is_refused"}, r"with byte 0 of \d+ changed must be refused"),
    "accepts_no_recipients": (
        {"test_no_recipients_are_refused"},
        r"an empty list of recipients must be refused with UsageError: it was accepted",
    ),
    "carries_plaintext": (
        {"test_the_ciphertext_hides_the_plaintext"},
        r"vault_encrypt: .* seen in ciphertext",
    ),
    "does_not_protect_the_binding": (
        {"test_the_binding_is_protected"},
        r"whose binding was changed \(byte \d+\) must be refused",
    ),
    "drops_unknown_recipients": (
        {"test_nobody_is_left_out_in_silence", "test_a_mangled_recipient_is_refused"},
        r"the recipient 'nobody' must be refused with UsageError: it was accepted",
    ),
    "fails_instead_of_refusing": (
        {"test_damage_is_refused", "test_garbage_is_damaged"},
        r"vault_decrypt failed with IndexError \(fails_instead_of_refusing\.py, line \d+\)",
    ),
    "forgets_the_binding": (
        {"test_the_binding_comes_back"},
        r"vault_binding: returns the binding of 60 bytes that vault_encrypt was given",
    ),
    "hangs": (
        {"test_damage_is_refused", "test_garbage_is_damaged"},
        r"vault_decrypt: returns in bounded time; it took 3 s",
    ),
    "ignores_recipients": (
        {"test_every_recipient_can_read", "test_encrypts_to_the_given_recipients_alone"},
        r"what was encrypted for others must be refused with LockedError: it was accepted",
    ),
    "is_deterministic": (
        {"test_the_same_secret_looks_different_each_time"},
        r"never gives the same ciphertext twice",
    ),
    "leaks_in_anonymous_file": (DECRYPTING, r"vault_decrypt: .* seen in file"),
    "leaks_in_argv": (ENCRYPTING, r"vault_encrypt: .* seen in argv \(true\)"),
    "leaks_in_chained_exception": (FAILING, r"vault_encrypt, when it fails: .* exception \(KeyError\)"),
    "leaks_in_environment": (DECRYPTING, r"seen in environment \(KIT_VALUE\)"),
    "leaks_in_exception": (FAILING, r"vault_encrypt, when it fails: .* exception \(UsageError\)"),
    "leaks_in_file_of_program": (DECRYPTING, r"seen in file"),
    "leaks_in_file_of_thread": (DECRYPTING, r"seen in file \(.*tskeyvault-kit-thread\)"),
    "leaks_in_log": (ENCRYPTING | FAILING, r"seen in log \(tskeyvault_leaky\)"),
    "leaks_in_warning": (DECRYPTING, r"seen in log \(py\.warnings\)"),
    "leaks_in_overwritten_file": (DECRYPTING, r"seen in file"),
    "leaks_in_program_environment": (ENCRYPTING, r"seen in environment \(KIT_VALUE\)"),
    "leaks_in_removed_file": (DECRYPTING, r"seen in file"),
    "leaks_in_repr": (DECRYPTING, r"seen in repr \(Plugin\)"),
    "leaks_on_stdout": (DECRYPTING, r"seen in output \(standard output or error\)"),
    "leaks_to_the_user": (DECRYPTING, r"seen in output \(a message to the user\)"),
    "loses_a_newline": ({"test_changes_no_byte"}, r"as it was, byte by byte"),
    "reports_damage_as_locked": (
        {"test_damage_is_told_from_a_missing_key", "test_garbage_is_damaged"},
        r"must be refused with IntegrityError: it was LockedError",
    ),
    "reports_locked_as_missing": (
        {
            "test_a_stranger_is_locked_out",
            "test_encrypts_to_the_given_recipients_alone",
            "test_damage_is_refused",
        },
        r"a ciphertext for another key must be refused with LockedError: it was NotFoundError",
    ),
    # The core refuses this one before the kit can: every check that encrypts fails.
    "returns_plaintext": (
        ALL
        - {
            "test_garbage_is_damaged",
            "test_no_recipients_are_refused",
            "test_nobody_is_left_out_in_silence",
            "test_a_mangled_recipient_is_refused",
        },
        r"plugin 'broken': vault_encrypt returned the plaintext",
    ),
    "shows_a_pattern": (
        {"test_the_ciphertext_shows_no_pattern"},
        r"vault_encrypt: the ciphertext shows no pattern of the plaintext",
    ),
}


class Run(NamedTuple):
    """One run of the kit on all broken plugins."""

    failed: dict[str, set[str]]
    """By plugin, the names of the checks that failed."""
    messages: dict[str, str]
    """By plugin, what those said."""
    said: bytes


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the kit on all of them, in a process of its own."""
    report = tmp_path_factory.mktemp("kit") / "report.xml"
    # Without pytest's own list of warnings, which shows what a plugin warns of.
    options = ("-q", "--disable-warnings", "-p", "no:cacheprovider", f"--rootdir={CHECKOUT}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--junit-xml={report}", contract.__file__],
        check=False,
        capture_output=True,
        cwd=CHECKOUT,
        timeout=SECONDS,
    )
    assert done.returncode == 1, done.stdout.decode()
    failed: dict[str, set[str]] = {name: set() for name in contract.NAMES}
    messages: dict[str, str] = dict.fromkeys(contract.NAMES, "")
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it
        plugin = case.get("classname", "").rpartition(".Test_")[2]
        for failure in (*case.iter("failure"), *case.iter("error")):
            failed[plugin].add(case.get("name", "").partition("[")[0])
            messages[plugin] += f"{failure.get('message')}\n"
    return Run(failed, messages, done.stdout + done.stderr)


def test_every_broken_plugin_is_expected_to_fail() -> None:
    assert sorted(EXPECTED) == contract.NAMES
    assert all((Path(contract.__file__).parent / f"{name}.py").exists() for name in EXPECTED)
    assert all(checks <= ALL for checks, _ in EXPECTED.values())


@pytest.mark.parametrize("plugin", EXPECTED)
def test_a_broken_plugin_fails_the_right_checks(run: Run, plugin: str) -> None:
    checks, message = EXPECTED[plugin]
    assert run.failed[plugin] == checks
    assert re.search(message, run.messages[plugin]), run.messages[plugin]


def test_no_failure_shows_the_secret(run: Run) -> None:
    assert b" failed" in run.said
    assert SECRET.findall(run.said) == []


def test_every_check_fails_for_some_plugin() -> None:
    found: set[str] = set()
    for plugin, (checks, _) in EXPECTED.items():
        found |= checks if plugin != "returns_plaintext" else set()
    # These two are about hooks that no broken plugin here has, and about the plain function.
    assert ALL - found == {
        "test_opens_what_it_encrypted",
        "test_its_own_recipients_can_read",
        "test_preparing_changes_nothing",
    }
    assert all(getattr(BackendContract, name).__doc__.count("\n") == 0 for name in ALL)
