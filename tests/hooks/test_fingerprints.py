"""Of the vault's values those are looked for that are secret, and their parts that are; the rest is named."""

import base64
import json
import re
import secrets
import string

import pytest

from support.known import KEY, finder_of, names, password
from support.planted import BASE58, BLOCKS, HEX, drawn
from support.vaults import made_key
from tskeyvault_age.x25519 import X25519Identity
from tskeyvault_hooks.finder import Finder
from tskeyvault_hooks.fingerprints import has_spaces, render
from tskeyvault_hooks.own import Own


def test_of_an_environment_file_each_secret_is_found_alone() -> None:
    token, secret = password(16), drawn(HEX, 40)
    value = f"# of the service\nHOST=db.example.com\nexport TOKEN='{token}'\nSECRET={secret}\nPORT=5432\n"
    finder = finder_of(value.encode())
    assert names(finder, token.encode())
    assert names(finder, secret.encode())
    assert names(finder, b"HOST=db.example.com\nPORT=5432\n# of the service\n") == []


def test_of_a_json_file_each_secret_is_found_alone_and_nothing_public() -> None:
    key_id = drawn(HEX, 40)
    account = {
        "type": "service_account",
        "private_key_id": key_id,
        "private_key": BLOCKS["PKCS8"](),
        "client_email": "deploy-bot@my-project-123456.iam.gserviceaccount.com",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "maxConnectionsPerHost": 10,
    }
    finder = finder_of(json.dumps(account, indent=2).encode())
    assert names(finder, f"id: {key_id}\n".encode())
    for public in ("client_email", "auth_uri", "token_uri"):
        assert names(finder, str(account[public]).encode()) == []
    assert names(finder, b"maxConnectionsPerHost: 20") == []


def test_a_line_of_a_key_is_found_alone_though_it_has_no_digit() -> None:
    for size in (32, 44, 64):
        line = drawn(string.ascii_letters + "+/", size)
        finder = finder_of(f"{password(64)}\n{line}\n".encode())
        assert names(finder, line.encode()), "a line of letters"


def test_a_long_name_in_a_program_is_no_secret() -> None:
    for name in (
        "maximalNumberOfConnectionsPerHostAndPortAndUser",
        "AbstractSingletonProxyFactoryBeanConfiguration",
        "MAXIMAL_NUMBER_OF_CONNECTIONS_PER_HOST",
        "getHTTPSURLForAPI",
    ):
        assert names(finder_of(f"{password()}\n{name}\n".encode()), name.encode()) == []


def test_public_parts_of_a_value_are_not_looked_for() -> None:
    identity = X25519Identity.generate()
    certificate = base64.encodebytes(secrets.token_bytes(600)).decode()
    block = f"-----BEGIN CERTIFICATE-----\n{certificate}-----END CERTIFICATE-----\n"
    ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + drawn(BASE58, 43)
    value = f"# public key: {identity.recipient}\n{identity.export()}\n{block}{ssh} me@host\n"
    finder = finder_of(value.encode())
    assert names(finder, f"{identity.recipient}\n{block}{ssh}\n".encode()) == []
    assert names(finder, identity.export().encode()) == ["age secret key", "value of secret 'name/0'"]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "hunter2",
        "12345678901",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "admin@example.com",
        "first.last-name@mail.department.example.com",
        "https://api.tailscale.com",
        "https://login.example.com:8443/realms/production/protocol/openid-connect/token",
        "db-1.internal.example.com",
        "db.internal.example.com:5432",
        "/run/credentials/tskeyvault/auth",
        "us-east-1-production",
        "2026-11-24 10:00",
        "123456789012",
        "user\npass\n",
        "true\n",
        str(X25519Identity.generate().recipient),
    ],
    ids=lambda value: re.sub("age1.*", "age1", value) or "empty",
)
def test_what_stands_in_texts_with_right_is_left_out_and_named(value: str) -> None:
    data, left_out = render([("a/b", value.encode()), ("good", made_key())], KEY)
    assert left_out == ["a/b"]
    finder = Finder(own=Own(data, KEY))
    assert names(finder, f"{value}\n{value} {value}".encode()) == []


def test_values_of_short_words_are_told() -> None:
    assert has_spaces([b"correct horse battery staple"], 16)
    assert has_spaces([password(12).encode()], 16)
    assert not has_spaces([password(20).encode(), made_key()], 16)
