"""``vault completion``: what a shell offers at the TAB key, for bash, zsh and fish.

The scripts are a few lines: they hand the words typed so far to this command, which knows the
parsers, and the names of secrets and services in the vault at hand.
"""

import os
from argparse import SUPPRESS, Action, ArgumentParser, Namespace
from collections.abc import Iterable
from itertools import pairwise

from tskeyvault.errors import UsageError, VaultError
from tskeyvault.locate import Place
from tskeyvault.vault import Vault, opened

from . import COMMANDS, parser_for, split, terminal

_SCRIPTS = {
    "bash": """\
# bash: put into ~/.bashrc:  eval "$(vault completion bash)"
_vault() {
    local -a words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    words=("${words[@]#[\\"\\']}") # without the quotes that stand for what is typed
    words=("${words[@]%[\\"\\']}")
    mapfile -t COMPREPLY < <(vault completion --words -- "${words[@]//\\\\/}" 2>/dev/null)
    if [ "${#COMPREPLY[@]}" -gt 0 ]; then compopt -o filenames 2>/dev/null; fi
}
complete -o bashdefault -o default -F _vault vault
""",
    "zsh": """\
#compdef vault
# zsh: put into ~/.zshrc, after compinit:  eval "$(vault completion zsh)"
_vault() {
    local -a found
    found=("${(@f)$(vault completion --words -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then compadd -- "${found[@]}"; else _files; fi
}
compdef _vault vault
""",
    "fish": """\
# fish: put into ~/.config/fish/config.fish:  vault completion fish | source
complete -c vault -e
complete -c vault -a '(vault completion --words -- (commandline -opc)[2..] \\'\\' 2>/dev/null)'
""",
}


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", nargs="*", metavar="bash|zsh|fish", help="print the script for this shell")
    parser.add_argument("--words", action="store_true", help=SUPPRESS)


def run(options: Namespace) -> int:
    """Print the script for a shell, or for the script what may stand in place of the last word."""
    if options.words:
        *before, last = options.shell or [""]
        terminal.lines(sorted({word for word in _candidates(before) if word.startswith(last)}))
        return 0
    if len(options.shell) != 1 or options.shell[0] not in _SCRIPTS:
        raise UsageError("which shell?", "bash, zsh or fish")
    terminal.lines(_SCRIPTS[options.shell[0]].splitlines())
    return 0


def _candidates(before: list[str]) -> Iterable[str]:
    """Return all that may follow the words *before*."""
    place, name, after = split(before)
    if place and not name and place[-1] in {"--vault", "--identity", "-i"}:
        return []
    if not name:
        return [*COMMANDS, "--help", "--version", "--vault", "--identity"]
    if name not in COMMANDS:
        return []
    return [] if "--" in after else _of_parser(parser_for(name), after, _place([*place, *after]))


def _of_parser(parser: ArgumentParser, after: list[str], place: Place) -> list[str]:
    options = {text: action for action in parser._actions for text in action.option_strings}  # noqa: SLF001 - it has no public list
    if after and after[-1] in options and options[after[-1]].nargs != 0:
        return _values(options[after[-1]], place)
    positionals = [action for action in parser._actions if not action.option_strings]  # noqa: SLF001 - as above
    words = [
        word
        for at, word in enumerate(after)
        if not word.startswith("-") and not _is_value(after, at, options)
    ]
    shown = [text for text, action in options.items() if action.help != SUPPRESS]
    if not positionals:
        return shown
    first = positionals[0]
    if isinstance(first.choices, dict) and words:  # a verb, which has a parser of its own
        verb = first.choices.get(words[0])
        return _of_parser(verb, after[after.index(words[0]) + 1 :], place) if verb else []
    at = min(len(words), len(positionals) - 1)
    if len(words) > at and positionals[at].nargs not in {"+", "*"}:
        return shown
    return shown + _values(positionals[at], place)


def _is_value(after: list[str], at: int, options: dict[str, Action]) -> bool:
    return at > 0 and after[at - 1] in options and options[after[at - 1]].nargs != 0


def _values(action: Action, place: Place) -> list[str]:
    """Return what *action* takes, told by its choices or by the name its value has in the help."""
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    kind = str(action.metavar)
    if "|" in kind:
        return kind.split("|")
    if kind not in {"NAME", "OLD", "NEW", "FOLDER", "SERVICE"}:
        return []
    try:
        with opened(place, os.environ, terminal.USER) as vault:
            return _names(vault, kind)
    except VaultError:
        return []


def _names(vault: Vault, kind: str) -> list[str]:
    if kind == "SERVICE":
        return list(vault.settings.services)
    secrets = [entry.name for entry in vault.store.within("")]
    folders = [name[:at] for name in secrets for at, letter in enumerate(name) if letter == "/"]
    return {"FOLDER": folders, "NAME": secrets}.get(kind, [*secrets, *folders])


def _place(words: list[str]) -> Place:
    given = dict(pairwise(words)) | dict(word.split("=", 1) for word in words if word.startswith("--vault="))
    return Place(os.path.expanduser(given.get("--vault", "")), "")
