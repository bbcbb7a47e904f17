"""Stands in for podman: a container whose process is the tests' sidecar, in the networks and with the binds it is told.

Stricter than podman where that only warns: ports of a container in another's network are refused.
"""

import os
import signal
import socket
import sys
from argparse import ArgumentParser

_RUNNING = "/run/podman-stand-in"
_REFUSED = 125


def main(arguments: list[str]) -> None:
    """Run a container: ``podman run …``."""
    parser = ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--name", required=True)
    for short in "epv":
        parser.add_argument(f"-{short}", action="append", default=[])
    parser.add_argument("--network", default="")
    parser.add_argument("--cap-add", action="append")
    parser.add_argument("--device", action="append")
    parser.add_argument("image")
    options = parser.parse_args(arguments)
    binds = {target: source for source, target, *_ in (volume.split(":") for volume in options.v)}
    variables = dict(pair.split("=", 1) for pair in options.e)
    _check(options.network, options.p, list(binds.values()))
    os.makedirs(_RUNNING, exist_ok=True)
    with open(f"{_RUNNING}/{options.name}", "w") as file:
        file.write(str(os.getpid()))
    if "TS_AUTHKEY" in variables:
        inside = variables["TS_AUTHKEY"].removeprefix("file:")
        target = next(target for target in binds if inside == target or inside.startswith(f"{target}/"))
        os.execv("/usr/local/bin/sidecar", ["sidecar", binds[target] + inside.removeprefix(target)])  # noqa: S606 - no shell is wanted
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
        manager.send(b"READY=1")
    signal.pause()


def _check(network: str, ports: list[str], sources: list[str]) -> None:
    other = network.removeprefix("container:")
    if network and (ports or not _runs(other)):
        sys.exit(_REFUSED)
    if not all(os.path.exists(source) for source in sources):
        sys.exit(_REFUSED)


def _runs(name: str) -> bool:
    try:
        with open(f"{_RUNNING}/{name}") as file:
            os.kill(int(file.read()), 0)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
