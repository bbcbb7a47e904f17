"""Swap: what lies on a tmpfs may be written there, so it has to be encrypted."""

import os
import re
import shlex
from collections.abc import Iterator

from .finding import Finding, NotCheckedError, shown
from .host import Host

_SWAPS = "/proc/swaps"


def unencrypted(host: Host) -> Iterator[Finding]:
    """Yield each swap in use that is neither in memory (zram) nor known to lie on an encrypted device."""
    try:
        with open(host.path(_SWAPS), encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read(1 << 20).splitlines()[1:]
    except OSError:
        raise NotCheckedError(f"{_SWAPS} cannot be read") from None
    for line in lines:
        path = _unescaped(line.split()[0])
        if not (os.path.basename(path).startswith("zram") or _is_encrypted(host, _device(host, path))):
            message = "is swap that is not known to be encrypted: keys on a tmpfs can be written to it"
            repair = f"swapoff {shlex.quote(path)}  # and out of /etc/fstab, or encrypt it: crypttab(5)"
            yield Finding("swap", shown(path), message, repair)


def _unescaped(text: str) -> str:
    """Return a path of /proc/swaps, in which white space and backslashes stand as octal numbers (proc(5))."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _device(host: Host, path: str) -> str:
    """Return ``MAJOR:MINOR`` of the block device *path*, or of that which the file *path* lies on; ``""`` if unknown."""
    block = host.path(f"/sys/class/block/{os.path.basename(path)}/dev")
    try:
        if path.startswith("/dev/"):
            with open(block, encoding="ascii") as file:
                return file.read(32).strip()
        device = os.stat(host.path(path)).st_dev
    except (OSError, ValueError):
        return ""
    return f"{os.major(device)}:{os.minor(device)}"


def _is_encrypted(host: Host, device: str, depth: int = 8) -> bool:
    """Tell whether *device* is one of dm-crypt, or lies on such devices alone (LVM, RAID)."""
    folder = host.path(f"/sys/dev/block/{device}")
    if not device or not depth or not os.path.isdir(folder):
        return False
    try:
        with open(os.path.join(folder, "dm/uuid"), encoding="utf-8") as file:
            if file.read(256).startswith("CRYPT-"):
                return True
    except (OSError, ValueError):
        pass  # it is no device of the device mapper
    try:
        below = os.listdir(os.path.join(folder, "slaves"))
    except OSError:
        return False
    devices = [_device(host, f"/dev/{name}") for name in below]
    return bool(devices) and all(_is_encrypted(host, name, depth - 1) for name in devices)
