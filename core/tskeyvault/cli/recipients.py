"""``vault recipients``: list, add, remove or approve those who can read."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable

from tskeyvault import change, git, limits, names, plugins, recipients
from tskeyvault.errors import IntegrityError, NotFoundError, UsageError, VaultError
from tskeyvault.journal import Note
from tskeyvault.recipients import Change, Recipient, Recipients
from tskeyvault.store import FOLDER, Entry
from tskeyvault.values import Reader, Secret
from tskeyvault.vault import Vault, opened

from . import common, place, recipients_check, terminal
from .insert import approve
from .rekey import show_plan


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="ls|add|rm|ack|check")
    listing = verbs.add_parser("ls", help="list recipients files and who stands in them", allow_abbrev=False)
    listing.add_argument("--json", action="store_true", help="as JSON")
    adding = verbs.add_parser("add", help="let somebody read, and re-encrypt for them", allow_abbrev=False)
    adding.add_argument(
        "recipient", metavar="RECIPIENT", help="like age1...; for gpg a key, an address or a file with a key"
    )
    adding.add_argument("--name", default="", metavar="TEXT", help="whose it is, for a comment in the file")
    removing = verbs.add_parser("rm", help="let somebody read no longer, and re-encrypt", allow_abbrev=False)
    removing.add_argument(
        "recipient", nargs="+", metavar="RECIPIENT", help="the recipient, or the name it was added with"
    )
    removing.add_argument(
        "-f", "--force", action="store_true", help="also the user's own key, without asking"
    )
    for verb in (adding, removing):
        verb.add_argument("--folder", default="", metavar="FOLDER", help="for the secrets of a folder only")
        verb.add_argument("--plan", action="store_true", help="only say what would be re-encrypted")
        verb.add_argument("--no-commit", action="store_true", help="do not commit to git")
    approving = verbs.add_parser(
        "ack", help="approve recipients that were changed elsewhere", allow_abbrev=False
    )
    approving.add_argument("-y", "--yes", action="store_true", help="do not ask")
    checking = verbs.add_parser(
        "check", help="say until when each can be encrypted to, and what is wrong", allow_abbrev=False
    )
    checking.add_argument("--json", action="store_true", help="as JSON")
    for verb in (listing, adding, removing, approving, checking):
        verb.add_argument(
            "--plugin", default="", metavar="PLUGIN", help="of another plugin than the vault's own"
        )
        common(verb, opens=verb in {adding, removing})


def run(options: Namespace) -> int:
    """Do what the verb says."""
    with opened(place(options), os.environ, terminal.USER, options.plugin) as vault:
        verbs = {"ls": _list, "add": _add, "rm": _remove, "ack": _ack, "check": recipients_check.run}
        return verbs[options.verb](vault, options)


def _list(vault: Vault, options: Namespace) -> int:
    unapproved = {it.path for it in recipients.changes(vault.store, vault.state, vault.resolve)}
    files = vault.store.recipients_files(lambda path: terminal.warn(f"passed over: {names.shown(path)}"))
    found = [vault.resolve(plugin, recipients.load(vault.store, path)) for plugin, path in files]
    if options.json:
        terminal.as_json(
            [
                {
                    "path": file.path,
                    "approved": file.path not in unapproved,
                    "recipients": [
                        {"recipient": entry.text, "name": entry.label} | _keys(file, readers)
                        for entry, readers in file.pairs
                    ],
                }
                for file in found
            ]
        )
        return 0
    for file in found:
        terminal.lines([f"{file.path}{' (not approved on this host)' if file.path in unapproved else ''}"])
        for entry, readers in file.pairs:
            terminal.lines([f"  {entry.text}{f'  {entry.label}' if entry.label else ''}"])
            terminal.lines(f"    {_described(entry, reader)}" for reader in readers if file.readers)
    return 0


def _keys(file: Recipients, readers: Iterable[Reader]) -> dict[str, object]:
    """Return what there is to say of *readers* where a plugin said who they are."""
    return {"readers": [reader._asdict() for reader in readers]} if file.readers else {}


def _described(entry: Recipient, reader: Reader) -> str:
    until = f"until {reader.expires}" if reader.expires else ""
    recipient = "" if reader.recipient == entry.text else reader.recipient
    return "  ".join(filter(None, [recipient, reader.name, reader.problem or until]))


def _add(vault: Vault, options: Namespace) -> int:
    text, label = options.recipient.strip(), _label(options.name)
    whom: list[str] = []

    def added(plugin: str, before: Recipients) -> tuple[Recipients, str]:
        key = vault.plugins.get(plugin).public_key(text, before.public_keys)
        entry = (
            Recipient(key.recipient, label or _label(names.shown(key.name)))
            if key
            else Recipient(text, label)
        )
        public_keys = {**before.public_keys, key.file: key.content} if key else before.public_keys
        whom.append(entry.label or names.shown(entry.text))
        if key:
            terminal.say(
                f"the key {key.recipient} says that it is {names.shown(key.name)}: compare it with theirs"
            )
        is_there = entry.text in before.texts
        if is_there and public_keys == before.public_keys:
            raise UsageError(f"{names.shown(entry.text)} can read that already")
        entries = before.entries if is_there else (*before.entries, entry)
        new = vault.resolve(plugin, before._replace(entries=entries), public_keys)
        _refuse_unusable(vault, plugin, new, entry.text)
        return new, f"Renew the key of {whom[0]} for" if is_there else f"Let {whom[0]} read"

    known = _change(vault, options, added)
    if not options.plan:
        terminal.say(f"{whom[0]} can read {_counted(len(known))}")
    return 0


def _remove(vault: Vault, options: Namespace) -> int:
    wanted = [text.strip() for text in options.recipient]
    if not all(wanted):  # those without a name are not meant
        raise UsageError("which recipient?", "vault recipients ls")
    gone: list[Recipient] = []

    def left(plugin: str, before: Recipients) -> tuple[Recipients, str]:
        meant: set[str] = set()
        for text in wanted:
            whom, lines = _meant(vault, plugin, text, before)
            meant |= whom
            gone.extend(entry for entry in lines if entry not in gone)
        kept = tuple(entry for entry in before.entries if entry not in gone)
        if not kept:
            raise UsageError("that would leave nobody who can read", "add somebody first")
        after = vault.resolve(plugin, before._replace(entries=kept, readers=()), before.public_keys)
        if still := set(before.texts) & meant & set(after.texts):
            raise UsageError(
                f"{names.shown(min(still))} still reads as one of a group", "take it out of the group first"
            )
        if not options.force:
            _refuse_shutting_out(vault, plugin, before, after)
        return _without_keys(vault, plugin, before, after), f"Let {_named(gone)} read no longer"

    known = _change(vault, options, left)
    if not options.plan:
        whom = ", ".join(f"{entry.label} ({entry.text})" if entry.label else entry.text for entry in gone)
        terminal.say(
            f"{names.shown(whom)} reads nothing new, and knows what was there before: rotate {_counted(len(known))}"
        )
        terminal.lines(entry.name for entry in known)
        _tell_of_others(vault, options, gone)
    return 0


def _tell_of_others(vault: Vault, options: Namespace, gone: Iterable[Recipient]) -> None:
    """Say which folders have recipients of their own, among whom somebody of *gone* still is."""
    plugin = names.plugin(options.plugin or vault.settings.backend)
    top = f"{FOLDER}/{options.folder}".rstrip("/")
    texts = {entry.text for entry in gone}
    for other, path in vault.store.recipients_files(lambda _: None):
        folder = path.rpartition("/")[0]
        if other != plugin or not folder.startswith(f"{top}/"):
            continue
        there = vault.resolve(plugin, recipients.load(vault.store, path)).texts
        for text in sorted(texts & set(there)):
            where = names.shown(folder.partition("/")[2])
            terminal.warn(f"{names.shown(text)} still reads '{where}'")
            terminal.hint(f"vault recipients rm {names.shown(text)} --folder {where}")


def _meant(vault: Vault, plugin: str, text: str, before: Recipients) -> tuple[set[str], list[Recipient]]:
    """Return whom the plugin takes *text* for, when that is one alone, and the entries that *text* means.

    Raises NotFoundError when it means none.
    """
    meant: set[str] = set()
    if before.readers:
        (found,) = vault.plugins.get(plugin).resolve([text], before.public_keys)
        meant = {reader.recipient for reader in found} if len(found) == 1 else set()
    lines = [
        entry
        for entry, readers in before.pairs
        if text in {entry.text, entry.label} or {reader.recipient for reader in readers} <= meant
    ]
    if not lines:
        raise NotFoundError(f"{names.shown(text)} is not among the recipients", "vault recipients ls")
    return meant, lines


def _without_keys(vault: Vault, plugin: str, before: Recipients, after: Recipients) -> Recipients:
    """Return *after* without the public keys of those who were taken out, unless another file names them."""
    others = [
        vault.resolve(plugin, recipients.load(vault.store, path), before.public_keys)
        for other, path in vault.store.recipients_files(lambda _: None)
        if other == plugin and path != after.path
    ]
    needed = {reader.file for file in (after, *others) for _, readers in file.pairs for reader in readers}
    unneeded = {reader.file for _, readers in before.pairs for reader in readers} - needed
    kept = {name: data for name, data in after.public_keys.items() if name not in unneeded}
    return after._replace(public_keys=kept)


def _change(
    vault: Vault, options: Namespace, changed: Callable[[str, Recipients], tuple[Recipients, str]]
) -> list[Entry]:
    """Write what *changed* makes of the recipients, and re-encrypt, or with --plan say so; return the secrets.

    *changed* also says what it did, for git.
    """
    plugin = names.plugin(options.plugin or vault.settings.backend)
    folder = names.secret(options.folder.rstrip("/")) if options.folder else ""
    where = f"the secrets of {folder}" if folder else "all secrets"
    if vault.plugin:
        raise UsageError("who reads there is the business of the store's own program", "pass init ID...")
    limits.protect_memory()
    with vault.changes.lock():
        new, what = changed(plugin, _present(vault, plugin, folder))
        note = Note(f"{what} {where}", not options.no_commit)
        entries = change.governed(vault, plugin, new.path)
        tasks = change.plan(vault, entries, new)
        show_plan(tasks)
        if options.plan:
            return entries
        change.rekey(vault, tasks, terminal.progress, new, note)
    return entries


def _present(vault: Vault, plugin: str, folder: str) -> Recipients:
    """Return the recipients file to change, and in it who reads there now, approved."""
    file = plugins.recipients_file(plugin)
    if folder and not any(
        entry.name.startswith(f"{folder}/") for entry in vault.store.entries(lambda _: None)
    ):
        terminal.warn(f"there is no secret in '{names.shown(folder)}' yet: this holds for those to come")
    path = "/".join(part for part in (FOLDER, folder, file) if part)
    if not vault.store.nearest(file, folder):
        return vault.resolve(plugin, Recipients(path, ()))
    found: list[Recipients] = []
    approve(vault, lambda: found.append(vault.readers(Entry(plugin, f"{folder}/x" if folder else "x"))))
    return found[-1]._replace(path=path)


def _named(entries: Iterable[Recipient]) -> str:
    return ", ".join(entry.label or names.shown(entry.text) for entry in entries)


def _counted(number: int) -> str:
    return f"{number} secret{'' if number == 1 else 's'}"


def _ack(vault: Vault, options: Namespace) -> int:
    vault.changes.recover()
    found = recipients.changes(vault.store, vault.state, vault.resolve)
    if not found:
        terminal.say("all recipients are approved")
        return 0
    for one in found:
        _show(vault, one)
    if not options.yes and not terminal.confirm("is this how it should be?"):
        raise IntegrityError("not approved", "vault recipients ack --yes approves without asking")
    vault.state.approve({one.path: None if one.gone else one.now for one in found})
    terminal.say(f"approved {', '.join(names.shown(one.path) for one in found)}")
    return 0


def _show(vault: Vault, found: Change) -> None:
    terminal.say("\n  ".join([names.shown(found.path), *found.lines]))
    if who := git.last_change(vault.directory, found.path):
        terminal.say(f"  last changed in {who}")
    if git.is_dirty(vault.directory, found.path):
        terminal.say("  with changes that are not committed")


def _refuse_unusable(vault: Vault, plugin: str, new: Recipients, text: str) -> None:
    """Let the plugin try *text*, and then all of *new* together, before they are written down."""
    if not text or text.startswith("#") or any(not character.isprintable() for character in text):
        raise UsageError("the recipient is not one line of text")
    probe = Secret("recipient", f"{FOLDER}/recipient{plugins.suffix(plugin)}")
    for texts in ([text], new.texts):
        vault.plugins.get(plugin).encrypt(probe, b"", texts, b"", new.public_keys)


def _refuse_shutting_out(vault: Vault, plugin: str, before: Recipients, after: Recipients) -> None:
    """Ask before the user would be without a key that reads: then nobody here could take it back."""
    try:
        own = set(vault.plugins.get(plugin).own_recipients())
    except VaultError:
        return  # who has no key here does not lose one
    if not own & set(before.texts) or own & set(after.texts):
        return
    if not terminal.confirm("you yourself would not read it any longer. go on?"):
        raise UsageError("you yourself would not read it any longer", "--force removes you all the same")


def _label(text: str) -> str:
    if any(not character.isprintable() for character in text):
        raise UsageError("the name is not one line of text")
    if names.holds_key(text):
        raise UsageError("the name looks like a key")
    return text.strip().lstrip("# ")
