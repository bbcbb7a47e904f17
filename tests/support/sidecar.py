"""Stands in for tailscaled: takes its key as the units say, and tells systemd what it got, but not the key."""

import hashlib
import json
import os
import signal
import socket
import stat
import sys


def main(arguments: list[str]) -> None:
    """Read the key, report it, again at every SIGHUP, and wait to be stopped."""
    sys.stdout.write("the sidecar runs\n")
    sys.stdout.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    while True:
        report(arguments)
        signal.sigwait({signal.SIGHUP})


def report(arguments: list[str]) -> None:
    """Read the key, and tell systemd what it is like."""
    proof: dict[str, object] = {"uid": os.getuid(), "gid": os.getgid()}
    if arguments[0] == "--environment":
        data = os.environb[arguments[1].encode()]
    else:
        with open(arguments[0], "rb", buffering=0) as file:
            info = os.fstat(file.fileno())
            data = file.read()
        proof |= {"mode": stat.S_IMODE(info.st_mode), "owner": info.st_uid, "group": info.st_gid}
    proof["sha256"] = hashlib.sha256(data).hexdigest()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
        manager.send(b"READY=1\nSTATUS=" + json.dumps(proof).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
