"""A keyring of its own for one command: the members' public keys, on tmpfs, and nothing of the user's."""

import os
from collections.abc import Iterable, Mapping, Sequence

from tskeyvault import files, names, scratch
from tskeyvault.errors import DeliveryError, IntegrityError, PluginError, UsageError, VaultError
from tskeyvault.exchange import Stop
from tskeyvault_gpg import keys, packets, status
from tskeyvault_gpg.keys import Key
from tskeyvault_gpg.program import Gpg

SUFFIX = ".asc"
_ROOM = 64 << 10
"""Bytes that gpg needs beside the keys, for its lists of them and of whom it trusts."""


class Ring:
    """Public keys that gpg knows, and what is encrypted to them."""

    def __init__(self, gpg: Gpg, known: Iterable[Key], where: str, check: str = "vault recipients check"):
        """Take *gpg*, the keys that it has, what people call the place where these are, and what checks them."""
        self._gpg = gpg
        self._where = where
        self._check = check
        self.keys: Mapping[str, Key] = {key.fingerprint: key for key in known}

    def encrypt(self, plaintext: bytes, recipients: Sequence[str]) -> bytes:
        """Return *plaintext* encrypted to exactly *recipients*, fingerprints.

        Raises UsageError for one that is missing or cannot be used, PluginError when gpg does not do it.
        """
        subkeys = [self.key(text, position) for position, text in enumerate(recipients, 1)]
        ciphertext, done = self._gpg.encrypt(plaintext, subkeys)
        if not done or sorted(packets.key_ids(ciphertext)) != sorted(subkey[-16:] for subkey in subkeys):
            raise PluginError("gpg did not encrypt to exactly those that it was asked to")
        return ciphertext

    def is_for(self, key_ids: Sequence[str], recipients: Sequence[str]) -> bool:
        """Tell whether *key_ids* are those of the subkeys that *recipients* are encrypted to.

        Raises UsageError for one that is missing or cannot be used: no other ciphertext would mend that.
        """
        subkeys = [self.key(text, position) for position, text in enumerate(recipients, 1)]
        return sorted(key_ids) == sorted(subkey[-16:] for subkey in subkeys)

    def key(self, recipient: str, position: int) -> str:
        """Return the fingerprint of the subkey that *recipient*, a fingerprint, is encrypted to.

        Raises UsageError.
        """
        if not keys.FINGERPRINT.fullmatch(recipient):
            # Not shown: whatever is not understood may be anything, so a secret too.
            raise UsageError(f"recipient {position} is not a key {self._where}", self._check)
        key = self.keys.get(recipient)
        usable = key.usable if key else None
        if key is None or usable is None:
            raise UsageError(describe(recipient, key, self._where), self._check)
        return usable.fingerprint


class Keyring(Ring):
    """The public keys that travel with a vault, checked; to be closed."""

    def __init__(self, public_keys: Mapping[str, bytes], stop: Stop):
        """Make a keyring of *public_keys*, by file name.

        Raises IntegrityError for a file that does not hold the one key that it is named after.
        """
        self.public_keys = dict(public_keys)
        wanted = [_checked(name, data) for name, data in public_keys.items()]
        self._home = scratch.Held(os.environ, "vault-gpg-")
        try:
            gpg = Gpg(self._home.path, stop, ours=True)
            if wanted and not self._import(gpg, b"".join(wanted), len(wanted)):
                for data in wanted:  # one that gpg cannot read hides those behind it
                    self._import(gpg, data, 1)
            super().__init__(gpg, keys.parse(gpg.listing("--list-keys")), "in the vault")
        except BaseException:
            self.close()
            raise
        if set(self.keys) - {name.removesuffix(SUFFIX) for name in public_keys}:
            self.close()
            raise PluginError("gpg imported other keys than it was given")

    def export(self, fingerprint: str) -> bytes:
        """Return the public key *fingerprint* in armor, without what others have signed."""
        answer, _ = self._gpg.call("--armor", "--export-options", "export-minimal", "--export", fingerprint)
        return answer.output

    def add(self, data: bytes) -> None:
        """Add what *data*, one public key in binary, has that the keyring has not."""
        self._import(self._gpg, data, 1)
        self.keys = {key.fingerprint: key for key in keys.parse(self._gpg.listing("--list-keys"))}

    def plaintext(self, packets: bytes) -> bytes | None:
        """Return the one plaintext in *packets*, or None: what is encrypted there finds no key here, and no agent."""
        return self._gpg.plaintext(packets)

    def close(self) -> None:
        """Remove it."""
        self._home.close()

    def _import(self, gpg: Gpg, data: bytes, number: int) -> bool:
        """Tell whether gpg has read *number* keys in *data*, which it may have found not valid.

        Raises DeliveryError when there is no room for them: that is nothing about the keys.
        """
        _, lines = gpg.call("--import", given=data)
        read = status.found(lines, "IMPORT_RES")
        if read and read[0][0] == str(number):
            return True
        try:
            with files.directory(self._home.path) as fd:
                files.write(fd, "room", bytes(_ROOM + len(data)), mode=0o600)
                os.unlink("room", dir_fd=fd)
        except VaultError:
            where = os.path.dirname(self._home.path)
            raise DeliveryError(f"'{where}' has no room for the public keys", f"df {where}") from None
        return False


def describe(fingerprint: str, key: Key | None, where: str) -> str:
    """Return, for people to read, why nothing can be encrypted to *fingerprint*."""
    if key is None:
        return f"recipient {fingerprint}: its public key is not {where}, or is not valid"
    whose = f" ({names.shown(key.name)})" if key.name else ""
    return f"recipient {fingerprint}{whose} {key.problem}"


def _checked(name: str, data: bytes) -> bytes:
    """Return the key in *data*, the file *name*, in binary."""
    what = f"public key file '{names.shown(name)}'"
    stem = name.removesuffix(SUFFIX)
    if stem == name or not keys.FINGERPRINT.fullmatch(stem):
        raise IntegrityError(f"{what}: its name is not a fingerprint and {SUFFIX}", _REMOVE)
    try:
        fingerprint, binary = packets.one_key(data)
    except IntegrityError as error:
        raise IntegrityError(f"{what}: {error.message}", _REMOVE) from None
    if fingerprint != stem:
        raise IntegrityError(f"{what}: holds the key {fingerprint}", _REMOVE)
    return binary


_REMOVE = "see who committed it, and remove it or restore it from git"
