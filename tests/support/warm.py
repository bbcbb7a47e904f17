"""A process that has the whole command line loaded, and forks for every run of it: a real process, without the start.

To start Python and to load what a command needs takes ten times as long as most commands, and the tests run
thousands. That the program starts from nothing is tested where it is installed, on the machines.
"""

import functools
import gc
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

_CHECKOUT = Path(__file__).parents[2]

PATH = os.pathsep.join(str(_CHECKOUT / part) for part in ("core", "plugins", "hooks"))
"""Of the packages of the checkout."""

_PACKAGES = ("tskeyvault", "tskeyvault_age", "tskeyvault_gpg", "tskeyvault_pass", "tskeyvault_hooks")
_NOT_LOADED = ("tskeyvault.testing", "tskeyvault_hooks.run", "tskeyvault_hooks.framework")
_OF_OTHERS = ("_strptime", "cryptography.hazmat.backends.openssl.backend")


def is_as_usual(environment: Mapping[str, str]) -> bool:
    """Tell whether a Python that starts with *environment* would be as the one that waits here."""
    return _of_python(environment) == _USUAL


def run(
    arguments: list[str], data: bytes, environment: Mapping[str, str], cwd: str | Path | None, seconds: float
) -> tuple[int, bytes, bytes]:
    """Run the command line as :func:`subprocess.run` would; return exit code, output and what it said."""
    ours, theirs = socket.socketpair()
    with ours, ThreadPoolExecutor(3) as pool:
        (read_in, write_in), (read_out, write_out), (read_err, write_err) = os.pipe(), os.pipe(), os.pipe()
        fds = [
            read_in,
            write_out,
            write_err,
            os.open(cwd or ".", os.O_PATH | os.O_DIRECTORY),
            theirs.detach(),
        ]
        socket.send_fds(_waiting(), [b"."], fds)
        for fd in fds:
            os.close(fd)
        pool.submit(_write, write_in, data)
        said = [pool.submit(_read, fd) for fd in (read_out, read_err)]
        ours.settimeout(seconds)
        with ours.makefile("rw") as stream:
            print(json.dumps([arguments, dict(environment)]), file=stream, flush=True)
            child = int(stream.readline())
            try:
                code = int(stream.readline())
            except TimeoutError:
                os.kill(child, signal.SIGKILL)
                ours.settimeout(None)
                ours.recv(1)
                raise
        return code, said[0].result(), said[1].result()


def _of_python(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what counts when a process starts, and never again."""
    begins = ("LANG", "LC_", "LD_", "PYTHON")
    return {name: value for name, value in environment.items() if name.startswith(begins)}


_USUAL = _of_python(os.environ | {"PYTHONPATH": PATH})


def _read(fd: int) -> bytes:
    with open(fd, "rb") as file:
        return file.read()


def _write(fd: int, data: bytes) -> None:
    try:
        with open(fd, "wb", buffering=0) as file:
            file.write(data)
    except BrokenPipeError:
        pass  # not all of it was wanted


@functools.cache
def _waiting() -> socket.socket:
    """Start the process that waits until the socket is closed; return that, by which it is told of a run."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with theirs:
        argv = [sys.executable, "-P", __file__]
        subprocess.run(argv, stdin=theirs.fileno(), env={"PATH": os.defpath, **_USUAL}, check=True)
    return ours


def _load() -> None:
    for package in _PACKAGES:
        for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
            if not module.name.startswith(_NOT_LOADED):
                import_module(module.name)
    for name in _OF_OTHERS:
        import_module(name)
    gc.freeze()


def _wait() -> int:
    """Wait to be told, and fork; a child returns in the end, and so does the parent when no more is to come."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=os.dup(0)) as told:
        while fds := socket.recv_fds(told, 1, 5)[1]:
            if os.fork() == 0:
                break
            for fd in fds:
                os.close(fd)
        else:
            return 0
    return _keep(fds)


def _keep(fds: list[int]) -> int:
    """Fork a child that is the command, and tell its number and how it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with socket.socket(fileno=fds.pop()) as asking, asking.makefile("rw") as stream:
        arguments, environment = json.loads(stream.readline())
        child = os.fork()
        if child:
            for fd in (0, *fds):
                os.close(fd)
            print(child, file=stream, flush=True)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=stream, flush=True)
            os._exit(0)
    return _become(arguments, environment, fds)


def _become(arguments: list[str], environment: dict[str, str], fds: list[int]) -> int:
    """Be what a process is that has just been started."""
    os.fchdir(fds[-1])
    for number, fd in enumerate(fds[:3]):
        os.dup2(fd, number)
    for fd in fds:
        os.close(fd)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    program = sys.modules["tskeyvault.__main__"]
    sys.argv = [str(program.__file__), *arguments]
    try:
        code: int = program.program()
    except SystemExit as exit_:  # argparse's
        code = int(exit_.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    _load()
    if os.fork():
        sys.exit()  # the one that waits is no child of the tests, which count theirs
    os._exit(_wait())  # to take the interpreter apart takes as long as most commands
