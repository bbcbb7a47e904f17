"""``vault recipients``: list, add, remove or approve those who can read."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Sequence

from tskeyvault import change, git, limits, names, plugins, recipients
from tskeyvault.errors import IntegrityError, NotFoundError, UsageError, VaultError
from tskeyvault.journal import Note
from tskeyvault.recipients import Change, Recipient, Recipients
from tskeyvault.store import FOLDER, Entry
from tskeyvault.values import Secret
from tskeyvault.vault import Vault, opened

from . import common, place, terminal
from .insert import approve
from .rekey import show_plan


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="ls|add|rm|ack")
    listing = verbs.add_parser("ls", help="list recipients files and who stands in them", allow_abbrev=False)
    listing.add_argument("--json", action="store_true", help="as JSON")
    adding = verbs.add_parser("add", help="let somebody read, and re-encrypt for them", allow_abbrev=False)
    adding.add_argument("recipient", metavar="RECIPIENT", help="like age1...")
    adding.add_argument("--name", default="", metavar="TEXT", help="whose it is, for a comment in the file")
    removing = verbs.add_parser("rm", help="let somebody read no longer, and re-encrypt", allow_abbrev=False)
    removing.add_argument(
        "recipient", metavar="RECIPIENT", help="the recipient, or the name it was added with"
    )
    removing.add_argument(
        "-f", "--force", action="store_true", help="also the user's own key, without asking"
    )
    for verb in (adding, removing):
        verb.add_argument("--folder", default="", metavar="FOLDER", help="for the secrets of a folder only")
        verb.add_argument(
            "--plugin", default="", metavar="PLUGIN", help="of another plugin than the vault's own"
        )
        verb.add_argument("--plan", action="store_true", help="only say what would be re-encrypted")
        verb.add_argument("--no-commit", action="store_true", help="do not commit to git")
    approving = verbs.add_parser(
        "ack", help="approve recipients that were changed elsewhere", allow_abbrev=False
    )
    approving.add_argument("-y", "--yes", action="store_true", help="do not ask")
    for verb in (listing, adding, removing, approving):
        common(verb)


def run(options: Namespace) -> int:
    """Do what the verb says."""
    with opened(place(options), os.environ, terminal.USER) as vault:
        return {"ls": _list, "add": _add, "rm": _remove, "ack": _ack}[options.verb](vault, options)


def _list(vault: Vault, options: Namespace) -> int:
    unapproved = {it.path for it in recipients.changes(vault.store, vault.state)}
    files = vault.store.recipients_files(lambda path: terminal.warn(f"passed over: {names.shown(path)}"))
    found = [recipients.load(vault.store, path) for _, path in files]
    if options.json:
        terminal.as_json(
            [
                {
                    "path": file.path,
                    "approved": file.path not in unapproved,
                    "recipients": [{"recipient": entry.text, "name": entry.label} for entry in file.entries],
                }
                for file in found
            ]
        )
        return 0
    for file in found:
        terminal.lines([f"{file.path}{' (not approved on this host)' if file.path in unapproved else ''}"])
        terminal.lines(f"  {entry.text}{f'  {entry.label}' if entry.label else ''}" for entry in file.entries)
    return 0


def _add(vault: Vault, options: Namespace) -> int:
    entry = Recipient(options.recipient.strip(), _label(options.name))
    whom = entry.label or names.shown(entry.text)

    def added(plugin: str, before: Recipients) -> tuple[Recipients, str]:
        if any(known.text == entry.text for known in before.entries):
            raise UsageError(f"{names.shown(entry.text)} can read that already")
        new = before._replace(entries=(*before.entries, entry))
        _refuse_unusable(vault, plugin, new)
        return new, f"Let {whom} read"

    known = _change(vault, options, added)
    if not options.plan:
        terminal.say(f"{whom} can read {_counted(len(known))}")
    return 0


def _remove(vault: Vault, options: Namespace) -> int:
    wanted = options.recipient.strip()
    if not wanted:  # those without a name are not meant
        raise UsageError("which recipient?", "vault recipients ls")
    gone: list[Recipient] = []

    def left(plugin: str, before: Recipients) -> tuple[Recipients, str]:
        gone.extend(entry for entry in before.entries if wanted in {entry.text, entry.label})
        if not gone:
            raise NotFoundError(f"{names.shown(wanted)} is not among the recipients", "vault recipients ls")
        kept = tuple(entry for entry in before.entries if entry not in gone)
        if not kept:
            raise UsageError("that would leave nobody who can read", "add somebody first")
        if not options.force:
            _refuse_shutting_out(vault, plugin, gone, kept)
        return before._replace(entries=kept), f"Let {_named(gone)} read no longer"

    known = _change(vault, options, left)
    if not options.plan:
        whom = ", ".join(f"{entry.label} ({entry.text})" if entry.label else entry.text for entry in gone)
        terminal.say(
            f"{names.shown(whom)} reads nothing new, and knows what was there before: rotate {_counted(len(known))}"
        )
        terminal.lines(entry.name for entry in known)
    return 0


def _change(
    vault: Vault, options: Namespace, changed: Callable[[str, Recipients], tuple[Recipients, str]]
) -> list[Entry]:
    """Write what *changed* makes of the recipients, and re-encrypt, or with --plan say so; return the secrets.

    *changed* also says what it did, for git.
    """
    plugin = names.plugin(options.plugin or vault.settings.backend)
    folder = names.secret(options.folder.rstrip("/")) if options.folder else ""
    where = f"the secrets of {folder}" if folder else "all secrets"
    limits.protect_memory()
    with vault.lock():
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
    path = "/".join(part for part in (FOLDER, folder, file) if part)
    if not vault.store.nearest(file, folder):
        return Recipients(path, ())
    approve(vault, lambda: recipients.approved(vault.store, vault.state, vault.directory, plugin, folder))
    return Recipients(path, recipients.governing(vault.store, plugin, folder).entries)


def _named(entries: Iterable[Recipient]) -> str:
    return ", ".join(entry.label or names.shown(entry.text) for entry in entries)


def _counted(number: int) -> str:
    return f"{number} secret{'' if number == 1 else 's'}"


def _ack(vault: Vault, options: Namespace) -> int:
    vault.recover()
    found = recipients.changes(vault.store, vault.state)
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


def _refuse_unusable(vault: Vault, plugin: str, new: Recipients) -> None:
    """Let the plugin try the last of *new*, and then all together, before they are written down."""
    text = new.texts[-1]
    if not text or text.startswith("#") or any(not character.isprintable() for character in text):
        raise UsageError("the recipient is not one line of text")
    probe = Secret("recipient", f"{FOLDER}/recipient{plugins.suffix(plugin)}")
    for texts in ([text], new.texts):
        vault.plugins.get(plugin).encrypt(probe, b"", texts, b"")


def _refuse_shutting_out(
    vault: Vault, plugin: str, gone: Sequence[Recipient], kept: Sequence[Recipient]
) -> None:
    """Ask before the user would be without a key that reads: then nobody here could take it back."""
    try:
        own = set(vault.plugins.get(plugin).own_recipients())
    except VaultError:
        return  # who has no key here does not lose one
    shut_out = own & {entry.text for entry in gone} and not own & {entry.text for entry in kept}
    if shut_out and not terminal.confirm("you yourself would not read it any longer. go on?"):
        raise UsageError("you yourself would not read it any longer", "--force removes you all the same")


def _label(text: str) -> str:
    if any(not character.isprintable() for character in text):
        raise UsageError("the name is not one line of text")
    if names.holds_key(text):
        raise UsageError("the name looks like a key")
    return text.strip().lstrip("# ")
