"""The values that go between the core and its plugins."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

Options = Mapping[str, object]
"""A plugin's own table of the local configuration, and what the core puts there for every plugin.

``options["identities"]`` is a tuple of absolute paths (str) of identity files to try, in order.
``options["ui"]`` is a :class:`UI`, to ask and tell the user. ``options["credentials"]`` is the
absolute path (str) of the directory of systemd credentials, or ``""``.
``options["consents"]`` is a frozenset of what the user allowed on the command line, which is never
done without that: ``"last-try"`` (spend the last try of a PIN) and ``"free-reader"`` (end what holds a device).
"""


GIVEN = frozenset({"identities", "ui", "credentials", "consents"})
"""The names of what the core puts there: what else stands in a plugin's table is the user's own."""


class UI(Protocol):
    """The user, who may not be there: every question can be answered with None for that."""

    def message(self, text: str) -> None:
        """Tell the user *text*, one line, which may come from a hostile place."""

    def confirm(self, question: str, yes: str, no: str) -> bool | None:
        """Ask *question*, whose answers are called *yes* and *no* (``""``: there is only one)."""

    def public(self, prompt: str) -> str | None:
        """Ask for something that may be seen."""

    def secret(self, prompt: str) -> bytes | None:
        """Ask for a passphrase or PIN, without echo."""

    def progress(self, done: int, total: int) -> None:
        """Show that *done* of *total* steps are done, where there is somebody to see it."""


class Secret(NamedTuple):
    """Which secret a call is about."""

    name: str
    """The name without plugin prefix: ``tailscale/container-key``."""
    path: str
    """Where its ciphertext lies, relative to the vault: ``secrets/tailscale/container-key.age``."""


class Housing(NamedTuple):
    """Where the secrets of a plugin lie that are in no vault."""

    directory: str
    """An absolute path."""
    umask: int
    """Permission bits that no file and no folder gets that is made there."""


class Reader(NamedTuple):
    """Somebody whom a line of a recipients file stands for."""

    recipient: str
    """In the one form that ``vault_encrypt`` takes and that a host approves, like a full fingerprint."""
    name: str = ""
    """Whose it is, by the key itself; nobody vouches for it."""
    expires: str = ""
    """The last day (UTC) on which something can be encrypted to it, ``YYYY-MM-DD``, or ``""``."""
    file: str = ""
    """Which of the public key files it comes from, or ``""``."""
    problem: str = ""
    """Why nothing can be encrypted to it now, for people to read, or ``""``."""


class Vouched(NamedTuple):
    """What somebody vouches for of a recipients file."""

    recipients: tuple[str, ...]
    """The recipients; none when nobody vouches."""
    signed: int = 0
    """When it was signed, in seconds since 1970; 0 when there is no signature."""


class PublicKey(NamedTuple):
    """A public key that is to travel with the vault."""

    recipient: str
    """As it is to stand in a recipients file."""
    name: str
    """Whose it is, by the key itself."""
    file: str
    """The name of its file, one component."""
    content: bytes
    """Of that file."""


class Finding(NamedTuple):
    """Something that is not as it should be."""

    text: str
    """Which thing, and what is wrong with it."""
    hint: str
    """What to do about it, or ``""``."""


class Target(NamedTuple):
    """One file that is about to be delivered to a service."""

    directory: int
    """An open descriptor of the directory. It was reached without following a link."""
    name: str
    """The file's final name, one component. The core renames to it; a plugin never does."""
    mode: int
    """Permission bits of the finished file; none for others."""
    uid: int
    gid: int


class Stanza(NamedTuple):
    """One stanza of an age header (C2SP age.md): the file key as wrapped for one recipient."""

    args: tuple[str, ...]
    """The type, then its arguments: at least one, each printable ASCII without spaces."""
    body: bytes


class Pattern(NamedTuple):
    """What a kind of secret looks like, for the scanner of the git hooks."""

    name: str
    """What it is called in a report: ``Example API token``."""
    needle: bytes
    """At least 4 bytes that stand in every one, at most 128 bytes behind its start."""
    expression: bytes
    """For Python's :mod:`re`, matched on bytes; its group 1 is the random part. At most 3 KiB match."""
