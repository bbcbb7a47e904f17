"""Waiting for a device: every call has a time limit, and the user is told when it is they who are waited for.

A call to PC/SC cannot be broken off, so each runs in a thread of its own, which is left behind when time is up.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tskeyvault_yubikey.link import LinkError, Trouble

SECONDS = 15.0
"""How long a call may take, also while other programs use the device."""
TOUCH_SECONDS = 30.0
"""The same where it waits for a touch; a YubiKey itself gives up after about 15 s."""
MOMENT = 0.5
"""Seconds after which the user is told to touch: an agreement that needs none is over by then."""

T = TypeVar("T")


class Patience:
    """Waits for one device. *tell* tells the user."""

    def __init__(self, tell: Callable[[str], None]):
        self._tell = tell
        self._prompt, self._again = "", True
        self._silent = False

    @contextmanager
    def touch(self, prompt: str, *, again: bool = True) -> Iterator[None]:
        """Tell the user *prompt* when a call in the body waits for a touch, and *again* for the next one or not."""
        self._prompt, self._again = prompt, again
        try:
            yield
        finally:
            self._prompt = ""

    def wait(self, call: Callable[[], T], *, touch: bool = False) -> T:
        """Return what *call* returns, or raise what it raises; with *touch* it may wait for one.

        Raises LinkError when it takes too long, and then for every call.
        """
        if self._silent:
            raise LinkError(Trouble.SILENT)
        done = threading.Event()
        results: list[T] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                results.append(call())
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                errors.append(error)
            finally:
                done.set()

        threading.Thread(target=work, daemon=True).start()
        self._until(done, touch=touch)
        if errors:
            raise errors[0]
        return results[0]

    def _until(self, done: threading.Event, *, touch: bool) -> None:
        if touch and self._prompt and not done.wait(MOMENT):
            self._tell(self._prompt)
            self._prompt = self._prompt if self._again else ""
        if not done.wait(TOUCH_SECONDS if touch else SECONDS):
            self._silent = True
            raise LinkError(Trouble.SILENT)
