"""The layout "generations": directories ``.N.SERVICE`` with a whole set each, and one link to one of them, ``current``.

The link is exchanged by one rename, so that who follows it finds the old set or the new one and never
half of each. The service may own the directory and plant in it what it likes: nothing there is followed.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from tskeyvault import files, limits
from tskeyvault.errors import DeliveryError, VaultError
from tskeyvault.values import Target

from . import deliver as single
from .deliver import Parcel

CURRENT = "current"

_NAME = re.compile(r"\.([1-9][0-9]{0,8})\.(.+)", re.ASCII | re.DOTALL)
_LAST = 999_999_999

Content = tuple[Target, bytes]
"""A file as it has to be."""


def deliver(directory: int, service: str, parcels: Callable[[int], Sequence[Parcel]]) -> list[str]:
    """Deliver what *parcels* makes for a directory as a new generation; return the names of its files.

    When the current one is the same already, nothing is written, and there are no names. The one
    before is kept for those who read it, older ones are removed. At any failure the old one stands.

    Raises DeliveryError, PluginError, IntegrityError.
    """
    with limits.locked(directory, "the directory"):
        files.sweep(directory)
        now = number(directory, service)
        files.refuse_directory(directory, CURRENT)
        _prune(directory, service, {now, now - 1 or _LAST})  # what a killed run has left takes up room
        try:
            temporary, made = files.stage_directory(directory)
            try:
                contents = _fill(made, parcels(made))
                fresh = bool(differing(directory, service, contents))
                if fresh:
                    with limits.uninterrupted():
                        _finish(made, directory)
                        now = _switch(directory, service, temporary, now)
            finally:
                os.close(made)
        finally:
            with limits.uninterrupted():
                files.sweep(directory)
        _prune(directory, service, {now, now - 1 or _LAST})
    return list(contents) if fresh else []


def differing(directory: int, service: str, contents: Mapping[str, Content]) -> list[str]:
    """Return the names of those *contents* that are not in the current generation just so.

    They are all of them when it has another mode or owner, or holds something else too.
    """
    now = number(directory, service)
    try:
        current = files.descend(directory, [_name(now, service)])
    except VaultError:
        return list(contents)
    try:
        if _mark(os.fstat(current)) != _mark(os.fstat(directory)) or set(os.listdir(current)) - set(contents):
            return list(contents)
        return [name for name, (target, data) in contents.items() if not single.holds(current, target, data)]
    finally:
        os.close(current)


def names_in(directory: int, service: str) -> list[str]:
    """Return the names of what lies in the current generation of *service*; none when it is another's."""
    with limits.uninterrupted(), suppress(VaultError):  # in this order, or a stop would be suppressed too
        if now := number(directory, service):
            current = files.descend(directory, [_name(now, service)])
            try:
                return sorted(os.listdir(current))
            finally:
                os.close(current)
    return []


def number(directory: int, service: str) -> int:
    """Return the number of the current generation of *service*, or 0.

    Raises DeliveryError when the current one is another service's.
    """
    try:
        match = _NAME.fullmatch(os.readlink(CURRENT, dir_fd=directory))
    except (OSError, ValueError):
        return 0
    if match is None:
        return 0
    if match[2] != service:
        raise DeliveryError(
            f"'{CURRENT}' is that of another service",
            "a service with generations needs a directory of its own",
        )
    return int(match[1])


def is_delivered(directory: int, service: str) -> bool:
    """Tell whether there is a generation of *service*."""
    return bool(_all(directory, service))


def clean(directory: int, service: str) -> tuple[list[str], list[str]]:
    """Remove the generations of *service*, and the link to them; return the names removed and left."""
    with limits.locked(directory, "the directory"):
        files.sweep(directory)
        ours = []
        with suppress(DeliveryError):  # the link is another's, and stays
            if number(directory, service):
                files.discard(directory, CURRENT)
                ours.append(CURRENT)
        ours += _all(directory, service)
        _prune(directory, service, set())
        left = [name for name in ours if files.exists(directory, name)]
    return [name for name in ours if name not in left], left


def _fill(made: int, parcels: Sequence[Parcel]) -> dict[str, Content]:
    """Write *parcels* into the new directory *made*, which is ours alone; return what it then holds."""
    contents = {}
    for item in single.stage(parcels):
        files.replace(made, item.temporary, item.target.name)
        size = os.stat(item.target.name, dir_fd=made, follow_symlinks=False).st_size
        contents[item.target.name] = (item.target, files.read(made, item.target.name, size))
    return contents


def _finish(made: int, directory: int) -> None:
    """Give the new directory the owner and the mode of the one around it."""
    mode, uid, gid = _mark(os.fstat(directory))
    try:
        os.fchown(made, uid, gid)
        os.fchmod(made, mode)
    except OSError as error:
        raise DeliveryError(f"a generation: {os.strerror(error.errno or 0).lower()}") from None
    files.sync(made)


def _switch(directory: int, service: str, temporary: str, before: int) -> int:
    """Make *temporary* the current generation, and return its number."""
    now = before % _LAST + 1
    files.discard_whole(directory, _name(now, service))
    files.replace(directory, temporary, _name(now, service))
    files.replace(directory, files.stage_link(directory, _name(now, service)), CURRENT)
    files.sync(directory)
    return now


def _prune(directory: int, service: str, kept: set[int]) -> None:
    for name in _all(directory, service):
        if name not in {_name(one, service) for one in kept}:
            files.discard_whole(directory, name)


def _all(directory: int, service: str) -> list[str]:
    matches = filter(None, map(_NAME.fullmatch, sorted(os.listdir(directory))))
    return [match[0] for match in matches if match[2] == service]


def _name(generation: int, service: str) -> str:
    return f".{generation}.{service}"


def _mark(info: os.stat_result) -> tuple[int, int, int]:
    """Return what a generation has in common with the directory around it: mode and owner."""
    return stat.S_IMODE(info.st_mode) & 0o755, info.st_uid, info.st_gid
