"""age's plugin protocol: commands to and from a plugin program, and the user between them.

Every command and every answer is a stanza, written as in the header of a file; its arguments follow
the command's name. Source: C2SP age-plugin.md, sections "IPC protocol", "Phases" and "Grease".
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tskeyvault.errors import IntegrityError, PluginError
from tskeyvault.names import shown
from tskeyvault.process import Conversation, conversation
from tskeyvault.values import UI
from tskeyvault_age.header import b64decode, b64encode

_COLUMNS = 64
_VCHAR = bytes(range(0x21, 0x7F))
_MAX_LINE = 1 << 16
_MAX_WORDS = 240
_SHOWN_AT_ONCE = 80
_MAX_PROMPTS = 32
"""Prompts that one run may make, and four more for every file."""
_SECRET_ENOUGH = 4
"""Bytes from which on something is looked for in a program's words: a shorter one is in any."""


class Program(NamedTuple):
    """A plugin program, and what it gets."""

    path: str
    """Where it is, absolute."""
    ui: UI
    seconds: float
    """How long it may work on one file."""


class Command(NamedTuple):
    """One command, or one answer."""

    name: str
    args: tuple[str, ...]
    body: bytes


class Fault(NamedTuple):
    """What a program says went wrong."""

    kind: str
    """``recipient``, ``identity``, ``stanza``, or ``internal`` for whatever else."""
    places: tuple[int, ...]
    """The numbers, from 0, that say which: one, two for a stanza (file and stanza), none for ``internal``."""
    words: str


def encode(*arguments: str, body: bytes = b"") -> bytes:
    """Return the command whose name and arguments are *arguments*, as it goes over the pipe."""
    text = b64encode(body)
    lines = [b"-> " + " ".join(arguments).encode("ascii")]
    # A text of whole lines is followed by an empty one: a short line ends the body.
    lines += [text[at : at + _COLUMNS] for at in range(0, len(text) + 1, _COLUMNS)]
    return b"\n".join(lines) + b"\n"


def grease() -> bytes:
    """Return, two times in three, a command that nobody knows, so that programs keep ignoring such."""
    choice, name, size, *body = os.urandom(128)
    if choice % 3 == 0:
        return b""
    arguments = [f"grease-{name:02x}", *(f"{octet:02x}" for octet in body[: size % 3])]
    return encode(*arguments, body=bytes(body[: size % 100]))


def number(text: str, limit: int) -> int | None:
    """Return *text*, a decimal number below *limit* without leading zeros, or None."""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(limit))):
        return None
    value = int(text)
    return value if str(value) == text and value < limit else None


@contextlib.contextmanager
def dialogue(program: Program, machine: str, *, hidden: Sequence[bytes], files: int) -> Iterator["Dialogue"]:
    """Run *program* as the state *machine* and talk to it; see :class:`Dialogue`.

    Its time does not count the user's, and starts again after each success. Words that hold one of
    *hidden* are not shown to anyone. Raises PluginError.
    """
    name = os.path.basename(program.path)

    def waiting() -> None:
        program.ui.message(f"waiting for {name}")

    argv = [program.path, f"--age-plugin={machine}"]
    with conversation(argv, seconds=program.seconds, silent=waiting) as talk:
        yield Dialogue(talk, name, program.ui, [*hidden], _MAX_PROMPTS + 4 * files)


class Dialogue:
    """A plugin program at work: commands go to it as they are, its prompts to the user."""

    def __init__(self, talk: Conversation, program: str, ui: UI, hidden: list[bytes], prompts: int):
        self._talk = talk
        self._ui = ui
        self._hidden = hidden
        self._prompts = prompts
        self.program = program
        self.asked = False
        """The user was asked for something."""

    def send(self, *commands: bytes) -> None:
        """Send *commands*, each as :func:`encode` or :func:`grease` made it."""
        self._talk.write(b"".join(commands))

    def listen(self, handlers: Mapping[str, Callable[[Command], None]]) -> bool:
        """Give what the program commands to *handlers*, by its name, until it is done: True.

        False when it ended without saying so. Raises PluginError when it breaks the protocol, or
        has no more time.
        """
        while (command := self._next()) is not None:
            if command.name == "done":
                return True
            handler = handlers.get(command.name)
            if handler is None:
                self.send(self._prompted(command) or encode("unsupported"))
                continue
            handler(command)
            self.send(encode("ok"))
        return False

    def succeeded(self, secret: bytes) -> None:
        """Give the program its time anew; *secret* is what it sent, and is not shown to anyone."""
        self._hidden.append(secret)
        self._talk.renew()

    def broken(self, how: str) -> PluginError:
        """Return the error that the program breaks the protocol in that it does *how*."""
        return PluginError(f"{self.program} breaks the plugin protocol: {how}")

    def fault(self, command: Command, limits: Mapping[str, Sequence[int]]) -> Fault:
        """Return what an ``error`` *command* says: *limits* of the numbers for each kind.

        Raises PluginError when it is malformed.
        """
        kind, *texts = command.args or ("internal",)
        sizes = limits.get(kind)
        if sizes is None:
            return Fault("internal", (), self.words(command.body))
        if len(texts) != len(sizes):
            raise self.broken("a malformed error")
        places = tuple(number(text, size) for text, size in zip(texts, sizes, strict=True))
        found = tuple(place for place in places if place is not None)
        if found != places:
            raise self.broken("an error about what was never sent")
        return Fault(kind, found, self.words(command.body))

    def words(self, body: bytes) -> str:
        """Return what the program says, as ``": text"``: escaped, cut, and nothing when it tells a secret."""
        joined = b"".join(body.split()).lower()
        if any(form in joined for secret in self._hidden for form in _forms(secret)):
            return ""
        text = " ".join(body.decode(errors="replace").split())
        cut = text[:_MAX_WORDS]
        pieces = (shown(cut[at : at + _SHOWN_AT_ONCE]) for at in range(0, len(cut), _SHOWN_AT_ONCE))
        return f": {''.join(pieces)}{'…' if len(text) > _MAX_WORDS else ''}" if text else ""

    def _next(self) -> Command | None:
        """Return the next command, or None when the program ended, even in the middle of one."""
        line = self._talk.readline(_MAX_LINE)
        if line is None:
            return None
        arguments = line.removeprefix(b"-> ").split(b" ")
        if not (line.startswith(b"-> ") and all(arguments)) or b"".join(arguments).translate(None, _VCHAR):
            raise self.broken("a line that is no command")
        body = []
        while (line := self._talk.readline(_MAX_LINE)) is not None:
            body.append(line)
            if len(line) > _COLUMNS:
                raise self.broken("a line that is too long")
            if len(line) < _COLUMNS:
                name, *args = (argument.decode("ascii") for argument in arguments)
                return Command(name, tuple(args), self._decoded(b"".join(body)))
        return None

    def _decoded(self, text: bytes) -> bytes:
        try:
            return b64decode(text)
        except IntegrityError:
            raise self.broken("not canonical base64") from None

    def _prompted(self, command: Command) -> bytes:
        """Return the user's answer to a prompt, ``b""`` when *command* is none."""
        prompts = {
            "msg": self._message,
            "confirm": self._confirm,
            "request-public": self._public,
            "request-secret": self._secret,
        }
        if command.name not in prompts:
            return b""
        self._prompts -= 1
        if self._prompts < 0:
            raise PluginError(f"{self.program} asks too often")
        self.asked = self.asked or command.name != "msg"
        with self._talk.paused():
            return prompts[command.name](command)

    def _message(self, command: Command) -> bytes:
        self._ui.message(self.program + self.words(command.body))
        return encode("ok")

    def _confirm(self, command: Command) -> bytes:
        choices = [self.words(self._decoded(text.encode("ascii")))[2:] for text in command.args]
        if not 1 <= len(choices) <= 2:  # noqa: PLR2004 - yes, and perhaps no
            raise self.broken("a malformed confirm")
        yes, no = (*choices, "")[:2]
        answer = self._ui.confirm(self.program + self.words(command.body), yes, no)
        if answer is None:
            return encode("fail")
        return encode("ok", "yes" if answer else "no")

    def _public(self, command: Command) -> bytes:
        answer = self._ui.public(self.program + self.words(command.body))
        if answer is None:
            return encode("fail")
        return encode("ok", body=answer.encode(errors="surrogateescape"))

    def _secret(self, command: Command) -> bytes:
        answer = self._ui.secret(self.program + self.words(command.body))
        if answer is None:
            return encode("fail")
        self._hidden.append(answer)
        return encode("ok", body=answer)


def _forms(secret: bytes) -> Iterator[bytes]:
    """Yield what *secret* looks like in a text: as it is, in base64, in hexadecimal; in lower case."""
    if len(secret) >= _SECRET_ENOUGH:
        yield b"".join(secret.split()).lower()
        yield b64encode(secret).lower()
        yield secret.hex().encode("ascii")
