"""The agent in this process: what it forgets, and when."""

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from plugins.yubikey.conftest import Host, Person, stanzas_for
from support.pivcard import PivCard
from support.pivreaders import SoftReaders
from support.yubikeys import make
from tskeyvault.errors import DeliveryError, LockedError
from tskeyvault_yubikey import agent, remote
from tskeyvault_yubikey.plugin import Plugin

SECONDS = 30.0
FILE_KEY = bytes(range(16))


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Plugin, float], None]]:
    """Give what starts an agent in a thread, which is stopped in the end."""
    stop, threads = threading.Event(), []
    check = Plugin.check

    def stopped(plugin: Plugin) -> None:
        if stop.is_set():
            raise DeliveryError("told to stop")
        check(plugin)

    monkeypatch.setattr(Plugin, "check", stopped)
    monkeypatch.setattr(agent, "_TICK", 0.01)

    def start(plugin: Plugin, seconds: float) -> None:
        ready = threading.Event()

        def run() -> None:
            with pytest.raises(DeliveryError):
                plugin.run_agent(seconds, lambda _where: ready.set())

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        assert ready.wait(SECONDS)

    yield start
    stop.set()
    for thread in threads:
        thread.join(SECONDS)


@pytest.mark.parametrize("pin", ["once", "always"])
def test_a_pin_is_forgotten_after_a_time_without_use(
    host: Callable[..., Host], running: Callable[[Plugin, float], None], pin: str
) -> None:
    card = PivCard()
    made = make(card, pin=pin)
    readers = SoftReaders(card)
    ours = host(readers)
    running(ours.plugin, 0.0)
    person, given = Person(), stanzas_for(made, ours)
    for _ in range(2):
        found = remote.find(person, os.environ)
        assert found
        assert found.unwrap(made.identity, given) == [FILE_KEY]
        found.close()
        end = time.monotonic() + SECONDS
        while readers.only.links and time.monotonic() < end:
            time.sleep(0.005)
        assert not card.verified
    assert len(person.prompts) == 2


def test_a_key_that_was_replaced_meanwhile_is_seen(
    host: Callable[..., Host], running: Callable[[Plugin, float], None]
) -> None:
    card = PivCard()
    old = make(card)
    ours = host(SoftReaders(card))
    running(ours.plugin, 60.0)
    other = host(SoftReaders()).has(old.identity)
    file = ours.encrypt(b"value", old.recipient)
    assert other.decrypt(file) == b"value"
    new = make(card)
    assert host(SoftReaders()).has(new.identity).decrypt(ours.encrypt(b"new", new.recipient)) == b"new"
    with pytest.raises(LockedError, match="holds another key than the identity says"):
        host(SoftReaders()).has(old.identity).decrypt(file)


def test_what_failed_for_one_command_is_tried_for_the_next(
    host: Callable[..., Host], running: Callable[[Plugin, float], None]
) -> None:
    card = PivCard()
    made = make(card)
    ours = host(SoftReaders(card))
    running(ours.plugin, 60.0)
    file = ours.encrypt(b"value", made.recipient)
    other = host(SoftReaders(), Person(b"12345")).has(made.identity)
    files = [file, ours.encrypt(b"value", made.recipient)]
    other.age.vault_prepare(files)
    for it in files:
        with pytest.raises(LockedError, match="a PIN has 6 to 8 characters"):
            other.decrypt(it)
    assert len(other.person.prompts) == 1
    third = host(SoftReaders()).has(made.identity)
    assert third.decrypt(file) == b"value"
    assert card.verifies == 1
