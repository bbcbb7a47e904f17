"""Where the vault is, or another program's store in its place, and what it says of itself."""

import hashlib
import os
from collections.abc import Mapping
from typing import NamedTuple

from . import config, files, local, names
from .config import Settings
from .errors import ConfigError, NotFoundError
from .plugins import Plugins, is_housed
from .values import UI, Housing


class Place(NamedTuple):
    """What the user said about where things are."""

    vault: str = ""
    """``--vault``"""
    identity: str = ""
    """``--identity``"""
    consents: frozenset[str] = frozenset()
    """``--last-try``, ``--free-reader``: see :data:`tskeyvault.values.Options`."""


def housing(plugin: str, environ: Mapping[str, str], ui: UI) -> Housing:
    """Return the directory that the secrets of *plugin* lie in.

    Raises NotFoundError.
    """
    asked = Plugins(local.load(environ).plugins, (), ui)
    try:
        return asked.get(plugin).store()
    finally:
        asked.close()


def settings(root: int, directory: str, plugin: str) -> Settings:
    """Return what ``vault.toml`` says, or what holds for a directory of *plugin*, which has none."""
    if plugin:
        where = os.path.realpath(directory).encode(errors="surrogateescape")
        return Settings(hashlib.sha256(where).hexdigest()[:32], plugin, {})
    found = config.parse(files.read(root, config.FILE, config.MAX_SIZE))
    if is_housed(found.backend):
        raise ConfigError(
            f"{config.FILE}: the secrets of plugin '{found.backend}' do not lie in a vault",
            f"name them as {found.backend}:NAME",
        )
    return found


def find(place: Place, environ: Mapping[str, str]) -> str:
    """Return the vault's directory: ``--vault``, ``$TSKEYVAULT_DIR``, upwards, or the local configuration's.

    Raises NotFoundError.
    """
    for named in (place.vault, environ.get("TSKEYVAULT_DIR", "")):
        if named:
            return _vault_at(named)
    here = os.getcwd()
    while not os.path.lexists(os.path.join(here, config.FILE)):
        if here == (here := os.path.dirname(here)):
            if fallback := local.load(environ).vault:
                return _vault_at(fallback)
            raise NotFoundError("no vault here or above", "vault init makes one, --vault DIR names one")
    return here


def _vault_at(path: str) -> str:
    directory = os.path.abspath(path)
    if not os.path.lexists(os.path.join(directory, config.FILE)):
        raise NotFoundError(f"'{names.shown(directory)}' holds no {config.FILE}", "vault init makes one")
    return directory
