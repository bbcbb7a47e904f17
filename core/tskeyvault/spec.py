"""The plugin contract: the hooks. The values they are called with stand in :mod:`tskeyvault.values`.

A plugin is a module or a class that marks some functions with :data:`hookimpl`. A function may
name any subset of a hook's arguments, in any order. Every hook is called on one plugin only, the
one that the secret names: no other plugin sees the call, its arguments or its result.

Obligations that hold for every hook:

* Fail by raising a :class:`tskeyvault.errors.VaultError` whose message holds no secret. Any other
  exception is reported by its type alone.
* Leave no plaintext in arguments of programs, in the environment, in a log or in a file.
* Return in bounded time.
"""

from collections.abc import Mapping, Sequence

import pluggy

from .values import UI, Finding, Housing, Options, Pattern, PublicKey, Reader, Secret, Stanza, Target, Vouched

__all__ = [
    "PROJECT",
    "UI",
    "Finding",
    "Housing",
    "Options",
    "Pattern",
    "PublicKey",
    "Reader",
    "Secret",
    "Stanza",
    "Target",
    "VaultSpec",
    "Vouched",
    "hookimpl",
    "hookspec",
]

PROJECT = "tskeyvault"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class VaultSpec:
    """All hooks. A plugin implements those that it can."""

    @hookspec(firstresult=True)
    def vault_encrypt(  # noqa: PLR0917 - pluggy passes all by name
        self,
        secret: Secret,
        plaintext: bytes,
        recipients: Sequence[str],
        binding: bytes,
        public_keys: Mapping[str, bytes],
        options: Options,
    ) -> bytes | None:
        """Return *plaintext* encrypted to exactly *recipients*.

        *recipients* are lines of the recipients file, without comments, in file order, or what
        :meth:`vault_resolve` made of them; they come from a committed file and are to be treated as
        hostile, like *public_keys*: the files that travel with the vault in ``secrets/.public-keys``,
        by name, for a plugin that implements :meth:`vault_resolve`. No recipients, or one that is not
        understood, is an error: nobody is ever left out. *binding* (ASCII, below 4 KiB) is to be
        stored so that :meth:`vault_decrypt` fails when it was changed; a plugin whose format has
        no place for it does not ask for the argument.

        Raises UsageError for a bad recipient.
        """

    @hookspec(firstresult=True)
    def vault_decrypt(self, secret: Secret, ciphertext: bytes, options: Options) -> bytes | None:
        """Return the plaintext of *ciphertext*, whole and authenticated.

        *ciphertext* comes from a committed file and is to be treated as hostile.

        Raises LockedError when no identity opens it, IntegrityError when it is damaged.
        """

    @hookspec(firstresult=True)
    def vault_binding(self, ciphertext: bytes, options: Options) -> bytes | None:
        """Return the *binding* that :meth:`vault_encrypt` stored, or ``b""`` when there is none.

        Needs no identity, so it cannot verify anything. The core believes it only when
        :meth:`vault_decrypt` then opens the very same *ciphertext*.

        Raises IntegrityError when *ciphertext* cannot be parsed.
        """

    @hookspec(firstresult=True)
    def vault_materialize(
        self, secret: Secret, plaintext: bytes, target: Target, options: Options
    ) -> str | None:
        """Write *plaintext* beside its target, under a temporary name; return that name.

        The file must be new, in ``target.directory``, and finished: mode, owner and content are
        final and synced. The core checks it and renames it to ``target.name`` together with all
        others of the service, or removes it. The default writes the plaintext as it is.

        Raises DeliveryError.
        """

    @hookspec(firstresult=True)
    def vault_keygen(self, options: Options) -> bytes | None:
        """Return the text of a new identity file, UTF-8, for this plugin's kind of key."""

    @hookspec(firstresult=True)
    def vault_own_recipients(self, options: Options) -> tuple[str, ...] | None:
        """Return the recipients that belong to the identities at hand, to add oneself to a vault.

        A plugin that brings a kind of key to age returns those of its own kind.

        Raises LockedError when there is no identity.
        """

    @hookspec(firstresult=True)
    def vault_resolve(
        self, recipients: Sequence[str], public_keys: Mapping[str, bytes], options: Options
    ) -> list[tuple[Reader, ...]] | None:
        """Return whom each of *recipients* stands for, in the same order, at least one each.

        For a plugin whose recipients are names of keys. Who cannot be found is a Reader too, with
        the line itself and a problem, so that they can be shown and removed; :meth:`vault_encrypt`
        then refuses it. What a host approves is ``Reader.recipient``: it must not be possible to
        give somebody else that one. Both arguments are hostile.

        Raises IntegrityError for a public key file that is not what it should be.
        """

    @hookspec(firstresult=True)
    def vault_public_key(
        self, recipient: str, public_keys: Mapping[str, bytes], options: Options
    ) -> PublicKey | None:
        """Return the public key that the user calls *recipient*, to travel with the vault.

        It may come from a keyring of the user or from a file. Where *public_keys* has the key
        already, what is new is added to it and nothing, like a revocation, is lost.

        Raises NotFoundError; UsageError when several keys are meant, or one that cannot be used.
        """

    @hookspec(firstresult=True)
    def vault_encrypted_to(
        self,
        ciphertext: bytes,
        recipients: Sequence[str],
        public_keys: Mapping[str, bytes],
        options: Options,
    ) -> bool | None:
        """Tell whether *ciphertext* is encrypted to exactly *recipients*, without a key.

        For a plugin whose format has no place for a binding. Whoever cannot be told is not meant:
        then the answer is False, and the secret is encrypted anew.

        Raises IntegrityError when *ciphertext* cannot be parsed.
        """

    @hookspec(firstresult=True)
    def vault_store(self, options: Options) -> Housing | None:
        """Return the directory that this plugin's secrets lie in, outside of every vault.

        Only for built-in plugins that read another program's store. The core treats all that lies
        there as hostile, and commits to the store's own git.

        Raises NotFoundError when there is none.
        """

    @hookspec(firstresult=True)
    def vault_recipients(self, content: bytes, signature: bytes, options: Options) -> Vouched | None:
        """Return the recipients that this user or a signer of theirs vouches for; none when nobody does.

        *content* are the bytes of the nearest recipients file and *signature* those of the file
        beside it with ``.sig``; each may be empty. Who is vouched for needs no approval. A host that
        has seen a file that was signed later, or one that is gone, refuses.

        Raises IntegrityError when the user wants a signature, and this is not one of *content*.
        """

    @hookspec(firstresult=True)
    def vault_workers(self, options: Options) -> int | None:
        """Return how many calls of vault_encrypt or vault_decrypt may run at once, each in a thread.

        Optional: without it they come one after the other. After a failure, ``close`` may be
        called while others still run: it is to end them.
        """

    @hookspec(firstresult=True)
    def vault_check(self, public_keys: Mapping[str, bytes], options: Options) -> tuple[Finding, ...] | None:
        """Return what is wrong with this host's programs and with *public_keys*; change nothing."""

    @hookspec(firstresult=True)
    def vault_wrap(self, recipient: str, file_key: bytes, options: Options) -> Stanza | None:
        """Return *file_key* (16 bytes) wrapped for *recipient*, ``age1NAME1...`` with this plugin's name.

        For plugins that bring a kind of key to age. Needs no device and no private key.

        Raises UsageError when *recipient* is malformed.
        """

    @hookspec(firstresult=True)
    def vault_unwrap(
        self, identity: str, files: Sequence[Sequence[Stanza]], options: Options
    ) -> Mapping[int, bytes] | None:
        """Return the file keys (16 bytes each) that *identity*, ``AGE-PLUGIN-NAME-1...``, recovers.

        *files* are the stanzas of several headers; the result holds those that this identity
        opens, by index. Stanzas of foreign types are ignored. All files of a command come in one
        call, so that a device asks once.

        Raises LockedError when the device is absent or stays locked, IntegrityError when a stanza
        of its own type is malformed.
        """

    @hookspec(firstresult=True)
    def vault_prepare(self, ciphertexts: Sequence[bytes], options: Options) -> bool | None:
        """Learn which *ciphertexts* are decrypted next, to do for all at once what can be; return True.

        Optional. Each of them comes to :meth:`vault_decrypt` afterwards, in any order. Failures
        that concern one ciphertext are to be kept until then.
        """

    @hookspec(firstresult=True)
    def vault_patterns(self, options: Options) -> tuple[Pattern, ...] | None:
        """Return what the keys look like that this plugin knows of, for the git hooks to find.

        Called when the hooks are installed or refreshed, never when they run.
        """
