"""``vault scan``: look for keys in what git stores, in files or in a stream."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from tskeyvault import __version__, files
from tskeyvault.errors import NotFoundError, PluginError, UsageError
from tskeyvault_hooks import advice, allow, folders, git, history, pushes, report, scan, state
from tskeyvault_hooks.allow import Allowed
from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.finder import is_reason
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
    what.add_argument("--range", metavar="A..B", help="the objects of these commits")
    what.add_argument("--stdin", action="store_true", help="standard input")
    what.add_argument("--allow", metavar="FINGERPRINT", help="let stand what a report names so")
    parser.add_argument("--reason", metavar="TEXT", help="with --allow: why")
    parser.add_argument("--until", metavar="DATE", help="with --allow: the last day, like 2027-01-31")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--sarif", action="store_true", help="as SARIF 2.1.0")


def run(options: Namespace) -> int:
    """Report what is found; the exit code is 1 when that is anything."""
    where = _where(options)
    with explained():
        if options.allow is not None:
            return _allow(options)
        directory = repository_state()
        if not directory and where not in {advice.FILES, advice.OUTSIDE}:
            raise ScanError("this is no git repository", "PATH and --stdin need none")
        if where == advice.STAGED and git.ask("rev-parse", "--is-bare-repository") == b"true\n":
            raise ScanError("a bare repository has nothing staged", "vault scan --history")
        found = Scan(state.finder(directory), directory, outside=not directory)
        _scan(found, options)
        history.locate(found)
        _report(found, options)
        if found.findings:
            for line in advice.lines(found.findings, where if directory else advice.OUTSIDE):
                terminal.hint(line)
    return 1 if found.findings else 0


def _where(options: Namespace) -> str:
    """Return what is to be scanned; refuse what contradicts it. An empty value is one that was given."""
    chosen = options.staged or options.history or options.stdin
    if options.paths and (chosen or options.range is not None or options.allow is not None):
        raise UsageError("paths, or one of the options, not both", "vault scan --help")
    if options.allow is None and (options.reason is not None or options.until is not None):
        raise UsageError("--reason and --until belong to --allow")
    if options.allow is not None and (options.json or options.sarif):
        raise UsageError("--json and --sarif belong to a scan")
    if options.paths or options.stdin:
        return advice.FILES
    if options.history:
        return advice.HISTORY
    return advice.STAGED if options.range is None else advice.COMMITTED


@contextmanager
def explained() -> Iterator[None]:
    """Turn the error of the hooks, which know nothing of ours, into one of ours."""
    try:
        yield
    except ScanError as error:
        raise PluginError(error.message, error.hint) from None


def repository_state() -> str:
    """Return the directory in git's own where the hooks keep their state, or ``""`` outside a repository.

    Raises ScanError where git does not trust the repository, or cannot read it.
    """
    asked = git.Process(["rev-parse", "--path-format=absolute", "--git-common-dir"])
    answer = git.read_some(asked.output, None).decode(errors="surrogateescape").removesuffix("\n")
    status, said = asked.status()
    if status and "not a git repository" not in said:
        raise ScanError(git.reason(said), "GIT_DIR=DIRECTORY before the command says that you mean it")
    return os.path.join(answer, "vault") if status == 0 else ""


def _scan(found: Scan, options: Namespace) -> None:
    if options.paths:
        folders.paths(found, options.paths)
    elif options.history:
        history.whole(found)
    elif options.range is not None:
        pushes.between(found, options.range)
    elif options.stdin:
        folders.stream(found, terminal.given(), "standard input")
    else:
        scan.staged(found)


def _report(found: Scan, options: Namespace) -> None:
    if options.json:
        terminal.as_json(report.as_json(found))
    elif options.sarif:
        terminal.as_json(report.as_sarif(found, __version__))
    else:
        terminal.lines(report.lines(found.findings))
    terminal.say(f"{report.counted(found)}: {report.total(found.findings)}")


def _allow(options: Namespace) -> int:
    """Write a line into the list of the work tree, which is to be committed."""
    reason = " ".join((options.reason or "").split())
    if not reason:
        raise UsageError("why?", "--reason TEXT says it to those who come after")
    if not reason.isprintable():
        raise UsageError("the reason is no text of one line")
    if not is_reason(reason.encode(errors="surrogateescape")):
        raise UsageError("the reason has no word", "--reason TEXT says it to those who come after")
    fingerprint = allow.checked(options.allow)
    until = "" if options.until is None else allow.day(options.until)
    if until and until < datetime.now(UTC).date().isoformat():
        raise UsageError("that day is over")
    directory = repository_state()
    if not directory:
        raise ScanError("this is no git repository")
    if state.finder(directory).find(f"{reason}\n".encode(errors="surrogateescape")):
        raise UsageError("the reason has a key in it", "say why it may stay, and not what it is")
    top = git.ask("rev-parse", "--show-toplevel").decode(errors="surrogateescape").removesuffix("\n")
    with files.directory(top) as fd:
        known = allow.stored(directory)  # the fingerprint was made with its salt
        try:
            before = allow.parse(files.read(fd, allow.FILE, allow.MAX_SIZE))
        except NotFoundError:
            before = known
        salt = before.salt or known.salt
        after = Allowed(salt, {**before.entries, fingerprint: (until, reason)})
        files.write(fd, allow.FILE, allow.render(after))
    terminal.say(f"allowed {fingerprint}{f' until {until}' if until else ''}")
    terminal.hint(f"it counts once it is staged, and has to be committed:  git add :/{allow.FILE}")
    return 0
