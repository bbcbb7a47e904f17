"""The quadlets of containers that are on this host, found as podman's generator finds them for root.

Source: podman-systemd.unit(5), and cmd/quadlet/main.go and pkg/systemd/parser/unitfile.go of podman 5.
"""

import os
from collections.abc import Sequence

from . import manager, systemd

_PLACES = ("/run/containers/systemd", "/etc/containers/systemd", "/usr/share/containers/systemd")
_USERS = "/etc/containers/systemd/users"
"""What lies here is not root's."""


def folders() -> list[str]:
    """Return the folders that quadlets are read from, those with precedence first; links are followed, as there."""
    found: dict[str, None] = {}
    todo = [os.path.realpath(place) for place in reversed(_PLACES)]
    while todo:
        folder = todo.pop()
        if folder in found or folder == os.path.realpath(_USERS):
            continue
        found[folder] = None
        below = (os.path.realpath(f"{folder}/{name}") for name in _names(folder))
        todo += reversed([path for path in below if os.path.isdir(path)])
    return list(found)


def made(source: str) -> bool:
    """Tell whether *source*, what a generator has made a unit from, is a quadlet."""
    return os.path.dirname(os.path.realpath(source)) in folders()


def quadlets_of(container: str) -> list[str]:
    """Return the paths of all quadlets called like *container*; the first is the one that counts."""
    return list(filter(os.path.isfile, (f"{folder}/{container}.container" for folder in folders())))


def texts(container: str) -> Sequence[str]:
    """Return the quadlet of *container* and its drop-ins, but for ours; nothing where there is none."""
    if not (own := quadlets_of(container)):
        return []
    drop_ins: dict[str, str] = {}
    for folder in (f"{place}/{name}" for place in folders() for name in _drop_in_folders(container)):
        for name in _names(folder):
            if name.endswith(".conf") and name != systemd.DROP_IN:
                drop_ins.setdefault(name, f"{folder}/{name}")
    return [manager.read(own[0]), *(manager.read(path) for _, path in sorted(drop_ins.items()))]


def _drop_in_folders(container: str) -> list[str]:
    """Return the names of folders with drop-ins: those of all containers, of all ``a-…``, and of *container*."""
    parts = container.split("-")
    begun = ["-".join(parts[:count]) for count in range(1, len(parts))]
    return ["container.d", *(f"{it}-.container.d" for it in begun), f"{container}.container.d"]


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []  # not there, or not to be read: the generator skips it too
