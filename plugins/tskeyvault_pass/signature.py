"""The signature of a ``.gpg-id``, checked on the very bytes that are used.

pass 1.7.4 takes any VALIDSIG, which gpg reports for expired and revoked signers too. Here only
GOODSIG together with VALIDSIG of a pinned fingerprint counts.
"""

import os
from collections.abc import Iterator, Sequence

from tskeyvault import files, scratch
from tskeyvault.errors import IntegrityError
from tskeyvault_gpg.program import Gpg
from tskeyvault_gpg.status import Line

_VERDICTS = frozenset({"GOODSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "BADSIG", "ERRSIG"})
_TIME, _LAST = 2, 9
"""Where in VALIDSIG the time and the fingerprint of the primary key stand (doc/DETAILS of GnuPG)."""
_HINT = "see who changed it; the signer runs pass init, with PASSWORD_STORE_SIGNING_KEY set"


def check(gpg: Gpg, content: bytes, signature: bytes, signers: frozenset[str]) -> int:
    """Return when *content* was signed, in seconds since 1970: *signature* is a good one by one of *signers*, full fingerprints.

    Raises IntegrityError.
    """
    if not signature:
        raise IntegrityError("the recipients file '.gpg-id' is not signed", _HINT)
    folder = scratch.Held(os.environ, "vault-pass-")
    try:
        with files.directory(folder.path) as fd:
            files.write(fd, "signature", signature, mode=0o600)
        verify = ("--verify", "--", os.path.join(folder.path, "signature"), "-")
        _, lines = gpg.call("--no-auto-key-locate", *verify, given=content)
    finally:
        folder.close()
    times = [_time(block) for block in _blocks(lines) if _is_good(block, signers)]
    if not times:
        raise IntegrityError(
            "the signature of the recipients file '.gpg-id' is not a good one of a signer you named", _HINT
        )
    return max(times)


def _blocks(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Yield what *lines* report of each signature."""
    block: list[Line] = []
    for line in lines:
        if line.keyword == "NEWSIG":
            yield block
            block = []
        block.append(line)
    yield block


def _is_good(block: Sequence[Line], signers: frozenset[str]) -> bool:
    verdicts = [line for line in block if line.keyword in _VERDICTS]
    valid = [line.arguments for line in block if line.keyword == "VALIDSIG"]
    if [line.keyword for line in verdicts] != ["GOODSIG"] or len(valid) != 1 or len(valid[0]) <= _LAST:
        return False
    if not valid[0][_TIME].isdecimal():
        return False
    used, primary = valid[0][0], valid[0][_LAST]
    by = verdicts[0].arguments[0]
    return used.endswith(by) and len(by) >= 16 and bool({used, primary} & signers)  # noqa: PLR2004 - a long key id


def _time(block: Sequence[Line]) -> int:
    return next(int(line.arguments[_TIME]) for line in block if line.keyword == "VALIDSIG")
