"""What this host remembers of a vault: generations it has seen, recipients it has approved."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from . import files, limits
from .errors import DeliveryError, IntegrityError, NotFoundError

MAX_SIZE = 64 << 20
"""Bytes of a state file."""
_MAX_PAST = 100
"""Earlier files of a secret without a binding that are remembered."""


class Seen(NamedTuple):
    """The newest ciphertext of a secret that this host has opened or written."""

    generation: int
    """0 for a ciphertext without a binding."""
    digest: str
    """SHA-256 (hex) of the ciphertext."""


class State:
    """The memory of one vault, in one JSON file that only its user can read or change.

    Losing it is safe for secrets and loses protection: older generations are accepted again, and
    every recipients file has to be approved again.
    """

    def __init__(self, directory: str, vault: str, clone: str = ""):
        """Take the directory of the state, the vault's id, and the directory of this clone of it.

        Approvals hold for one clone: a commit can change the id to that of another vault.
        """
        self._directory = directory
        self._clone = os.path.realpath(clone) if clone else ""
        self._file = f"{vault}.json"
        self._seen: dict[str, Seen] = {}
        self._past: dict[str, tuple[str, ...]] = {}
        self._owners: dict[str, str] | None = None
        self._signed: dict[str, int] = {}
        self._approvals: dict[str, dict[str, tuple[str, ...]]] = {}
        if os.path.isdir(directory):
            with files.directory(directory) as fd:
                self._load(fd)

    def seen(self, path: str) -> Seen | None:
        """Return what was last seen of the ciphertext at *path*."""
        return self._seen.get(path)

    def whose(self, digest: str) -> str:
        """Return the path where a ciphertext of *digest* without a binding was seen first, or ``""``."""
        if self._owners is None:
            self._owners = {
                known: path
                for path, seen in sorted(self._seen.items(), reverse=True)
                for known in (*self._past.get(path, ()), seen.digest)
                if not seen.generation
            }
        return self._owners.get(digest, "")

    def approved(self, path: str) -> tuple[str, ...] | None:
        """Return the recipients, sorted, that were approved of the recipients file *path*."""
        return self._approved.get(path)

    @property
    def _approved(self) -> dict[str, tuple[str, ...]]:
        return self._approvals.setdefault(self._clone, {})

    @property
    def approved_paths(self) -> tuple[str, ...]:
        """All recipients files that were approved."""
        return tuple(self._approved)

    def signed(self, path: str) -> int:
        """Return when the newest recipients file seen at *path* was signed, in seconds since 1970, or 0."""
        return self._signed.get(path, 0)

    @property
    def signed_paths(self) -> tuple[str, ...]:
        """All recipients files that were seen with a good signature."""
        return tuple(self._signed)

    def sign(self, path: str, when: int) -> None:
        """Remember that the recipients file *path* was signed at *when*; it never goes back."""
        if self.signed(path) < when:
            with self._change():
                self._signed[path] = max(when, self.signed(path))

    def record(self, seen: Mapping[str, Seen]) -> None:
        """Remember *seen*, by path; a generation never goes back.

        Raises DeliveryError when it cannot be remembered: then the next rollback would go unseen.
        """
        if all(self._seen.get(path) == new for path, new in seen.items()):
            return
        with self._change():
            for path, new in seen.items():
                old = self._seen.get(path)
                if old is None or new.generation >= old.generation:
                    self._seen[path] = new
                    if old and old != new and not new.generation:
                        self._past[path] = (*self._past.get(path, ()), old.digest)[-_MAX_PAST:]

    def approve(self, recipients: Mapping[str, tuple[str, ...] | None]) -> None:
        """Remember approved *recipients* by file, or with None that the file is gone."""
        with self._change():
            for path, approved in recipients.items():
                if approved is None:
                    self._approved.pop(path, None)
                    self._signed.pop(path, None)
                else:
                    self._approved[path] = tuple(sorted(set(approved)))

    @contextmanager
    def _change(self) -> Iterator[None]:
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
        except OSError:
            raise self._unwritable() from None
        with files.directory(self._directory) as fd, limits.locked(fd, "the state of this host"):
            files.sweep(fd)
            self._load(fd)
            yield
            data = {"seen": self._seen, "past": self._past, "signed": self._signed}
            data |= {"approved": self._approvals}
            try:
                files.write(fd, self._file, json.dumps(data, sort_keys=True, indent=0).encode(), mode=0o600)
            except DeliveryError:
                raise self._unwritable() from None

    def _load(self, fd: int) -> None:
        try:
            text = files.read(fd, self._file, MAX_SIZE)
        except NotFoundError:
            return
        try:
            data = json.loads(text)
            self._seen = {
                path: Seen(int(number), str(digest)) for path, (number, digest) in data["seen"].items()
            }
            self._past = {path: tuple(map(str, old)) for path, old in data.get("past", {}).items()}
            self._owners = None
            self._signed = {path: int(when) for path, when in data.get("signed", {}).items()}
            self._approvals = {
                clone: {path: tuple(map(str, lines)) for path, lines in files_.items()}
                for clone, files_ in data["approved"].items()
            }
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            where = os.path.join(self._directory, self._file)
            raise IntegrityError(
                f"the state file '{where}' is damaged", "remove it, and approve anew"
            ) from None

    def _unwritable(self) -> DeliveryError:
        return DeliveryError(
            f"cannot remember in '{self._directory}' which generation was seen",
            "in a unit, StateDirectory= or ExecStartPre=+ makes a place for it",
        )
