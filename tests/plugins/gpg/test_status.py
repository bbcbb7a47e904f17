"""gpg's report: believed as a whole, line by line, or not at all; and what its failures mean."""

import pytest

from tskeyvault.errors import IntegrityError, LockedError, PluginError, VaultError
from tskeyvault_gpg import faults, status
from tskeyvault_gpg.agent import Missing

DECRYPTED = """\
ENC_TO 883EB2E75D3E6CC6 1 0
KEY_CONSIDERED 2EB3BC5018B5C758032B79690DD0189E2C34DC80 0
DECRYPTION_KEY 0379BC3D2605C32331FA93BF883EB2E75D3E6CC6 2EB3BC5018B5C758032B79690DD0189E2C34DC80 u
BEGIN_DECRYPTION
DECRYPTION_INFO 2 9 0
PLAINTEXT 62 1795528976 name
PLAINTEXT_LENGTH 6
DECRYPTION_OKAY
GOODMDC
END_DECRYPTION
"""


def report(text: str) -> tuple[status.Line, ...]:
    return status.parse("".join(f"[GNUPG:] {line}\n" for line in text.splitlines()).encode())


def test_a_message_that_was_decrypted_whole_is_believed() -> None:
    assert status.is_decrypted(report(DECRYPTED))


@pytest.mark.parametrize("line", [line for line in DECRYPTED.splitlines() if line[0] in "BDGEP" and "KEY" not in line and "ENC" not in line and "LENGTH" not in line])  # fmt: skip
def test_every_step_is_needed_once(line: str) -> None:
    assert not status.is_decrypted(report(DECRYPTED.replace(f"{line}\n", "", 1)))
    assert not status.is_decrypted(report(DECRYPTED.replace(f"{line}\n", f"{line}\n{line}\n", 1)))


@pytest.mark.parametrize(
    "word", ["BADMDC", "DECRYPTION_FAILED", "NODATA 1", "FAILURE decrypt 1", "UNEXPECTED 0"]
)
def test_a_failure_anywhere_is_a_failure(word: str) -> None:
    for text in (f"{word}\n{DECRYPTED}", f"{DECRYPTED}{word}\n"):
        assert not status.is_decrypted(report(text))


def test_the_order_of_the_steps_counts() -> None:
    swapped = DECRYPTED.replace("DECRYPTION_OKAY\nGOODMDC", "GOODMDC\nDECRYPTION_OKAY")
    assert not status.is_decrypted(report(swapped))


def test_an_expression_within_a_line_is_no_line() -> None:
    forged = DECRYPTED.replace("GOODMDC\n", "").replace(" name", " [GNUPG:] GOODMDC %0A[GNUPG:] GOODMDC")
    assert not status.is_decrypted(report(forged))


@pytest.mark.parametrize(
    "raw",
    [
        b"x",
        b"GOODMDC\n",
        b" [GNUPG:] GOODMDC\n",
        b"[GNUPG:]GOODMDC\n",
        b"[GNUPG:] \n",
        b"\n",
        b"[GNUPG:] GOODMDC",
    ],
)
def test_what_gpg_would_not_write_is_an_error(raw: bytes) -> None:
    with pytest.raises(PluginError):
        status.parse(raw)


def test_an_encryption_that_left_somebody_out_is_not_believed() -> None:
    assert status.is_encrypted(report("BEGIN_ENCRYPTION 2 9\nEND_ENCRYPTION\n"))
    for text in ("INV_RECP 10 X\nBEGIN_ENCRYPTION 2 9\nEND_ENCRYPTION\n", "BEGIN_ENCRYPTION 2 9\n", ""):
        assert not status.is_encrypted(report(text))


AROUND = faults.Around(
    agent=lambda: None, home=lambda: None, tries=lambda: None, cards=lambda: (), damage=lambda: None
)


def error(source: int, code: int) -> str:
    return (
        f"ERROR pkdecrypt_failed {source << 24 | code}\nBEGIN_DECRYPTION\nDECRYPTION_FAILED\nEND_DECRYPTION\n"
    )


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (error(4, 11), LockedError, "the passphrase is wrong"),
        (error(4, 85), LockedError, "pinentry is missing"),
        (error(5, 0x8000 | 102), LockedError, "pinentry has no terminal"),
        (error(5, 62), LockedError, "nobody entered the passphrase in time"),
        (error(4, 99), LockedError, "the passphrase was not entered"),
        (error(6, 108), PluginError, "the card was pulled out, or does not answer"),
        (error(6, 109), PluginError, "the card was reset"),
        (error(6, 110), PluginError, "the card was pulled out"),
        (error(4, 1), PluginError, "gpg-agent cannot use the secret key"),
        (error(2, 18), IntegrityError, "damaged"),
        (error(1, 10), IntegrityError, "damaged"),
        (error(4, 79), IntegrityError, "damaged"),
        (error(4, 55), PluginError, "gpg-agent cannot use the secret key"),
        (error(6, 111), PluginError, "gpg-agent cannot use the secret key"),
        (
            "NO_SECKEY 1\nBEGIN_DECRYPTION\nDECRYPTION_FAILED\n",
            LockedError,
            "not encrypted to a key of yours",
        ),
        ("NEED_PASSPHRASE 1 2 18 0\n", LockedError, "no passphrase was given"),
        ("ERROR add_keyblock_resource 33587281\nNO_SECKEY 1\n", PluginError, "cannot use its home"),
        ("NODATA 1\n", IntegrityError, "damaged"),
        (DECRYPTED.replace("GOODMDC", "BADMDC"), IntegrityError, "damaged"),
        ("", PluginError, "without a reason"),
    ],
)
def test_a_failure_is_explained(text: str, kind: type[VaultError], message: str) -> None:
    found = faults.explained("a", report(text), AROUND)
    assert type(found) is kind
    assert found.message.startswith("secret 'a': ")
    assert message in found.message


def test_a_missing_agent_is_no_missing_key() -> None:
    text = "NO_SECKEY 1\nBEGIN_DECRYPTION\nDECRYPTION_FAILED\n"
    found = faults.explained(
        "a", report(text), AROUND._replace(agent=lambda: Missing("it is read-only", "a hint"))
    )
    assert (type(found), found.message, found.hint) == (
        PluginError,
        "secret 'a': no gpg-agent can be started: it is read-only",
        "a hint",
    )
