"""The command line: finds the command, runs it, and turns every failure into a message and a code."""

import sys
from argparse import ArgumentParser, Namespace
from importlib import import_module
from typing import NamedTuple, NoReturn, Protocol, cast

from tskeyvault import __version__
from tskeyvault.errors import PluginError, UsageError, VaultError
from tskeyvault.vault import Place

from . import terminal


class Command(NamedTuple):
    """Where a command is implemented, and what it does in half a line."""

    module: str
    summary: str


COMMANDS = {
    "init": Command("init", "make a vault in this git repository"),
    "keygen": Command("keygen", "make an age key for this user or host"),
    "insert": Command("insert", "put a secret into the vault"),
    "show": Command("show", "write a secret to standard output"),
    "ls": Command("ls", "list secrets"),
    "rm": Command("rm", "remove secrets"),
    "recipients": Command("recipients", "list, add or approve those who can read"),
    "materialize": Command("materialize", "deliver a service's secrets as files under /run"),
    "plugins": Command("plugins", "list the installed plugins"),
}
"""All commands; only the module of the one that is called is imported."""


class _Module(Protocol):
    def arguments(self, parser: ArgumentParser) -> None: ...
    def run(self, options: Namespace) -> int: ...


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse puts the bad value into its message, and people paste keys into the wrong place.
        said = message.partition(":")[0] if message.startswith("unrecognized") else message
        raise UsageError(said, f"{self.prog} --help")


def main(argv: list[str] | None = None) -> int:
    """Run the command that *argv* (default: the program's arguments) names; return its exit code."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except VaultError as error:
        return terminal.fail(error)
    except KeyboardInterrupt:
        terminal.say("interrupted")
        return 130
    except BrokenPipeError:
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115 - held open: the interpreter flushes it at its end
        return 141
    except Exception as error:  # noqa: BLE001 - a traceback could show a secret
        return terminal.fail(_defect(error))


def parser_for(name: str) -> ArgumentParser:
    """Return the parser of the command *name*."""
    parser = _Parser(prog=f"vault {name}", description=COMMANDS[name].summary, allow_abbrev=False)
    _module(name).arguments(parser)
    _common(parser)
    return parser


def place(options: Namespace) -> Place:
    """Return what the parsed *options* say about where vault and identity are."""
    return Place(options.vault or "", options.identity or "")


def _run(argv: list[str]) -> int:
    top = _Parser(prog="vault", usage=_USAGE, description=_summary(), add_help=False, allow_abbrev=False)
    _common(top)
    top.add_argument("-h", "--help", action="store_true")
    top.add_argument("--version", action="store_true")
    at = _command_index(argv)
    options = top.parse_args(argv[:at])
    if options.version:
        terminal.lines([f"vault {__version__}"])
        return 0
    if at == len(argv):
        if not options.help:
            terminal.say("which command?")
        terminal.lines([f"usage: {_USAGE}", "", *_summary().split("\n")])
        return 0 if options.help else 2
    name = argv[at]
    if name not in COMMANDS:
        raise UsageError("no such command", _nearest(name))
    chosen = parser_for(name).parse_args(argv[at + 1 :])
    chosen.vault = chosen.vault or options.vault
    chosen.identity = chosen.identity or options.identity
    return _module(name).run(chosen)


def _command_index(argv: list[str]) -> int:
    """Return where in *argv* the command stands: the first word that is no option and no option's value."""
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        at += 2 if argv[at] in {"--vault", "--identity", "-i"} else 1
    return min(at, len(argv))


def _common(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--vault", metavar="DIR", help="the vault (default: $TSKEYVAULT_DIR, or upwards from here)"
    )
    parser.add_argument(
        "-i", "--identity", metavar="FILE", help="identity file (default: $TSKEYVAULT_IDENTITY, ...)"
    )


def _module(name: str) -> _Module:
    return cast("_Module", import_module(f"tskeyvault.cli.{COMMANDS[name].module}"))


def _summary() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items())


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1)
    return f"did you mean 'vault {near[0]}'" if near else "vault --help lists them"


def _defect(error: Exception) -> VaultError:
    """Describe a failure nobody foresaw by its kind and place; its text may hold a secret."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace else "nowhere"
    return PluginError(
        f"unexpected {type(error).__name__} in {where}", "this is a defect: please report this line"
    )


_USAGE = "vault [--vault DIR] [--identity FILE] COMMAND ...   (vault COMMAND --help says more)"
