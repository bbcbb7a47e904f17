"""Prints what opening 100 secrets by a YubiKey costs besides the YubiKey itself, in one run.

    .venv/bin/python tests/bench/yubikey.py [ROUNDS]

The card is software in this process; its own time is taken off. The budget is 1 ms of ours for a secret. Nothing
is asserted.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("core", "plugins", "tests")]

from plugins.yubikey.conftest import Host, Person  # noqa: E402 - the paths come first
from support.pivcard import PivCard  # noqa: E402 - as above
from support.pivreaders import SoftReaders  # noqa: E402 - as above
from support.yubikeys import make  # noqa: E402 - as above

SECRETS = 100


class TimedCard(PivCard):
    """A card that knows how long it took."""

    spent = 0.0

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """Answer, and note the time."""
        start = time.perf_counter()
        try:
            return super().transmit(apdu)
        finally:
            self.spent += time.perf_counter() - start


def main() -> None:
    """Measure, and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    ours, cards = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            card = TimedCard()
            made = make(card)
            host = Host(Path(folder), SoftReaders(card), Person(), ()).has(made.identity)
            files = [host.encrypt(b"x" * 64, made.recipient) for _ in range(SECRETS)]
            start = time.perf_counter()
            host.decrypt_all(files)
            whole = time.perf_counter() - start
            ours.append((whole - card.spent) * 1000 / SECRETS)
            cards.append(card.spent * 1000 / SECRETS)
            host.plugin.close()
    print(f"{SECRETS} secrets, {card.verifies} VERIFY, {card.agreements} key agreements")
    print(f"the card, for a secret   {statistics.median(cards):6.3f} ms")
    print(f"ours, for a secret       {statistics.median(ours):6.3f} ms   (budget 1 ms)")


if __name__ == "__main__":
    main()
