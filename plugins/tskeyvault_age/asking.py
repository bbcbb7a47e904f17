"""Asking the user for passphrases, each at most once a command."""

from collections.abc import Callable
from typing import Generic, TypeVar

from tskeyvault.errors import LockedError, VaultError
from tskeyvault.values import UI

T = TypeVar("T")

Ask = Callable[[str], bytes]
"""Asks for the passphrase of what it is told, UTF-8; raises LockedError when there is none."""


class Once(Generic[T]):
    """Calls a function at the first need and never again: its result, or its failure, stays."""

    __slots__ = ("_call", "_failure", "_result")

    def __init__(self, call: Callable[[], T]):
        self._call = call
        self._result: T | None = None
        self._failure: VaultError | None = None

    def __call__(self) -> T:
        """Return what the function returns, not None, or raise the VaultError that it raises."""
        if self._failure is not None:
            raise type(self._failure)(self._failure.message, self._failure.hint)
        if self._result is None:
            try:
                self._result = self._call()
            except VaultError as error:
                self._failure = error
                raise
        return self._result


def asker(ui: UI | None) -> Ask:
    """Return what asks *ui* for a passphrase."""

    def ask(what: str) -> bytes:
        answer = ui.secret(f"passphrase of {what}") if ui else None
        if not answer:
            raise LockedError(f"{what} needs a passphrase, and none was given")
        return answer

    return ask
