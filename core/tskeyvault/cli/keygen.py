"""``vault keygen``: make an identity for this user or host, and say which recipient it is."""

import os
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping

from tskeyvault import files, limits, local
from tskeyvault.credentials import sealed
from tskeyvault.errors import DeliveryError, UsageError
from tskeyvault.plugins import Plugins

from . import terminal

PLUGIN = "age"
"""The identity file is age's own."""

_RECIPIENT = re.compile(rb"^# public key: (\S+)$", re.MULTILINE)


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to write it (default: this user's own identities)"
    )
    parser.add_argument(
        "--pq", action="store_true", help="a post-quantum key: every reader needs age 1.3 or newer"
    )
    parser.add_argument(
        "--systemd-creds", action="store_true", help="encrypt it for this host, for LoadCredentialEncrypted="
    )
    what = "... with this key (default: host+tpm2 where there is a TPM2, else host)"
    parser.add_argument("--with-key", choices=sealed.KEYS, help=what)


def run(options: Namespace) -> int:
    """Write a new identity file, never over an existing one; print its recipient."""
    if options.with_key and not options.systemd_creds:
        raise UsageError("--with-key goes with --systemd-creds")
    default = (
        os.path.join(sealed.DIRECTORY, local.CREDENTIAL) if options.systemd_creds else own_file(os.environ)
    )
    path = os.path.abspath(options.output or default)
    if options.systemd_creds:
        terminal.lines(make_sealed(path, options.with_key or "", post_quantum=options.pq))
    else:
        terminal.lines(make(path, post_quantum=options.pq))
    return 0


def own_file(environ: Mapping[str, str]) -> str:
    """Return where this user's identities lie."""
    return os.path.join(local.config_directory(environ), local.IDENTITIES)


def make(path: str, *, post_quantum: bool = False) -> list[str]:
    """Write a new identity file at *path*, mode 0600; return its recipients.

    Raises UsageError when something is there already.
    """
    limits.protect_memory()
    plugins = _plugins((path,), post_quantum=post_quantum)
    try:
        backend = plugins.get(PLUGIN)
        _create(path, backend.keygen())
        terminal.say(f"wrote '{path}': back it up, and show it to nobody")
        return backend.own_recipients()
    finally:
        plugins.close()


def make_sealed(path: str, key: str, *, post_quantum: bool = False) -> list[str]:
    """Write a new identity at *path* that systemd has encrypted with *key*, or ``""`` for the best one.

    It is in plain text nowhere but in a pipe. Return its recipients. Raises UsageError when something
    is there already, PluginError when systemd cannot.
    """
    limits.protect_memory()
    key = key or sealed.key_of_host()
    plugins = _plugins((), post_quantum=post_quantum)
    try:
        identity = plugins.get(PLUGIN).keygen()
    finally:
        plugins.close()
    encrypted, warning = sealed.seal(local.CREDENTIAL, identity, key)
    _create(path, encrypted)
    if warning:
        terminal.warn(f"systemd-creds: {warning}")
    terminal.say(f"wrote '{path}', which this host alone can decrypt (key: {key})")
    terminal.say(f"for its units: LoadCredentialEncrypted={local.CREDENTIAL}:{path}")
    return [text.decode() for text in _RECIPIENT.findall(identity)]


def _plugins(identities: tuple[str, ...], *, post_quantum: bool) -> Plugins:
    return Plugins({PLUGIN: {"post_quantum": post_quantum}}, identities, terminal.USER)


def _create(path: str, content: bytes) -> None:
    folder, name = os.path.split(path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError:
        raise DeliveryError(f"'{folder}' cannot be made") from None
    with files.directory(folder) as fd:
        if not files.create(fd, name, content, mode=0o600):
            raise UsageError(f"'{path}' exists and is kept", "--output names another file")
