"""``vault hooks``: install, uninstall, check and refresh the git hooks that let no key pass."""

import os
from argparse import ArgumentParser, Namespace

from tskeyvault import limits, local
from tskeyvault.errors import NotFoundError, VaultError
from tskeyvault.plugins import Plugins, is_housed
from tskeyvault.values import Pattern
from tskeyvault.vault import Vault, opened
from tskeyvault_hooks import check, files, fingerprints, installer, kept, own, state
from tskeyvault_hooks.repository import Repository

from . import common, place, terminal
from .scan import explained

_RUN = 16
"""Bytes without white space, below which the hooks do not look closely at a message."""


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="install|uninstall|status|refresh")
    installing = verbs.add_parser(
        "install", help="install them, or bring them up to date", allow_abbrev=False
    )
    removing = verbs.add_parser(
        "uninstall", help="take them away, and bring back what was there", allow_abbrev=False
    )
    checking = verbs.add_parser(
        "status", help="say which there are, and whether they work", allow_abbrev=False
    )
    refreshing = verbs.add_parser(
        "refresh", help="let them know the vault's values and the plugins' patterns", allow_abbrev=False
    )
    installing.add_argument("--server", action="store_true", help="pre-receive, for what is pushed to here")
    for verb in (installing, removing, checking):
        verb.add_argument(
            "--global", action="store_true", dest="everywhere", help="for all repositories of this user"
        )
    checking.add_argument("--json", action="store_true", help="as JSON")
    for verb in (installing, removing, checking, refreshing):
        common(verb, opens=verb is refreshing)


def run(options: Namespace) -> int:
    """Do what the verb says."""
    with explained():
        where = Repository(everywhere=getattr(options, "everywhere", False))
        return {"install": _install, "uninstall": _uninstall, "status": _status, "refresh": _refresh}[
            options.verb
        ](where, options)


def _install(where: Repository, options: Namespace) -> int:
    patterns = [] if where.everywhere else _patterns(options)
    events = installer.install(where, server=options.server)
    if patterns:
        files.write(os.path.join(where.state, state.SLOW), b"", 0o644)
    if not where.everywhere:
        _write_patterns(where, patterns)
    if missing := [event for event in events if event not in check.installed(where)]:
        terminal.say(f"git will not run what was installed for {', '.join(missing)}")
        for problem in check.problems(where):
            terminal.say(problem)
        terminal.hint("git config --show-origin --get-all core.hooksPath says what leads it elsewhere")
        return 1
    terminal.say(f"installed {', '.join(events)}")
    if elsewhere := installer.led_to(where):
        terminal.say(f"core.hooksPath led to '{elsewhere}': the hooks there are run by these")
    if where.bare and not options.server:
        terminal.hint("with --server they also guard what is pushed to this repository")
    if not where.everywhere and not options.server:
        terminal.hint("vault hooks refresh lets them know the vault's own values too")
    return 0


def _uninstall(where: Repository, _options: Namespace) -> int:
    events = installer.uninstall(where)
    terminal.say(f"uninstalled {', '.join(events)}" if events else "nothing was installed")
    for path in kept.left(where.default) if where.default else ():
        terminal.warn(f"'{path}' stays there: another hook has taken its place")
    return 0


def _status(where: Repository, options: Namespace) -> int:
    events, problems = check.installed(where), check.problems(where)
    how = "git's configuration" if where.by_configuration else "files"
    if options.json:
        terminal.as_json({"events": events, "by": how, "problems": problems})
    elif events:
        terminal.lines([f"{event}  by {how}" for event in events])
    for problem in problems:
        terminal.say(problem)
    if not events:
        terminal.say("no hooks are installed")
    if problems or not events:
        terminal.hint("vault hooks install")
        return 1
    return 0


def _refresh(where: Repository, options: Namespace) -> int:
    limits.protect_memory()
    with opened(place(options), os.environ, terminal.USER) as vault:
        values, locked = _values(vault)
    key = os.urandom(own.KEY_LENGTH)
    rendered, left_out = fingerprints.render(values, key)
    fingerprint_file, key_file = state.own_files()
    patterns = _patterns(options)
    slow = {
        state.SLOW: bool(patterns),
        f"{state.SLOW}-{fingerprint_file}": fingerprints.has_spaces((value for _, value in values), _RUN),
    }
    installer.make(where)
    for name, needed in slow.items():
        if needed:
            files.write(os.path.join(where.state, name), b"", 0o644)
    _write_patterns(where, patterns)
    # Killed between these two, the hooks let nothing pass until this is done again.
    for name, data in ((key_file, key), (fingerprint_file, rendered)):
        files.write(os.path.join(where.state, name), data, 0o600)
    for name, needed in slow.items():
        if not needed:
            files.remove(os.path.join(where.state, name))
    _tell(values, left_out, locked)
    return 0


def _tell(values: list[tuple[str, bytes]], left_out: list[str], locked: list[tuple[str, str]]) -> None:
    terminal.say(f"the hooks know {len(values) - len(left_out)} of {len(values) + len(locked)} values")
    for name in left_out:
        terminal.warn(f"secret '{name}' is too short or too simple to be told from other text: left out")
    for name, reason in locked:
        terminal.warn(f"secret '{name}' is left out: {reason}")


def _values(vault: Vault) -> tuple[list[tuple[str, bytes]], list[tuple[str, str]]]:
    """Return name and value of what this user can read, and name and reason of the rest."""
    entries = vault.store.entries(lambda _: None)
    values, locked = _delivered(vault)
    try:
        there = vault.open(entries, terminal.progress)
        return [*values, *((entry.name, it.plaintext) for entry, it in there.items())], locked
    except VaultError:
        pass  # one by one it is found which
    for entry in entries:
        try:
            values.append((entry.name, vault.open([entry])[entry].plaintext))
        except VaultError as error:
            locked.append((entry.name, error.message.removeprefix(f"secret '{entry.name}': ")))
    return values, locked


def _delivered(vault: Vault) -> tuple[list[tuple[str, bytes]], list[tuple[str, str]]]:
    """Return the same of what the services get that does not lie in the vault."""
    wanted = [it for service in vault.settings.services.values() for it in service.references]
    values, locked = [], []
    for reference in dict.fromkeys(it for it in wanted if is_housed(it.plugin)):
        try:
            values.append((str(reference), vault.read([reference])[reference]))
        except VaultError as error:
            locked.append((str(reference), error.message))
    return values, locked


def _write_patterns(where: Repository, patterns: list[Pattern]) -> None:
    path = os.path.join(where.state, state.PATTERNS)
    if patterns:
        rendered = state.render((it.name, it.needle, it.expression) for it in patterns)
        files.write(path, rendered, 0o644)
    else:
        files.remove(path)


def _patterns(options: Namespace) -> list[Pattern]:
    """Return the patterns of the plugins that the configuration or a secret names."""
    found = local.load(os.environ)
    names = set(found.plugins)
    try:
        with opened(place(options), os.environ, terminal.USER) as vault:
            names |= {entry.plugin for entry in vault.store.entries(lambda _: None)}
    except NotFoundError:
        pass  # hooks are of use without a vault
    plugins = Plugins(found.plugins, (), terminal.USER)
    try:
        return [pattern for name in sorted(names) for pattern in plugins.get(name).patterns()]
    finally:
        plugins.close()
