"""Calls of the program gpg: with the user's keys, or with a keyring of our own that knows nothing of theirs."""

import os
from collections.abc import Sequence

from tskeyvault import exchange, process
from tskeyvault.errors import PluginError
from tskeyvault.exchange import Answer, Stop
from tskeyvault.store import MAX_SECRET
from tskeyvault_gpg import status
from tskeyvault_gpg.packets import HIDDEN
from tskeyvault_gpg.status import Line

SECONDS = 60.0
"""How long gpg may take where nobody is asked."""
ASKING_SECONDS = 120.0
"""How long it may take where pinentry may ask."""
_TRIED = 2
_MAX_LISTING = 16 << 20

_PACKETS = 1 << 20
"""Bytes that a secret may be longer by as packets."""
_PLAIN = ("--skip-verify", "--max-output", str(MAX_SECRET), "--output", "-")
_QUIET = (
    "--batch",
    "--no-tty",
    "--no-auto-check-trustdb",
    "--no-auto-key-retrieve",
    "--trust-model",
    "always",
)
_OWN = ("--no-options", "--no-autostart", "--no-auto-key-locate", "--lock-never")
"""Neither configuration, agent, network nor other gpg has a part in what happens in our keyring."""


class Gpg:
    """The program, and the home that it uses: the user's (``""``: gpg's default), or one of ours."""

    def __init__(self, home: str, stop: Stop, *, ours: bool, more: Sequence[str] = ()):
        self.home = home
        self._stop = stop
        self._program = process.find("gpg")
        if not self._program:
            raise PluginError("gpg is not installed", "apt install gnupg")
        where = ("--homedir", home) if home else ()
        self._options = (*where, *_QUIET, *(_OWN if ours else _terminal()), *more)

    def call(
        self,
        *arguments: str,
        given: bytes = b"",
        passphrase: bytes | None = None,
        seconds: float = SECONDS,
        limit: int = _MAX_LISTING,
    ) -> tuple[Answer, tuple[Line, ...]]:
        """Run gpg with *arguments*; return how it ended, and what it reported.

        Raises PluginError when it cannot be started, does not end in time or reports nonsense.
        """
        answer = exchange.ask(
            [self._program, *self._options, *arguments],
            given=given,
            report="--status-fd",
            secret=None if passphrase is None else ("--passphrase-fd", passphrase + b"\n"),
            limit=limit,
            seconds=seconds,
            stop=self._stop,
        )
        return answer, status.parse(answer.report)

    def encrypt(self, plaintext: bytes, subkeys: Sequence[str]) -> tuple[bytes, bool]:
        """Return *plaintext* encrypted to exactly *subkeys*, fingerprints; and whether gpg says that it is."""
        to = [word for subkey in subkeys for word in ("--recipient", f"{subkey}!")]
        what = (
            "--compress-algo",
            "none",
            "--no-encrypt-to",
            "--no-throw-keyids",
            "--no-armor",
            "--output",
            "-",
        )
        answer, lines = self.call(*what, *to, "--encrypt", given=plaintext, limit=len(plaintext) + (1 << 20))
        return answer.output, answer.status == 0 and status.is_encrypted(lines)

    def decrypt(
        self, ciphertext: bytes, passphrase: bytes | None, *, unwraps: bool = False
    ) -> tuple[bytes | None, tuple[Line, ...]]:
        """Return the plaintext, or None when gpg does not vouch for it; and what it reported.

        With *unwraps*, the packets that the message holds: gpg would decrypt in turn what is encrypted there.
        """
        mode = () if passphrase is None else ("--pinentry-mode", "loopback")
        answer, lines = self.call(
            *mode, *_PLAIN, "--unwrap" if unwraps else "--decrypt", given=ciphertext, passphrase=passphrase,
            seconds=ASKING_SECONDS, limit=MAX_SECRET + (_PACKETS if unwraps else 0),
        )  # fmt: skip
        # Where recipients are hidden, gpg tries key after key, and 2 only says that one was not the right one.
        is_tried = answer.status == _TRIED and _is_hidden(lines)
        is_sound = answer.status == 0 or (is_tried and len(answer.output) < MAX_SECRET)
        is_whole = is_sound and (status.is_unwrapped if unwraps else status.is_decrypted)(lines)
        return answer.output if is_whole else None, lines

    def plaintext(self, packets: bytes) -> bytes | None:
        """Return the one plaintext in *packets* that were decrypted, or None where there is something else."""
        answer, lines = self.call(*_PLAIN, "--decrypt", given=packets, limit=MAX_SECRET)
        is_one = answer.status == 0 and len(status.found(lines, "PLAINTEXT")) == 1
        return answer.output if is_one else None

    def runs(self) -> bool:
        """Tell whether the program works at all, whatever lies in its home."""
        return self.call("--no-options", "--version")[0].status == 0

    def can_list(self, *options: str) -> bool:
        """Tell whether gpg can list the keys that it has, with *options*; having none is no failure."""
        return self.call(*options, "--with-colons", "--list-keys")[0].status == 0

    def listing(self, *arguments: str) -> list[list[str]]:
        """Return the records of a listing with colons (doc/DETAILS), each split into its fields."""
        answer, _ = self.call("--with-colons", "--fixed-list-mode", "--with-fingerprint", *arguments)
        lines = answer.output.decode(errors="replace").split("\n")
        return [line.split(":") for line in lines if line]


def _is_hidden(lines: Sequence[Line]) -> bool:
    return any(words[0] == HIDDEN for words in status.found(lines, "ENC_TO"))


def _terminal() -> tuple[str, ...]:
    """Return options that tell the agent which terminal to ask on."""
    for fd in (0, 2):
        try:
            return ("--ttyname", os.environ.get("GPG_TTY") or os.ttyname(fd))
        except OSError:
            continue
    return ()
