"""The one place that prints and asks: messages to standard error, results to standard output."""

import json
import os
import sys
from collections.abc import Iterable, Sequence

from tskeyvault import files, names, store
from tskeyvault.errors import UsageError, VaultError
from tskeyvault.spec import UI
from tskeyvault.store import Entry

_LONG = 20
"""Steps from which on progress is shown."""
_LINE = 2000
"""Characters of a message's line; more is cut, since parts of it may come from a hostile file."""


def say(text: str) -> None:
    """Tell the user something, on standard error."""
    for line in text.split("\n"):
        print(f"vault: {_safe(line)}", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Warn the user, on standard error."""
    say(f"warning: {text}")


def fail(error: VaultError) -> int:
    """Report *error* with its hint; return its exit code."""
    say(error.message)
    if error.hint:
        print(f"hint: {_safe(error.hint)}", file=sys.stderr, flush=True)
    return error.exit_code


def lines(items: Iterable[str]) -> None:
    """Print *items* as results, one a line."""
    for item in items:
        print(_safe(item))
    sys.stdout.flush()


def entries(found: Iterable[Entry], *, json: bool) -> None:
    """Print secrets, a name a line, or as JSON: name, plugin and path of each."""
    if json:
        as_json([{"name": it.name, "plugin": it.plugin, "path": it.path} for it in found])
    else:
        lines(it.name for it in found)


def table(rows: Sequence[tuple[str, ...]]) -> None:
    """Print *rows* of equal length in aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def as_json(value: object) -> None:
    """Print *value* as JSON."""
    print(json.dumps(value, indent=2))
    sys.stdout.flush()


def write(data: bytes) -> None:
    """Write the exact bytes of a secret to standard output.

    Raises UsageError when it is a terminal that they could confuse.
    """
    if sys.stdout.isatty() and not _is_text(data):
        raise UsageError(
            "the secret is binary and standard output is a terminal", "send it to a file or a pipe"
        )
    view = memoryview(data)
    while view:
        view = view[os.write(sys.stdout.fileno(), view) :]


def progress(done: int, total: int) -> None:
    """Show on a terminal that *done* of *total* steps are done; a short work shows nothing."""
    if total < _LONG or not sys.stderr.isatty():
        return
    end = "\n" if done == total else ""
    print(f"\rvault: {done} of {total}", end=end, file=sys.stderr, flush=True)


def is_interactive() -> bool:
    """Tell whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str) -> bool:
    """Ask *question*; only a typed yes is a yes, and without a terminal the answer is no."""
    if not is_interactive():
        return False
    print(f"{_safe(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def read_secret(name: str, *, multiline: bool) -> bytes:
    """Return the secret *name* as it is given: exact bytes from a pipe, or typed.

    On a terminal it is asked for twice without echo, or with *multiline* read to end of file.

    Raises UsageError for nothing, or when the two differ.
    """
    if not sys.stdin.isatty():
        return store.refuse_large(files.read_all(sys.stdin.fileno(), store.MAX_SECRET, "the secret"))
    if multiline:
        say(f"enter '{name}', and Ctrl-D on a line of its own to end")
        return store.refuse_large(files.read_all(sys.stdin.fileno(), store.MAX_SECRET, "the secret"))
    import getpass

    first, again = (getpass.getpass(f"{prompt} '{name}': ") for prompt in ("enter", "repeat"))
    if first != again:
        raise UsageError("the two are not the same")
    return store.refuse_large(first.encode(errors="surrogateescape"))


class _User:
    """The user at the terminal, or nobody where there is none: :class:`tskeyvault.spec.UI`."""

    def message(self, text: str) -> None:
        say(text)

    def confirm(self, question: str, yes: str, no: str) -> bool | None:
        if not is_interactive():
            return None
        say(question)
        return confirm(f"{yes or 'go on'}{f' (or {no})' if no else ''}?")

    def public(self, prompt: str) -> str | None:
        if not is_interactive():
            return None
        print(f"{_safe(prompt)} ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().removesuffix("\n")

    def secret(self, prompt: str) -> bytes | None:
        import getpass

        if not is_interactive() and not _has_terminal():
            return None
        return getpass.getpass(f"{_safe(prompt)} ").encode(errors="surrogateescape")


USER: UI = _User()


def _has_terminal() -> bool:
    """Tell whether there is a terminal to ask on, though standard input is something else."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\n\t" for character in text)


def _safe(text: str) -> str:
    cut = text if len(text) <= _LINE else f"{text[:_LINE]}…"
    return "".join(c if c.isprintable() else names.shown(c) for c in cut)
