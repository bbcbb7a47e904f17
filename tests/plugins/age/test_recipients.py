"""Lines of the recipients file: every kind is told by its form, and what is none is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.age.conftest import SSHKeys
from plugins.age.softkeys import TagIdentity, TagPQIdentity, plugin_recipient
from tskeyvault.errors import UsageError
from tskeyvault_age import recipients
from tskeyvault_age.hybrid import HybridIdentity, HybridRecipient
from tskeyvault_age.keyplugins import PluginRecipient
from tskeyvault_age.ssh import SSHRecipient
from tskeyvault_age.tag import TagPQRecipient, TagRecipient
from tskeyvault_age.x25519 import X25519Identity, X25519Recipient


def test_every_kind_is_told_by_its_form(ssh_keys: SSHKeys) -> None:
    path = ssh_keys.make("ed25519")
    line = path.with_name(f"{path.name}.pub").read_text().removesuffix(" me@host\n")
    for text, kind in (
        (str(X25519Identity.generate().recipient), X25519Recipient),
        (str(HybridIdentity.generate().recipient), HybridRecipient),
        (str(TagIdentity().recipient), TagRecipient),
        (str(TagPQIdentity().recipient), TagPQRecipient),
        (plugin_recipient("yubikey"), PluginRecipient),
        (line, SSHRecipient),
    ):
        recipient = recipients.parse(text, None)
        assert type(recipient) is kind
        assert str(recipient) == text


@given(st.text() | st.text().map(lambda text: f"age1{text}") | st.text().map(lambda text: f"age1x1{text}"))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        recipients.parse(text, None)


@pytest.mark.parametrize(
    "prefix",
    [
        "age1",
        "age1pq1",
        "age1tag1",
        "age1tagpq1",
        "age1demo1",
        "ssh-rsa ",
        "ssh-ed25519 ",
        "sk-ssh-ed25519@openssh.com ",
    ],
)
def test_prefix_alone_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError):
        recipients.parse(prefix, None)
