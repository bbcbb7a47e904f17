"""The hooks for gpg: encryption with a keyring of our own, decryption with the user's keys and agent."""

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import cast

from tskeyvault import files, names
from tskeyvault.errors import ConfigError, IntegrityError, LockedError, NotFoundError, UsageError
from tskeyvault.exchange import Stop
from tskeyvault.spec import hookimpl
from tskeyvault.values import GIVEN, Finding, Options, PublicKey, Reader, Secret
from tskeyvault_gpg import checks, damage, faults, keys, packets, passphrase
from tskeyvault_gpg.agent import Agent
from tskeyvault_gpg.card import LAST_TRY, Cards
from tskeyvault_gpg.keyring import SUFFIX, Keyring
from tskeyvault_gpg.keys import Key
from tskeyvault_gpg.program import ASKING_SECONDS, Gpg
from tskeyvault_gpg.recipients import is_hexadecimal, matching, resolve

_MAX_KEY = 256 << 10
_FILES = (".asc", ".gpg", ".pgp", ".key")
_OPTIONS = frozenset({"home", "passphrase_file", "ask_password"})


class Plugin:
    """The hooks. A keyring is made at the first need and kept, like the agent, until :meth:`close`.

    ``options["home"]`` is the home of gpg with the user's keys; without it gpg decides.
    """

    def __init__(self, options: Options, table: str = "[plugins.gpg]"):
        """Take *options*, and what messages call the *table* of the local configuration that they stand in."""
        config_of(options, table)
        self._options = options
        self._table = table
        self._home = str(options.get("home", ""))
        self._stop = Stop()
        self._lock = threading.RLock()
        self._first = threading.Lock()
        self._opened_for: set[tuple[str, ...]] = set()
        self._keyrings: list[Keyring] = []
        self._own: Gpg | None = None
        self._agent: Agent | None = None
        self._cards: Cards | None = None
        self._passphrase: bytes | None = None
        self._groups: Mapping[str, Sequence[str]] | None = None

    @hookimpl
    def vault_encrypt(
        self, plaintext: bytes, recipients: Sequence[str], public_keys: Mapping[str, bytes]
    ) -> bytes:
        """Return *plaintext* as an OpenPGP message to the subkeys of exactly *recipients*, full fingerprints."""
        if not recipients:
            raise UsageError("no recipients: nobody could read the secret")
        if len(set(recipients)) < len(recipients):
            raise UsageError("a recipient stands there twice")
        return self._keys(public_keys).encrypt(plaintext, recipients)

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Return the plaintext of *ciphertext*, by any of the user's keys."""
        try:
            key_ids = packets.key_ids(ciphertext)
        except IntegrityError as error:
            raise IntegrityError(f"secret '{secret.name}': {error.message}") from None
        if key_ids in self._opened_for:
            return self._opened(secret, ciphertext, key_ids)
        with (
            self._first
        ):  # or pinentry would ask, and a card be given its PIN, once for each at the same time
            plaintext = self._opened(secret, ciphertext, key_ids)
            self._opened_for.add(key_ids)
        return plaintext

    @hookimpl
    def vault_workers(self) -> int:
        """Return how many gpg programs keep this machine busy."""
        return len(os.sched_getaffinity(0)) + 1

    @hookimpl
    def vault_encrypted_to(
        self, ciphertext: bytes, recipients: Sequence[str], public_keys: Mapping[str, bytes]
    ) -> bool:
        """Tell whether the key ids in *ciphertext* are those of the subkeys of exactly *recipients*."""
        return self._keys(public_keys).is_for(packets.key_ids(ciphertext), recipients)

    @hookimpl
    def vault_resolve(
        self, recipients: Sequence[str], public_keys: Mapping[str, bytes]
    ) -> list[tuple[Reader, ...]]:
        """Return whom the lines *recipients* of a ``.gpg-id`` mean, by full fingerprint."""
        known = self._keys(public_keys).keys
        return [resolve(line, known, self.groups) for line in recipients]

    @hookimpl
    def vault_public_key(self, recipient: str, public_keys: Mapping[str, bytes]) -> PublicKey:
        """Return the key in the file *recipient*, or what the user's keyring has for it."""
        fingerprint, data = self._from_file(recipient) if _is_file(recipient) else self._from_user(recipient)
        name = f"{fingerprint}{SUFFIX}"
        there = {name: public_keys[name]} if name in public_keys else {}
        keyring = Keyring(there, self._stop)
        try:
            keyring.add(data)
            key = keyring.keys.get(fingerprint)
            if key is None:
                raise UsageError(f"key {fingerprint} is not valid")
            _refuse_unusable(key)
            content = keyring.export(fingerprint)
        finally:
            keyring.close()
        if packets.one_key(content)[0] != fingerprint or len(content) > _MAX_KEY:
            raise UsageError(f"key {fingerprint} is larger than {_MAX_KEY} bytes")
        return PublicKey(fingerprint, key.name, name, content)

    @hookimpl
    def vault_own_recipients(self) -> tuple[str, ...]:
        """Return the fingerprints of the user's own keys that can be encrypted to."""
        gpg, agent, _ = self._user()
        found = keys.parse(gpg.listing("--list-secret-keys"))
        own = tuple(key.fingerprint for key in found if not key.problem)
        if not own and (missing := agent.missing()):
            kind, message, hint = faults.no_agent(missing)
            raise kind(message, hint)
        if not own:
            raise damage.of_home(gpg) or LockedError(
                "you have no gpg key that can be encrypted to", "gpg --full-generate-key makes one"
            )
        return own

    @hookimpl
    def vault_check(self, public_keys: Mapping[str, bytes]) -> tuple[Finding, ...]:
        """Return what is wrong with gpg, its agent, pinentry and the members' keys."""
        _, agent, _ = self._user()
        found = [*checks.of_program(), *checks.of_agent(agent)]
        found += checks.of_keys(self._keys(public_keys).keys.values())
        if not passphrase.is_given(self._options, self._table):
            found += checks.of_pinentry(self._table)
        return tuple(found)

    def close(self) -> None:
        """End what runs, for good; stop the agent that was started, and forget keyrings and passphrase."""
        with ExitStack() as closing:
            for open_one in (self._agent, *self._keyrings):
                if open_one:
                    closing.callback(open_one.close)
            self._stop.now()
        self._keyrings = []
        self._own = self._agent = self._cards = self._passphrase = self._groups = None
        self._opened_for.clear()

    def _keys(self, public_keys: Mapping[str, bytes]) -> Keyring:
        """Return the keyring of *public_keys*: a change has two, of what was there and of what is to be."""
        with self._lock:
            found = next((it for it in self._keyrings if it.public_keys == public_keys), None)
            if found is None:
                found = Keyring(public_keys, self._stop)
                self._keyrings.append(found)
            return found

    def _user(self) -> tuple[Gpg, Agent, Cards]:
        """Return gpg with the user's keys, their cards, and its agent, of which it notes whether it is there already."""
        with self._lock:
            self._stop.check()
            if not (self._own and self._agent and self._cards):
                self._own = Gpg(self._home, self._stop, ours=False)
                self._agent = Agent(self._home)
                self._cards = Cards(self._own)
            return self._own, self._agent, self._cards

    def _opened(self, secret: Secret, ciphertext: bytes, key_ids: tuple[str, ...]) -> bytes:
        gpg, agent, cards = self._user()
        with self._lock:
            if self._passphrase is None:
                self._passphrase = passphrase.read(self._options, self._table, self._stop)
        is_given = self._passphrase is not None
        is_tried = is_given and cards.are_unproven(key_ids)
        unwraps = is_given and cards.are_unproven()
        # Or all who have seen at the same time how many tries are left would spend one, here and in other commands.
        with agent.alone(ASKING_SECONDS, self._stop) if is_tried else nullcontext():
            cards.check(secret.name, key_ids, spares_last=self._spares_last())
            opened, lines = gpg.decrypt(ciphertext, self._passphrase, unwraps=unwraps)
            cards.heard(lines)
        if opened is None:
            raise faults.explained(secret.name, lines, self._around(key_ids))
        plaintext = self._keys({}).plaintext(opened) if unwraps else opened
        if plaintext is None:
            raise IntegrityError(f"secret '{secret.name}': holds something else than one plaintext")
        return plaintext

    def _around(self, key_ids: tuple[str, ...]) -> faults.Around:
        gpg, agent, cards = self._user()
        return faults.Around(
            agent=agent.missing,
            home=agent.trouble,
            tries=partial(cards.tries, key_ids),
            cards=partial(cards.numbers, key_ids),
            damage=partial(damage.of_home, gpg),
            table=self._table,
        )

    def _spares_last(self) -> bool:
        """Tell whether a card's last try is spared: nobody sees how many there are where the PIN comes from a file."""
        consents = cast("frozenset[str]", self._options.get("consents", frozenset()))
        return self._passphrase is not None and LAST_TRY not in consents

    def groups(self) -> Mapping[str, Sequence[str]]:
        """Return the groups of the user's gpg.conf, by name."""
        if self._groups is None:
            records = Gpg(self._home, self._stop, ours=False).listing("--list-config", "group")
            self._groups = {
                record[2]: tuple(filter(None, record[3].split(";")))
                for record in records
                if record[:2] == ["cfg", "group"] and len(record) > 3  # noqa: PLR2004 - cfg:group:NAME:MEMBERS
            }
        return self._groups

    def _from_file(self, path: str) -> tuple[str, bytes]:
        with files.directory(os.path.dirname(path) or ".") as folder:
            data = files.read(folder, os.path.basename(path), _MAX_KEY)
        try:
            return packets.one_key(data)
        except IntegrityError as error:
            raise UsageError(f"'{names.shown(path)}': {error.message}", error.hint) from None

    def _from_user(self, text: str) -> tuple[str, bytes]:
        if not is_hexadecimal(text) and not keys.address(text):
            raise UsageError(
                f"'{names.shown(text)}' is neither a file, a full fingerprint, a long key id nor an address"
            )
        gpg = Gpg(self._home, self._stop, ours=False)
        listed = keys.parse(gpg.listing("--list-keys", "--", _specification(text)))
        found = matching(text, {key.fingerprint: key for key in listed})
        if not found:
            hint = "vault recipients add FILE, the file that they export with gpg --armor --export"
            raise damage.of_home(gpg) or NotFoundError(
                f"'{names.shown(text)}' is no key in your keyring", hint
            )
        if len(found) > 1:
            several = ", ".join(key.fingerprint for key in found)
            raise UsageError(f"'{names.shown(text)}' means several keys: {several}", "give the fingerprint")
        _refuse_unusable(found[0])
        minimal = ("--no-armor", "--export-options", "export-minimal")
        answer, _ = gpg.call(*minimal, "--export", "--", found[0].fingerprint)
        return packets.one_key(answer.output)


def config_of(options: Options, table: str) -> None:
    """Refuse *options*, the user's *table*, that the plugin has not.

    Raises ConfigError.
    """
    for name in options:
        if name not in _OPTIONS | GIVEN:
            raise ConfigError(f"{table} has no option '{names.shown(name)}'")
    home = options.get("home", "")
    if not isinstance(home, str) or (home and not os.path.isabs(home)):
        raise ConfigError(f"{table} home is not an absolute path")
    passphrase.is_given(options, table)


def _is_file(text: str) -> bool:
    return "/" in text or text.endswith(_FILES)


def _specification(text: str) -> str:
    """Return *text* so that gpg takes it for nothing else."""
    plain = text.replace(" ", "")
    if is_hexadecimal(text):
        return plain if plain.lower().startswith("0x") else f"0x{plain}"
    return f"<{keys.address(text)}>"


def _refuse_unusable(key: Key) -> None:
    if key.problem:
        raise UsageError(f"key {key.fingerprint} ({names.shown(key.name)}) {key.problem}")
