"""Running programs: limits on time and output, a closed environment, and nothing left behind."""

import os
import pwd
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import needs
from support.age_plugin_kit import children, group, install_text
from tskeyvault import process
from tskeyvault.errors import PluginError

PYTHON = [sys.executable, "-S", "-c"]
ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = children()
    yield
    assert children() == before


def test_a_conversation() -> None:
    with process.conversation([*PYTHON, ECHO], seconds=30) as talk:
        for line in (b"one", b"", b"\0\xff", b"x" * 1000):
            talk.write(line + b"\n")
            assert talk.readline(1000) == line
    with process.conversation([*PYTHON, "print('a\\nb', end='')"], seconds=30) as talk:
        assert [talk.readline(9), talk.readline(9), talk.readline(9)] == [b"a", None, None]


def test_both_sides_may_speak_at_once() -> None:
    line = b"x" * 1023 + b"\n"
    with process.conversation([*PYTHON, ECHO], seconds=60) as talk:
        talk.write(line * 1500)
        assert all(talk.readline(1023) == line[:-1] for _ in range(1500))


def test_what_a_program_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGEDEBUG", "plugin")
    monkeypatch.setenv("LD_PRELOAD_NOT", "x")
    code = "import os, sys; print(os.getcwd(), sorted(os.environ), os.getsid(0) == os.getpid(), os.listdir('/proc/self/fd'))"
    with process.conversation([*PYTHON, code], seconds=30) as talk:
        told = (talk.readline(9999) or b"").decode()
    assert told.startswith("/ [")
    assert "'PATH'" in told
    assert "AGEDEBUG" not in told
    assert "LD_PRELOAD_NOT" not in told
    assert "] True ['0', '1', '2', '3']" in told


@pytest.mark.parametrize(
    "code", ["import time; time.sleep(99)", "import os, time; os.close(0); time.sleep(99)"]
)
def test_a_silent_program_is_given_up(code: str) -> None:
    start = time.monotonic()
    with (
        pytest.raises(PluginError, match=r"did not answer within 0.5 s"),
        process.conversation([*PYTHON, code], seconds=0.5) as talk,
    ):
        talk.readline(9)
    assert time.monotonic() - start < 20


def test_a_program_that_does_not_read_is_given_up() -> None:
    with (
        pytest.raises(PluginError, match=r"did not answer within 0.5 s"),
        process.conversation([*PYTHON, "import time; time.sleep(99)"], seconds=0.5) as talk,
    ):
        talk.write(bytes(1 << 20))


def test_a_drip_of_bytes_is_no_answer() -> None:
    code = "import os, time\nwhile True: os.write(1, b'x'); time.sleep(0.01)"
    with (
        pytest.raises(PluginError, match=r"did not answer within 0.5 s"),
        process.conversation([*PYTHON, code], seconds=0.5) as talk,
    ):
        talk.readline(1 << 20)


def test_output_is_bounded() -> None:
    with process.conversation([*PYTHON, "while True: print('x' * 1000)"], seconds=60) as talk:
        with pytest.raises(PluginError, match="more than 999 bytes"):
            talk.readline(999)
        with pytest.raises(PluginError, match="sends more than 2 MiB"):
            list(iter(lambda: talk.readline(1000), None))
    with (
        pytest.raises(PluginError, match="more than 1000 bytes"),
        process.conversation([*PYTHON, "while True: print('x', end='')"], seconds=60) as talk,
    ):
        talk.readline(1000)


def test_a_reader_that_is_gone_has_its_last_words() -> None:
    code = "import os, time; os.close(0); print('no, thanks', flush=True)"
    with process.conversation([*PYTHON, code], seconds=30) as talk:
        talk.write(bytes(1 << 20))
        assert talk.readline(99) == b"no, thanks"
        assert talk.readline(99) is None
        talk.write(b"anything")


def test_time_can_be_given_anew_and_stopped() -> None:
    with process.conversation([*PYTHON, "import time; time.sleep(1.5); print()"], seconds=1) as talk:
        time.sleep(0.9)
        talk.renew()
        with talk.paused():
            time.sleep(1.2)
        assert talk.readline(9) == b""


def test_all_of_it_is_ended() -> None:
    code = (
        "import os, signal, time\n"
        "for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)\n"
        "os.fork()\nos.fork()\nprint(os.getpgrp(), flush=True)\ntime.sleep(99)"
    )
    with process.conversation([*PYTHON, code], seconds=30) as talk:
        leader = int(talk.readline(99) or 0)
        assert group(leader)
    for _ in range(100):
        if not group(leader):
            break
        time.sleep(0.05)
    assert not group(leader)


def test_an_orderly_program_may_tidy_up(tmp_path: Path) -> None:
    code = f"import sys, time; sys.stdin.read(); time.sleep(0.2); open({str(tmp_path / 'tidy')!r}, 'w')"
    with process.conversation([*PYTHON, code], seconds=30) as talk:
        talk.write(b"x")
    assert (tmp_path / "tidy").exists()


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(PluginError, match=r"^nowhere is not installed$"),
        process.conversation([str(tmp_path / "nowhere")], seconds=1),
    ):
        pass


def test_programs_are_found_in_absolute_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = install_text(tmp_path / "bin/tool", "#!/bin/sh\n")
    (tmp_path / "first/tool").mkdir(parents=True)
    (tmp_path / "second").mkdir()
    (tmp_path / "second/tool").write_text("not executable")
    monkeypatch.chdir(tmp_path / "bin")
    entries = [f"{tmp_path}/first", "", ".", "../bin", f"{tmp_path}/second", f"{tmp_path}/bin"]
    monkeypatch.setenv("PATH", ":".join(entries))
    assert process.find("tool") == str(tool)
    for name in ("", ".", "..", "bin/tool", "../bin/tool", str(tool), "to\0ol", "other"):
        assert process.find(name) == ""
    monkeypatch.setenv("PATH", ":".join(entries[1:4]))
    assert process.find("tool") == ""
    monkeypatch.setenv("PATH", "")
    assert process.find("tool") == ""
    monkeypatch.delenv("PATH")
    assert process.find("sh") in {"/bin/sh", "/usr/bin/sh"}


def test_run(tmp_path: Path) -> None:
    done = process.run(
        [*PYTHON, "import os, sys; print(os.getcwd()); sys.exit('no')"], directory=str(tmp_path)
    )
    assert done == (1, f"{tmp_path}\n", "no\n")
    with pytest.raises(PluginError, match=r"did not end within 0.2 s"):
        process.run([*PYTHON, "import time; time.sleep(99)"], directory="/", seconds=0.2)
    with pytest.raises(PluginError, match=r"^nowhere-at-all is not installed$"):
        process.run(["nowhere-at-all"], directory="/")
    install_text(tmp_path / "bad", "#!/nowhere\n").chmod(0o600)
    with pytest.raises(PluginError, match="cannot be started"):
        process.run([str(tmp_path / "bad")], directory="/")


def test_interactive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("EDITOR_SETTING", "x")
    code = "import os, sys; sys.exit((os.getcwd(), 'GIT_DIR' in os.environ, 'EDITOR_SETTING' in os.environ) != ({!r}, False, True))"
    assert process.interactive([*PYTHON, code.format(str(tmp_path))], directory=str(tmp_path)) == 0
    assert process.interactive([*PYTHON, "raise SystemExit(7)"], directory="/") == 7
    killed = "import os; os.kill(os.getpid(), 15)"
    assert process.interactive([*PYTHON, killed], directory="/") == 128 + 15
    ours = "import os, signal; os.kill(os.getppid(), signal.SIGINT)"
    assert process.interactive([*PYTHON, ours], directory="/") == 0
    with pytest.raises(PluginError, match="is not installed"):
        process.interactive([os.path.join(tmp_path, "nowhere")], directory="/")


@pytest.mark.parametrize(
    ("owner", "sudo", "given"), [(0, "", True), (65534, "", False), (65534, "65534", True)]
)
def test_root_gives_no_program_the_home_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, sudo: str, given: bool
) -> None:
    """As in a line with ``+`` of a unit with ``User=``, who could name a program in its gpg.conf."""
    needs.root()
    os.chown(tmp_path, owner, -1)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SUDO_UID", sudo)
    done = process.run([*PYTHON, "import os; print(os.environ['HOME'])"], directory="/")
    assert done.output.strip() == (str(tmp_path) if given else pwd.getpwuid(0).pw_dir)
