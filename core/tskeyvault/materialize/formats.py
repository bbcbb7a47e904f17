"""What a delivered file holds: the formats raw, line, env, json and template."""

import json
from collections.abc import Mapping

from tskeyvault import template
from tskeyvault.errors import DeliveryError
from tskeyvault.names import Reference
from tskeyvault.services import File

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-")
_MAX_VARIABLE = 128 << 10
"""Bytes of a variable with its name, "=" and NUL that Linux hands to a program (MAX_ARG_STRLEN, execve(2))."""
_ESCAPED = '\\"`$'


def render(file: File, plaintexts: Mapping[Reference, bytes]) -> bytes:
    """Return the content of *file* from the *plaintexts* of its secrets.

    * raw: the secret's bytes as they are.
    * line: the same without one newline at the end; a newline, CR or NUL within is refused.
    * env: ``NAME="value"`` lines for systemd's EnvironmentFile= (systemd.exec(5)) that a POSIX
      shell reads alike; values as in line, UTF-8, without control characters.
    * json: one object of texts; values exactly as they are, UTF-8.
    * template: the file's text with the values in it, unquoted; values as in line, UTF-8.

    Raises DeliveryError for an empty secret, and for one that the format cannot say.
    """
    for reference in file.references:
        if not plaintexts[reference]:
            raise DeliveryError(f"secret '{reference}' is empty")
    if file.secret is not None:
        data = plaintexts[file.secret]
        return _line(file.secret, data) if file.format == "line" else data
    values = {name: (reference, plaintexts[reference]) for name, reference in file.values}
    if file.format == "env":
        return "".join(f"{_assignment(name, *value)}\n" for name, value in values.items()).encode()
    if file.format == "template":
        return template.fill(
            file.template, {name: _text_line(*value).encode() for name, value in values.items()}
        )
    texts = {name: _text(*value) for name, value in values.items()}
    return (json.dumps(texts, ensure_ascii=False) + "\n").encode()


def variable(reference: Reference, data: bytes) -> str:
    """Return the secret *data* as the value of an environment variable: text, without a newline at its end.

    Raises DeliveryError.
    """
    if not data:
        raise DeliveryError(f"secret '{reference}' is empty")
    text = _text(reference, data.removesuffix(b"\n"))
    if "\0" in text:
        raise DeliveryError(f"secret '{reference}' has a NUL byte, which no variable can hold")
    return text


def _line(reference: Reference, data: bytes) -> bytes:
    line = data.removesuffix(b"\n")
    if not line:
        raise DeliveryError(f"secret '{reference}' is an empty line")
    if set(line) & set(b"\n\r\0"):
        raise DeliveryError(f"secret '{reference}' has more than one line", "format raw or json holds it")
    return line


def _text(reference: Reference, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise DeliveryError(f"secret '{reference}' is not text in UTF-8", "format raw holds it") from None


def _text_line(reference: Reference, data: bytes) -> str:
    return _text(reference, _line(reference, data))


def _assignment(name: str, reference: Reference, data: bytes) -> str:
    text = _text_line(reference, data)
    if len(name) + len("=") + len(text.encode()) >= _MAX_VARIABLE:
        raise DeliveryError(f"secret '{reference}' is too long for a variable", "format raw or json holds it")
    return f"{name}={_quoted(reference, text)}"


def _quoted(reference: Reference, text: str) -> str:
    line = text.encode()
    if _PLAIN.issuperset(line):
        return text
    if any(not character.isprintable() and character != "\t" for character in text):
        raise DeliveryError(f"secret '{reference}' has control characters", "format raw or json holds it")
    return '"' + "".join(f"\\{c}" if c in _ESCAPED else c for c in text) + '"'
