"""The text of units: what goes into one so that systemd reads exactly that, and what one says."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tskeyvault.errors import UsageError
from tskeyvault.names import shown

_PLAIN = re.compile(r"[A-Za-z0-9_./:=@,+-]+", re.ASCII)
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*", re.ASCII)
_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 0.001, "min": 60.0, "m": 60.0, "h": 3600.0, "hr": 3600.0}


class Piece(NamedTuple):
    """One file that a service manager reads."""

    path: str
    """Absolute."""
    text: str


def command(words: Iterable[str]) -> str:
    """Return *words*, a program and its arguments, as the command line of a unit (systemd.service(5)).

    Raises UsageError for what no unit can say: control characters, and bytes that are not UTF-8.
    """
    program, *arguments = words
    if set(program) & {'"', "'", "\\"}:
        # It would leave the whole line out, and start the unit without its secrets.
        raise UsageError(
            f"'{shown(program)}' has a character that systemd takes in no program", "use another path"
        )
    # The program itself is not searched for variables.
    return " ".join([_quoted(program), *(_quoted(it.replace("$", "$$")) for it in arguments)])


def printable(word: str) -> str:
    """Return *word* when it stays on its line. Raises UsageError for control characters, and bytes that are not UTF-8."""
    if not word.isprintable():
        raise UsageError(
            f"'{shown(word)}' cannot be written into a unit", "use a path of ordinary characters"
        )
    return word


def _quoted(word: str) -> str:
    if _PLAIN.fullmatch(printable(word)):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def settings(texts: Iterable[str], section: str) -> Mapping[str, list[str]]:
    """Return the assignments in *section* of the unit files *texts*, one after the other (systemd.syntax(7)).

    An empty assignment takes back those before it.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        here = ""
        for line in _lines(text):
            if line.startswith("["):
                here = line.strip("[]")
            elif here == section and "=" in line:
                key, _, value = line.partition("=")
                values = found.setdefault(key.strip(), [])
                values.append(value.strip()) if value.strip() else values.clear()
    return {key: values for key, values in found.items() if values}


def _lines(text: str) -> Iterable[str]:
    """Yield the lines of a unit file, without comments; those that a backslash continues as one."""
    whole = ""
    for line in text.splitlines():
        if line.lstrip()[:1] in {"#", ";"}:
            continue
        if line.endswith("\\"):
            whole += line[:-1] + " "
            continue
        yield (whole + line).strip()
        whole = ""
    yield whole.strip()


def seconds(span: str) -> float:
    """Return the seconds that *span*, a time of systemd (systemd.time(7)), lasts; what is not understood is 0."""
    if span == "infinity":
        return float("inf")
    parts = _SPAN.findall(span)
    if _SPAN.sub("", span) or any(unit not in _SECONDS for _, unit in parts):
        return 0.0
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) or float("inf")
