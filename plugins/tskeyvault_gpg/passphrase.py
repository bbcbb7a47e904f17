"""Where the passphrase comes from when nobody is there to enter it: a file, a systemd credential, or systemd itself."""

import os

from tskeyvault import local, process
from tskeyvault.errors import ConfigError, LockedError, VaultError
from tskeyvault.exchange import Stop, ask
from tskeyvault.values import Options

CREDENTIAL = "gpg-passphrase"
_MAX_SIZE = 4096 - 1
"""Bytes; with a line end it fits into a pipe at once."""
_SECONDS = 90.0


def is_given(options: Options, table: str) -> bool:
    """Tell whether *options*, the user's *table*, have a passphrase come from somewhere else than pinentry."""
    return bool(_file(options, table)) or _asks(options, table)


def read(options: Options, table: str, stop: Stop) -> bytes | None:
    """Return the passphrase, or None when pinentry is to ask for it.

    Raises ConfigError, LockedError.
    """
    if path := _file(options, table):
        # A credential is read by whom systemd lets: its mode says less than its list of users.
        return _line(_content(path, unread=bool(options.get("passphrase_file"))), f"'{path}'")
    if not _asks(options, table):
        return None
    program = process.find("systemd-ask-password")
    if not program:
        raise LockedError("systemd-ask-password is not installed", f"see ask_password in {table}")
    argv = [program, "--no-tty", f"--timeout={_SECONDS:g}", "--id=vault:gpg", "Passphrase of the gpg key:"]
    answer = ask(argv, limit=_MAX_SIZE, seconds=_SECONDS + 5, stop=stop)
    if answer.status != 0:
        raise LockedError("nobody gave systemd-ask-password the passphrase", "systemd-tty-ask-password-agent")
    return _line(answer.output, "what systemd-ask-password was given")


def _content(path: str, *, unread: bool) -> bytes:
    try:
        return local.read_private(path, _MAX_SIZE, unread=unread)
    except VaultError as error:
        raise LockedError(f"no passphrase: {error.message}", error.hint) from None


def _file(options: Options, table: str) -> str:
    """Return the path of the file that holds the passphrase, or ``""``."""
    path = options.get("passphrase_file", "")
    if not isinstance(path, str) or (path and not os.path.isabs(path)):
        raise ConfigError(f"{table} passphrase_file is not an absolute path")
    credentials = options.get("credentials")
    if path or not credentials:
        return path
    found = os.path.join(str(credentials), CREDENTIAL)
    return found if os.path.exists(found) else ""


def _asks(options: Options, table: str) -> bool:
    asks = options.get("ask_password", False)
    if not isinstance(asks, bool):
        raise ConfigError(f"{table} ask_password is true or false")
    return asks


def _line(data: bytes, what: str) -> bytes:
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    if not line or any(end in line for end in (b"\n", b"\r", b"\0")):
        raise LockedError(f"{what} does not hold a passphrase, which is one line")
    return line
