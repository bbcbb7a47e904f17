"""Modes and owners: of the plain files of older methods, and of the identities."""

import contextlib
import os
import stat
from collections.abc import Iterator

from tskeyvault import local
from tskeyvault.errors import ConfigError

from .finding import Finding, NotCheckedError, command, shown
from .host import KEY_FOLDERS, Host

_MOST = 10_000
"""Files that are looked at in one folder."""


def of_key_files(host: Host) -> Iterator[Finding]:
    """Yield what others than root can get at in the folders of the older methods."""
    for folder in KEY_FOLDERS:
        for count, path in enumerate(_below(host.path(folder))):
            if count == _MOST:
                raise NotCheckedError(f"{folder} holds more than {_MOST} files")
            info = os.lstat(path)
            if not stat.S_ISLNK(info.st_mode):
                yield from _of(path, info, {0}, "key-files")


def of_identities(host: Host) -> Iterator[Finding]:
    """Yield which identity files others can read, or could exchange."""
    given = local.credentials(host.environ)
    paths = [*local.identities(host.identity, host.environ), host.path("/etc/tskeyvault/identities")]
    with contextlib.suppress(ConfigError):  # a service without a home has none
        paths.append(os.path.join(local.config_directory(host.environ), local.IDENTITIES))
    for path in dict.fromkeys(paths):
        if (given and path.startswith(f"{given}/")) or not os.path.lexists(path):
            continue
        yield from _of(path, os.stat(path), {0, os.geteuid()}, "identities")
        folder = os.path.dirname(path)
        info = os.stat(folder)
        if info.st_mode & 0o022:
            message = f"mode {stat.S_IMODE(info.st_mode):04o} lets others exchange what lies in it"
            yield Finding("identities", shown(folder), message, command("chmod go-w", folder, info.st_ino))


def _of(path: str, info: os.stat_result, owners: set[int], check: str) -> Iterator[Finding]:
    if info.st_uid not in owners:
        owner = 0 if owners == {0} else os.geteuid()
        message = f"belongs to user {info.st_uid}"
        yield Finding(check, shown(path), message, command(f"chown {owner}", path, info.st_ino))
    if info.st_mode & 0o077:
        message = f"mode {stat.S_IMODE(info.st_mode):04o} lets others in"
        yield Finding(check, shown(path), message, command("chmod go=", path, info.st_ino))


def _below(path: str) -> Iterator[str]:
    """Yield *path* and all below it, without following a link; nothing when it is not there."""
    if not os.path.lexists(path):
        return
    left = [path]  # and no recursion: who owns a folder may nest others in it as deep as they like
    while left:
        yield (path := left.pop())
        if stat.S_ISDIR(os.lstat(path).st_mode):
            try:
                found = sorted(os.listdir(path), reverse=True)
            except PermissionError:
                raise NotCheckedError(f"only root can look into {shown(path)}") from None
            left += [os.path.join(path, name) for name in found]
