"""Units: which still take a key from a plain file, and which leave theirs behind."""

import os
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from tskeyvault import files, names
from tskeyvault.errors import NameInvalidError, VaultError
from tskeyvault.unitfiles import Line, Unit
from tskeyvault.unitlines import service_of
from tskeyvault.units import environment
from tskeyvault_hooks.finder import Finder

from .finding import Finding, shown
from .host import KEY_FOLDERS, Host

_IDENTITY = re.compile(r"(?<= )(?:-i|--identity)[ =](/[^\s'\";]+)")
_IN_FOLDERS = re.compile(rf"(?<![\w./])(?:{'|'.join(KEY_FOLDERS)})(?:/[^\s:;,'\"]*)?(?![\w.-])")
_TAKES_FILE = {"EnvironmentFile", "LoadCredential", "Volume", "BindPaths", "BindReadOnlyPaths"}
_FOUND_OTHERWISE = ("/run/", "/dev/", "/proc/", "/sys/")
"""Places without plain files of the older methods: what we deliver lies under the first."""
_MAX_SIZE = 1 << 20
_OWN_DIRECTORY = (
    "[Service]: an empty RuntimeDirectory=, then one with a name of its own; %N is that of an instance"
)
_OF_INSTANCE = re.compile("%[iInN]")
"""Specifiers that differ from one instance of a template to the next."""
_OWN_VARIABLES = "[Service]: an empty EnvironmentFile=, and the key from a file"
_COMMANDS = ("ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost")
_PREFIXES = "@-:+!|"
_PROGRAMS = {"vault", "tskeyvault"}
_YES = {"yes", "true", "1", "on"}


class Delivery(NamedTuple):
    """A line of a unit that runs ``vault materialize``."""

    service: str
    """``""`` for a single secret."""
    directory: str
    file: str
    """The path of the single secret, or ``""``."""


def deliveries(unit: Unit, key: str = "ExecStartPre", *, clean: bool = False) -> list[Delivery]:
    """Return what the lines *key* of *unit* deliver, or with *clean* remove again."""
    found = (_delivery(unit, line) for line in (*unit.settings(key), *unit.settings("ExecStart")))
    return [delivery for delivery, is_clean in filter(None, found) if is_clean == clean]


def without_clean_up(host: Host) -> Iterator[Finding]:
    """Yield the units whose keys stay under /run when they have stopped."""
    for unit in host.units:
        own = [] if _is_preserved(unit) else [f"/run/{name}" for name in unit.words("RuntimeDirectory")]
        own += [f"/run/private/{path.removeprefix('/run/')}" for path in own]
        cleaned = [(it.service, it.directory) for it in deliveries(unit, "ExecStopPost", clean=True)]
        for delivery in deliveries(unit):
            stays = not any(f"{delivery.directory}/".startswith(f"{path}/") for path in own)
            removed = any(delivery.file and delivery.file in it.value for it in unit.settings("ExecStopPost"))
            if stays and not removed and (delivery.service, delivery.directory) not in cleaned:
                message = f"leaves its keys in {shown(delivery.directory)} when it has stopped"
                yield Finding("unit-clean-up", shown(unit.name), message, _drop_in(host, unit, delivery))


def with_a_shared_directory(host: Host) -> Iterator[Finding]:
    """Yield the units whose keys go when another one stops, for both have the same RuntimeDirectory=."""
    owners = [(it, line, name) for it in host.units for line, name in _directories(it)]
    for unit in host.units:
        places = {f"{_expanded(unit, delivery.directory)}/" for delivery in deliveries(unit)}
        own = {os.path.realpath(line.path) for line, _ in _directories(unit)}
        for other, line, name in owners:
            # Two names of one file are one unit, but instances of a template are several.
            several = other.is_template if other == unit else os.path.realpath(line.path) not in own
            if several and any(place.startswith(f"/run/{name}/") for place in places):
                who = "another of its instances" if other == unit else shown(other.name)
                message = f"loses its keys when {who} stops: RuntimeDirectory={shown(name)} is removed then"
                repair = f"systemctl edit {shlex.quote(other.name)}  # {_OWN_DIRECTORY}"
                yield Finding("unit-directory", shown(unit.name), message, repair)


def _directories(unit: Unit) -> Iterator[tuple[Line, str]]:
    """Yield what systemd removes when *unit* stops, and the lines that say so; not those of one instance alone."""
    if not _is_preserved(unit):
        for line in unit.settings("RuntimeDirectory"):
            for word in line.value.split():
                if not (unit.is_template and _OF_INSTANCE.search(word)):
                    yield line, _expanded(unit, word.partition(":")[0])


def with_variables_of_the_user(host: Host) -> Iterator[Finding]:
    """Yield the units whose own user can say what the lines load that root runs ``vault`` in."""
    for unit in host.units:
        keys = {key for key in _COMMANDS for line in unit.settings(key) if _is_roots(unit, line)}
        if keys:
            settings = {
                it.key: [line.value for line in unit.settings(it.key)]
                for it in unit.lines
                if it.section == "Service" and unit.settings(it.key)
            }
            preserved = environment.is_on(settings, "RuntimeDirectoryPreserve")  # also over a restart alone
            outlasts = preserved or bool(keys - {"ExecStartPre"})
            for path in environment.files_of_user(unit.name, settings, outlasts=outlasts):
                message = (
                    f"its user can write {shown(path)}, and so have root's vault load a library of theirs"
                )
                repair = f"systemctl edit {shlex.quote(unit.name)}  # {_OWN_VARIABLES}"
                yield Finding("unit-environment", shown(unit.name), message, repair)


def _is_roots(unit: Unit, line: Line) -> bool:
    """Tell whether root runs ``vault materialize`` in *line*, whoever the unit's user is."""
    prefixes = line.value[: len(line.value) - len(line.value.lstrip(_PREFIXES))]
    return bool({"+", "!"} & set(prefixes)) and _delivery(unit, line) is not None


def with_plain_files(host: Host) -> Iterator[Finding]:
    """Yield the lines of units that name a plain file with a key, or hold one."""
    finder = Finder()
    for unit in host.units:
        known = set()
        for line in unit.lines:
            where = shown(f"{line.path}:{line.number}")
            if finder.find(line.value.encode(errors="surrogateescape")):
                message = f"{shown(line.key)}= holds a key itself, which every user can read"
                repair = (
                    f"{host.program} insert tailscale/{service_of(unit)}, and take it out there; rotate it"
                )
                yield Finding("unit-files", where, message, repair)
                continue
            for path in dict.fromkeys(_plain_files(host, finder, line)):
                if path not in known:
                    known.add(path)
                    message = f"{shown(unit.name)} takes a key from the plain file {shown(path)}"
                    yield Finding("unit-files", where, message, _import(host, line, path))


def _plain_files(host: Host, finder: Finder, line: Line) -> Iterator[str]:
    opening = _identities(line)
    for match in _IN_FOLDERS.finditer(line.value):
        if match[0] not in opening:
            yield match[0]
    if line.key not in _TAKES_FILE:
        return
    for word in line.value.split():
        for path in word.lstrip("-").split(":")[:2]:
            if (
                path.startswith("/")
                and not path.startswith(_FOUND_OTHERWISE)
                and _holds_key(host, finder, path)
            ):
                yield path


def _holds_key(host: Host, finder: Finder, path: str) -> bool:
    """Tell whether the regular file *path*, through no link as its last part, holds a key."""
    folder, name = os.path.split(host.path(path))
    try:
        with files.directory(folder) as fd:
            return bool(finder.find(files.read(fd, name, _MAX_SIZE)))
    except (VaultError, ValueError):
        return False


def _identities(line: Line) -> list[str]:
    """Return the paths of what *line* lets age open its file with: no key of the service."""
    return _IDENTITY.findall(line.value) if line.key.startswith("Exec") else []


def _import(host: Host, line: Line, path: str) -> str:
    """Return the command that imports the file *path*, and shows what the lines are to be."""
    real, name = host.path(path), os.path.basename(path)
    command = f"{host.vault_command if host.found else host.program} import"
    if os.path.isdir(real):
        return f"for each file in it: {command} file:{shown(path)}/NAME tailscale/NAME"
    if line.key.startswith("Exec") and os.access(real, os.X_OK):
        return "name in vault.toml the secret that this program gets: docs/migration.md"
    kind = "env" if line.key == "EnvironmentFile" else "age" if name.endswith(".age") else "file"
    target = "tailscale/" if kind == "env" else f"tailscale/{_name(name.removesuffix('.age'))}"
    opening = _identities(line)[:1] if kind == "age" else []
    options = [word for it in opening for word in ("--identity", it)]
    return f"{command} {shlex.join([*options, f'{kind}:{path}', target])}"


def _name(text: str) -> str:
    try:
        return names.component(text, "secret")
    except NameInvalidError:
        return "key"


def _is_preserved(unit: Unit) -> bool:
    return bool(_YES & {line.value.lower() for line in unit.settings("RuntimeDirectoryPreserve")[-1:]})


def _drop_in(host: Host, unit: Unit, delivery: Delivery) -> str:
    """Return the command that adds what removes the delivered files when *unit* has stopped."""
    if delivery.service:
        words = ["materialize", delivery.service, "--clean", "--directory", delivery.directory]
        line = f"ExecStopPost=+{host.program} {shlex.join(words)}"
    else:
        line = f"ExecStopPost=+/bin/rm -f {shlex.quote(delivery.file)}"
    folder = shlex.quote(f"/etc/systemd/system/{unit.name}.d")
    text = shlex.join(["[Service]", line.replace("%", "%%")])
    return (
        f"mkdir -p {folder} && printf '%s\\n' {text} > {folder}/vault-clean.conf && systemctl daemon-reload"
    )


def _delivery(unit: Unit, line: Line) -> tuple[Delivery, bool] | None:
    """Return what *line* delivers, and whether it removes that instead; None when it does neither."""
    try:
        words = shlex.split(line.value)
    except ValueError:
        words = line.value.split()
    if "materialize" not in words or not _PROGRAMS & {os.path.basename(it.lstrip(_PREFIXES)) for it in words}:
        return None
    after = words[words.index("materialize") + 1 :]
    given = {option: _expanded(unit, _value(after, option)) for option in ("--directory", "--to")}
    service = _service(after)
    runtime = unit.words("RuntimeDirectory")
    directory = given["--directory"] or os.path.dirname(given["--to"])
    directory = directory or f"/run/{runtime[0] if runtime else service}"
    return Delivery(_expanded(unit, service), directory, given["--to"]), "--clean" in after


_TAKE_VALUE = {"--directory", "--secret", "--to", "--mode", "--owner", "--group", "--format", "--timeout"} | {
    "--vault", "--identity", "-i"
}  # fmt: skip


def _service(words: list[str]) -> str:
    """Return the first of *words*, the arguments of materialize, that is neither an option nor its value."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in _TAKE_VALUE else 1
    return words[at] if at < len(words) and _value(words, "--secret") == "" else ""


def _value(words: list[str], option: str) -> str:
    """Return the value of *option* in *words*, or ``""``."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return ""


def _expanded(unit: Unit, text: str) -> str:
    """Return *text* with the specifiers and variables that a directory is named by (systemd.unit(5))."""
    runtime = f"/run/{(unit.words('RuntimeDirectory') or [unit.stem])[0]}"
    known = {
        "${RUNTIME_DIRECTORY}": runtime,
        "$RUNTIME_DIRECTORY": runtime,
        "%t": "/run",
        "%N": unit.stem,
        "%p": unit.stem,
    }
    for form, meaning in known.items():
        text = text.replace(form, meaning)
    return text
