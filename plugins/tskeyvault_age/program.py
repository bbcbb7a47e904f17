"""Keys that a program ``age-plugin-NAME`` brings to age: wrapping and unwrapping with its help.

It is found in PATH, and run only when its name cannot lead anywhere else. Source: C2SP age-plugin.md,
sections "Wrapping with recipient-v1" and "Unwrapping with identity-v1".
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tskeyvault import process
from tskeyvault.errors import LockedError, PluginError, UsageError, VaultError
from tskeyvault.names import shown
from tskeyvault.values import UI, Stanza
from tskeyvault_age import bech32, protocol
from tskeyvault_age.header import MAX_STANZAS
from tskeyvault_age.keys import FILE_KEY_LENGTH
from tskeyvault_age.protocol import Command, Dialogue, Program, encode

SECONDS = 60.0
"""How long a program may work on one file: its user may have to find and touch a device."""

_NAME = re.compile(r"[A-Za-z0-9._+-]{1,100}", re.ASCII)
_HINT = "install it, as whoever made the key says, into a directory that PATH names in full"


def program(name: str) -> str:
    """Return the file name of the program for keys of the kind *name*, in any case.

    Raises UsageError when *name* could lead to another program.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise UsageError(f"'{shown(name)}' cannot be the name of an age plugin")
    return f"age-plugin-{name.lower()}"


def wrap(
    name: str, recipients: Sequence[str], file_key: bytes, ui: UI, seconds: float = SECONDS
) -> tuple[tuple[Stanza, ...], frozenset[str]]:
    """Return *file_key* (16 bytes) wrapped for all *recipients* of the kind *name*, and their labels.

    *recipients* are ``age1NAME1...``, or ``AGE-PLUGIN-NAME-1...`` for what belongs to an identity.
    There is at least one stanza for each. Raises UsageError, which tells a bad one of several
    recipients by its number, from 1, or PluginError.
    """
    executable = program(name)
    _check(recipients, name, "recipient")
    path = process.find(executable)
    if not path:
        raise UsageError(f"the recipient needs the program {executable}", _HINT)
    hidden = [file_key, *(text.encode("ascii") for text in recipients if _kind(text) == "identity")]
    with protocol.dialogue(Program(path, ui, seconds), "recipient-v1", hidden=hidden, files=1) as talk:
        talk.send(
            *(encode(f"add-{_kind(text)}", text) for text in recipients),
            protocol.grease(),
            encode("wrap-file-key", body=file_key),
            encode("extension-labels"),
            encode("done"),
        )
        return _Wrapping(talk, recipients).result()


def unwrap(
    name: str,
    identities: Sequence[str],
    files: Sequence[Sequence[Stanza]],
    ui: UI,
    seconds: float = SECONDS,
) -> dict[int, bytes]:
    """Return the file keys (16 bytes) that *identities*, ``AGE-PLUGIN-NAME-1...``, recover, by index.

    *files* are the stanzas of several headers. All go through one run of the program, or through
    one for each when it can do no better. What it says about files that it cannot open is told to
    the user when it opens others. Raises LockedError when there is no program, or nothing opens
    because of an error, UsageError when an identity is malformed, and PluginError.
    """
    executable = program(name)
    _check(identities, name, "identity")
    path = process.find(executable)
    if not path:
        raise LockedError(f"the identity needs the program {executable}", _HINT)
    offered = {index: stanzas for index, stanzas in enumerate(files) if stanzas}
    if not offered:
        return {}
    keys, faults = _unwrap(Program(path, ui, seconds), identities, offered)
    if faults and not keys:
        raise faults[0]
    for fault in faults:
        ui.message(fault.message)
    return keys


def _unwrap(
    tool: Program, identities: Sequence[str], files: Mapping[int, Sequence[Stanza]]
) -> tuple[dict[int, bytes], list[VaultError]]:
    """Return the file keys of *files* and what went wrong, of one run or of one for each file."""
    opened = _run(tool, identities, files)
    if not opened.stumbled:
        return opened.keys, opened.faults
    keys, faults = opened.keys, []
    for index in [index for index in files if index not in keys]:
        opened = _run(tool, identities, {index: files[index]})
        keys |= opened.keys
        faults += opened.faults
        if opened.vain:
            break
    return keys, faults


def _run(tool: Program, identities: Sequence[str], files: Mapping[int, Sequence[Stanza]]) -> "_Opened":
    hidden = [text.encode("ascii") for text in identities]
    with protocol.dialogue(tool, "identity-v1", hidden=hidden, files=len(files)) as talk:
        talk.send(
            *(encode("add-identity", text) for text in identities),
            protocol.grease(),
            *(
                encode("recipient-stanza", str(place), *stanza.args, body=stanza.body)
                for place, stanzas in enumerate(files.values())
                for stanza in stanzas
            ),
            encode("done"),
        )
        return _Unwrapping(talk, identities, files).result()


class _Wrapping:
    """What a program makes of one file key."""

    def __init__(self, talk: Dialogue, recipients: Sequence[str]):
        self._talk = talk
        self._numbers: dict[str, list[int]] = {"recipient": [], "identity": []}
        for position, text in enumerate(recipients, 1):
            self._numbers[_kind(text)].append(position)
        self._wanted = len(recipients)
        self._stanzas: list[Stanza] = []
        self._labels: frozenset[str] | None = None
        self._faults: list[VaultError] = []

    def result(self) -> tuple[tuple[Stanza, ...], frozenset[str]]:
        """Listen to the program to its end; return the stanzas and the labels."""
        handlers = {"recipient-stanza": self._stanza, "labels": self._label, "error": self._error}
        done = self._talk.listen(handlers)
        if self._faults:
            raise self._faults[0]
        if not done:
            raise _ended_early(self._talk)
        if len(self._stanzas) < self._wanted:
            raise self._talk.broken(f"{len(self._stanzas)} stanzas for {self._wanted} recipients")
        return tuple(self._stanzas), self._labels or frozenset()

    def _stanza(self, command: Command) -> None:
        index, *args = command.args or ("",)
        if protocol.number(index, 1) is None or not args:
            raise self._talk.broken("a stanza for no file")
        if len(self._stanzas) == MAX_STANZAS:
            raise self._talk.broken("too many stanzas")
        self._stanzas.append(Stanza(tuple(args), command.body))

    def _label(self, command: Command) -> None:
        if self._labels is not None:
            raise self._talk.broken("labels twice")
        self._labels = frozenset(command.args)
        if len(self._labels) != len(command.args):
            raise self._talk.broken("a label twice")

    def _error(self, command: Command) -> None:
        limits = {kind: (len(numbers),) for kind, numbers in self._numbers.items()}
        kind, places, words = self._talk.fault(command, limits)
        if places:
            which = _which("recipient", self._numbers[kind][places[0]], self._wanted)
            self._faults.append(UsageError(f"{self._talk.program} refuses {which}{words}"))
        else:
            self._faults.append(PluginError(f"{self._talk.program} failed{words}"))


class _Opened(NamedTuple):
    """What a run of a program opened."""

    keys: dict[int, bytes]
    faults: list[VaultError]
    stumbled: bool
    """It could not do with several files, and one run for each may do better."""
    vain: bool
    """The user was asked, but nothing was opened: a device counts wrong PINs."""


class _Unwrapping:
    """What a program makes of several files in one run."""

    def __init__(self, talk: Dialogue, identities: Sequence[str], files: Mapping[int, Sequence[Stanza]]):
        self._talk = talk
        self._identities = identities
        self._indexes = list(files)
        self._sizes = [len(stanzas) for stanzas in files.values()]
        self._keys: dict[int, bytes] = {}
        self._faults: list[VaultError] = []
        self._confused = False

    def result(self) -> _Opened:
        """Listen to the program to its end; return what it opened."""
        done = self._talk.listen({"file-key": self._key, "error": self._error})
        if not (done or self._faults):
            self._faults.append(_ended_early(self._talk))
            self._confused = True
        several = len(self._sizes) > 1 and not any(self._keys)
        vain = self._talk.asked and not self._keys
        keys = {self._indexes[place]: key for place, key in self._keys.items()}
        return _Opened(
            keys, self._faults, several and self._confused and not vain, vain and bool(self._faults)
        )

    def _key(self, command: Command) -> None:
        place = protocol.number(command.args[0], len(self._sizes)) if len(command.args) == 1 else None
        if place is None:
            raise self._talk.broken("a key for a file that was never sent")
        if place in self._keys:
            raise self._talk.broken("two keys for one file")
        if len(command.body) != FILE_KEY_LENGTH:
            raise self._talk.broken("a key of a wrong length")
        self._keys[place] = command.body
        self._talk.succeeded(command.body)

    def _error(self, command: Command) -> None:
        limits = {"identity": (len(self._identities),), "stanza": (len(self._sizes), max(self._sizes))}
        kind, places, words = self._talk.fault(command, limits)
        if kind == "internal":
            self._confused = True
            self._faults.append(PluginError(f"{self._talk.program} failed{words}"))
        elif kind == "identity":
            which = _which("identity", places[0] + 1, len(self._identities))
            self._faults.append(LockedError(f"{self._talk.program} cannot use {which}{words}"))
        else:
            self._closed(places[0], places[1], words)

    def _closed(self, place: int, stanza: int, words: str) -> None:
        if stanza >= self._sizes[place]:
            raise self._talk.broken("an error about what was never sent")
        self._confused = self._confused or place > 0
        what = f"file {self._indexes[place] + 1}"
        self._faults.append(LockedError(f"{self._talk.program} cannot open {what}{words}"))


def _which(what: str, position: int, count: int) -> str:
    return f"{what} {position}" if count > 1 else f"the {what}"


def _kind(text: str) -> str:
    return "identity" if text.upper().startswith("AGE-") else "recipient"


def _check(texts: Sequence[str], name: str, what: str) -> None:
    """Raise UsageError, which holds nothing of *texts*, unless all are keys of the kind *name*.

    This also keeps what could be taken for another command out of the pipe.
    """
    for position, text in enumerate(texts, 1):
        which = _which(what, position, len(texts))
        try:
            prefix, _data = bech32.decode(text)
        except UsageError as error:
            raise UsageError(f"{which}: {error.message}") from None
        prefixes = {f"age-plugin-{name}-".lower(), f"age1{name}".lower() if what == "recipient" else ""}
        if prefix.lower() not in prefixes:
            raise UsageError(f"{which} is not for {program(name)}")


def _ended_early(talk: Dialogue) -> PluginError:
    return PluginError(f"{talk.program} ended before it was done")
