"""The calls of a plugin as the core makes them, and what the kit says when one goes wrong."""

import os
import time
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import pytest

from tskeyvault import limits
from tskeyvault.errors import IntegrityError, PluginError, VaultError
from tskeyvault.values import Secret

from .member import Member

T = TypeVar("T")


class Calls:
    """Calls hooks within a time limit; a failure names the obligation and the kind of error, never a value."""

    seconds = 20.0
    """How long one call may take."""

    secret = Secret("kit/secret", "secrets/kit/secret.kit")
    """What the calls are about."""

    _raised: VaultError | None = None

    def _encrypt(
        self,
        who: Member,
        plaintext: bytes,
        recipients: Sequence[str] | None = None,
        *,
        binding: bytes = b"{}",
    ) -> bytes:
        to = who.recipients if recipients is None else tuple(recipients)
        return self._call(
            lambda: who.backend.encrypt(self.secret, plaintext, to, binding, who.public_keys), "vault_encrypt"
        )

    def _decrypt(self, who: Member, ciphertext: bytes) -> bytes:
        return self._call(lambda: who.backend.decrypt(self.secret, ciphertext), "vault_decrypt")

    def _binding(self, who: Member, ciphertext: bytes) -> bytes | None:
        """Return the binding, or None for what is damaged."""
        found: list[bytes] = []
        failure = self._failure(
            lambda: found.append(self._call(lambda: who.backend.binding(ciphertext), "vault_binding"))
        )
        if failure and (isinstance(failure, PluginError) or not isinstance(failure, IntegrityError)):
            pytest.fail(
                f"vault_binding: says IntegrityError to what is damaged; it was {_described(failure)}",
                pytrace=False,
            )
        return found[0] if found else None

    def _round_trip(self, who: Member, plaintext: bytes, what: str) -> None:
        opened = self._decrypt(who, self._encrypt(who, plaintext))
        check(opened == plaintext, f"vault_decrypt: returns {what} as it was, byte by byte")

    def _refuses(
        self, call: Callable[[], object], kinds: type[VaultError] | tuple[type[VaultError], ...], what: str
    ) -> None:
        """Fail unless *call* raises one of *kinds* for *what*."""
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        expected = " or ".join(kind.__name__ for kind in kinds)
        found = self._failure(call)
        if found is None:
            pytest.fail(f"{what} must be refused with {expected}: it was accepted", pytrace=False)
        if not isinstance(found, kinds) or isinstance(found, PluginError):
            pytest.fail(f"{what} must be refused with {expected}: it was {_described(found)}", pytrace=False)

    def _failure(self, call: Callable[[], object]) -> VaultError | None:
        """Return what the plugin raises in *call*, or None when it succeeds."""
        self._raised = None
        try:
            call()
        except pytest.fail.Exception:
            if self._raised is None:
                raise
        return self._raised

    def _call(self, call: Callable[[], T], hook: str) -> T:
        """Make *call* of *hook*; fail when it raises something, or takes too long, whatever comes of it."""
        start = time.monotonic()
        result, raised = None, None
        try:
            with limits.deadline(self.seconds, hook):
                result = call()
        except VaultError as error:
            raised = error
        if time.monotonic() - start >= self.seconds:
            pytest.fail(f"{hook}: returns in bounded time; it took {self.seconds:g} s", pytrace=False)
        if raised is not None:
            self._raised = raised
            pytest.fail(f"{hook}: does its work here; it ended in {_described(raised)}", pytrace=False)
        return cast("T", result)


def check(holds: bool, obligation: str) -> None:
    """Fail the test with *obligation* unless it *holds*."""
    if not holds:
        pytest.fail(f"{obligation}: it does not hold", pytrace=False)


def _described(error: VaultError) -> str:
    """Return the kind of *error* and where it was raised; its text only where it is the core's own."""
    behind = error.__context__ if isinstance(error, PluginError) else error
    at = behind.__traceback__ if behind else None
    while at and at.tb_next:
        at = at.tb_next
    place = f" ({os.path.basename(at.tb_frame.f_code.co_filename)}, line {at.tb_lineno})" if at else ""
    is_ours = isinstance(error, PluginError) and error.message.startswith("plugin '")
    return (error.message if is_ours else type(error).__name__) + place
