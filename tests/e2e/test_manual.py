"""The manual: made from the parsers, current, complete, and a man page without a fault."""

import os
import re
import subprocess
from argparse import SUPPRESS, Action, ArgumentParser
from collections.abc import Iterator

import pytest

from support import needs
from support.documents import CHECKOUT
from support.vaults import run_python
from tskeyvault.cli import COMMANDS, parser_for
from tskeyvault.errors import VaultError

PAGE = CHECKOUT / "docs/vault.1"
FILES = {"markdown": CHECKOUT / "docs/cli.md", "man": PAGE}


def actions(parser: ArgumentParser) -> Iterator[Action]:
    """Yield all arguments of a command, and of its verbs."""
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for verb in action.choices.values():
                yield from actions(verb)
        elif action.help != SUPPRESS:
            yield action


def plain(form: str) -> str:
    """Return the text of a manual, without what stands for a dash in a man page."""
    return FILES[form].read_text().replace("\\-", "-")


@pytest.mark.parametrize("form", FILES)
def test_the_manual_is_what_the_parsers_say_now(form: str) -> None:
    done = run_python("-m", "tskeyvault.cli.manual", form)
    assert (done.code, done.err) == (0, "")
    made = f"python -m tskeyvault.cli.manual {form} > {FILES[form].relative_to(CHECKOUT)}"
    assert done.out.decode() == FILES[form].read_text(), f"to be made anew: {made}"


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_all_it_takes_is_in_the_manual(form: str, command: str) -> None:
    text = plain(form)
    assert re.search(rf"^(## |\.SS )vault {command}\b", text, re.MULTILINE)
    assert COMMANDS[command].summary[1:] in text
    for action in actions(parser_for(command)):
        for option in action.option_strings:
            assert re.search(rf"^(\* `|\.B )(.*, )?{option}\b", text, re.MULTILINE), option
        assert action.help
        assert action.help in text, action.help


@pytest.mark.parametrize("form", FILES)
def test_the_verbs_of_commands_are_in_the_manual(form: str) -> None:
    text = plain(form)
    for verb in ("ls", "add", "rm", "ack"):
        assert f"vault recipients {verb} " in text
    for verb in ("install", "uninstall", "status", "refresh"):
        assert f"vault hooks {verb} " in text


@pytest.mark.parametrize("form", FILES)
def test_every_exit_code_is_in_the_manual(form: str) -> None:
    codes = {0, 130, 141}
    pending = [VaultError]
    while pending:
        kind = pending.pop()
        codes.add(kind.exit_code)
        pending += kind.__subclasses__()
    for code in codes:
        assert re.search(rf"^(\| {code} \| .|\.B {code}$)", plain(form), re.MULTILINE), code
    assert "--version" in plain(form)


def test_groff_has_nothing_to_say_about_the_man_page() -> None:
    needs.program("groff")
    done = subprocess.run(
        ["groff", "-ww", "-b", "-man", "-Tutf8", "-z", PAGE], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_man_shows_the_page_with_everything_readable() -> None:
    needs.program("man")
    env = {**os.environ, "MANWIDTH": "200", "MANPAGER": "cat", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""}
    done = subprocess.run(
        ["man", "--warnings", "-l", PAGE], check=False, capture_output=True, text=True, env=env
    )
    assert (done.returncode, done.stderr) == (0, "")
    for text in (
        "--ignore-case",
        "vault recipients add",
        "EXIT STATUS",
        "$TSKEYVAULT_DIR",
        "this user's own",
    ):
        assert text in done.stdout
    assert "\\" not in done.stdout
