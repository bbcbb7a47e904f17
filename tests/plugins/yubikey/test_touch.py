"""A touch is asked for when the YubiKey waits for one: late, once, and not for ever."""

import threading
from collections.abc import Callable

import pytest

from plugins.yubikey.conftest import Host, Person
from support.pivcard import PivCard
from support.pivreaders import SoftReaders
from support.yubikeys import make
from tskeyvault.errors import PluginError
from tskeyvault_yubikey import patience
from tskeyvault_yubikey.link import LinkError, Trouble
from tskeyvault_yubikey.patience import Patience

MakeHost = Callable[..., Host]


class Finger(Person):
    """Somebody who touches the YubiKey once they are told to."""

    def __init__(self, *, each_time: bool = False) -> None:
        super().__init__()
        self._told = threading.Event()
        self._each_time = each_time

    def message(self, text: str) -> None:
        """Keep *text*, and take it for the call to touch."""
        super().message(text)
        self._told.set()

    def touch(self, _slot: int) -> bool:
        """Touch it, once told to."""
        touched = self._told.wait(20)
        if self._each_time:
            self._told.clear()
        return touched


@pytest.mark.parametrize(("touch", "more"), [("cached", ""), ("always", ", once for each of 3 secrets")])
def test_a_touch_is_asked_for_once(host: MakeHost, touch: str, more: str) -> None:
    finger = Finger()
    card = PivCard(touch=finger.touch)
    made = make(card, touch=touch)
    ours = host(SoftReaders(card), finger).has(made.identity)
    files = [ours.encrypt(b"value", made.recipient) for _ in range(3)]
    assert ours.decrypt_all(files) == [b"value"] * 3
    assert finger.messages == [f"touch YubiKey 11111111 now{more}"]


def test_a_touch_that_is_too_long_ago_is_asked_for_again(host: MakeHost) -> None:
    finger, times = Finger(each_time=True), iter(range(0, 1000, 10))
    card = PivCard(touch=finger.touch, clock=lambda: float(next(times)))
    made = make(card, touch="cached")
    ours = host(SoftReaders(card), finger).has(made.identity)
    files = [ours.encrypt(b"value", made.recipient) for _ in range(3)]
    assert ours.decrypt_all(files) == [b"value"] * 3
    assert card.touches == 2
    assert finger.messages == ["touch YubiKey 11111111 now"] * 2


def test_who_touches_at_once_is_not_told_to(host: MakeHost) -> None:
    made = make(PivCard(), touch="always")
    ours = host(SoftReaders(made.card)).has(made.identity)
    assert ours.decrypt(ours.encrypt(b"value", made.recipient)) == b"value"
    assert ours.person.messages == []


def test_a_yubikey_that_does_not_answer_is_given_up(host: MakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SECONDS", "TOUCH_SECONDS", "MOMENT"):
        monkeypatch.setattr(patience, name, 0.01)
    never = threading.Event()
    card = PivCard(touch=lambda _slot: never.wait(60))
    made = make(card, touch="always")
    ours = host(SoftReaders(card)).has(made.identity)
    with pytest.raises(PluginError, match="YubiKey 11111111 did not answer in time"):
        ours.decrypt(ours.encrypt(b"value", made.recipient))
    never.set()


def test_what_did_not_answer_once_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.01)
    waiting = Patience(lambda _text: None)
    never = threading.Event()
    calls: list[int] = []
    with pytest.raises(LinkError) as caught:
        waiting.wait(lambda: never.wait(60))
    never.set()
    with pytest.raises(LinkError):
        waiting.wait(lambda: calls.append(1))
    assert (caught.value.trouble, calls) == (Trouble.SILENT, [])
