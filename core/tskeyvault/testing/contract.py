"""What every backend has to do, as tests to inherit."""

import os
import zlib
from collections.abc import Callable, Iterator

import pytest

from tskeyvault.errors import IntegrityError, LockedError, UsageError, VaultError
from tskeyvault.names import shown

from .calls import Calls, check
from .member import Member
from .watch import Watch
from .watching import watched

_HOSTILE = (
    "",
    " ",
    "-o/dev/null",
    "--help",
    "../../x",
    "nobody",
    "line\nline",
    "\0",
    "\x1b[2J",
    "x" * 100_000,
)
_LARGE = 200_000
_PATTERN = 0.4
"""A ciphertext that zlib makes this much smaller shows a pattern; hexadecimal digits come to 0.56."""
_UNOPENED = (IntegrityError, LockedError)


class BackendContract(Calls):
    """Inherit this, give the fixtures ``reader`` and ``stranger``, and run pytest."""

    damages = 400
    """How many damaged ciphertexts to try, at most; fewer for a key derivation that is slow on purpose."""
    binds = True
    """Whether the format has a place for the binding. A backend without it protects less; say so."""
    shares = True
    """Whether a secret can have several recipients, and others than whoever encrypts it."""

    @pytest.fixture
    def reader(self) -> Member:
        """Give a member whose key belongs to its recipients."""
        pytest.fail("the test class has no fixture 'reader'", pytrace=False)

    @pytest.fixture
    def stranger(self) -> Member:
        """Give a member of the same plugin with another key."""
        pytest.fail("the test class has no fixture 'stranger'", pytrace=False)

    # What works.

    @pytest.mark.parametrize("size", [0, 1, 64, 4095, 65_535, 65_536, 65_537, 1 << 20])
    def test_opens_what_it_encrypted(self, reader: Member, size: int) -> None:
        """Every byte comes back, of nothing, of text and of much."""
        self._round_trip(reader, _bytes_of(size), f"a plaintext of {size} bytes")

    @pytest.mark.parametrize(
        "plaintext",
        [b"line\n", b"\n", b" text ", b"\r\n\r\n", b"\0\0", b"\xff\xfe", "schl\u00fcssel".encode()],
        ids=["newline", "only-newline", "spaces", "crlf", "nul", "no-text", "umlaut"],
    )
    def test_changes_no_byte(self, reader: Member, plaintext: bytes) -> None:
        """Line ends, spaces, NUL bytes and what is no UTF-8 are kept."""
        self._round_trip(reader, plaintext, "a plaintext with such characters")

    def test_every_recipient_can_read(self, reader: Member, stranger: Member) -> None:
        """What is encrypted to two opens for both, or is refused where a secret has one recipient."""
        plaintext, both = _fresh(), (*reader.recipients, *stranger.recipients)
        if not self.shares:
            self._refuses(
                lambda: self._encrypt(reader, plaintext, both),
                UsageError,
                "two recipients, of which it has one",
            )
            return
        ciphertext = self._encrypt(reader, plaintext, both)

        for who, whose in ((reader, "the first"), (stranger, "the second")):
            check(
                self._decrypt(who, ciphertext) == plaintext, f"vault_decrypt: {whose} of two recipients reads"
            )

    def test_encrypts_to_the_given_recipients_alone(self, reader: Member, stranger: Member) -> None:
        """Who encrypts for others cannot read it, unless they are among the recipients."""
        if not self.shares:
            self._refuses(
                lambda: self._encrypt(reader, _fresh(), stranger.recipients),
                UsageError,
                "somebody else's recipient",
            )
            return
        ciphertext = self._encrypt(reader, _fresh(), stranger.recipients)

        self._refuses(lambda: self._decrypt(reader, ciphertext), LockedError, "what was encrypted for others")

    def test_its_own_recipients_can_read(self, reader: Member) -> None:
        """What vault_own_recipients says, where there is such a hook, is what this key opens."""
        if hasattr(reader.backend.implementation, "vault_own_recipients"):
            plaintext = _fresh()
            own = self._call(reader.backend.own_recipients, "vault_own_recipients")
            opened = self._decrypt(reader, self._encrypt(reader, plaintext, own))
            check(opened == plaintext, "vault_own_recipients: whoever has the key reads")

    def test_preparing_changes_nothing(self, reader: Member) -> None:
        """After vault_prepare, also with a damaged one among them, each ciphertext is what it was."""
        plaintexts = [_fresh(), _fresh()]
        first, second = (self._encrypt(reader, plaintext) for plaintext in plaintexts)
        damaged = second[: len(second) // 2]
        self._call(lambda: reader.backend.prepare((first, damaged, b"", second)), "vault_prepare")

        opened = [self._decrypt(reader, ciphertext) for ciphertext in (second, first)]
        check(opened == plaintexts[::-1], "vault_decrypt: opens what vault_prepare was given")
        self._refuses(lambda: self._decrypt(reader, damaged), VaultError, "a prepared ciphertext that is cut")

    def test_the_same_secret_looks_different_each_time(self, reader: Member) -> None:
        """Two ciphertexts do not tell that they hold the same."""
        plaintext = _fresh()
        same = self._encrypt(reader, plaintext) == self._encrypt(reader, plaintext)

        check(not same, "vault_encrypt: the same plaintext never gives the same ciphertext twice")

    # How it fails.

    def test_a_stranger_is_locked_out(self, reader: Member, stranger: Member) -> None:
        """Another key gives LockedError: not damaged, not missing."""
        ciphertext = self._encrypt(reader, _fresh())

        self._refuses(
            lambda: self._decrypt(stranger, ciphertext), LockedError, "a ciphertext for another key"
        )

    def test_damage_is_refused(self, reader: Member) -> None:
        """Whichever byte is changed, wherever it is cut or continued, nothing is returned."""
        plaintext = _fresh()
        ciphertext = self._encrypt(reader, plaintext)
        for what, damaged in self._damaged(ciphertext):
            self._refuses(lambda it=damaged: self._decrypt(reader, it), _UNOPENED, what)  # type: ignore[misc]

        check(self._decrypt(reader, ciphertext) == plaintext, "vault_decrypt: still opens after refusals")

    def test_a_cut_between_pieces_is_refused(self, reader: Member) -> None:
        """A large ciphertext does not open when it ends early where a piece of it may end."""
        plaintext = _bytes_of(_LARGE)
        ciphertext = self._encrypt(reader, plaintext)
        for size in (0, *(1 << bits for bits in range(10, 18))):
            whole = len(self._encrypt(reader, plaintext[:size]))
            for at in {whole - less for less in (0, 1, 4, 8, 16, 32)}:
                cut = ciphertext[:at]
                self._refuses(
                    lambda it=cut: self._decrypt(reader, it),  # type: ignore[misc]
                    _UNOPENED,
                    f"{at} of {len(ciphertext)} bytes",
                )

    def test_damage_is_told_from_a_missing_key(self, reader: Member) -> None:
        """What is wrong at the end, behind all that is about keys, gives IntegrityError."""
        ciphertext = self._encrypt(reader, _bytes_of(_LARGE))
        for what, damaged in {
            "a ciphertext whose last byte is changed": _flipped(ciphertext, len(ciphertext) - 1),
            "a ciphertext without its last byte": ciphertext[:-1],
            "a ciphertext without its last 100 bytes": ciphertext[:-100],
        }.items():
            self._refuses(lambda it=damaged: self._decrypt(reader, it), IntegrityError, what)  # type: ignore[misc]

    @pytest.mark.parametrize(
        "garbage",
        [b"", b"\0", b"\n", b"garbage\n" * 100, bytes(range(256)) * 300],
        ids=["empty", "nul", "newline", "text", "bytes"],
    )
    def test_garbage_is_damaged(self, reader: Member, garbage: bytes) -> None:
        """What never was a ciphertext gives IntegrityError, also where only the binding is asked for."""
        self._refuses(lambda: self._decrypt(reader, garbage), IntegrityError, "what is no ciphertext")
        self._binding(reader, garbage)

    def test_no_recipients_are_refused(self, reader: Member) -> None:
        """Encryption to nobody is an error."""
        self._refuses(lambda: self._encrypt(reader, _fresh(), ()), UsageError, "an empty list of recipients")

    @pytest.mark.parametrize("hostile", _HOSTILE, ids=range(len(_HOSTILE)))
    def test_nobody_is_left_out_in_silence(self, reader: Member, hostile: str) -> None:
        """A recipient that is not understood stops everything, also beside a good one."""
        what = f"the recipient '{shown(hostile)}'"
        for recipients in ((hostile,), (*reader.recipients, hostile), (hostile, *reader.recipients)):
            self._refuses(lambda to=recipients: self._encrypt(reader, _fresh(), to), UsageError, what)  # type: ignore[misc]

    def test_a_mangled_recipient_is_refused(self, reader: Member) -> None:
        """Half a recipient, or one with something before it, is not taken for it."""
        for good in reader.recipients:
            for what, bad in (
                ("half a recipient", good[: len(good) // 2]),
                ("an x and a recipient", f"x{good}"),
            ):
                for to in ((bad,), (*reader.recipients, bad)):
                    self._refuses(lambda it=to: self._encrypt(reader, _fresh(), it), UsageError, what)  # type: ignore[misc]

    @pytest.mark.parametrize("size", [2, 60, 4095])
    def test_the_binding_comes_back(self, reader: Member, stranger: Member, size: int) -> None:
        """The binding is what vault_encrypt was given, to whoever asks, without a key."""
        binding = b"{" + b"b" * (size - 2) + b"}"
        ciphertext = self._encrypt(reader, _fresh(), binding=binding)
        expected = binding if self.binds else b""

        for who in (reader, stranger):
            check(
                self._binding(who, ciphertext) == expected,
                f"vault_binding: returns the binding of {size} bytes that vault_encrypt was given"
                if self.binds
                else "vault_binding: returns nothing, since the test class says binds = False",
            )

    def test_the_binding_is_protected(self, reader: Member) -> None:
        """A ciphertext whose binding was changed does not open."""
        binding = b'{"name":"kit/secret"}'
        ciphertext = self._encrypt(reader, _fresh(), binding=binding)
        if not self.binds:
            return
        for at in range(len(ciphertext)):
            changed = _flipped(ciphertext, at)
            if self._binding(reader, changed) not in {binding, None}:
                what = f"a ciphertext whose binding was changed (byte {at})"
                self._refuses(lambda it=changed: self._decrypt(reader, it), _UNOPENED, what)  # type: ignore[misc]

    # What can be seen.

    def test_the_ciphertext_hides_the_plaintext(self, reader: Member) -> None:
        """Neither as it is nor reversed, in hex, base32 or base64."""
        plaintext = _fresh()
        watch = Watch(plaintext)
        watch.look("ciphertext", "", self._encrypt(reader, plaintext))

        _clean(watch, "vault_encrypt")

    def test_the_ciphertext_shows_no_pattern(self, reader: Member) -> None:
        """A plaintext that repeats itself gives a ciphertext that does not."""
        ciphertext = self._encrypt(reader, b"0123456789abcdef" * 4096)
        smaller = len(zlib.compress(ciphertext, 9)) < _PATTERN * len(ciphertext)

        check(not smaller, "vault_encrypt: the ciphertext shows no pattern of the plaintext")

    def test_encryption_leaves_no_trace(self, reader: Member) -> None:
        """No plaintext in arguments or environment of programs, in files, logs, output or repr."""
        plaintext = _fresh()
        with watched(plaintext) as watch:
            self._encrypt(reader, plaintext)
            _look_at_repr(watch, reader)

        _clean(watch, "vault_encrypt")

    def test_decryption_leaves_no_trace(self, reader: Member) -> None:
        """The same on the way back, and when the plugin is closed."""
        plaintext = _fresh()
        ciphertext = self._encrypt(reader, plaintext)
        with watched(plaintext) as watch:
            self._call(lambda: reader.backend.prepare((ciphertext,)), "vault_prepare")
            self._decrypt(reader, ciphertext)
            _look_at_repr(watch, reader)
            reader.backend.close()

        _clean(watch, "vault_decrypt")

    def test_failures_leave_no_trace(self, reader: Member, stranger: Member) -> None:
        """A failure shows no plaintext: nor its exception, its arguments, and all that stand behind it."""
        plaintext = _fresh()
        ciphertext = self._encrypt(reader, plaintext)
        encrypting = ((), ("nobody",), (*reader.recipients, "nobody"), ("x" * 100_000,))
        decrypting = (
            ciphertext[:-1], _flipped(ciphertext, len(ciphertext) - 1), ciphertext + b"\0",
            _flipped(ciphertext, 0), ciphertext[: len(ciphertext) // 2], b"garbage",
        )  # fmt: skip
        attempts: list[tuple[str, Callable[[], object]]] = [
            *(("vault_encrypt", lambda to=to: self._encrypt(reader, plaintext, to)) for to in encrypting),
            *(("vault_decrypt", lambda it=it: self._decrypt(reader, it)) for it in decrypting),
            ("vault_decrypt", lambda: self._decrypt(stranger, ciphertext)),
        ]
        for hook, attempt in attempts:
            with watched(plaintext) as watch:
                if error := self._failure(attempt):
                    watch.exception(error)
                _look_at_repr(watch, reader)
            _clean(watch, f"{hook}, when it fails")

    def _damaged(self, ciphertext: bytes) -> Iterator[tuple[str, bytes]]:
        size = len(ciphertext)
        yield "a ciphertext with a byte behind it", ciphertext + b"\0"
        yield "a ciphertext with a line end behind it", ciphertext + b"\n"
        yield "a ciphertext with a byte before it", b"\0" + ciphertext
        yield "a ciphertext twice", ciphertext * 2
        yield "a ciphertext without its last byte", ciphertext[:-1]
        count = max(1, min(size, (self.damages - 5) // 2))
        for at in sorted({size * step // count for step in range(count)}):
            yield f"a ciphertext with byte {at} of {size} changed", _flipped(ciphertext, at)
            yield f"{at} of {size} bytes of a ciphertext", ciphertext[:at]


def _clean(watch: Watch, hook: str) -> None:
    found = ", ".join(map(str, watch.traces))
    check(not watch.traces, f"{hook}: shows the plaintext nowhere; seen in {found}")


def _look_at_repr(watch: Watch, who: Member) -> None:
    made = who.backend.implementation
    watch.look("repr", type(made).__name__, [repr(made), str(made)])


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(byte ^ 1 for byte in data[at : at + 1]) + data[at + 1 :]


def _bytes_of(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def _fresh() -> bytes:
    """Return a value that stands nowhere else, in text like a key."""
    return b"kit-" + os.urandom(24).hex().encode()
