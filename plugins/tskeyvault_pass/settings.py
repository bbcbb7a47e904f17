"""What the user tells pass by its environment variables (pass(1)), and this plugin by its own table."""

import os
import pwd
import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from tskeyvault import home, names
from tskeyvault.errors import ConfigError, UsageError
from tskeyvault.values import Options

_OWN = frozenset({"directory"})
_WITH_VALUE = frozenset({"--cipher-algo", "--digest-algo", "--s2k-digest-algo", "--s2k-cipher-algo"})
_WITHOUT = frozenset(
    {
        "--always-trust", "--batch", "--no-default-recipient", "--no-permission-warning",
        "--no-secmem-warning", "--no-tty", "--quiet", "--use-agent", "--yes", "-q",
    }
)  # fmt: skip
"""Options that leave what gpg runs, loads, trusts and says as it is; whatever is not here is refused."""
_ALGORITHM = re.compile(r"[A-Za-z0-9]{1,20}", re.ASCII)
_FINGERPRINT = re.compile(r"[0-9A-F]{40}", re.ASCII)
_UMASK = re.compile(r"[0-7]{1,4}", re.ASCII)


class Settings(NamedTuple):
    """What holds for one command."""

    directory: str
    """Of the store."""
    umask: int
    keys: tuple[str, ...]
    """To encrypt to in the place of what ``.gpg-id`` says; usually none."""
    signers: frozenset[str]
    """Full fingerprints; one of them has to have signed each ``.gpg-id``, unless there are none."""
    gpg_options: tuple[str, ...]


def read(environ: Mapping[str, str], options: Options) -> Settings:
    """Return the Settings in *environ*, and in *options* for what it does not say.

    Raises UsageError for what is not understood, ConfigError.
    """
    return Settings(
        _directory(environ, options),
        _umask(environ.get("PASSWORD_STORE_UMASK") or "077"),
        tuple(environ.get("PASSWORD_STORE_KEY", "").split()),
        _signers(environ.get("PASSWORD_STORE_SIGNING_KEY", "").split()),
        _gpg_options(environ.get("PASSWORD_STORE_GPG_OPTS", "")),
    )


def for_gpg(options: Options) -> Options:
    """Return those of *options* that the gpg plugin has too."""
    return {name: value for name, value in options.items() if name not in _OWN}


def _directory(environ: Mapping[str, str], options: Options) -> str:
    configured = options.get("directory", "")
    if not isinstance(configured, str) or (configured and not os.path.isabs(configured)):
        raise ConfigError("[plugins.pass] directory is not an absolute path")
    if found := environ.get("PASSWORD_STORE_DIR") or configured:
        return os.path.abspath(found)
    found = home.of_user(environ)
    if not os.path.isabs(found):
        found = pwd.getpwuid(os.geteuid()).pw_dir  # as in a unit of root, which has no HOME
    return os.path.join(found, ".password-store")


def _umask(text: str) -> int:
    if not _UMASK.fullmatch(text):
        raise UsageError("PASSWORD_STORE_UMASK is not a number like 077")
    return int(text, 8) & 0o777


def _signers(found: list[str]) -> frozenset[str]:
    if not all(map(_FINGERPRINT.fullmatch, found)):
        raise UsageError(
            "PASSWORD_STORE_SIGNING_KEY holds something else than full fingerprints",
            "40 hexadecimal digits in upper case",
        )
    return frozenset(found)


def _gpg_options(text: str) -> tuple[str, ...]:
    try:
        words = shlex.split(text)
    except ValueError:
        raise UsageError("PASSWORD_STORE_GPG_OPTS has a quote without an end") from None
    taken: list[str] = []
    while words:
        option, equals, value = words.pop(0).partition("=")
        if option in _WITH_VALUE and (equals or words):
            value = value if equals else words.pop(0)
            if not _ALGORITHM.fullmatch(value):
                raise UsageError(f"PASSWORD_STORE_GPG_OPTS: {option} has no name of an algorithm")
            taken += [option, value]
        elif option not in _WITHOUT or equals:
            raise UsageError(
                f"PASSWORD_STORE_GPG_OPTS: option '{names.shown(option)}' is refused",
                "what could make gpg run a program or be believed less is; see docs/pass.md",
            )
    return tuple(taken)
