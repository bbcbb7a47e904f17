"""What every backend has to do, as tests to inherit."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pytest

from tskeyvault import limits
from tskeyvault.errors import DeliveryError, IntegrityError, LockedError, PluginError, UsageError, VaultError
from tskeyvault.plugins import Backend
from tskeyvault.spec import Secret

from .watch import Watch, watched

_HOSTILE = ("", " ", "-o/tmp/x", "--help", "../../x", "nobody", "line\nline", "\x1b[2J", "x" * 100_000)


class Member(NamedTuple):
    """Somebody who uses the plugin: the loaded plugin with their key, and the recipients that belong to it."""

    backend: Backend
    recipients: tuple[str, ...]


class _Nobody:
    """There is nobody to ask in a test."""

    def message(self, text: str) -> None:
        """Say nothing."""

    def confirm(self, question: str, yes: str, no: str) -> bool | None:
        """Answer nothing."""

    def public(self, prompt: str) -> str | None:
        """Answer nothing."""

    def secret(self, prompt: str) -> bytes | None:
        """Answer nothing."""


def member(
    name: str, implementation: object, options: Mapping[str, object], recipients: Sequence[str]
) -> Member:
    """Return a Member for the plugin *name*: a module, an object, or a class that takes *options*.

    ``identities`` and ``ui`` are filled in as the core does where *options* lack them.
    """
    complete = {"identities": (), "ui": _Nobody(), **options}
    made = implementation(complete) if isinstance(implementation, type) else implementation
    return Member(Backend(name, made, complete), tuple(recipients))


class BackendContract:
    """Inherit this, give the fixtures ``reader`` and ``stranger``, and run pytest."""

    seconds = 20.0
    """How long one call may take."""
    binds = True
    """Whether the format has a place for the binding. A backend without it protects less; say so."""

    secret = Secret("kit/secret", "secrets/kit/secret.kit")

    @pytest.fixture
    def reader(self) -> Member:
        """Give a member whose key belongs to its recipients."""
        pytest.fail("the test class has no fixture 'reader'")

    @pytest.fixture
    def stranger(self) -> Member:
        """Give a member of the same plugin with another key."""
        pytest.fail("the test class has no fixture 'stranger'")

    # What works.

    @pytest.mark.parametrize("size", [0, 1, 64, 4095, 65_535, 65_536, 65_537, 1 << 20])
    def test_opens_what_it_encrypted(self, reader: Member, size: int) -> None:
        """Every byte comes back, of nothing, of text and of much."""
        plaintext = (bytes(range(256)) * (size // 256 + 1))[:size]

        assert self._decrypt(reader, self._encrypt(reader, plaintext)) == plaintext

    @pytest.mark.parametrize(
        "plaintext", [b"line\n", b"\r\n\r\n", b"\0\0", b"\xff\xfe", "schl\u00fcssel".encode()]
    )
    def test_changes_no_byte(self, reader: Member, plaintext: bytes) -> None:
        """Line ends, NUL bytes and what is no UTF-8 are kept."""
        assert self._decrypt(reader, self._encrypt(reader, plaintext)) == plaintext

    def test_every_recipient_can_read(self, reader: Member, stranger: Member) -> None:
        """What is encrypted to two opens for both."""
        plaintext = _fresh()
        ciphertext = self._encrypt(reader, plaintext, (*reader.recipients, *stranger.recipients))

        assert self._decrypt(reader, ciphertext) == plaintext
        assert self._decrypt(stranger, ciphertext) == plaintext

    def test_encrypts_to_the_given_recipients_alone(self, reader: Member, stranger: Member) -> None:
        """Who encrypts for others cannot read it, unless they are among the recipients."""
        ciphertext = self._encrypt(reader, _fresh(), stranger.recipients)

        with pytest.raises(LockedError):
            self._decrypt(reader, ciphertext)

    def test_the_same_secret_looks_different_each_time(self, reader: Member) -> None:
        """Two ciphertexts do not tell that they hold the same."""
        plaintext = _fresh()

        assert self._encrypt(reader, plaintext) != self._encrypt(reader, plaintext)

    # How it fails.

    def test_a_stranger_is_locked_out(self, reader: Member, stranger: Member) -> None:
        """Another key gives LockedError: not damaged, not missing."""
        ciphertext = self._encrypt(reader, _fresh())

        with pytest.raises(LockedError):
            self._decrypt(stranger, ciphertext)

    def test_damage_is_refused(self, reader: Member) -> None:
        """Whichever byte is changed, wherever it is cut or continued, nothing is returned."""
        ciphertext = self._encrypt(reader, _fresh())
        cuts = sorted({len(ciphertext) * step // 40 for step in range(40)})
        damaged = [ciphertext[:at] + bytes([ciphertext[at] ^ 1]) + ciphertext[at + 1 :] for at in cuts]
        damaged += [ciphertext[:at] for at in cuts] + [ciphertext + b"\0", ciphertext * 2]

        for number, changed in enumerate(damaged):
            assert self._refused(reader, changed), f"damaged ciphertext number {number} was accepted"

    @pytest.mark.parametrize("garbage", [b"", b"\0", b"garbage\n" * 100, bytes(range(256)) * 300])
    def test_garbage_is_damaged(self, reader: Member, garbage: bytes) -> None:
        """What never was a ciphertext gives IntegrityError."""
        with pytest.raises(IntegrityError):
            self._decrypt(reader, garbage)

    def test_no_recipients_are_refused(self, reader: Member) -> None:
        """Encryption to nobody is an error."""
        with pytest.raises(UsageError):
            self._encrypt(reader, _fresh(), ())

    @pytest.mark.parametrize("hostile", _HOSTILE, ids=range(len(_HOSTILE)))
    def test_nobody_is_left_out_in_silence(self, reader: Member, hostile: str) -> None:
        """A recipient that is not understood stops everything, also beside a good one."""
        for recipients in ((hostile,), (*reader.recipients, hostile)):
            with pytest.raises(VaultError) as caught:
                self._encrypt(reader, _fresh(), recipients)
            assert not isinstance(caught.value, PluginError), "the plugin failed instead of refusing"

    def test_the_binding_is_kept_and_protected(self, reader: Member) -> None:
        """The binding comes back without a key, and a ciphertext with another one does not open."""
        binding = b'{"name":"kit/secret"}'
        ciphertext = self._encrypt(reader, _fresh(), binding=binding)
        if not self.binds:
            assert reader.backend.binding(ciphertext) == b""
            return

        assert reader.backend.binding(ciphertext) == binding
        for at in range(len(ciphertext)):
            changed = ciphertext[:at] + bytes([ciphertext[at] ^ 1]) + ciphertext[at + 1 :]
            if self._binding(reader, changed) != binding:
                assert self._refused(reader, changed), "a ciphertext with another binding was accepted"

    # What can be seen.

    def test_the_ciphertext_hides_the_plaintext(self, reader: Member) -> None:
        """Neither as it is nor in hex or base64."""
        plaintext = _fresh()
        watch = Watch(plaintext)
        watch.look("ciphertext", "", self._encrypt(reader, plaintext))

        assert watch.traces == []

    def test_encryption_leaves_no_trace(self, reader: Member) -> None:
        """No plaintext in arguments or environment of programs, in files, logs or output."""
        plaintext = _fresh()
        with watched(plaintext) as watch:
            self._encrypt(reader, plaintext)

        assert watch.traces == []

    def test_decryption_leaves_no_trace(self, reader: Member) -> None:
        """The same on the way back, and in the plugin's own repr."""
        plaintext = _fresh()
        ciphertext = self._encrypt(reader, plaintext)
        with watched(plaintext) as watch:
            self._decrypt(reader, ciphertext)
            watch.look("output", "repr", repr(reader.backend.implementation).encode())

        assert watch.traces == []

    def test_failures_leave_no_trace(self, reader: Member, stranger: Member) -> None:
        """An exception, whatever stands behind it, and its traceback hold no plaintext."""
        plaintext = _fresh()
        ciphertext = self._encrypt(reader, plaintext)
        attempts: list[Callable[[], object]] = [
            lambda: self._encrypt(reader, plaintext, ()),
            lambda: self._encrypt(reader, plaintext, ("nobody",)),
            lambda: self._decrypt(stranger, ciphertext),
            lambda: self._decrypt(reader, ciphertext[:-1]),
        ]
        with watched(plaintext) as watch:
            for attempt in attempts:
                with pytest.raises(VaultError) as caught:
                    attempt()
                watch.exception(caught.value)
                assert not isinstance(caught.value, PluginError), "the plugin failed instead of refusing"

        assert watch.traces == []

    # The calls, as the core makes them.

    def _encrypt(
        self,
        who: Member,
        plaintext: bytes,
        recipients: Sequence[str] | None = None,
        *,
        binding: bytes = b"{}",
    ) -> bytes:
        to = who.recipients if recipients is None else recipients
        return self._bounded(lambda: who.backend.encrypt(self.secret, plaintext, to, binding))

    def _decrypt(self, who: Member, ciphertext: bytes) -> bytes:
        return self._bounded(lambda: who.backend.decrypt(self.secret, ciphertext))

    def _binding(self, who: Member, ciphertext: bytes) -> bytes | None:
        try:
            return who.backend.binding(ciphertext)
        except IntegrityError:
            return None

    def _refused(self, who: Member, ciphertext: bytes) -> bool:
        try:
            self._decrypt(who, ciphertext)
        except (IntegrityError, LockedError):
            return True
        return False

    def _bounded(self, call: Callable[[], bytes]) -> bytes:
        try:
            with limits.deadline(self.seconds, "a call of the plugin"):
                return call()
        except DeliveryError as error:
            pytest.fail(error.message)


def _fresh() -> bytes:
    """Return a value that stands nowhere else, in text like a key."""
    return b"kit-" + os.urandom(24).hex().encode()
