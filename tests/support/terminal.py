"""A program on a real terminal: a pty that is its controlling terminal, and somebody who reads and types."""

import os
import select
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from support.vaults import PATH

SECONDS = 30.0
"""How long a prompt, or the end, is waited for."""

VAULT = [
    "env",
    f"PYTHONPATH={PATH}",
    sys.executable,
    "-m",
    "tskeyvault",
]
"""The command line of the checkout, as the first words of a command."""


class Terminal:
    """A program that runs on a terminal of its own; as a context manager it is stopped in any case."""

    def __init__(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        output: int | None = None,
        before: Sequence[str] = (),
        program: Sequence[str] = VAULT,
    ) -> None:
        """Start ``vault``, or another *program*, with *arguments*; *before* are the words before it.

        Its standard output is the terminal, or the descriptor *output*.
        """
        self._ours, theirs = os.openpty()
        self._seen = b""
        self._at = 0
        try:
            # setsid makes the terminal the controlling one: getpass opens it, and Ctrl-C comes from it.
            self._process = subprocess.Popen(
                ["setsid", "--ctty", *before, *program, *arguments],
                stdin=theirs,
                stdout=theirs if output is None else output,
                stderr=theirs,
                cwd=cwd,
            )
        finally:
            os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._ours)

    @property
    def seen(self) -> str:
        """Everything that the terminal has shown so far, with its line ends as they are in a file."""
        return self._seen.decode(errors="replace").replace("\r\n", "\n")

    def expect(self, text: str) -> None:
        """Wait until the terminal shows *text* after what was last waited for."""
        assert self.shows(text), f"{text!r} was not shown, but: {self.seen!r}"

    def shows(self, text: str) -> bool:
        """Do as :meth:`expect`, and return False when the program ends before."""
        end = time.monotonic() + SECONDS
        while (found := self._seen.find(text.encode(), self._at)) < 0:
            if not self._read(end):
                return False
        self._at = found + len(text.encode())
        return True

    def expect_hidden(self, text: str) -> None:
        """Wait for the prompt *text* of a program that turns the echo off after it, and drops what was typed before."""
        self.expect(text)
        end = time.monotonic() + SECONDS
        while termios.tcgetattr(self._ours)[3] & termios.ECHO:
            assert time.monotonic() < end, f"the echo stayed on after {text!r}"
            self._read(time.monotonic() + 0.01)

    def type(self, keys: bytes) -> None:
        """Type *keys*, as the keyboard sends them; only after a prompt, since one discards what came before it."""
        while keys:
            keys = keys[os.write(self._ours, keys) :]

    def end(self) -> int:
        """Wait for the program to end; return its exit code."""
        end = time.monotonic() + SECONDS
        while self._read(end):
            pass
        return self._process.wait(timeout=SECONDS)

    def _read(self, end: float) -> bool:
        """Take what the terminal shows next; return False at its end, and when it shows nothing until *end*."""
        ready, _, _ = select.select([self._ours], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._ours, 1 << 16)
        except OSError:  # Linux says EIO when the last program has closed it
            return False
        self._seen += data
        return bool(data)
