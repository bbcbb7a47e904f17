"""Interoperability with the real age program, in both directions."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tskeyvault.spec import Secret
from tskeyvault_age.plugin import Plugin
from tskeyvault_age.x25519 import X25519Identity

SIZES = [0, 1, 65535, 65536, 65537, 1 << 20]


@pytest.mark.parametrize("binding", [b"", b"tailscale/key 7", b"b" * 48, b"b" * 4095], ids=len)
@pytest.mark.parametrize("size", SIZES)
def test_age_opens_ours(
    size: int, binding: bytes, plugin: Plugin, identity_file: Path, age: Callable[..., bytes]
) -> None:
    plaintext = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    others = [str(X25519Identity.generate().recipient) for _ in range(2)]
    data = plugin.vault_encrypt(plaintext, [*others, *plugin.vault_own_recipients()], binding)
    assert age("-d", "-i", str(identity_file), stdin=data) == plaintext


@pytest.mark.parametrize("size", SIZES)
def test_we_open_what_age_wrote(size: int, plugin: Plugin, secret: Secret, age: Callable[..., bytes]) -> None:
    plaintext = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    data = age("-r", *plugin.vault_own_recipients(), stdin=plaintext)
    assert plugin.vault_decrypt(secret, data) == plaintext
    assert plugin.vault_binding(data) == b""


def test_age_keygen_reads_our_identity_file_and_we_read_its(tmp_path: Path) -> None:
    if shutil.which("age-keygen") is None:
        pytest.fail("the program 'age-keygen' is not installed; tests/run.sh installs it", pytrace=False)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_bytes(Plugin({}).vault_keygen({}))
    subprocess.run(["age-keygen", "-o", str(theirs)], capture_output=True, check=True)
    for path in (ours, theirs):
        public = subprocess.run(["age-keygen", "-y", str(path)], capture_output=True, check=True, text=True)
        assert Plugin({"identities": (str(path),)}).vault_own_recipients() == (public.stdout.strip(),)
