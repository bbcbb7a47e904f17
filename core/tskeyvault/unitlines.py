"""What to write into units in the place of lines that name a plain file, once it is in the vault."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from . import names
from .credentials.table import ENCRYPTED
from .errors import NameInvalidError
from .names import Reference
from .unitfiles import Line, Unit


class Advice(NamedTuple):
    """What is to be changed at one place."""

    path: str
    number: int
    """Of the line; 0 at the end of the file."""
    old: str
    """The line, or ``""``."""
    new: tuple[str, ...]
    """What stands there then; nothing when it is to be removed."""


class Import(NamedTuple):
    """A plain file that was imported."""

    path: str
    secrets: Mapping[str, Reference]
    """By variable; the one of a file that is a single secret by ``""``."""

    is_encrypted: bool = False
    """The units have to decrypt it themselves, before they start."""
    is_whole: bool = True
    """Units need nothing else of the file."""

    @property
    def name(self) -> str:
        """What the delivered file is called: like this one, as far as vault.toml may name a file so."""
        own = os.path.basename(self.path)
        own = own.removesuffix(".age") if self.is_encrypted else own
        return own if _is_file(own) else _plain(own, "key")


def service_of(unit: Unit) -> str:
    """Return what *unit* is called in ``vault.toml``."""
    return _plain(unit.stem, "service")


def _plain(text: str, otherwise: str) -> str:
    return re.sub(r"[^\w.@-]", "-", text, flags=re.ASCII).lstrip(".-") or otherwise


def names_path(value: str, path: str) -> bool:
    """Tell whether the value of a setting names *path*, and not only a path that begins or ends so."""
    return re.search(_whole(path), value) is not None


def advice(unit: Unit, imported: Import, command: str) -> Iterator[Advice]:
    """Yield what to change in *unit* where it names the file; *command* is ``vault`` as an absolute path, with options."""
    asking = credentials(unit, imported)
    for line in asking.values():
        yield Advice(line.path, line.number, f"{line.key}={line.value}", (_asks(line),))
    naming = [line for line in _naming(unit, imported) if line not in asking.values()]
    if not naming:
        return
    service, directories = service_of(unit), unit.words("RuntimeDirectory")
    # One of each instance: what several shared would go when the first of them stops.
    own = "%N" if unit.is_template else service
    directory = f"/run/{directories[0] if directories else own}"
    where = f" --directory {directory}" if len(directories) > 1 else ""
    new = [] if directories else [f"RuntimeDirectory={own}", "RuntimeDirectoryMode=0700"]
    new.append(f"ExecStartPre=+{command} materialize {service}{where}")
    delivered = f"{directory}/{imported.name}"
    gone = [line.value.partition(":")[0] for line in naming if line.key == "LoadCredential"]
    for line in unit.lines:
        if line in naming:
            kept = tuple(_in_place(line, imported, delivered))
        elif any(_credential(line, name) for name in gone):
            kept = (_of_credentials(line, gone, delivered),)
        else:
            continue
        if line.section == "Service":
            kept, new = (*new, *kept), []
        yield Advice(line.path, line.number, f"{line.key}={line.value}", kept)
    if new:
        yield Advice(naming[0].path, 0, "", ("[Service]", *new))


def credentials(unit: Unit, imported: Import) -> dict[str, Line]:
    """Return by ID the lines of *unit* that load the file as a credential, which the vault's own server can give it."""
    if "" not in imported.secrets or imported.is_encrypted:
        return {}
    loads = (line for line in unit.settings("LoadCredential") if names_path(line.value, imported.path))
    ids = ((line.value.partition(":")[0], line) for line in loads)
    return {key: line for key, line in ids if names.is_credential(key)}


def _naming(unit: Unit, imported: Import) -> list[Line]:
    return [line for line in unit.lines if names_path(line.value, imported.path)]


def _asks(line: Line) -> str:
    return f"LoadCredentialEncrypted={line.value.partition(':')[0]}:{ENCRYPTED}"


def table(unit: Unit, imported: Import) -> list[str]:
    """Return the lines of ``vault.toml`` that let *unit* get what was imported."""
    asking = credentials(unit, imported)
    whole = [] if unit.name == f"{service_of(unit)}.service" else [f"units = [{json.dumps(unit.name)}]"]
    if asking:
        ids = ", ".join(f"{toml_key(key)} = {_quoted(imported.secrets[''])}" for key in asking)
        whole.append(f"credentials = {{ {ids} }}")
    lines = [f"[services.{toml_key(service_of(unit))}]", *whole] if whole else []
    in_files = any(line not in asking.values() for line in _naming(unit, imported))
    return lines + (_file_table(unit, imported) if in_files else [])


def _file_table(unit: Unit, imported: Import) -> list[str]:
    lines = [f"[services.{toml_key(service_of(unit))}.files.{toml_key(imported.name)}]"]
    if "" in imported.secrets:
        return [*lines, f"secret = {_quoted(imported.secrets[''])}"]
    values = ", ".join(
        f"{variable} = {_quoted(reference)}" for variable, reference in imported.secrets.items()
    )
    return [*lines, 'format = "env"', f"values = {{ {values} }}"]


def _in_place(line: Line, imported: Import, delivered: str) -> Iterator[str]:
    """Yield what stands in the place of *line*, which names the file."""
    decrypts = imported.is_encrypted and line.key == "ExecStartPre"
    if line.key == "EnvironmentFile":
        if not imported.is_whole:
            yield f"{line.key}={line.value}"
        # systemd reads it before every line of the unit, so also before the one that writes it.
        yield f"EnvironmentFile=-{delivered}"
    elif line.key != "LoadCredential" and not decrypts:  # a credential has to be there before the first line
        yield f"{line.key}={re.sub(_whole(imported.path), lambda _: delivered, line.value)}"


def _is_file(name: str) -> bool:
    try:
        names.component(name, "file")
    except NameInvalidError:
        return False
    return True


def _credential(line: Line, name: str) -> bool:
    return any(form in line.value for form in _forms(name))


def _of_credentials(line: Line, names: list[str], delivered: str) -> str:
    value = line.value
    for name in names:
        for form in _forms(name):
            value = value.replace(form, delivered)
    return f"{line.key}={value}"


def _forms(name: str) -> tuple[str, str, str]:
    return f"%d/{name}", f"${{CREDENTIALS_DIRECTORY}}/{name}", f"$CREDENTIALS_DIRECTORY/{name}"


def _whole(path: str) -> str:
    return rf"(?<![\w./]){re.escape(path)}(?![\w./-])"


def toml_key(text: str) -> str:
    """Return *text*, a checked name, as a key in TOML."""
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text, re.ASCII) else json.dumps(text, ensure_ascii=False)


def _quoted(reference: Reference) -> str:
    return json.dumps(str(reference), ensure_ascii=False)  # which TOML reads alike
