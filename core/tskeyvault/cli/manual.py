"""The manual, as Markdown and as a man page, from the parsers: ``python -m tskeyvault.cli.manual``."""

import sys
from argparse import SUPPRESS, Action, ArgumentParser
from collections.abc import Iterator

from tskeyvault import __version__

from . import COMMANDS, parser_for, terminal

_CODES = (
    ("0", "done"),
    ("1", "findings: something looked at is not as it should be"),
    ("2", "usage: the command or a configuration file cannot be understood"),
    ("3", "not found"),
    ("4", "locked: no identity, or none that opens it"),
    ("5", "integrity: swapped, rolled back, damaged, or recipients changed"),
    ("6", "a plugin, program or device failed"),
    ("7", "could not be delivered or written"),
    ("130", "interrupted"),
    ("141", "nobody reads the output any more"),
)

_COMMON = ("help", "vault", "identity")


def markdown() -> str:
    """Return docs/cli.md."""
    parts = [
        "# The command line\n\nMade from the parsers by `python -m tskeyvault.cli.manual markdown`.\n",
        "    vault [--vault DIR] [--identity FILE] COMMAND ...\n    vault --help\n    vault --version\n",
    ]
    for name, command in COMMANDS.items():
        parts.append(f"## vault {name}\n\n{command.summary[0].upper()}{command.summary[1:]}.\n")
        for parser in _with_verbs(parser_for(name)):
            parts.append("".join(f"    {line}\n" for line in _usage(parser).splitlines()))
            if items := [f"* `{term}`: {text}" for term, text in _arguments(parser)]:
                parts += [*items, ""]
    parts.append("## Options of every command\n")
    parts += [f"* `{term}`: {text}" for term, text in _common()]
    parts.append("")
    parts.append("## Exit codes\n\n| code | meaning |\n|---|---|")
    parts += [f"| {code} | {meaning} |" for code, meaning in _CODES]
    return "\n".join(parts) + "\n"


def man() -> str:
    """Return the man page, docs/vault.1."""
    parts = [
        f'.TH VAULT 1 "" "tskeyvault {__version__}" "User Commands"',
        ".SH NAME",
        "vault, tskeyvault \\- service keys, encrypted in git and delivered under /run",
        ".SH SYNOPSIS",
        ".B vault\n[\\-\\-vault DIR] [\\-\\-identity FILE] COMMAND ...\n.br",
        ".B vault \\-\\-help\n.br\n.B vault \\-\\-version",
        ".SH COMMANDS",
    ]
    for name, command in COMMANDS.items():
        for parser in _with_verbs(parser_for(name)):
            parts += [f".SS {_roff(' '.join(_usage(parser).split()))}", _roff(command.summary)]
            parts += [f".TP\n.B {_roff(term)}\n{_roff(text)}" for term, text in _arguments(parser)]
    parts.append(".SH OPTIONS OF EVERY COMMAND")
    parts += [f".TP\n.B {_roff(term)}\n{_roff(text)}" for term, text in _common()]
    parts.append(".SH EXIT STATUS")
    parts += [f".TP\n.B {code}\n{_roff(meaning)}" for code, meaning in _CODES]
    parts += [".SH SEE ALSO", "age(1), git(1), systemd.exec(5)"]
    return "\n".join(parts) + "\n"


def _with_verbs(parser: ArgumentParser) -> Iterator[ArgumentParser]:
    verbs = [action.choices for action in parser._actions if isinstance(action.choices, dict)]  # noqa: SLF001 - no public list
    if verbs:
        yield from verbs[0].values()
    else:
        yield parser


def _arguments(parser: ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:  # noqa: SLF001 - as above
        if action.help != SUPPRESS and action.dest not in _COMMON:
            yield _term(action), action.help or ""


def _common() -> Iterator[tuple[str, str]]:
    for action in parser_for("ls")._actions:  # noqa: SLF001 - as above
        if action.dest in _COMMON:
            yield _term(action), action.help or ""


def _usage(parser: ArgumentParser) -> str:
    lines = parser.format_usage().rstrip().removeprefix("usage: ").splitlines()
    return "\n".join([lines[0], *(line.removeprefix(" " * 7) for line in lines[1:])])


def _term(action: Action) -> str:
    value = str(action.metavar or "|".join(map(str, action.choices or [])) or action.dest.upper())
    if not action.option_strings:
        return value
    return ", ".join(action.option_strings) + (f" {value}" if action.nargs != 0 else "")


def _roff(text: str) -> str:
    safe = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe


if __name__ == "__main__":
    terminal.lines((man() if sys.argv[1:] == ["man"] else markdown()).splitlines())
