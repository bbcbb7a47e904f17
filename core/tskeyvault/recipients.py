"""Who can read: recipients files, and whether this host has approved what stands in them."""

from collections.abc import Callable, Container, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from . import git, names, plugins
from .backend import NO_KEYS, PublicKeys
from .errors import ConfigError, IntegrityError, NotFoundError
from .state import State
from .store import Store
from .values import Reader, Vouched

_MAX_LINES = 50
"""Of a difference that is shown."""
_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")
MAX_SIZE = 4 << 20
"""Bytes of a recipients file."""


class Recipient(NamedTuple):
    """One line of a recipients file and the comment above it."""

    text: str
    """The recipient in its plugin's own form; opaque to the core."""
    label: str
    """Whose it is, by the comment above; nobody vouches for it."""


class Recipients(NamedTuple):
    """A recipients file."""

    path: str
    """Relative to the vault: ``secrets/.age-recipients``."""
    entries: tuple[Recipient, ...]
    readers: tuple[tuple[Reader, ...], ...] = ()
    """Whom each of the entries stands for, once the plugin was asked; before, each stands for itself."""
    public_keys: PublicKeys = NO_KEYS
    """The very files that the plugin was asked with."""

    @property
    def meant(self) -> tuple[Recipient, ...]:
        """All whom the entries stand for, each with what it is called here."""
        return tuple(
            Recipient(reader.recipient, entry.label or (entry.text if entry.text != reader.recipient else ""))
            for entry, readers in self.pairs
            for reader in readers
        )

    @property
    def pairs(self) -> tuple[tuple[Recipient, tuple[Reader, ...]], ...]:
        """The entries, each with whom it stands for."""
        readers = self.readers or tuple((Reader(entry.text),) for entry in self.entries)
        return tuple(zip(self.entries, readers, strict=True))

    @property
    def texts(self) -> tuple[str, ...]:
        """What is encrypted to, in file order, each once."""
        return tuple(dict.fromkeys(found.text for found in self.meant))

    @property
    def approvable(self) -> tuple[str, ...]:
        """Recipient and label of each, with a line end between: what a host approves."""
        return tuple(f"{found.text}\n{found.label}" for found in self.meant)


Resolve = Callable[[str, Recipients], Recipients]
"""Asks a plugin, by name, whom the entries of its recipients file stand for."""


def as_written(_plugin: str, found: Recipients) -> Recipients:
    """Return *found* as it is: for plugins whose recipients are themselves what is encrypted to."""
    return found


Voucher = Callable[[str, bytes, bytes], Vouched]
"""Asks a plugin, by name, who is vouched for by a recipients file and its signature."""


def nobody_vouches(_plugin: str, _content: bytes, _signature: bytes) -> Vouched:
    """Return that nobody is vouched for."""
    return Vouched(())


class RecipientsChangedError(IntegrityError):
    """A recipients file is not what this host approved: exit code 5."""

    def __init__(self, change: "Change", who: str, plugin: str):
        lines = [f"the recipients in '{names.shown(change.path)}' are not those this host approved"]
        lines += [f"  {line}" for line in change.lines]
        if who:
            lines.append(f"  last changed in {who}")
        where = f" --plugin {plugin}" if plugins.is_housed(plugin) else ""
        undo = f"; git revert {who.partition(' ')[0]}, when not" if who else ""
        super().__init__(
            "\n".join(lines), f"vault recipients ack{where}, when this is how it should be{undo}"
        )
        self.change = change


class Change(NamedTuple):
    """What differs between a recipients file and what was approved of it."""

    path: str
    added: tuple[Recipient, ...]
    removed: tuple[Recipient, ...]
    gone: bool
    """The file itself is no longer there, so that those of a folder above would read."""
    now: tuple[str, ...]
    """What is approved by approving it."""
    names: Mapping[str, str] = MappingProxyType({})
    """Whose each recipient is by the key itself, where a plugin said so."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The difference for people to read, a line each."""
        lines = ["the file is gone"] if self.gone else []
        lines += [
            f"+ {names.shown(entry.text)}{_called(entry.label)}{self._by_key(entry)}" for entry in self.added
        ]
        lines += [f"- {names.shown(text)}{_called(label)}" for text, label in self.removed]
        more = len(lines) - _MAX_LINES
        return (*lines[:_MAX_LINES], f"and {more} more") if more > 0 else tuple(lines)

    def _by_key(self, entry: Recipient) -> str:
        name = self.names.get(entry.text, "")
        return f"  its key says: {names.shown(name)}" if name not in {"", entry.label} else ""


def parse(path: str, data: bytes) -> Recipients:
    """Return the Recipients in *data*, a recipients file in UTF-8: one a line, ``# name`` above each.

    Raises ConfigError.
    """
    try:
        lines = data.decode().split("\n")  # and not at what else Unicode calls a line
    except UnicodeDecodeError:
        raise ConfigError(f"{names.shown(path)}: not in UTF-8") from None
    entries, label = [], ""
    for line in (line.strip(" \t\r") for line in lines):
        if line.startswith(_CONFLICT):
            raise ConfigError(f"{names.shown(path)}: has the marks of a merge conflict", "resolve it first")
        if line.startswith("#"):
            label = line.lstrip("# ")
        elif line:
            entries.append(Recipient(line, label))
            label = ""
        else:
            label = ""
    return Recipients(path, tuple(entries))


def render(recipients: Recipients) -> bytes:
    """Return *recipients* in the form that :func:`parse` reads."""
    lines = []
    for entry in recipients.entries:
        lines += [f"# {entry.label}"] if entry.label else []
        lines.append(entry.text)
    return "".join(f"{line}\n" for line in lines).encode()


def load(store: Store, path: str) -> Recipients:
    """Return the recipients file at *path*.

    Raises NotFoundError, IntegrityError for a link, ConfigError.
    """
    return parse(path, store.read(path, MAX_SIZE))


def governing(store: Store, plugin: str, folder: str) -> Recipients:
    """Return the recipients that *plugin*'s secrets in *folder* are encrypted to.

    Raises NotFoundError.
    """
    path = store.nearest(plugins.recipients_file(plugin), folder)
    if not path:
        where = f"'{folder}'" if folder else "the vault"
        raise NotFoundError(f"{where} has no recipients for plugin '{plugin}'", _how_to_add(plugin))
    found = load(store, path)
    if not found.entries:
        raise NotFoundError(f"'{path}' names nobody", _how_to_add(plugin))
    return found


def changes(store: Store, state: State, resolve: Resolve = as_written) -> list[Change]:
    """Return what is not as this host approved it, of all recipients files."""
    present = [resolve(plugin, load(store, path)) for plugin, path in store.recipients_files(lambda _: None)]
    gone = {*state.approved_paths, *state.signed_paths} - {found.path for found in present}
    found = [_compare(recipients, state.approved(recipients.path)) for recipients in present]
    found += [_gone(path, state.approved(path) or ()) for path in sorted(gone)]
    return [change for change in found if change.added or change.removed or change.gone]


def approved(
    store: Store,
    state: State,
    directory: str,
    plugin: str,
    folder: str,
    *,
    resolve: Resolve = as_written,
    vouched: Voucher = nobody_vouches,
) -> Recipients:
    """Return :func:`governing` recipients when this host has approved exactly these, or *vouched* for them.

    Raises RecipientsChangedError for others, also when a nearer file that was approved is gone.
    """
    path = store.nearest(plugins.recipients_file(plugin), folder)
    found = vouched(plugin, _content(store, path), _content(store, path and f"{path}.sig"))
    if found.recipients:
        lines = tuple(Recipient(text, "") for text in found.recipients)
        recipients = resolve(plugin, Recipients(path, lines))
        change = Change(path, (), (), gone=False, now=())
        if not path:
            return recipients
    else:
        try:
            recipients = resolve(plugin, governing(store, plugin, folder))
        except NotFoundError as error:
            path = path or f"{plugins.folder(plugin)}/{plugins.recipients_file(plugin)}"
            undo = git.undo(directory, path)
            raise NotFoundError(error.message, undo or error.hint) from None
        change = _compare(recipients, state.approved(recipients.path))
    below = _below(plugin, folder, recipients.path)
    for nearer in below:
        if (before := state.approved(nearer)) is not None or nearer in state.signed_paths:
            change = _gone(nearer, before or ())
    if change.added or change.removed or change.gone:
        raise RecipientsChangedError(change, git.last_change(directory, change.path), plugin)
    if found.signed:
        _remember(state, path, found.signed)
    return recipients


def _remember(state: State, path: str, signed: int) -> None:
    """Remember that the file at *path* was signed at *signed*, unless this host has seen one that was signed later.

    Raises IntegrityError: whoever brings back an old one brings back those who were removed since.
    """
    if signed < state.signed(path):
        raise IntegrityError(
            f"'{names.shown(path)}' was rolled back: this host has seen one that was signed later",
            "git log says by whom; the signer runs pass init again, when this is how it should be",
        )
    state.sign(path, signed)


def _content(store: Store, path: str) -> bytes:
    try:
        return store.read(path, MAX_SIZE) if path else b""
    except NotFoundError:
        return b""


def _below(plugin: str, folder: str, found: str) -> list[str]:
    """Return the paths of recipients files that would be nearer to *folder* than *found* is."""
    file = plugins.recipients_file(plugin)
    tree = plugins.folder(plugin)
    parts = [tree, *folder.split("/")] if folder else [tree]
    paths = ["/".join([*parts[:depth], file]) for depth in range(1, len(parts) + 1)]
    return paths[paths.index(found) + 1 :]


def _compare(recipients: Recipients, before: tuple[str, ...] | None) -> Change:
    known = dict.fromkeys(_approved(before or ()))
    texts, now = {entry.text for entry in known}, set(recipients.texts)
    added = tuple(entry for entry in recipients.meant if not _is_known(entry, known, texts))
    removed = tuple(entry for entry in known if entry.text not in now)
    called = {reader.recipient: reader.name for _, readers in recipients.pairs for reader in readers}
    return Change(
        recipients.path, added, removed, gone=False, now=recipients.approvable, names=MappingProxyType(called)
    )


def _is_known(entry: Recipient, known: Container[Recipient], texts: Container[str]) -> bool:
    """Tell whether *entry* was approved, by its name too where it has one: it is removed by that."""
    return entry in known or (not entry.label and entry.text in texts)


def _gone(path: str, before: tuple[str, ...]) -> Change:
    return Change(path, (), _approved(before), gone=True, now=())


def _approved(lines: Iterable[str]) -> tuple[Recipient, ...]:
    return tuple(
        Recipient(text, label) for text, _, label in (line.partition("\n") for line in sorted(lines))
    )


def _called(label: str) -> str:
    return f"  ({names.shown(label)})" if label else ""


def _how_to_add(plugin: str) -> str:
    return "vault recipients add RECIPIENT" + ("" if plugin == "age" else f" --plugin {plugin}")
