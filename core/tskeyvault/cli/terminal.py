"""The one place that prints and asks: messages to standard error, results to standard output."""

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from tskeyvault import names
from tskeyvault.errors import DeliveryError, UsageError, VaultError

if TYPE_CHECKING:
    from tskeyvault.store import Entry
    from tskeyvault.values import UI

_LONG = 20
"""Steps from which on progress is shown."""
_FEW = 2
"""The same where a step may wait for a device or its user."""
_LINE = 4000
"""Characters of a line; more is cut, since parts of it may come from a hostile file. A recipient has up to 2015."""
_CELL = 80
"""Characters of a cell of a table."""
_TYPED = 4095
"""Bytes of a line that a terminal passes on; it drops what is typed beyond them (termios(3))."""


def say(text: str) -> None:
    """Tell the user something, on standard error."""
    for line in text.split("\n"):
        _tell(f"vault: {line}")


def warn(text: str) -> None:
    """Warn the user, on standard error."""
    say(f"warning: {text}")


def hint(text: str) -> None:
    """Tell the user what to do next, on standard error."""
    _tell(f"hint: {text}")


def fail(error: VaultError) -> int:
    """Report *error* with its hint; return its exit code."""
    say(error.message)
    if error.hint:
        hint(error.hint)
    return error.exit_code


def lines(items: Iterable[str]) -> None:
    """Print *items* as results, one a line.

    Raises DeliveryError when standard output takes nothing.
    """
    with _output() as stream:
        for item in items:
            _put(stream, f"{_safe(item)}\n")


def entries(found: Iterable["Entry"], *, json: bool) -> None:
    """Print secrets, a name a line, or as JSON: name, plugin and path of each."""
    if json:
        as_json([{"name": it.name, "plugin": it.plugin, "path": it.path} for it in found])
    else:
        lines(it.name for it in found)


def table(rows: Sequence[tuple[str, ...]]) -> None:
    """Print *rows* of equal length in aligned columns; the last one is never pushed out of sight."""
    rows = [(*(_cut(cell) for cell in row[:-1]), row[-1]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cut(cell: str) -> str:
    return cell if len(cell) <= _CELL else f"{cell[: _CELL - 1]}…"


def as_json(value: object) -> None:
    """Print *value* as JSON."""
    with _output() as stream:
        _put(stream, f"{json.dumps(value, indent=2)}\n")


def write(data: bytes) -> None:
    """Write the exact bytes of a secret to standard output.

    Raises UsageError when it is a terminal that they could confuse.
    """
    with _output() as stream:
        if stream.isatty() and not _is_text(data):
            raise UsageError(
                "the secret is binary and standard output is a terminal", "send it to a file or a pipe"
            )
        view = memoryview(data)
        while view:
            view = view[os.write(stream.fileno(), view) :]


def progress(done: int, total: int, *, long: int = _LONG) -> None:
    """Show on a terminal that *done* of *total* steps are done; a work of less than *long* shows nothing."""
    if total < long or sys.stderr is None or not sys.stderr.isatty():
        return
    _put(sys.stderr, f"\rvault: {done} of {total}" + ("\n" if done == total else ""))


def is_interactive() -> bool:
    """Tell whether there is somebody to ask."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def confirm(question: str) -> bool:
    """Ask *question*; only a typed yes is a yes, and without a terminal the answer is no."""
    if not is_interactive():
        return False
    _put(sys.stderr, f"{_safe(question)} [y/N] ")
    return _typed(sys.stdin.fileno()).strip().lower() in {b"y", b"yes"}


def read_secret(name: str, *, multiline: bool) -> bytes:
    """Return the secret *name* as it is given: exact bytes from a pipe, or typed.

    On a terminal it is asked for twice without echo, or with *multiline* read to end of file.

    Raises UsageError for nothing, or when the two differ.
    """
    from tskeyvault import files, store

    if sys.stdin is None:
        raise UsageError("standard input is closed", "the secret comes from there")
    if multiline and sys.stdin.isatty():
        say(f"enter '{name}', and Ctrl-D on a line of its own to end")
    if multiline or not sys.stdin.isatty():
        return store.refuse_large(files.read_all(sys.stdin.fileno(), store.MAX_SECRET, "the secret"))
    first, again = (ask_hidden(f"{prompt} '{name}': ") for prompt in ("enter", "repeat"))
    if first != again:
        raise UsageError("the two are not the same")
    return store.refuse_large(first)


def given() -> int:
    """Return the descriptor of standard input. Raises UsageError when it is closed."""
    if sys.stdin is None:
        raise UsageError("standard input is closed")
    return sys.stdin.fileno()


def ask_hidden(prompt: str) -> bytes:
    """Return a line that is typed at the terminal without echo, without its end.

    Raises UsageError when there is no terminal, or the line is as long as a terminal can pass on.
    """
    import termios

    from tskeyvault import limits

    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        raise UsageError("there is no terminal to ask on") from None
    try:
        before = termios.tcgetattr(terminal)
        hidden = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
        with limits.stoppable("asking"):  # or a signal would leave the terminal without echo
            try:
                termios.tcsetattr(terminal, termios.TCSAFLUSH, hidden)
                os.write(terminal, _safe(prompt).encode(errors="replace"))
                line = _typed(terminal)
            finally:
                termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
                os.write(terminal, b"\n")
    finally:
        os.close(terminal)
    if not line:
        raise UsageError("nothing was typed")
    return line.removesuffix(b"\n")


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
        _put(sys.stderr, f"{_safe(prompt)} ")
        return _typed(sys.stdin.fileno()).decode(errors="replace").removesuffix("\n")

    def secret(self, prompt: str) -> bytes | None:
        try:
            return ask_hidden(f"{prompt} ")
        except UsageError:
            return None

    def progress(self, done: int, total: int) -> None:
        progress(done, total, long=_FEW)


USER: "UI" = _User()


def _typed(terminal: int) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (more := os.read(terminal, _TYPED + 1)):
        line += more
    if len(line) >= _TYPED:
        raise UsageError(
            "a terminal passes on no line of that length", "use a pipe, or -m with several lines"
        )
    return line


def _tell(line: str) -> None:
    # Nobody may be listening; what was done is done, and the exit code tells it.
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            _put(sys.stderr, f"{_safe(line)}\n")


@contextlib.contextmanager
def _output() -> Iterator[TextIO]:
    if sys.stdout is None:
        raise DeliveryError("standard output is closed")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is left in the buffer would fail again, and loudly, when the interpreter ends.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
        raise DeliveryError(f"standard output: {os.strerror(error.errno or 0).lower()}") from None


def _put(stream: TextIO, text: str) -> None:
    """Write *text*, with escapes for letters that the terminal does not have."""
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    if stream is sys.stderr:
        stream.flush()


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\n\t" for character in text)


def _safe(text: str) -> str:
    cut = text if len(text) <= _LINE else f"{text[:_LINE]}…"
    return "".join(c if c.isprintable() else names.shown(c) for c in cut)
