"""``vault import`` out of a file: a plain one, an environment file, or one that age has encrypted."""

import os
from argparse import Namespace

from tskeyvault import binding, envfile, limits, local, names, plainfile, transfer, unitfiles, unitlines
from tskeyvault.credentials import table
from tskeyvault.envfile import Variables
from tskeyvault.errors import IntegrityError, LockedError, NameInvalidError, UsageError
from tskeyvault.journal import Note
from tskeyvault.locate import Place
from tskeyvault.names import Reference, shown
from tskeyvault.plainfile import PlainFile
from tskeyvault.plugins import Plugins
from tskeyvault.store import MAX_CIPHERTEXT, MAX_SECRET
from tskeyvault.unitlines import Import
from tskeyvault.values import Secret
from tskeyvault.vault import Vault, opened

from . import place, program, terminal
from .insert import approve

_MAX_ENV = 1 << 20
"""Bytes of an environment file."""
_NIX = "/nix/store/"
_LIMITS = {"file": MAX_SECRET, "env": _MAX_ENV, "age": MAX_CIPHERTEXT}


def kind(source: str) -> str:
    """Return how the file that *source* names is to be read: ``file``, ``env`` or ``age``; ``""`` for a secret.

    What begins with ``age:`` is a file when a path follows, which no name of a secret can be mistaken for.
    """
    prefix, _, path = source.partition(":")
    if prefix == "age" and not path.startswith(("/", "./", "../")):
        return ""
    return prefix if prefix in _LIMITS and path else ""


def run(options: Namespace, how: str) -> int:
    """Write all, read all back, and only then shred the file where that was asked for; show what units become."""
    path = options.source.partition(":")[2]
    if options.move:
        raise UsageError("--move is for stores", "--shred-source overwrites and removes a plain file")
    if options.variable is not None and how != "env":
        raise UsageError("--variable goes with env:FILE alone")
    if options.shred_source and how == "age":
        raise UsageError("what is encrypted needs no shredding", f"rm {shown(path)}")
    target = names.folder(options.target)
    limits.protect_memory()
    with (
        plainfile.opened(path, _LIMITS[how]) as file,
        opened(_place(options, how), os.environ, terminal.USER, target.plugin) as vault,
    ):
        if options.shred_source:
            _refuse_identity(file, options)
            file.refuse_shredding()
        found = _secrets(vault, file, how, options)
        secrets = _named(found, file, options.target, target)
        values = {secrets[key]: transfer.Value(data, binding.now(), None) for key, data in found.items()}
        for new in values:
            approve(vault, lambda new=new: vault.readers(vault.entry_for(new)))  # type: ignore[misc]
        note = Note(f"Import {', '.join(map(str, values))}", not options.no_commit)
        transfer.write(vault, values, force=options.force, note=note)
        for new in values:
            terminal.say(f"copied to '{new}', and read back")
        if options.shred_source:
            file.shred()
    _tell(file, how, found, shredded=options.shred_source)
    # Otherwise the units go on reading the rest of the file.
    whole = options.variable is None or set(envfile.parse(file.content).values) == {options.variable}
    _units(Import(file.path, secrets, how == "age", whole), program.command(vault.directory))
    return 0


def _secrets(vault: Vault, file: PlainFile, how: str, options: Namespace) -> dict[str, bytes]:
    """Return what is in the file: by variable, or the one secret by ``""``."""
    if how == "env":
        return _variables(envfile.parse(file.content), options)
    if how == "file":
        return {"": file.content}
    return {"": _decrypted(vault, file, place(options))}


def _place(options: Namespace, how: str) -> Place:
    """Return where the vault is; an identity that opens an age file is not meant for the vault."""
    given = place(options)
    return given._replace(identity="") if how == "age" else given


def _decrypted(vault: Vault, file: PlainFile, given: Place) -> bytes:
    """Return what is in an age file, opened with ``--identity`` or the user's own. Raises LockedError, IntegrityError."""
    if not file.content:
        raise IntegrityError(
            f"'{shown(file.path)}' is empty", "what was to write it has failed: read what it said"
        )
    identities = local.identities(given.identity, os.environ)
    credentials = local.credentials(os.environ)
    plugins = Plugins(vault.local.plugins, identities, terminal.USER, credentials, given.consents)
    try:
        secret = Secret(os.path.basename(file.path), file.path)
        return plugins.get("age").decrypt(secret, file.content)
    except LockedError as error:
        # Nobody adds a recipient to this file, as they would to one of the vault.
        hint = "--identity FILE names what opens it" if "recipients add" in error.hint else error.hint
        raise LockedError(error.message, hint) from None
    finally:
        plugins.close()


def _refuse_identity(file: PlainFile, options: Namespace) -> None:
    """Refuse to shred what opens the vault that it would be in. Raises UsageError."""
    if any(os.path.realpath(it) == file.path for it in local.identities(place(options).identity, os.environ)):
        raise UsageError(
            f"'{shown(file.path)}' is an identity, without which the vault stays closed",
            "it stays where it is",
        )


def _variables(found: Variables, options: Namespace) -> dict[str, bytes]:
    """Return the variables to import, which are all or the one that was named. Raises UsageError."""
    wanted = {key: data for key, data in found.values.items() if options.variable in {None, key}}
    for key in wanted:
        _refuse_variable(key)
    if options.variable is not None and not wanted:
        known = shown(", ".join(found.values)) or "none"
        raise UsageError(f"the file has no variable '{shown(options.variable)}'", f"it has: {known}")
    if not any(wanted.values()):
        raise UsageError("the file sets no variable to anything")
    if options.shred_source and len(wanted) < len(found.values):
        rest = shown(", ".join(key for key in found.values if key not in wanted))
        raise UsageError(f"the file also has {rest}", "without --variable all are imported, and none is lost")
    for number in found.ignored:
        if options.shred_source:
            raise UsageError(
                f"line {number} of the file sets nothing", "nothing is shredded that was not understood"
            )
        terminal.warn(f"line {number} of the file sets nothing, so systemd ignores it")
    for key in (key for key, data in wanted.items() if not data):
        terminal.warn(f"variable '{key}' is empty: left out")
    return {key: data for key, data in wanted.items() if data}


def _refuse_variable(key: str) -> None:
    """Refuse what vault.toml would: with it nothing of the vault could be read any more. Raises NameInvalidError."""
    try:
        names.variable(key)
    except NameInvalidError as error:
        hint = f"say it in the unit, Environment={key}=…, and take it out of the file; or import others by --variable"
        raise NameInvalidError(error.message, hint) from None


def _named(found: dict[str, bytes], file: PlainFile, text: str, target: Reference) -> dict[str, Reference]:
    """Return what each is to be called: *text* itself, or what it is called in the file, in a folder *text*."""
    into = text.endswith(("/", ":")) or not text
    if len(found) > 1 and not into:
        raise UsageError(
            "the file has several variables", f"'{shown(text)}/' is a folder for them, --variable takes one"
        )
    own = os.path.basename(file.path).removesuffix(".age")
    named = {key: "/".join(filter(None, [target.name, key or own])) if into else target.name for key in found}
    return {key: Reference(target.plugin, names.secret(name)) for key, name in named.items()}


def _tell(file: PlainFile, how: str, found: dict[str, bytes], *, shredded: bool) -> None:
    if how != "env" and found[""].endswith(b"\n"):
        terminal.say(
            'it ends with a newline, which was kept: Tailscale trims it, format = "line" leaves it out'
        )
    path = shown(file.path)
    if shredded:
        terminal.say(f"overwrote and removed {path}")
        terminal.warn(
            "an SSD, a journal, snapshots, backups and git's history may still hold it: rotate the key"
        )
    elif how != "age":
        terminal.hint(f"{path} is still there; once nothing reads it: the same with --force --shred-source")


def _units(imported: Import, command: str) -> None:
    """Print which lines of which units name the file, and what they are to be; nothing is changed."""
    found = [(unit, list(unitlines.advice(unit, imported, command))) for unit in unitfiles.services("/")]
    found = [(unit, advice) for unit, advice in found if advice]
    if not found:
        return
    terminal.say("units name the file; in vault.toml and in them this has to be changed:")
    for unit, advice in found:
        terminal.lines(["vault.toml", *(f"  + {line}" for line in unitlines.table(unit, imported))])
        terminal.lines(line for change in advice for line in _change(change))
    if any(unitlines.credentials(unit, imported) for unit, _ in found):
        terminal.hint(table.SERVED)
    if any(os.path.realpath(change.path).startswith(_NIX) for _, advice in found for change in advice):
        terminal.hint(
            "NixOS makes these units: change its configuration, as vault unit SERVICE --for nixos prints it"
        )
    else:
        terminal.hint("then: systemctl daemon-reload, and restart them")


def _change(change: unitlines.Advice) -> list[str]:
    where = f"{change.path}:{change.number}" if change.number else change.path
    old = [f"  - {change.old}"] if change.old else []
    return [where, *old, *(f"  + {line}" for line in change.new)]
