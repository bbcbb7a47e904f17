"""Which kind of recipient a text is; only that kind's module is loaded."""

from typing import TYPE_CHECKING

from tskeyvault.errors import UsageError
from tskeyvault_age.file import Recipient

if TYPE_CHECKING:
    from tskeyvault_age.keyplugins import KeyPlugins


def parse(text: str, plugins: "KeyPlugins | None") -> Recipient:
    """Return the recipient that *text*, one line of a recipients file, stands for.

    A passphrase never is one. Raises UsageError. Source: age, cmd/age/parse.go.
    """
    if text.startswith(("age1tag1", "age1tagpq1")):
        from tskeyvault_age.tag import TagPQRecipient, TagRecipient

        return TagRecipient.parse(text) if text.startswith("age1tag1") else TagPQRecipient.parse(text)
    if text.startswith("age1pq1"):
        from tskeyvault_age.hybrid import HybridRecipient

        return HybridRecipient.parse(text)
    if text.startswith("age1") and text.count("1") > 1:  # data has none
        from tskeyvault_age.keyplugins import PluginRecipient

        return PluginRecipient.parse(text, plugins)
    if text.startswith(("ssh-", "sk-", "ecdsa-")):
        from tskeyvault_age.ssh import SSHRecipient

        return SSHRecipient.parse(text)
    if text.startswith("age1"):
        from tskeyvault_age.x25519 import X25519Recipient

        return X25519Recipient.parse(text)
    raise UsageError("the key is of no kind that is known")
