"""The age plugin: secrets as age v1 files, readable by every age program."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from tskeyvault.errors import IntegrityError, LockedError, PluginError, UsageError
from tskeyvault.spec import hookimpl
from tskeyvault.values import UI, Options, Secret
from tskeyvault_age import file

if TYPE_CHECKING:
    from tskeyvault_age.hybrid import HybridIdentity
    from tskeyvault_age.identities import Identities
    from tskeyvault_age.keyplugins import KeyPlugins
    from tskeyvault_age.kinds import Bringer
    from tskeyvault_age.opener import Opener
    from tskeyvault_age.x25519 import X25519Identity

_SHOWN = 20


class Plugin:
    """The hooks for age. Identities are read at the first need and kept until :meth:`close`.

    ``options["key_plugin"]`` is how the core finds plugins that bring kinds of keys; instead,
    ``options["key_plugins"]`` can be a whole :class:`tskeyvault_age.keyplugins.KeyPlugins`.
    """

    def __init__(self, options: Options):
        self._paths = cast("tuple[str, ...]", options.get("identities", ()))
        self._ui = cast("UI | None", options.get("ui"))
        self._find = cast("Callable[[str, str], Bringer | None] | None", options.get("key_plugin"))
        self._key_plugins = cast("KeyPlugins | None", options.get("key_plugins")) or _kinds(options)
        self._identities: Identities | None = None
        self._opener: Opener | None = None
        self._recipients: dict[str, file.Recipient] = {}  # parsing takes longer than encrypting to them

    @hookimpl
    def vault_encrypt(self, plaintext: bytes, recipients: Sequence[str], binding: bytes) -> bytes:
        """Return *plaintext* as an age file; a recipient that is named twice gets one stanza."""
        if not recipients:
            raise UsageError("no recipients: nobody could read the secret")
        parsed = {text: self._recipient(text, position) for position, text in enumerate(recipients, 1)}
        if len({str(recipient) for recipient in parsed.values()}) < len(parsed):
            # Removing one of them would seem to remove its owner.
            raise UsageError("two recipients are one key in another dress", "remove one of them")
        return file.encrypt(plaintext, parsed.values(), binding)

    @hookimpl
    def vault_decrypt(self, secret: Secret, ciphertext: bytes) -> bytes:
        """Return the plaintext of *ciphertext* by the first identity that opens it."""
        opener = self._own_opener()
        try:
            return file.decrypt_by(ciphertext, opener.file_key)
        except (IntegrityError, LockedError, PluginError) as error:
            raise type(error)(f"secret {secret.name!r}: {error.message}", error.hint) from None

    @hookimpl
    def vault_prepare(self, ciphertexts: Sequence[bytes]) -> bool:
        """Find the file keys of *ciphertexts*, so that a device is asked once for all of them."""
        heads = []
        for ciphertext in ciphertexts:
            try:
                heads.append(file.read_header(ciphertext))
            except IntegrityError:
                continue  # vault_decrypt says so
        if heads:
            self._own_opener().prepare(heads)
        return True

    @hookimpl
    def vault_binding(self, ciphertext: bytes) -> bytes:
        """Return the unverified binding in *ciphertext*."""
        return file.read_binding(ciphertext)

    @hookimpl
    def vault_keygen(self, options: Options) -> bytes:
        """Return a new identity file in the form of age-keygen, post-quantum when *options* say so."""
        identity = _new_identity(post_quantum=bool(options.get("post_quantum")))
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = f"# created: {created}\n# public key: {identity.recipient}\n{identity.export()}\n"
        return text.encode("ascii")

    @hookimpl
    def vault_own_recipients(self) -> Sequence[str]:
        """Return the recipients of all identities at hand, each once.

        Of identities of plugins, those that the plugins know; the user is told when they know none.
        """
        own = self._own()
        found = list(_recipients_of(own))
        for name in dict.fromkeys(identity.name for identity in own.plugins):
            plugin = self._find(name, "vault_own_recipients") if self._find else None
            known = plugin.own_recipients() if plugin else []
            if not known and self._ui:
                self._ui.message(f"the recipient of an identity of the plugin {name!r} is not known")
            found += known
        return tuple(dict.fromkeys(found))

    def close(self) -> None:
        """Forget the identities and the file keys."""
        self._identities = None
        self._opener = None

    def _own(self) -> "Identities":
        if self._identities is None:
            from tskeyvault_age import asking, identities

            self._identities = identities.load(self._paths, asking.asker(self._ui), self._key_plugins)
        return self._identities

    def _own_opener(self) -> "Opener":
        if self._opener is None:
            from tskeyvault_age.opener import Opener

            self._opener = Opener(self._own())
        return self._opener

    def _recipient(self, text: str, position: int) -> file.Recipient:
        """Return the recipient *text*; raise UsageError, which never shows what may be a secret."""
        if text in self._recipients:
            return self._recipients[text]
        from tskeyvault_age import recipients

        if text.strip().upper().startswith("AGE-"):
            raise UsageError(f"recipient {position} is an identity (a private key), not a recipient")
        try:
            recipient = recipients.parse(text, self._key_plugins)
        except UsageError as error:
            raise UsageError(f"recipient {position}{_excerpt(text)}: {error.message}") from None
        self._recipients[text] = recipient
        return recipient


def _kinds(options: Options) -> "KeyPlugins | None":
    """Return what brings kinds of keys: the plugins that the core finds, and programs."""
    find, ui = options.get("key_plugin"), options.get("ui")
    if find is None or ui is None:
        return None
    from tskeyvault_age.kinds import Kinds

    return Kinds(cast("Callable[[str, str], Bringer | None]", find), cast("UI", ui))


def _new_identity(*, post_quantum: bool) -> "HybridIdentity | X25519Identity":
    if post_quantum:
        from tskeyvault_age.hybrid import HybridIdentity

        return HybridIdentity.generate()
    from tskeyvault_age.x25519 import X25519Identity

    return X25519Identity.generate()


def _recipients_of(identities: "Identities") -> Iterator[str]:
    """Yield the recipient of each native identity; passphrase files are opened for it."""
    from tskeyvault_age.identities import PassphraseFile

    for identity in identities.native:
        if isinstance(identity, PassphraseFile):
            yield from _recipients_of(identity.opened())
        else:
            yield str(identity.recipient)


def _excerpt(text: str) -> str:
    # Whatever does not even start like a recipient may be anything, so a secret too.
    if not text.startswith(("age1", "ssh-")):
        return ""
    shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:_SHOWN])
    return f" ({shown}...)" if len(text) > _SHOWN else f" ({shown})"
