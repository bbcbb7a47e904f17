"""Every way in which the vault can refuse or fail, each with its exit code.

A message is lower case, without a final period, and names the thing, never its value.
The hint says what to do next. Neither may ever hold a secret or the text of a foreign exception.

::

    VaultError                 1   findings; the base of all, raised as such by nobody
    ├── CheckError             1   something looked at was not as it should be
    ├── UsageError             2   the call cannot be understood
    │   ├── NameInvalidError   2   a name that is not allowed
    │   └── ConfigError        2   vault.toml or the local configuration is wrong
    ├── NotFoundError          3   no such vault, secret, service or recipient
    ├── LockedError            4   no identity, or none that opens this
    ├── IntegrityError         5   swapped, rolled back, damaged, or recipients changed
    ├── PluginError            6   a plugin, program or device failed or broke its contract
    └── DeliveryError          7   could not be written where it should go
        └── FullError          7   there is no room for it
"""


class VaultError(Exception):
    """Base of all errors that are explained to the user; never raised directly.

    *message* is what happened, *hint* (optional) what to do next.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message)
        self.message = message
        self.hint = hint


class CheckError(VaultError):
    """A check found something: exit code 1."""


class UsageError(VaultError):
    """The command or its arguments make no sense: exit code 2."""

    exit_code = 2


class NameInvalidError(UsageError):
    """A name is not allowed: exit code 2."""


class ConfigError(UsageError):
    """A configuration file is wrong: exit code 2."""


class NotFoundError(VaultError):
    """What was named is not there: exit code 3."""

    exit_code = 3


class LockedError(VaultError):
    """Nothing at hand opens this: exit code 4."""

    exit_code = 4


class IntegrityError(VaultError):
    """It is not what it claims to be, or not what this host approved: exit code 5."""

    exit_code = 5


class PluginError(VaultError):
    """A plugin, a program or a device failed: exit code 6."""

    exit_code = 6


class DeliveryError(VaultError):
    """It could not be written where it should go: exit code 7."""

    exit_code = 7


class FullError(DeliveryError):
    """There is no room for it: exit code 7."""
