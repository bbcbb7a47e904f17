"""``vault recipients``: list, add or approve those who can read."""

import os
from argparse import ArgumentParser, Namespace

from tskeyvault import git, limits, names, plugins, recipients
from tskeyvault.errors import IntegrityError, UsageError
from tskeyvault.recipients import Change, Recipient, Recipients
from tskeyvault.spec import Secret
from tskeyvault.store import FOLDER
from tskeyvault.vault import Vault, opened

from . import common, place, terminal
from .insert import approve


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="ls|add|ack")
    listing = verbs.add_parser("ls", help="list recipients files and who stands in them", allow_abbrev=False)
    listing.add_argument("--json", action="store_true", help="as JSON")
    adding = verbs.add_parser("add", help="let somebody read, and re-encrypt for them", allow_abbrev=False)
    adding.add_argument("recipient", metavar="RECIPIENT", help="like age1...")
    adding.add_argument("--name", default="", metavar="TEXT", help="whose it is, for a comment in the file")
    adding.add_argument("--folder", default="", metavar="FOLDER", help="for the secrets of a folder only")
    adding.add_argument("--plugin", default="", metavar="NAME", help="of another plugin than the vault's own")
    adding.add_argument("--no-commit", action="store_true", help="do not commit to git")
    approving = verbs.add_parser(
        "ack", help="approve recipients that were changed elsewhere", allow_abbrev=False
    )
    approving.add_argument("-y", "--yes", action="store_true", help="do not ask")
    for verb in (listing, adding, approving):
        common(verb)


def run(options: Namespace) -> int:
    """Do what the verb says."""
    with opened(place(options), os.environ, terminal.warn) as vault:
        return {"ls": _list, "add": _add, "ack": _ack}[options.verb](vault, options)


def _list(vault: Vault, options: Namespace) -> int:
    unapproved = {change.path for change in recipients.changes(vault.store, vault.state)}
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
    limits.protect_memory()
    plugin = names.plugin(options.plugin or vault.settings.backend)
    folder = names.secret(options.folder.rstrip("/")) if options.folder else ""
    entry = Recipient(options.recipient.strip(), _label(options.name))
    _refuse_unusable(vault, plugin, entry.text)
    path = "/".join(part for part in (FOLDER, folder, plugins.recipients_file(plugin)) if part)
    before: tuple[Recipient, ...] = ()
    if vault.store.nearest(plugins.recipients_file(plugin), folder):
        approve(vault, lambda: recipients.approved(vault.store, vault.state, vault.directory, plugin, folder))
        before = recipients.governing(vault.store, plugin, folder).entries
    if any(known.text == entry.text for known in before):
        raise UsageError(f"{names.shown(entry.text)} can read that already")
    changed = vault.change_recipients(plugin, Recipients(path, (*before, entry)))
    whom = entry.label or names.shown(entry.text)
    touched = [path, *(one.path for one in changed)]
    vault.commit(touched, f"Let {whom} read {folder or 'all secrets'}", wanted=not options.no_commit)
    terminal.say(f"{whom} can read {len(changed)} secrets{f' of {folder}' if folder else ''}")
    return 0


def _ack(vault: Vault, options: Namespace) -> int:
    found = recipients.changes(vault.store, vault.state)
    if not found:
        terminal.say("all recipients are approved")
        return 0
    for change in found:
        _show(vault, change)
    if not options.yes and not terminal.confirm("is this how it should be?"):
        raise IntegrityError("not approved", "vault recipients ack --yes approves without asking")
    vault.state.approve({change.path: None if change.gone else change.now for change in found})
    terminal.say(f"approved {', '.join(names.shown(change.path) for change in found)}")
    return 0


def _show(vault: Vault, change: Change) -> None:
    terminal.say("\n  ".join([names.shown(change.path), *change.lines]))
    if who := git.last_change(vault.directory, change.path):
        terminal.say(f"  last changed in {who}")
    if git.is_dirty(vault.directory, change.path):
        terminal.say("  with changes that are not committed")


def _refuse_unusable(vault: Vault, plugin: str, text: str) -> None:
    """Let the plugin try *text* before it is written down."""
    if not text or text.startswith("#") or any(not character.isprintable() for character in text):
        raise UsageError("the recipient is not one line of text")
    probe = Secret("recipient", f"{FOLDER}/recipient{plugins.suffix(plugin)}")
    vault.plugins.get(plugin).encrypt(probe, b"", [text], b"")


def _label(text: str) -> str:
    if any(not character.isprintable() for character in text):
        raise UsageError("the name is not one line of text")
    if names.holds_key(text):
        raise UsageError("the name looks like a key")
    return text.strip().lstrip("# ")
