"""A NixOS configuration for a service: options of our modules, which lie beside this file in ``nixos/``."""

import os
from collections.abc import Iterable, Mapping

from tskeyvault import names
from tskeyvault.credentials import table
from tskeyvault.errors import UsageError
from tskeyvault.services import File, Service

from .sidecar import KEY, Sidecar
from .text import printable

MODULES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nixos")
"""The directory of the modules."""

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_Value = str | bool | list[str] | Mapping[str, "_Value"]


def nixos(name: str, service: Service, units: Iterable[str]) -> str:
    """Return the configuration for the service *name*: the files and credentials of its *units*, or the sidecar that it is.

    Only what differs from the options' defaults is said. Raises UsageError for what the modules
    cannot say: unit names beyond letters, digits and ``_ . -``, templates, control characters.
    """
    options = _sidecar(service.sidecar, service.files) if service.sidecar else _units(service, units)
    lines = [f"# vault unit {printable(name)} --for nixos", "{"]
    for option, value in options.items():
        lines += _assignment(option, value, "  ")
    return "\n".join([*lines, "}", ""])


def _units(service: Service, units: Iterable[str]) -> dict[str, _Value]:
    found: dict[str, _Value] = {}
    asks = [f"{key}:{table.ENCRYPTED}" for key, _ in service.credentials]
    for unit in (_quoted(_unit(it)) for it in units):
        if service.files:
            found[f"services.vault-materialize.units.{unit}.secrets"] = {
                file.name: _secret(file) for file in service.files
            }
        if asks:
            found[f"systemd.services.{unit}.serviceConfig.LoadCredentialEncrypted"] = asks
    return found


def _sidecar(sidecar: Sidecar, files: Iterable[File]) -> dict[str, _Value]:
    key, *others = sorted(files, key=lambda file: file.name != KEY)
    if key.secret is None:
        raise UsageError(f"file '{KEY}' of sidecar '{sidecar.name}' is not one secret", "like format raw")
    container = f"tailscale-{_unit(f'{sidecar.name}.service')}"
    own: dict[str, _Value] = {"secret": str(key.secret), "hostname": sidecar.hostname}
    lists = {"tags": sidecar.tags, "extraArgs": sidecar.arguments, "portMappings": sidecar.publish}
    own |= {option: list(values) for option, values in lists.items() if values}
    own |= {"ephemeral": True} if sidecar.ephemeral else {}
    own |= {"once": False} if not sidecar.once and not sidecar.ephemeral else {}
    # The modules say which secret the key is and where it lies; the rest of what may be said of a file is here.
    secrets: dict[str, _Value] = {KEY: rest} if (rest := _properties(key)) else {}
    secrets |= {file.name: {**_secret(file), "path": f"/run/{container}/{file.name}"} for file in others}
    found: dict[str, _Value] = {f"universe.tailscale-sidecars.{_quoted(sidecar.name)}": own}
    for it in sidecar.containers:
        found[f"universe.serviceContainers.{_quoted(it)}"] = {"useTailscaleSidecar": sidecar.name}
    if secrets:
        found[f"services.vault-materialize.units.{_quoted(f'podman-{container}')}.secrets"] = secrets
    return found


def _secret(file: File) -> dict[str, _Value]:
    values: dict[str, _Value] = {variable: str(reference) for variable, reference in file.values}
    return {**({"secret": str(file.secret)} if file.secret else {"values": values}), **_properties(file)}


def _properties(file: File) -> dict[str, _Value]:
    said = {
        "format": file.format,
        "template": file.template,
        "mode": f"{file.mode:04o}",
        "owner": printable(file.owner),
        "group": printable(file.group),
    }
    usual = {"format": "raw", "template": "", "mode": "0400", "owner": "", "group": ""}
    return {option: value for option, value in said.items() if value != usual[option]}


def _unit(unit: str) -> str:
    """Return the name of *unit* as NixOS has it, without its ending."""
    stem = unit.removesuffix(".service")
    if not _NAME.issuperset(stem) or stem[:1] in {".", "-", ""}:
        raise UsageError(
            f"unit '{names.shown(unit)}' cannot be named in the modules' options",
            "letters, digits, _, . and -; give vault.toml other units",
        )
    return stem


def _assignment(option: str, value: _Value, indent: str) -> list[str]:
    """Return the lines that give *option*, which is Nix already, the *value*."""
    if isinstance(value, Mapping):
        inner = [line for key, it in value.items() for line in _assignment(_key(key), it, indent + "  ")]
        return [f"{indent}{option} = {{", *inner, f"{indent}}};"]
    if isinstance(value, list):
        return [f"{indent}{option} = [", *(f"{indent}  {_quoted(it)}" for it in value), f"{indent}];"]
    written = _quoted(value) if isinstance(value, str) else str(value).lower()
    return [f"{indent}{option} = {written};"]


def _key(name: str) -> str:
    return name if name.isascii() and name.isalpha() and name not in _WORDS else _quoted(name)


def _quoted(text: str) -> str:
    """Return *text* as a string of Nix: every dollar escaped, so that none begins an antiquotation."""
    return '"' + "".join(_ESCAPES.get(it, it) for it in text if it in _ESCAPES or printable(it)) + '"'


_ESCAPES = {"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_WORDS = frozenset({"assert", "else", "if", "in", "inherit", "let", "or", "rec", "then", "with"})
