"""One question to a program: output and report apart, limits on both, and an end that another thread can make."""

import os
import threading
from pathlib import Path

import pytest

from tskeyvault.errors import IntegrityError, PluginError
from tskeyvault.exchange import Answer, Stop, ask

SHELL = "/bin/sh"


def asked(
    script: str,
    *,
    given: bytes = b"",
    report: bool = True,
    secret: bytes | None = None,
    limit: int = 1 << 20,
    seconds: float = 20.0,
    stop: Stop | None = None,
) -> Answer:
    """Run *script*, whose ``$1`` and ``$2`` are the descriptors for report and passphrase, as option and number."""
    words = f"shift; R=$1; shift 2; S=$1; {script}" if secret is not None else f"shift; R=$1; {script}"
    program = Path(os.environ["HOME"]) / "program"
    program.write_text(f"#!{SHELL}\n{words}\n")
    program.chmod(0o755)
    return ask(
        [str(program)],
        given=given,
        report="--report" if report else "",
        secret=None if secret is None else ("--secret", secret),
        limit=limit,
        seconds=seconds,
        stop=stop or Stop(),
    )


def test_output_and_report_are_apart_and_errors_are_not_heard() -> None:
    found = asked("cat; echo said >/dev/fd/$R; echo noise >&2; exit 3", given=b"in\n")
    assert found == Answer(3, b"in\n", b"said\n")


def test_much_goes_in_and_out_at_once() -> None:
    data = os.urandom(3 << 20)
    assert asked("cat", given=data, limit=4 << 20).output == data


def test_a_passphrase_comes_on_a_descriptor_of_its_own() -> None:
    found = asked("cat </dev/fd/$S; cat /proc/$$/cmdline /proc/$$/environ >/dev/fd/$R", secret=b"open sesame")
    assert found.output == b"open sesame"
    assert b"open sesame" not in found.report


def test_a_program_that_does_not_listen_is_no_failure() -> None:
    assert asked("exec <&-; echo done", given=bytes(1 << 20)).output == b"done\n"


def test_what_a_program_leaves_behind_is_not_waited_for() -> None:
    assert asked("sleep 1000 & echo done").output == b"done\n"


def test_too_much_output_is_refused() -> None:
    with pytest.raises(IntegrityError, match="more than 10 bytes"):
        asked("cat /dev/zero", limit=10)
    with pytest.raises(PluginError, match="puts out more"):
        asked("cat /dev/zero >/dev/fd/$R")


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(PluginError, match=r"did not answer within 0.2 s"):
        asked("echo $$ > $HOME/pid; exec sleep 1000", seconds=0.2)
    pid = (Path(os.environ["HOME"]) / "pid").read_text().strip()
    assert not pid or not Path(f"/proc/{pid}").exists()


def test_another_thread_ends_it() -> None:
    stop = Stop()
    timer = threading.Timer(0.2, stop.now)
    timer.start()
    with pytest.raises(PluginError, match="stopped"):
        asked("exec sleep 1000", stop=stop)
    timer.join()
    with pytest.raises(PluginError, match="stopped"):
        asked("echo never", stop=stop)


def test_no_descriptor_stays_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        asked("echo x", secret=b"s")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="gpg is not installed"):
        ask([str(tmp_path / "gpg")], limit=1, seconds=1, stop=Stop())
