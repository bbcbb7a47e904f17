"""Stand-ins for what the tests cannot have: keys in hardware, key plugins, and a person at the keyboard."""

import hashlib
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric import ec, mlkem

from tskeyvault.errors import VaultError
from tskeyvault.spec import Stanza
from tskeyvault_age import bech32, hpke, tag
from tskeyvault_age.header import b64decode
from tskeyvault_age.tag import TagPQRecipient, TagRecipient


class TagIdentity:
    """A P-256 key that opens p256tag stanzas, as a device would: only the ECDH is its own."""

    kind = tag.P256TAG

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.recipient: TagRecipient | TagPQRecipient = TagRecipient(self._key.public_key())

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the file key (16 bytes) from the stanza whose tag is ours, or None."""
        for stanza in stanzas:
            if stanza.args[0] == self.kind:
                found, enc = (b64decode(text.encode()) for text in stanza.args[1:])
                if found == tag.tag(self.kind, enc, self._hashed()):
                    return hpke.open_base(
                        self._shared(enc), tag.KEM[self.kind], tag.info(self.kind), stanza.body
                    )
        return None

    def _hashed(self) -> bytes:
        return tag.compressed(self._key.public_key())

    def _shared(self, enc: bytes) -> bytes:
        return hpke.dhkem_shared_secret(self._ecdh(enc), enc, tag.uncompressed(self._key.public_key()))

    def _ecdh(self, point: bytes) -> bytes:
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        return self._key.exchange(ec.ECDH(), public)


class TagPQIdentity(TagIdentity):
    """The post-quantum pair of keys that opens mlkem768p256tag stanzas."""

    kind = tag.MLKEM768P256TAG

    def __init__(self) -> None:
        super().__init__()
        self._lattice = mlkem.MLKEM768PrivateKey.generate()
        public = tag.uncompressed(self._key.public_key())
        self.recipient = TagPQRecipient(self._lattice.public_key().public_bytes_raw() + public)

    def _hashed(self) -> bytes:
        return tag.uncompressed(self._key.public_key())

    def _shared(self, enc: bytes) -> bytes:
        secret = self._lattice.decapsulate(enc[:1088])
        point = enc[1088:]
        return hpke.hybrid_shared_secret(secret, self._ecdh(point), point, self._hashed())


class Person:
    """A user interface that answers every question for a secret with the same, and counts."""

    def __init__(self, answer: bytes | None = None):
        self.answer = answer
        self.prompts: list[str] = []
        self.messages: list[str] = []
        self.steps: list[tuple[int, int]] = []

    def message(self, text: str) -> None:
        """Keep *text*."""
        self.messages.append(text)

    def confirm(self, question: str, yes: str, no: str) -> bool | None:
        """Nobody is there."""

    def public(self, prompt: str) -> str | None:
        """Nobody is there."""

    def secret(self, prompt: str) -> bytes | None:
        """Return the answer."""
        self.prompts.append(prompt)
        return self.answer

    def progress(self, done: int, total: int) -> None:
        """Keep how far it is."""
        self.steps.append((done, total))


class FakePlugins:
    """Key plugins that keep the file key in the stanza, XORed with a hash of the recipient.

    A stanza ``-> NAME broken`` makes a call fail by IntegrityError, as a malformed one would.
    """

    def __init__(self, failure: VaultError | None = None, labels: frozenset[str] = frozenset()):
        self.failure = failure
        self.labels = labels
        self.calls: list[int] = []

    def wrap(self, name: str, recipient: str, file_key: bytes) -> tuple[Sequence[Stanza], frozenset[str]]:
        """Return two stanzas, the second of which means nothing."""
        return (Stanza((name, "x"), _masked(recipient, file_key)), Stanza(("grease",), b"")), self.labels

    def unwrap(self, name: str, identity: str, files: Sequence[Sequence[Stanza]]) -> Mapping[int, bytes]:
        """Return the file keys of all *files* that have a stanza for *identity*."""
        from tskeyvault.errors import IntegrityError

        self.calls.append(len(files))
        if self.failure:
            raise self.failure
        stanzas = [(at, stanza) for at, file in enumerate(files) for stanza in file if stanza.args[0] == name]
        if any(stanza.args[1] == "broken" for _, stanza in stanzas):
            raise IntegrityError("a stanza is broken")
        recipient = f"age1{name}1"
        return {at: _masked(recipient, stanza.body) for at, stanza in stanzas if identity}


def plugin_recipient(name: str) -> str:
    """Return a recipient of the fake plugin *name*."""
    return bech32.encode(f"age1{name}", b"public")


def plugin_identity(name: str) -> str:
    """Return an identity of the fake plugin *name*."""
    return bech32.encode(f"AGE-PLUGIN-{name.upper()}-", b"private")


def _masked(recipient: str, key: bytes) -> bytes:
    mask = hashlib.sha256(recipient.rpartition("1")[0].encode() + b"1").digest()
    return bytes(a ^ b for a, b in zip(key, mask, strict=False))
