"""``vault yubikey``: list the keys for age in YubiKeys, make them, and say what state a YubiKey is in."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol, cast

from tskeyvault import files, limits, local
from tskeyvault.errors import DeliveryError, UsageError
from tskeyvault.plugins import Plugins
from tskeyvault.vault import opened

from . import common, place, terminal
from .keygen import own_file

PLUGIN = "yubikey"

_POLICIES = {"pin": ("once", "always", "never"), "touch": ("cached", "always", "never")}
_MAX_IDENTITIES = 1 << 20


class _Keys(Protocol):
    """What the plugin can do besides its hooks."""

    def keys(self) -> list[dict[str, object]]: ...
    def states(self) -> list[dict[str, object]]: ...
    def set_up(self, serial: int, passed_over: int, wish: Mapping[str, object]) -> dict[str, object]: ...
    def run_agent(self, seconds: float, ready: Callable[[str], None]) -> None: ...
    def lock_agent(self) -> None: ...


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|setup|status|agent|lock")
    listing = verbs.add_parser("list", help="list the keys, as an identity file", allow_abbrev=False)
    making = verbs.add_parser("setup", help="make a key in a free slot", allow_abbrev=False)
    looking = verbs.add_parser(
        "status", help="firmware, settings, and what is weak or to be known", allow_abbrev=False
    )
    holding = verbs.add_parser(
        "agent",
        help="hold YubiKeys, so that a PIN is asked for once; runs until it is stopped",
        allow_abbrev=False,
    )
    what = "forget PINs after so many minutes without use (default: 60)"
    holding.add_argument("--minutes", type=_number, default=60, metavar="N", help=what)
    locking = verbs.add_parser("lock", help="let the agent forget all PINs", allow_abbrev=False)
    for verb in (listing, looking):
        verb.add_argument("--json", action="store_true", help="as JSON")
    _setup_arguments(making)
    for verb in (listing, making, looking, holding, locking):
        common(verb, opens=verb is not locking)


def _setup_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--serial", type=_number, default=0, metavar="N", help="in this YubiKey")
    parser.add_argument(
        "--slot", type=_number, default=0, metavar="N", help="1 to 20 (default: the first free one)"
    )
    for what, choices in _POLICIES.items():
        parser.add_argument(
            f"--{what}",
            choices=choices,
            default=choices[0],
            help=f"when it asks for it (default: {choices[0]})",
        )
    parser.add_argument("--name", default="", metavar="TEXT", help="what the key is called")
    parser.add_argument("--pq", action="store_true", help="post-quantum, with its seed in the certificate")
    parser.add_argument(
        "--classic", action="store_true", help="recipient age1yubikey1..., for age-plugin-yubikey before 0.6"
    )
    parser.add_argument("--keep-defaults", action="store_true", help="leave default codes as they are, weak")
    parser.add_argument("--backup", action="store_true", help="then a second YubiKey as well")
    parser.add_argument("--add-identity", action="store_true", help="to this user's own identities")
    parser.add_argument("--add-recipient", action="store_true", help="to the vault, and re-encrypt it")
    parser.add_argument("--no-commit", action="store_true", help="do not commit to git")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else -1


def run(options: Namespace) -> int:
    """Do what the verb says."""
    limits.protect_memory()
    settings, credentials = local.load(os.environ), local.credentials(os.environ)
    plugins = Plugins(settings.plugins, (), terminal.USER, credentials, place(options).consents)
    try:
        keys = cast("_Keys", plugins.get(PLUGIN).implementation)
        does = {"list": _list, "setup": _setup, "status": _status, "agent": _agent, "lock": _lock}
        return does[options.verb](keys, options)
    finally:
        plugins.close()


def _list(keys: _Keys, options: Namespace) -> int:
    rows = keys.keys()
    if options.json:
        terminal.as_json([{name: value for name, value in row.items() if name != "lines"} for row in rows])
        return 0
    for at, row in enumerate(rows):
        terminal.lines([*([""] if at else []), *cast("list[str]", row["lines"])])
    if not rows:
        terminal.say("no key for age in the YubiKeys that are connected")
        terminal.hint("vault yubikey setup makes one")
    return 0


def _status(keys: _Keys, options: Namespace) -> int:
    rows = keys.states()
    if options.json:
        terminal.as_json(rows)
    for row in rows:
        problems, advisories = (
            cast("list[dict[str, str]]", row[name]) for name in ("problems", "advisories")
        )
        if not options.json:
            terminal.lines(_state(row))
        for it in (*problems, *advisories):
            terminal.warn(f"YubiKey {row['serial']}: {it['problem']}")
            terminal.hint(it["hint"])
    return 1 if any(row["problems"] for row in rows) else 0


def _agent(keys: _Keys, options: Namespace) -> int:
    if options.minutes < 1:
        raise UsageError("the minutes are a number from 1")
    with suppress(DeliveryError), limits.stoppable("the agent"):
        keys.run_agent(options.minutes * 60.0, lambda where: terminal.say(f"the agent listens at '{where}'"))
    return 0


def _lock(keys: _Keys, _options: Namespace) -> int:
    keys.lock_agent()
    terminal.say("the agent has forgotten all PINs")
    return 0


def _state(row: Mapping[str, object]) -> list[str]:
    tries = ", ".join(
        f"{what} {'?' if row[name] is None else row[name]}"
        for what, name in (("PIN", "pin_tries"), ("PUK", "puk_tries"))
    )
    return [
        f"YubiKey {row['serial']}, firmware {row['firmware']}",
        f"  keys for age: {row['keys']}, free slots: {row['free_slots']}",
        f"  tries left: {tries}",
        f"  management key: {row['management_key']}",
    ]


def _setup(keys: _Keys, options: Namespace) -> int:
    wish = {
        "slot": options.slot,
        "pin": options.pin,
        "touch": options.touch,
        "name": options.name,
        "post_quantum": options.pq,
        "classic": options.classic,
        "keep_defaults": options.keep_defaults,
    }
    if options.add_recipient:
        with opened(place(options), os.environ, terminal.USER):
            pass  # there is one, or nothing is made
    made = [keys.set_up(options.serial, 0, wish)]
    _tell(made[0], options)
    if options.backup:
        _wait_for_another(made[0])
        made.append(keys.set_up(0, cast("int", made[0]["serial"]), wish))
        _tell(made[1], options)
    return _add_recipients(made, options) if options.add_recipient else 0


def _tell(made: Mapping[str, object], options: Namespace) -> None:
    """Print the new identity, and put it where it was told to go; at once, for what follows may fail."""
    lines = cast("list[str]", made["lines"])
    terminal.lines(lines)
    if options.add_identity:
        path = own_file(os.environ)
        _append(path, lines)
        terminal.say(f"added the identity to '{path}'")


def _wait_for_another(made: Mapping[str, object]) -> None:
    serial = made["serial"]
    question = (
        f"YubiKey {serial} is set up; plug in the backup key, and take this one out if there is one port"
    )
    if not terminal.USER.confirm(question, "it is plugged in", "no backup"):
        raise UsageError(
            "no backup key was set up", f"vault yubikey setup again, with another key than {serial}"
        )


def _append(path: str, lines: list[str]) -> None:
    folder, name = os.path.split(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with files.directory(folder) as fd:
        before = files.read(fd, name, _MAX_IDENTITIES) if files.exists(fd, name) else b""
        gap = b"\n" if before else b""
        if before and not before.endswith(b"\n"):
            gap = b"\n\n"
        files.write(fd, name, before + gap + "".join(f"{line}\n" for line in lines).encode(), mode=0o600)


def _add_recipients(made: list[dict[str, object]], options: Namespace) -> int:
    """Let the new keys read the vault, by the command that does so."""
    from . import parser_for, recipients

    for it in made:
        recipient = cast("list[str]", it["recipients"])[0]
        name = options.name or f"YubiKey {it['serial']}, slot {it['slot']}"
        arguments = ["add", recipient, "--name", name, *(["--no-commit"] if options.no_commit else [])]
        given = parser_for("recipients").parse_args(arguments)
        for option in ("vault", "identity", "consents"):
            if hasattr(options, option):
                setattr(given, option, getattr(options, option))
        given.command = "recipients"
        recipients.run(given)
    return 0
