"""This host's own configuration: where it lies, what it says, and which identities there are.

It is never committed. Only here can a plugin be given options.
"""

import os
import stat
from collections.abc import Mapping
from typing import NamedTuple

from . import config, files, names, toml
from .errors import ConfigError, LockedError, NotFoundError

IDENTITIES = "identities"
CREDENTIAL = "tskeyvault-identity"

_SYSTEM_CONFIG = "/etc/tskeyvault"
_SYSTEM_STATE = "/var/lib/tskeyvault"


class Local(NamedTuple):
    """What ``config.toml`` says."""

    vault: str
    """The vault to use where none is found otherwise, or ``""``."""
    commit: bool
    """Whether changes are committed to git."""
    plugins: Mapping[str, Mapping[str, object]]
    """Options by plugin."""


def config_directory(environ: Mapping[str, str]) -> str:
    """Return where the local configuration lies: XDG for a user, ``/etc/tskeyvault`` for root."""
    return _xdg(environ, "XDG_CONFIG_HOME", ".config", _SYSTEM_CONFIG)


def state_directory(environ: Mapping[str, str]) -> str:
    """Return where this host keeps what it has seen and approved.

    ``$STATE_DIRECTORY`` of a unit is used only when it is not root that runs: the service owns
    it, and could otherwise change what root believes.
    """
    unit = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if os.geteuid() != 0 and os.path.isabs(unit) and "XDG_STATE_HOME" not in environ:
        return os.path.join(unit, "tskeyvault")
    return _xdg(environ, "XDG_STATE_HOME", ".local/state", _SYSTEM_STATE)


def load(environ: Mapping[str, str]) -> Local:
    """Return the local configuration; a missing file says nothing.

    Raises ConfigError.
    """
    own = _own_directory(environ)
    if not own:
        return Local("", commit=True, plugins={})
    where = os.path.join(own, "config.toml")
    try:
        data = read_private(where, config.MAX_SIZE)
    except NotFoundError:
        return Local("", commit=True, plugins={})
    document = toml.load(data, where)
    toml.known(document, ("vault", "commit", "plugins"), where)
    vault, commit = document.get("vault", ""), document.get("commit", True)
    if not isinstance(vault, str) or not isinstance(commit, bool):
        raise ConfigError(f"{where}: vault is a text, commit is true or false")
    plugins = toml.table(document.get("plugins", {}), f"{where} [plugins]")
    options = {}
    for name, value in plugins.items():
        if not names.is_plugin(name):
            raise ConfigError(f"{where}: [plugins.{names.shown(name)}] is not the name of a plugin")
        options[name] = toml.table(value, f"{where} [plugins.{name}]")
    return Local(vault, commit=commit, plugins=options)


def identities(explicit: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the absolute paths of the identity files to use: of the first place that has any.

    The places: *explicit* (``--identity``), ``$TSKEYVAULT_IDENTITY``, the systemd credential
    ``tskeyvault-identity``, and the file ``identities`` of the local configuration.

    Raises LockedError when a place that was named has no file.
    """
    for place, path in (
        ("--identity", explicit),
        ("TSKEYVAULT_IDENTITY", environ.get("TSKEYVAULT_IDENTITY", "")),
    ):
        if path:
            if not os.path.isfile(path):
                # Not shown: people put the key itself where its file belongs.
                raise LockedError(f"{place} names no file", "give the path of an identity file")
            return (os.path.abspath(path),)
    given = credentials(environ)
    for path in (
        os.path.join(given, CREDENTIAL) if given else "",
        os.path.join(own, IDENTITIES) if (own := _own_directory(environ)) else "",
    ):
        if path and os.path.isfile(path):
            return (path,)
    return ()


def credentials(environ: Mapping[str, str]) -> str:
    """Return the absolute path of the directory of systemd credentials, or ``""``."""
    found = environ.get("CREDENTIALS_DIRECTORY", "")
    return found if os.path.isabs(found) else ""


def _own_directory(environ: Mapping[str, str]) -> str:
    """Return :func:`config_directory`, or ``""`` for a service without a home: systemd sets none for DynamicUser=."""
    try:
        return config_directory(environ)
    except ConfigError:
        return ""


def read_private(path: str, limit: int, *, unread: bool = False) -> bytes:
    """Return the content of *path*, a file of at most *limit* bytes that only we and root can change.

    With *unread*, nobody else may read it either. Raises NotFoundError, and ConfigError when others may.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFoundError(f"'{path}' is not there") from None
    except OSError as error:
        raise ConfigError(f"'{path}': {os.strerror(error.errno or 0).lower()}") from None
    try:
        info = os.fstat(file)
        if not stat.S_ISREG(info.st_mode):
            raise ConfigError(f"'{path}' is not a regular file")
        if info.st_mode & 0o022 or info.st_uid not in {0, os.geteuid()}:
            raise ConfigError(
                f"'{path}' can be changed by others", f"chown it to yourself, chmod go-w {path}"
            )
        if unread and info.st_mode & 0o044:
            raise ConfigError(f"'{path}' can be read by others", f"chmod go= {path}")
        return files.read_all(file, limit, f"'{path}'")
    finally:
        os.close(file)


def _xdg(environ: Mapping[str, str], variable: str, home: str, system: str) -> str:
    base = environ.get(variable, "")
    if os.path.isabs(base):
        return os.path.join(base, "tskeyvault")
    if os.geteuid() == 0:
        return system
    if not os.path.isabs(environ.get("HOME", "")):
        in_a_unit = "in a unit, StateDirectory= or ExecStartPre=+ makes a place for it"
        hint = in_a_unit if variable == "XDG_STATE_HOME" else f"set {variable}"
        raise ConfigError(f"neither HOME nor {variable} is set", hint)
    return os.path.join(environ["HOME"], home, "tskeyvault")
