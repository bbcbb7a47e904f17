"""What is left under /run of services that do not run, and of deliveries that were cut off."""

import contextlib
import fcntl
import os
import shlex
from collections.abc import Iterator

from tskeyvault import files, names
from tskeyvault.errors import NameInvalidError

from . import units
from .finding import Finding, command, shown
from .host import Host

_RECORD = ".vault."
_NOT_OURS = {"user", "systemd", "udev", "credentials"}
_DEPTH = 3
_MOST = 20_000
_RUNS = {"active", "activating", "deactivating", "reloading", "refreshing"}


def leftovers(host: Host) -> Iterator[Finding]:
    """Yield the temporary files that no delivery is at work on, and what was delivered to services that do not run."""
    records: list[tuple[str, str]] = []
    for count, (folder, name) in enumerate(_ours(host.path("/run"), _DEPTH)):
        if count == _MOST:
            break
        if not files.is_temporary(name):
            records.append((folder, name.removeprefix(_RECORD)))
        elif not _is_locked(folder):
            path = os.path.join(folder, name)
            message = "was left by a delivery that was cut off, and may hold a key"
            yield Finding(
                "run-leftovers", shown(path), message, command("rm -f", path, os.lstat(path).st_ino)
            )
    if records:
        yield from _without_service(host, records)


def _without_service(host: Host, records: list[tuple[str, str]]) -> Iterator[Finding]:
    used = _used(host)
    for folder, service in records:
        if folder in used:
            continue
        message = f"holds what was delivered for '{shown(service)}', and no unit that uses it runs"
        yield Finding("run-leftovers", shown(folder), message, _clean(host, folder, service))


def _clean(host: Host, folder: str, service: str) -> str:
    try:
        names.component(service, "service")
    except NameInvalidError:
        info = os.lstat(folder)
        return command("rm -rf", folder, info.st_ino)
    inode = os.lstat(folder).st_ino
    return command(f"{host.program} materialize {shlex.quote(service)} --clean --directory", folder, inode)


def _used(host: Host) -> set[str]:
    """Return the directories of all services that run. Raises NotCheckedError without systemd."""
    running = [found for found in host.services if found.get("ActiveState") in _RUNS]
    used = {f"/run/{name}" for found in running for name in found.get("RuntimeDirectory", "").split()}
    ids = {found.get("Id") for found in running}
    used |= {it.directory for unit in host.units if unit.name in ids for it in units.deliveries(unit)}
    return {host.path(path) for path in used}


def _ours(top: str, depth: int) -> Iterator[tuple[str, str]]:
    """Yield folder and name of the files that only we make, *depth* folders below *top*, through no link."""
    try:
        found = list(os.scandir(top))
    except OSError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            if depth and not (depth == _DEPTH and entry.name in _NOT_OURS):
                yield from _ours(entry.path, depth - 1)
        elif files.is_temporary(entry.name) or entry.name.startswith(_RECORD):
            yield top, entry.name


def _is_locked(folder: str) -> bool:
    """Tell whether a delivery is at work in *folder*: it holds the lock for as long."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
    return False
