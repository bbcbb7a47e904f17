"""Plain keys in the work tree that the vault lies in: in every file, whether git knows it or not."""

import contextlib
import os
import shlex
import stat
from collections.abc import Iterator

from tskeyvault import names
from tskeyvault.errors import NameInvalidError
from tskeyvault_hooks import state
from tskeyvault_hooks.faults import ScanError
from tskeyvault_hooks.repository import Repository
from tskeyvault_hooks.scan import Scan

from .finding import Finding, NotCheckedError, command, shown
from .host import Host

_LARGE = 64 << 20
"""Bytes of a file that is passed over."""
_PIECE = 1 << 20
_SHORT = 1 << 12
_SHOWN = 5


def plain_keys(host: Host) -> Iterator[Finding]:
    """Yield the files with a key in them, save what the list of the repository allows."""
    directory = host.vault.directory
    top = host.work_tree
    large: list[str] = []
    unread: list[str] = []
    with contextlib.chdir(top or directory):
        try:
            where = Repository(everywhere=False).state if top else ""
            scan = Scan(state.finder(where), where, outside=not where)
            for path, size in _files(top or directory, unread):
                try:
                    if size > _LARGE:
                        large.append(path)
                    else:
                        yield from _in_file(host, scan, path)
                except OSError:
                    unread.append(path)
        except ScanError as error:
            raise NotCheckedError(error.message) from None
    reasons = {f"larger than {_LARGE >> 20} MiB": large, "cannot be read": unread}
    if left := [
        f"{len(paths)} {reason}, as '{shown(paths[0])}'" for reason, paths in reasons.items() if paths
    ]:
        raise NotCheckedError(f"files that were not looked at: {'; '.join(left)}")


def _files(top: str, unread: list[str]) -> Iterator[tuple[str, int]]:
    """Yield path and size of the regular files below *top*, through no link; git's own are left out.

    What cannot be looked into is added to *unread*. A commit may nest folders as deep as it likes.
    """
    left = [top]
    while left:
        folder = left.pop()
        try:
            names_ = sorted(os.listdir(folder), reverse=True)
        except OSError:
            unread.append(folder)
            continue
        for path in (os.path.join(folder, name) for name in names_ if name != ".git"):
            try:
                info = os.lstat(path)
            except FileNotFoundError:
                continue  # it is gone
            except OSError:
                unread.append(path)
                continue
            if stat.S_ISDIR(info.st_mode):
                left.append(path)
            elif stat.S_ISREG(info.st_mode):
                yield path, info.st_size


def _in_file(host: Host, scan: Scan, path: str) -> Iterator[Finding]:
    """Yield that the file *path* holds a key. Raises OSError when it cannot be read."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        before = len(scan.findings)
        scan.pieces(iter(lambda: os.read(fd, _PIECE), b""), "", path)
        found = scan.findings[before:]
        if found:
            head, inode = os.pread(fd, _SHORT, 0), os.fstat(fd).st_ino
            repair = _import(host, path) if len(found) == 1 and _is_all(head) else _clear(path, inode)
            kinds = ", ".join(f"{it.kind} in line {it.line}" for it in found[:_SHOWN])
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            yield Finding("work-tree", shown(path), f"holds a key in plain: {kinds}{more}", repair)
    finally:
        os.close(fd)


def _is_all(head: bytes) -> bool:
    """Tell whether a file that begins so holds a key and nothing else."""
    return len(head) < _SHORT and len(head.split()) == 1 and b"=" not in head


def _import(host: Host, path: str) -> str:
    """Return the command that moves the one key in *path* into the vault."""
    name = os.path.basename(path)
    try:
        names.secret(f"imported/{name}")
    except NameInvalidError:
        name = "key"
    source = shlex.join([f"file:{path}", f"imported/{name}"])
    return f"{host.vault_command} import --shred-source {source}  # and rotate it"


def _clear(path: str, inode: int) -> str:
    return f"take it out, and rotate it: {command('${EDITOR:-vi}', path, inode)}"
