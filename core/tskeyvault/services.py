"""Services: the tables of ``vault.toml`` that say which secrets go where, as which files."""

import re
from typing import NamedTuple

from . import names, template, toml
from .credentials import table
from .errors import ConfigError
from .names import Reference
from .toml import Table
from .units import sidecar
from .units.sidecar import Sidecar

FORMATS = ("raw", "line", "env", "json", "template")
LAYOUTS = ("files", "generations")

_MAX_UNITS = 100
_MODE = re.compile(r"0?[0-7]{3}", re.ASCII)


class File(NamedTuple):
    """One file of a service: what goes into it and how it lies there."""

    name: str
    secret: Reference | None
    """The one secret in it (formats raw and line), or None."""
    values: tuple[tuple[str, Reference], ...]
    """Variable and secret, in order (formats env, json and template), or nothing."""
    format: str
    mode: int
    owner: str
    """A user's name or number; ``""`` is the owner of the directory."""
    group: str
    """A group's name or number; ``""`` is the group of the directory, or the owner's own."""
    template: str = ""
    """The text that the values are put into (format template), or ``""``."""

    @property
    def references(self) -> tuple[Reference, ...]:
        """All secrets in it."""
        return (self.secret,) if self.secret else tuple(reference for _, reference in self.values)


class Service(NamedTuple):
    """One service."""

    files: tuple[File, ...]
    units: tuple[str, ...]
    """The service units of systemd that use what is delivered."""
    reload: bool
    """Whether these are reloaded when a file has changed; otherwise they are restarted."""
    layout: str
    """``files``: right in the directory; ``generations``: below ``current``, exchanged as a whole."""
    sidecar: Sidecar | None
    """The Tailscale sidecar that it is, or None."""
    credentials: tuple[tuple[str, Reference], ...]
    """ID and secret of what ``vault credential-server`` serves to the units."""

    @property
    def references(self) -> tuple[Reference, ...]:
        """All secrets that it gets."""
        in_files = tuple(reference for file in self.files for reference in file.references)
        return (*in_files, *(reference for _, reference in self.credentials))


def mode(text: str) -> int:
    """Return the permission bits that *text*, three octal digits after an optional 0, stands for.

    Raises ConfigError, also for bits that let everybody in or make the file executable.
    """
    if not _MODE.fullmatch(text):
        raise ConfigError("the mode is not three octal digits", "like 0400 or 0440")
    bits = int(text, 8)
    if bits & 0o007:
        raise ConfigError(f"mode '{text}' would open the secret to every user", "like 0400 or 0440")
    if bits & 0o111 or not bits & 0o444:
        raise ConfigError(f"mode '{text}' makes no sense for a secret", "like 0400 or 0440")
    return bits


def file_of(name: str, entries: Table, where: str) -> File:
    """Return the File that a table of the configuration describes.

    Raises ConfigError.
    """
    toml.known(entries, ("secret", "values", "format", "template", "mode", "owner", "group"), where)
    text = {key: toml.text(entries, key, where) for key in ("format", "template", "mode", "owner", "group")}
    values = toml.table(entries.get("values", {}), f"{where} values")
    form = text["format"] or "raw"
    if form not in FORMATS:
        raise ConfigError(f"{where}: format is not one of {', '.join(FORMATS)}")
    if ("secret" in entries) == bool(values) or bool(values) != (form in {"env", "json", "template"}):
        raise ConfigError(
            f"{where}: formats raw and line take 'secret', env, json and template take 'values'"
        )
    if bool(text["template"]) != (form == "template"):
        raise ConfigError(f"{where}: 'template', a text, goes with format template")
    if form == "template":
        toml.checked(lambda it: template.check(it, values), text["template"], f"{where} template")
    return File(
        name=toml.checked(lambda it: names.component(it, "file"), name, where),
        secret=toml.checked(names.reference, entries["secret"], f"{where} secret") if "secret" in entries else None,
        values=tuple((toml.checked(names.variable, key, where), toml.checked(names.reference, value, where)) for key, value in values.items()),
        format=form,
        mode=toml.checked(mode, text["mode"] or "0400", where),
        owner=text["owner"],
        group=text["group"],
        template=text["template"],
    )  # fmt: skip


def service(name: str, value: object) -> Service:
    """Return the service *name* that *value*, a table of the configuration, describes.

    Raises ConfigError.
    """
    where = f"[services.{names.shown(name)}]"
    toml.checked(lambda it: names.component(it, "service"), name, where)
    entries = toml.table(value, where)
    toml.known(entries, ("files", "units", "reload", "layout", "credentials", "sidecar"), where)
    files = toml.table(entries.get("files", {}), f"{where} files")
    credentials = table.credentials(entries.get("credentials", {}), where)
    if not files and not credentials:
        raise ConfigError(f"{where}: has neither files nor credentials")
    layout = toml.text(entries, "layout", where) or "files"
    if layout not in LAYOUTS:
        raise ConfigError(f"{where}: layout is not one of {', '.join(LAYOUTS)}")
    return Service(
        files=tuple(
            file_of(
                key,
                toml.table(entry, f"{where} files.{names.shown(key)}"),
                f"{where} files.{names.shown(key)}",
            )
            for key, entry in files.items()
        ),
        units=units(name, entries, where),
        reload=toml.truth(entries, "reload", where),
        layout=layout,
        credentials=credentials,
        sidecar=sidecar.parse(name, entries["sidecar"], files, f"{where[:-1]}.sidecar]")
        if "sidecar" in entries
        else None,
    )


def units(name: str, entries: Table, where: str) -> tuple[str, ...]:
    """Return the units of the service *name*: those that *entries* lists, or the one that is called like it.

    Raises ConfigError.
    """
    if "units" not in entries:
        own = f"{name}.service"
        return (own,) if names.is_unit(own) else ()
    listed = entries["units"]
    if not isinstance(listed, list) or not listed or len(listed) > _MAX_UNITS:
        raise ConfigError(
            f"{where}: units is not a list of names, at most {_MAX_UNITS}", 'units = ["web.service"]'
        )
    return tuple(dict.fromkeys(toml.checked(names.unit, one, f"{where} units") for one in listed))
