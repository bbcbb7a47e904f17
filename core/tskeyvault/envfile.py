"""Environment files, read exactly as systemd reads them for EnvironmentFile=."""

import re
from typing import NamedTuple

from .errors import UsageError

_NEWLINE, _WHITESPACE, _COMMENT, _ESCAPED = "\n\r", " \t\n\r", "#;", '"\\`$'
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Variables(NamedTuple):
    """What an environment file says."""

    values: dict[str, bytes]
    """By variable, UTF-8, in the order of the file; of one that is set twice the last value."""
    ignored: tuple[int, ...]
    """Lines (from 1) that systemd passes over though they are neither blank nor comments: they set nothing."""


def parse(data: bytes) -> Variables:
    """Return what *data*, the whole of an environment file, sets.

    Quotes, escapes, continued lines and comments mean what they mean to systemd 252 to 257:
    systemd.exec(5) and src/basic/env-file.c, of which :class:`_Reader` is a translation.

    Raises UsageError for what systemd refuses as a whole, and for a comment that ends with a
    backslash: the line behind it is a comment to systemd before 254, and a variable since.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise UsageError("the file is not text in UTF-8", "systemd refuses it too") from None
    if "\0" in text:
        raise UsageError("the file has a NUL byte", "systemd refuses it too")
    reader = _Reader()
    for character in text:
        reader.take(character)
    reader.end()
    return Variables(reader.values, tuple(reader.ignored))


class _Reader:
    """The state machine. Each state is a method that takes a character and returns the name of the next state."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.ignored: list[int] = []
        self._line = self._began = 1
        self._key = self._value = ""
        self._kept = 0
        """Characters of the value that stay whatever follows: behind them white space goes."""
        self._state = "between"
        self._states = {
            "between": self._between,
            "comment": self._comment,
            "comment escape": self._comment_escape,
            "key": self._in_key,
            "before value": self._before_value,
            "value": self._in_value,
            "escape": self._escape,
            "single": self._single,
            "double": self._double,
            "double escape": self._double_escape,
        }

    def take(self, character: str) -> None:
        """Go on by one *character*."""
        self._state = self._states[self._state](character)
        self._line += character == "\n"

    def end(self) -> None:
        """Take the end of the file, which also ends a value that is within quotes."""
        if self._state == "key":
            self.ignored.append(self._began)
        elif self._state not in {"between", "comment", "comment escape"}:
            self._set()

    def _between(self, character: str) -> str:
        if character in _COMMENT:
            return "comment"
        if character in _WHITESPACE:
            return "between"
        self._key, self._value, self._kept, self._began = character, "", 0, self._line
        return "key"

    def _comment(self, character: str) -> str:
        if character == "\\":
            return "comment escape"
        return "between" if character in _NEWLINE else "comment"

    def _comment_escape(self, character: str) -> str:
        if character in _NEWLINE:
            raise UsageError(
                f"line {self._line} is a comment that ends with a backslash",
                "versions of systemd differ in what the next line is: take the backslash away",
            )
        return "comment"

    def _in_key(self, character: str) -> str:
        if character in _NEWLINE:
            self.ignored.append(self._began)
            return "between"
        if character == "=":
            return "before value"
        self._key += character
        return "key"

    def _before_value(self, character: str) -> str:
        quotes = {"'": "single", '"': "double", "\\": "escape"}
        if character in _NEWLINE:
            return self._set()
        if character in quotes:
            return quotes[character]
        if character in _WHITESPACE:
            return "before value"
        return self._add(character, "value")

    def _in_value(self, character: str) -> str:
        if character in _NEWLINE:
            return self._set()
        if character == "\\":
            self._kept = len(self._value)
            return "escape"
        if character in _WHITESPACE:
            self._value += character
            return "value"
        return self._add(character, "value")

    def _escape(self, character: str) -> str:
        return "value" if character in _NEWLINE else self._add(character, "value")

    def _single(self, character: str) -> str:
        return "before value" if character == "'" else self._add(character, "single")

    def _double(self, character: str) -> str:
        if character == "\\":
            return "double escape"
        return "before value" if character == '"' else self._add(character, "double")

    def _double_escape(self, character: str) -> str:
        if character == "\n":
            return "double"
        return self._add(character if character in _ESCAPED else f"\\{character}", "double")

    def _add(self, text: str, state: str) -> str:
        self._value += text
        self._kept = len(self._value)
        return state

    def _set(self) -> str:
        """Keep the variable where systemd would take it as one."""
        key = self._key.rstrip(_WHITESPACE)
        value = self._value[: self._kept] + self._value[self._kept :].rstrip(_WHITESPACE)
        if _NAME.fullmatch(key):
            self.values.pop(key, None)
            self.values[key] = value.encode()
        else:
            self.ignored.append(self._began)
        return "between"
