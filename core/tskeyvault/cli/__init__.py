"""The command line: finds the command, runs it, and turns every failure into a message and a code."""

import os
import sys
from argparse import SUPPRESS, ArgumentParser, HelpFormatter, Namespace
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol, cast

from tskeyvault import __version__
from tskeyvault.errors import PluginError, UsageError, VaultError

from . import terminal

if TYPE_CHECKING:
    from tskeyvault.locate import Place


class Command(NamedTuple):
    """Where a command is implemented, and what it does in half a line."""

    module: str
    summary: str
    opens: bool = False
    """Whether it opens secrets, and so has the options of CONSENTS."""


COMMANDS = {
    "init": Command("init", "make a vault in this git repository"),
    "keygen": Command("keygen", "make an age key for this user or host"),
    "insert": Command("insert", "put a secret into the vault"),
    "generate": Command("generate", "put a random secret into the vault"),
    "show": Command("show", "write a secret to standard output", opens=True),
    "edit": Command("edit", "change a secret in an editor", opens=True),
    "ls": Command("ls", "list secrets"),
    "find": Command("find", "list secrets by a part of their name"),
    "grep": Command("grep", "search within the secrets", opens=True),
    "status": Command("status", "age, expiry and readers of the secrets, without a key"),
    "mv": Command("mv", "rename secrets", opens=True),
    "cp": Command("mv", "copy secrets", opens=True),
    "import": Command(
        "import_", "copy or move secrets between a vault and another program's store", opens=True
    ),
    "rm": Command("rm", "remove secrets"),
    "recipients": Command("recipients", "list, add, remove or approve those who can read", opens=True),
    "rekey": Command("rekey", "re-encrypt what other recipients can read than should", opens=True),
    "materialize": Command("materialize", "deliver a service's secrets as files under /run", opens=True),
    "apply": Command(
        "apply", "bring what is delivered on this host up to date, and restart its units", opens=True
    ),
    "unit": Command("unit", "print or install units that fetch a service's secrets, and sidecars"),
    "credential-server": Command(
        "credential_server", "give systemd the credentials of the units that it starts", opens=True
    ),
    "run": Command("run", "give a service's values to one process as its environment", opens=True),
    "git": Command("git", "run git in the vault"),
    "hooks": Command("hooks", "install the git hooks that let no key pass, here or everywhere", opens=True),
    "scan": Command("scan", "look for keys in what git stores, in files or in a stream"),
    "yubikey": Command("yubikey", "list, make and look after keys in a YubiKey", opens=True),
    "doctor": Command("doctor", "say what is wrong on this host and in this clone, and what repairs it"),
    "plugins": Command("plugins", "list the installed plugins"),
    "completion": Command("completion", "print completion for a shell"),
}
"""All commands; only the module of the one that is called is imported."""


CONSENTS = {
    "last-try": "spend the last try of a device's PIN, after which it is blocked",
    "free-reader": "end GnuPG's scdaemon where it holds a device's reader",
}
"""What is never done unless the user says so: :data:`tskeyvault.values.Options`."""


class _Module(Protocol):
    def arguments(self, parser: ArgumentParser) -> None: ...
    def run(self, options: Namespace) -> int: ...


class _Parser(ArgumentParser):
    def _get_formatter(self) -> HelpFormatter:
        # Left to itself it asks shutil for the width, whenever an argument is declared.
        return HelpFormatter(self.prog, width=_WIDTH)

    def error(self, message: str) -> NoReturn:
        # argparse quotes the bad value, or puts it last, and people paste keys into the wrong place.
        said = message.partition("'")[0].removesuffix(": ").rstrip()
        if said.startswith("unrecognized"):
            said = said.partition(":")[0]
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
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - held open: the interpreter flushes it at its end
        return 141
    except Exception as error:  # noqa: BLE001 - a traceback could show a secret
        return terminal.fail(_defect(error))


def parser_for(name: str) -> ArgumentParser:
    """Return the parser of the command *name*."""
    parser = _Parser(prog=f"vault {name}", description=COMMANDS[name].summary, allow_abbrev=False)
    _module(name).arguments(parser)
    common(parser, opens=COMMANDS[name].opens)
    return parser


def common(parser: ArgumentParser, *, opens: bool) -> None:
    """Declare the options of every command, or of every one that *opens* secrets, on *parser* or on that of a verb."""
    where = "the vault (default: $TSKEYVAULT_DIR, or upwards from here)"
    parser.add_argument("--vault", metavar="DIR", default=SUPPRESS, help=where)
    what = "identity file (default: $TSKEYVAULT_IDENTITY, the credential, or this user's own)"
    parser.add_argument("-i", "--identity", metavar="FILE", default=SUPPRESS, help=what)
    for name, what in CONSENTS.items() if opens else ():
        parser.add_argument(
            f"--{name}", action="append_const", const=name, dest="consents", default=SUPPRESS, help=what
        )


def place(options: Namespace) -> "Place":
    """Return what the parsed *options* say about where vault and identity are."""
    from tskeyvault.locate import Place  # which loads all that reading a secret takes

    consents = frozenset(getattr(options, "consents", ()))
    return Place(getattr(options, "vault", ""), getattr(options, "identity", ""), consents)


def _run(argv: list[str]) -> int:
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # or the next file that is opened would pass for it
    try:
        os.getcwd()
    except OSError:
        raise UsageError("the current directory is gone", "go to one that is there") from None
    before, name, after = split(argv)
    if not name:
        return _without_command(before)
    if name not in COMMANDS:
        raise UsageError("no such command", _nearest(name))
    if name == "git":
        after = _for_git(after)
    options = parser_for(name).parse_args([*before, *after])
    options.command = name
    return _module(name).run(options)


def _for_git(after: list[str]) -> list[str]:
    """Mark where git's own arguments begin, dashes and all: behind those of every command."""
    at = 0
    while after[at:] and after[at].partition("=")[0] in _TAKES_VALUE:
        at += 1 if "=" in after[at] else 2
    return after if after[at : at + 1] in (["-h"], ["--help"], ["--"]) else [*after[:at], "--", *after[at:]]


def split(argv: list[str]) -> tuple[list[str], str, list[str]]:
    """Split *argv* at the command: the first word that is no option and no option's value."""
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        at += 2 if argv[at] in _TAKES_VALUE else 1
    return argv[:at], argv[at] if at < len(argv) else "", argv[at + 1 :]


def _without_command(options: list[str]) -> int:
    if options == ["--version"]:
        terminal.lines([f"vault {__version__}"])
        return 0
    if options in (["--help"], ["-h"]):
        terminal.lines([f"usage: {_USAGE}", "", *_summary()])
        return 0
    raise UsageError("which command?", "vault --help lists them")


def _module(name: str) -> _Module:
    return cast("_Module", import_module(f"tskeyvault.cli.{COMMANDS[name].module}"))


def _summary() -> list[str]:
    width = max(map(len, COMMANDS))
    return [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]


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


_WIDTH = 100
_TAKES_VALUE = ("--vault", "--identity", "-i")
_USAGE = "vault [--vault DIR] [--identity FILE] COMMAND ...   (vault COMMAND --help says more)"
