"""The systemd of this host: what it knows of a unit, and telling it that files have changed."""

import os
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from tskeyvault import systemd
from tskeyvault.errors import NotFoundError, PluginError

_PROPERTIES = "LoadState,FragmentPath,SourcePath,DropInPaths,RuntimeDirectory"
_MAX_UNIT = 1 << 20


class Known(NamedTuple):
    """What systemd knows of a unit."""

    is_there: bool
    files: tuple[str, ...]
    """The unit file and its drop-ins, absolute paths, in the order in which they are read."""
    source: str
    """What a generator made it from, or ``""``."""
    runtime: tuple[str, ...]
    """Its runtime directories, relative to ``/run``."""


NOTHING = Known(is_there=False, files=(), source="", runtime=())


def ask(unit: str) -> Known:
    """Return what systemd knows of *unit*; of a template, what it knows of an instance. Nothing without a systemd.

    Raises PluginError when it does not answer in time.
    """
    done = systemd.systemctl("show", f"--property={_PROPERTIES}", "--", unit.replace("@.", "@instance."))
    if done is None:
        return NOTHING
    fields: Mapping[str, str] = dict(line.partition("=")[::2] for line in done.output.splitlines())
    if done.status or fields.get("LoadState", "not-found") == "not-found":
        return NOTHING
    files = [fields.get("FragmentPath", ""), *_words(fields.get("DropInPaths", ""))]
    return Known(
        is_there=True,
        files=tuple(path for path in files if path),
        source=fields.get("SourcePath", ""),
        runtime=tuple(_words(fields.get("RuntimeDirectory", ""))),
    )


def _words(text: str) -> list[str]:
    """Split a list as systemctl shows it, with quotes around what has anything but plain characters."""
    try:
        return shlex.split(text)
    except ValueError:
        raise PluginError("systemctl shows a list that cannot be read") from None


def read(path: str) -> str:
    """Return the text of the unit file *path*.

    Raises NotFoundError when it is not there or cannot be read.
    """
    from tskeyvault import files

    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise NotFoundError(f"'{path}' cannot be read") from None
    try:
        return files.read_all(file, _MAX_UNIT, f"'{path}'").decode(errors="replace")
    except OSError:
        raise NotFoundError(f"'{path}' cannot be read") from None
    finally:
        os.close(file)


def reload() -> bool:
    """Let systemd read its unit files again; return False where none runs.

    Raises PluginError when it cannot.
    """
    booted = os.path.isdir("/run/systemd/system")  # sd_booted(3)
    done = systemd.systemctl("daemon-reload") if booted else None
    if done is None:
        return False
    if done.status:
        raise PluginError("systemd could not read its units again", "systemctl daemon-reload says why")
    return True
