"""``vault scan``: look for keys in what git stores, in files or in a stream."""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from tskeyvault import __version__, files
from tskeyvault.errors import NotFoundError, PluginError, UsageError
from tskeyvault_hooks import allow, git, history, report, scan, state
from tskeyvault_hooks.allow import Allowed
from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.scan import Scan

from . import terminal


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="files, and folders with all that is in them"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--staged", action="store_true", help="what the next commit changes (the default)")
    what.add_argument("--history", action="store_true", help="every object of the repository")
    what.add_argument("--range", default="", metavar="A..B", help="the objects of these commits")
    what.add_argument("--stdin", action="store_true", help="standard input")
    what.add_argument("--allow", default="", metavar="FINGERPRINT", help="let stand what a report names so")
    parser.add_argument("--reason", default="", metavar="TEXT", help="with --allow: why")
    parser.add_argument(
        "--until", default="", metavar="DATE", help="with --allow: the last day, like 2027-01-31"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--sarif", action="store_true", help="as SARIF 2.1.0")


def run(options: Namespace) -> int:
    """Report what is found; the exit code is 1 when that is anything."""
    if options.paths and (
        options.staged or options.history or options.range or options.stdin or options.allow
    ):
        raise UsageError("paths, or one of the options, not both", "vault scan --help")
    if not options.allow and (options.reason or options.until):
        raise UsageError("--reason and --until belong to --allow")
    with explained():
        if options.allow:
            return _allow(options)
        directory = repository_state()
        found = Scan(state.finder(directory), directory, outside=not directory)
        _scan(found, options)
        history.locate(found)
    return _report(found, options)


@contextmanager
def explained() -> Iterator[None]:
    """Turn the error of the hooks, which know nothing of ours, into one of ours."""
    try:
        yield
    except ScanError as error:
        raise PluginError(error.message, error.hint) from None


def repository_state() -> str:
    """Return the directory in git's own where the hooks keep their state, or ``""`` outside a repository."""
    asked = git.Process(["rev-parse", "--path-format=absolute", "--git-common-dir"])
    answer = git.read_some(asked.output, None).decode(errors="surrogateescape").removesuffix("\n")
    return os.path.join(answer, "vault") if asked.status()[0] == 0 else ""


def _scan(found: Scan, options: Namespace) -> None:
    if options.paths:
        scan.paths(found, options.paths)
    elif options.history:
        history.whole(found)
    elif options.range:
        scan.between(found, options.range)
    elif options.stdin:
        if sys.stdin is None:
            raise UsageError("standard input is closed")
        scan.stream(found, sys.stdin.fileno(), "standard input")
    else:
        scan.staged(found)


def _report(found: Scan, options: Namespace) -> int:
    if options.json:
        terminal.as_json(report.as_json(found))
    elif options.sarif:
        terminal.as_json(report.as_sarif(found, __version__))
    else:
        terminal.lines(report.lines(found.findings))
    count = len(found.findings)
    terminal.say(f"{report.counted(found)}: {count or 'no'} key{'' if count == 1 else 's'} found")
    if not count:
        return 0
    staged = not (options.paths or options.history or options.range or options.stdin)
    for line in report.hints(found.findings, staged=staged):
        terminal.hint(line)
    return 1


def _allow(options: Namespace) -> int:
    """Write a line into the list of the work tree, which is to be committed."""
    reason = " ".join(options.reason.split())
    if not reason:
        raise UsageError("why?", "--reason TEXT says it to those who come after")
    fingerprint = allow.checked(options.allow)
    until = allow.day(options.until) if options.until else ""
    top = git.ask("rev-parse", "--show-toplevel").decode(errors="surrogateescape").removesuffix("\n")
    with files.directory(top) as fd:
        known = allow.stored(repository_state())  # the fingerprint was made with its salt
        try:
            before = allow.parse(files.read(fd, allow.FILE, allow.MAX_SIZE))
        except NotFoundError:
            before = known
        salt = before.salt or known.salt
        after = Allowed(salt, {**before.entries, fingerprint: (until, reason)})
        files.write(fd, allow.FILE, allow.render(after))
    terminal.say(
        f"allowed {fingerprint}{f' until {until}' if until else ''}: git add {allow.FILE}, and commit it"
    )
    return 0
