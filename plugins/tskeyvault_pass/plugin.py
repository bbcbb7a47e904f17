"""The hooks for a store of pass: gpg with the user's own keyring, and what pass asks of its environment."""

import os
from collections.abc import Iterator, Sequence

from tskeyvault import files, names
from tskeyvault.errors import IntegrityError, NotFoundError, PluginError, UsageError, VaultError
from tskeyvault.exchange import Stop
from tskeyvault.recipients import MAX_SIZE, parse
from tskeyvault.spec import hookimpl
from tskeyvault.store import MAX_CIPHERTEXT
from tskeyvault.values import Finding, Housing, Options, Reader, Secret, Vouched
from tskeyvault_gpg import checks, damage, keys, packets, plugin
from tskeyvault_gpg.keyring import Ring
from tskeyvault_gpg.keys import Key
from tskeyvault_gpg.program import Gpg
from tskeyvault_gpg.recipients import resolve
from tskeyvault_pass import settings
from tskeyvault_pass.signature import check

_WHERE = "in your keyring"
_CHECK = "vault recipients check --plugin pass"
_GIT = {".git", ".gitattributes", ".gitignore"}
_MAX_SHOWN = 20


class Plugin:
    """The hooks. Decryption is the gpg plugin's; the keyring of the user is listed once."""

    def __init__(self, options: Options):
        self._settings = settings.read(os.environ, options)
        self._options = settings.for_gpg(options)
        self._gpg = plugin.Plugin(self._options, "[plugins.pass]")
        self._home = str(options.get("home", ""))
        self._stop = Stop()
        self._ring: Ring | None = None

    @hookimpl
    def vault_store(self) -> Housing:
        """Return the directory of the store."""
        found = self._settings.directory
        if not os.path.isdir(found):
            hint = "pass init ID makes one, PASSWORD_STORE_DIR names another"
            raise NotFoundError(f"there is no pass store in '{names.shown(found)}'", hint)
        return Housing(found, self._settings.umask)

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str]) -> bytes:
        """Return *plaintext* as an OpenPGP message to the subkeys of exactly *recipients*, full fingerprints."""
        if not recipients:
            raise UsageError("no recipients: nobody could read the secret")
        if len(set(recipients)) < len(recipients):
            raise UsageError("a recipient stands there twice")
        return self._users().encrypt(plaintext, recipients)

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Return the plaintext of *ciphertext*, by any of the user's keys."""
        return self._gpg.vault_decrypt(secret, ciphertext)

    @hookimpl
    def vault_workers(self) -> int:
        """Return how many gpg programs keep this machine busy."""
        return self._gpg.vault_workers()

    @hookimpl
    def vault_encrypted_to(self, ciphertext: bytes, recipients: Sequence[str]) -> bool:
        """Tell whether the key ids in *ciphertext* are those of the subkeys of exactly *recipients*."""
        return self._users().is_for(packets.key_ids(ciphertext), recipients)

    @hookimpl
    def vault_resolve(self, recipients: Sequence[str]) -> list[tuple[Reader, ...]]:
        """Return whom the lines *recipients* of a ``.gpg-id`` mean in the user's keyring, by full fingerprint."""
        known = self._users().keys
        return [resolve(line, known, self._gpg.groups, _WHERE) for line in recipients]

    @hookimpl
    def vault_recipients(self, content: bytes, signature: bytes) -> Vouched:
        """Return ``PASSWORD_STORE_KEY``, or the lines of *content* where a pinned signer has signed it."""
        if self._settings.keys:
            return Vouched(self._settings.keys)
        if not self._settings.signers or not content:
            return Vouched(())
        signed = check(self._program(), content, signature, self._settings.signers)
        return Vouched(tuple(entry.text for entry in parse(".gpg-id", content).entries), signed)

    @hookimpl
    def vault_own_recipients(self) -> tuple[str, ...]:
        """Return the fingerprints of the user's own keys that can be encrypted to."""
        return self._gpg.vault_own_recipients()

    @hookimpl
    def vault_check(self) -> tuple[Finding, ...]:
        """Return what is wrong with gpg, pinentry, the signers, and what lies in the store."""
        found = [*self._gpg.vault_check({}), *self._of_signers(), *checks.of_keys(self._members())]
        strays = sorted(_strays(self._settings.directory))
        found += [
            Finding(f"'{names.shown(path)}' in the store is not encrypted by pass", "take it out of there")
            for path in strays[:_MAX_SHOWN]
        ]
        return tuple(found)

    def close(self) -> None:
        """End what runs, and stop the agent that was started."""
        self._stop.now()
        self._ring = None
        self._gpg.close()

    def _program(self) -> Gpg:
        return Gpg(self._home, self._stop, ours=False, more=self._settings.gpg_options)

    def _users(self) -> Ring:
        if self._ring is None:
            gpg = self._program()
            known = keys.parse(gpg.listing("--list-keys"))
            if not known and (found := damage.of_home(gpg)):
                raise found
            self._ring = Ring(gpg, known, _WHERE, _CHECK)
        return self._ring

    def _members(self) -> list[Key]:
        """Return the keys of all who read something in the store."""
        known = self._users().keys
        meant: set[str] = set(self._settings.keys)
        for folder, _, there in os.walk(self._settings.directory):
            if ".gpg-id" in there:
                path = os.path.relpath(os.path.join(folder, ".gpg-id"), self._settings.directory)
                meant |= {entry.text for entry in parse(path, _content(folder, path)).entries}
        readers = {
            reader.recipient for line in meant for reader in resolve(line, known, self._gpg.groups, _WHERE)
        }
        return [known[one] for one in sorted(readers - self._settings.signers) if one in known]

    def _of_signers(self) -> Iterator[Finding]:
        known = self._users().keys
        for signer in sorted(self._settings.signers):
            key = known.get(signer)
            if key is None:
                yield Finding(f"signer {signer} is not {_WHERE}", "gpg --import FILE")
            elif key.validity in {"e", "r", "d", "i"}:
                yield Finding(f"signer {signer} is of no use: {key.problem}", "name another one")
        yield from checks.of_keys(key for key in known.values() if key.fingerprint in self._settings.signers)


def _content(folder: str, path: str) -> bytes:
    """Return what stands in the ``.gpg-id`` of *folder*; a failure names its *path* in the store.

    Raises IntegrityError.
    """
    try:
        with files.directory(folder) as fd:
            return files.read(fd, ".gpg-id", MAX_SIZE)
    except VaultError as error:
        raise IntegrityError(f"'{names.shown(path)}': {error.message}", error.hint) from None


def _strays(directory: str) -> Iterator[str]:
    """Yield the paths of files below *directory* that are neither git's nor what pass would have written."""

    def unreadable(error: OSError) -> None:
        raise PluginError(f"'{names.shown(str(error.filename))}' in the store cannot be read") from None

    for folder, below, there in os.walk(directory, onerror=unreadable):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in there:
            if name not in {".gpg-id", ".gpg-id.sig", *_GIT} and not _is_entry(folder, name):
                yield os.path.relpath(os.path.join(folder, name), directory)


def _is_entry(folder: str, name: str) -> bool:
    """Tell whether the file *name* is called like an entry, and is encrypted."""
    if not name.endswith(".gpg"):
        return False
    try:
        with files.directory(folder) as fd:
            return bool(packets.key_ids(files.read(fd, name, MAX_CIPHERTEXT)))
    except VaultError:
        return False
