"""Finding file keys: by native identities first, then by plugins, many files at once."""

from collections.abc import Sequence

from tskeyvault.errors import IntegrityError, VaultError
from tskeyvault.values import Stanza
from tskeyvault_age import file
from tskeyvault_age.header import Header
from tskeyvault_age.identities import Identities
from tskeyvault_age.keyplugins import PluginIdentity

Found = bytes | VaultError | None
"""A file key (16 bytes), why there is none, or None while nothing is known."""


class Opener:
    """The identities of one command and the file keys that they recovered ahead of need."""

    def __init__(self, identities: Identities):
        self._identities = identities
        self._known: dict[bytes, bytes | VaultError] = {}

    def prepare(self, heads: Sequence[Header]) -> None:
        """Find the file keys of all *heads*, and keep them or the reasons why there are none."""
        heads = list({_name(head): head for head in heads}.values())
        for head, result in zip(heads, self._find([head.stanzas for head in heads]), strict=True):
            self._known[_name(head)] = result

    def file_key(self, head: Header) -> bytes:
        """Return the 16-byte file key of *head*; raise LockedError, IntegrityError, or what a plugin raised."""
        result = self._known.get(_name(head)) or self._find([head.stanzas])[0]
        if isinstance(result, VaultError):
            raise type(result)(result.message, result.hint)
        return result

    def _find(self, files: Sequence[Sequence[Stanza]]) -> list[bytes | VaultError]:
        """Return the result for each of *files*; the failure of one never costs another."""
        results = [self._native(stanzas) for stanzas in files]
        if any(_is_open(result) for result in results):
            for identity in self._identities.plugins:
                self._ask(identity, files, results)
        return [result or file.locked() for result in results]

    def _native(self, stanzas: Sequence[Stanza]) -> Found:
        failure: VaultError | None = None
        for identity in self._identities.native:
            try:
                if (file_key := identity.unwrap(stanzas)) is not None:
                    return file_key
            except IntegrityError as error:
                return error
            except VaultError as error:  # no passphrase: another identity may do without
                failure = failure or error
        return failure

    def _ask(self, identity: PluginIdentity, files: Sequence[Sequence[Stanza]], results: list[Found]) -> None:
        """Let *identity* try all files that are still to be opened, in one call."""
        waiting = [at for at, result in enumerate(results) if _is_open(result)]
        groups = [waiting] if waiting else []
        while groups:
            group = groups.pop()
            try:
                keys = identity.unwrap_all([files[at] for at in group])
            except VaultError as error:
                half = len(group) // 2
                if half and isinstance(error, IntegrityError):  # one is bad: the others must not lose by it
                    groups += [group[half:], group[:half]]
                    continue
                for at in group:
                    results[at] = error if isinstance(error, IntegrityError) else results[at] or error
            else:
                for place, key in keys.items():
                    results[group[place]] = key


def _is_open(result: Found) -> bool:
    """Whether another identity may still do it."""
    return not isinstance(result, (bytes, IntegrityError))


def _name(head: Header) -> bytes:
    """Return what tells one file from all others: every byte of its header."""
    return head.authenticated + head.mac
