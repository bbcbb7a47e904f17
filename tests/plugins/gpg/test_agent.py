"""The agent of a home that another program is about to start, or died while it did: nobody waits for that without limit."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import gpg, needs
from tskeyvault.errors import PluginError
from tskeyvault.exchange import Stop
from tskeyvault_gpg import agent
from tskeyvault_gpg.agent import Agent

LOCK = "gnupg_spawn_agent_sentinel.lock"


@pytest.fixture
def home() -> Iterator[Path]:
    """Give an empty home of gpg."""
    needs.program("gpg", "gpgconf")
    with gpg.homes() as folder:
        made = folder / "home"
        made.mkdir(mode=0o700)
        yield made


def locked(home: Path, pid: int, host: str = os.uname().nodename) -> None:
    (home / LOCK).write_text(f"{pid:10d}\n{host}\n")


def dead() -> int:
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


@pytest.mark.parametrize("host", ["", "other"])
def test_a_lock_that_is_held_is_named(home: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr(agent, "_PATIENCE", 0.1)
    locked(home, os.getpid(), host or os.uname().nodename)
    with pytest.raises(PluginError) as raised:
        Agent(str(home))
    who = f"a process of the host '{host}'" if host else f"process {os.getpid()}"
    assert raised.value.message == f"{who} holds '{home / LOCK}', and gpg waits for it"
    assert raised.value.hint == f"where nothing starts gpg-agent: rm '{home / LOCK}'"
    assert (home / LOCK).exists()


@pytest.mark.parametrize("content", ["", "nonsense\nnonsense\n", "12"])
def test_a_lock_that_is_damaged_is_named(home: Path, content: str) -> None:
    (home / LOCK).write_text(content)
    ours = Agent(str(home))
    missing = ours.missing()
    ours.close()
    assert missing == (
        f"its lock '{home / LOCK}' is damaged",
        f"where nothing starts gpg-agent: rm '{home / LOCK}'",
    )


def test_a_lock_that_a_dead_process_left_is_in_nobodys_way(home: Path) -> None:
    locked(home, dead())
    ours = Agent(str(home))
    try:
        assert ours.missing() is None
        assert gpg.agents(home) == 1
    finally:
        ours.close()
    assert gpg.agents(home) == 0


def test_a_lock_does_not_matter_where_an_agent_runs(home: Path) -> None:
    subprocess.run(["gpgconf", "--homedir", home, "--launch", "gpg-agent"], check=True)
    locked(home, os.getpid())
    ours = Agent(str(home))
    assert ours.is_there()
    ours.close()
    assert gpg.agents(home) == 1


def test_a_card_is_tried_by_one_command_at_a_time(home: Path) -> None:
    (home / "private-keys-v1.d").mkdir(mode=0o700)
    ours, other = Agent(str(home)), Agent(str(home))
    refused = pytest.raises(PluginError, match="another command is using the card, and does not end")
    stop = Stop()
    with ours.alone(0, stop), refused, other.alone(0, stop):
        pass
    with other.alone(0, stop):
        stop.now()
        with pytest.raises(PluginError, match="stopped"), ours.alone(60, stop):
            pass
    ours.close()
    other.close()


def test_an_agent_in_a_home_that_gpg_has_only_made_is_stopped(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("GNUPGHOME", raising=False)
    monkeypatch.setattr(os, "isatty", lambda _fd: False)
    ours = Agent("")
    subprocess.run(["gpg", "--batch", "--list-keys"], check=True, capture_output=True)
    assert ours.missing() is None
    ours.close()
    assert gpg.agents(home / ".gnupg") == 0
