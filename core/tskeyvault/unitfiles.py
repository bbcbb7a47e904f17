"""The unit files of this host, systemd's and quadlet's, as they are written: which line says what.

Only files are read: what systemd has loaded, or a generator has made of them, is not asked for.
"""

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from . import files
from .errors import VaultError

FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/etc/containers/systemd",
    "/run/containers/systemd",
    "/usr/share/containers/systemd",
)
"""Where they lie; one of an earlier folder stands for those of its name in later ones (systemd.unit(5))."""

_QUADLET = {".container": ".service", ".kube": ".service", ".pod": "-pod.service"}
_SOCKET = ".socket"
_MAX_SIZE = 1 << 20
_MAX_FILES = 10_000
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class Line(NamedTuple):
    """One setting, as it is written."""

    path: str
    number: int
    """Of its first line in the file, from 1."""
    section: str
    key: str
    value: str
    """Continued lines are joined by a space."""


class Unit(NamedTuple):
    """A service or a socket, with what its file and its drop-ins say, in the order in which they count."""

    name: str
    """Of the unit that it is to systemd: ``web.service``, also for a ``web.container``."""
    is_quadlet: bool
    lines: tuple[Line, ...]

    @property
    def stem(self) -> str:
        """Its name without the ending and the mark of a template."""
        return self.name.removesuffix(".service").rstrip("@")

    @property
    def is_template(self) -> bool:
        """Several instances of it may run."""
        return self.name.endswith("@.service")

    def settings(self, key: str, section: str = "Service") -> list[Line]:
        """Return the lines that count of a setting that can be given several times: an empty one undoes those before."""
        found: list[Line] = []
        for line in self.lines:
            if (line.section, line.key) == (section, key):
                found = [*found, line] if line.value else []
        return found

    def words(self, key: str, section: str = "Service") -> list[str]:
        """Return the words of such a setting."""
        return [word for line in self.settings(key, section) for word in line.value.split()]


def services(root: str) -> list[Unit]:
    """Return the services of the host whose file system begins at *root*, by name."""
    return [unit for unit in _units(root) if not unit.name.endswith(_SOCKET)]


def sockets(root: str) -> list[Unit]:
    """Return the socket units of that host, by name."""
    return [unit for unit in _units(root) if unit.name.endswith(_SOCKET)]


def _units(root: str) -> list[Unit]:
    own: dict[str, str] = {}
    more: dict[str, dict[str, str]] = {}
    for path in _paths(root):
        folder, file = os.path.split(path)
        if folder.endswith(".d"):
            more.setdefault(os.path.basename(folder)[: -len(".d")], {}).setdefault(file, path)
        else:
            own.setdefault(file, path)
    units = []
    for file in sorted({*own, *more}):
        stem, ending = os.path.splitext(file)
        parts = [own[file]] if file in own else []
        parts += [path for _, path in sorted(more.get(file, {}).items())]
        lines = tuple(line for path in parts for line in _lines(path))
        units.append(Unit(f"{stem}{_QUADLET.get(ending, ending)}", ending in _QUADLET, lines))
    return units


def _paths(root: str) -> Iterator[str]:
    """Yield the paths of unit files and drop-ins, at most 10,000, in the order in which they count."""
    left = _MAX_FILES
    known = set()
    for folder in FOLDERS:
        top = os.path.join(root, folder.lstrip("/"))
        if (real := os.path.realpath(top)) in known:
            continue  # /lib is /usr/lib nearly everywhere
        known.add(real)
        for path in sorted(_below(top)):
            if left := left - 1:
                yield path
            else:
                return


def _below(top: str, depth: int = 3) -> Iterator[str]:
    """Yield the unit files below *top*, and those in the folders of drop-ins; quadlet has them in any folders."""
    try:
        found = list(os.scandir(top))
    except OSError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            if depth and not entry.name.endswith((".wants", ".requires")):
                yield from _below(entry.path, depth - 1)
        elif _is_unit(os.path.basename(top) if top.endswith(".d") else entry.name, entry.name):
            yield entry.path


def _is_unit(unit: str, file: str) -> bool:
    """Tell whether *file* belongs to a service or a socket, being the file *unit* or a drop-in in the folder *unit*."""
    name = unit.removesuffix(".d")
    return name.endswith((".service", _SOCKET, *_QUADLET)) and (unit == file or file.endswith(".conf"))


def _lines(path: str) -> Iterator[Line]:
    """Yield the settings in the file *path* (systemd.syntax(7)); nothing of one that cannot be read."""
    section, began, whole = "", 0, ""
    for number, text in enumerate(_content(path).split("\n"), 1):
        line = text.strip()
        if line[:1] in {"#", ";"} or not (line or whole):
            continue  # also between the parts of a continued line
        began = began if whole else number
        whole = f"{whole} {line}" if whole else line
        if line.endswith("\\"):
            whole = whole[:-1].rstrip()
            continue
        if whole.startswith("["):
            section = whole.strip("[]")
        elif "=" in whole:
            key, _, value = whole.partition("=")
            yield Line(path, began, section, key.strip(), value.strip())
        whole = ""


def _content(path: str) -> str:
    try:
        file = os.open(path, _READ)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return ""  # /dev/null: it is masked
        return files.read_all(file, _MAX_SIZE, "the unit").decode(errors="surrogateescape")
    except (OSError, VaultError):
        return ""
    finally:
        os.close(file)
