"""Secrets that systemd encrypts for this host, by ``systemd-creds`` (systemd-creds(1))."""

from tskeyvault import names, process, systemd
from tskeyvault.errors import PluginError

KEYS = ("host", "tpm2", "host+tpm2")
"""What it can encrypt with. There is also ``null``, which keeps nothing secret and so is not offered."""

DIRECTORY = "/etc/credstore.encrypted"
"""Where systemd looks for encrypted credentials."""

_SECONDS = 60.0


def key_of_host() -> str:
    """Return what to encrypt with here: with the TPM2 too where there is one that works whole.

    Raises PluginError when systemd-creds is not there.
    """
    return "host+tpm2" if _run("has-tpm2", "--quiet").status == 0 else "host"


def seal(name: str, plaintext: bytes, key: str) -> tuple[bytes, str]:
    """Return *plaintext* encrypted as the credential *name* with *key*, of KEYS, and what systemd warns of.

    Raises PluginError.
    """
    done = _run("encrypt", f"--name={name}", f"--with-key={key}", "-", "-", given=plaintext)
    if done.status or not done.output.strip():
        said = names.shown(done.errors.strip().rpartition("\n")[2])
        message = f"systemd-creds cannot encrypt with key '{key}': {said or 'it does not say why'}"
        raise PluginError(message, "--with-key chooses another one")
    return done.output.encode(), done.errors.strip()


def _run(*arguments: str, given: bytes = b"") -> process.Result:
    done = systemd.run("systemd-creds", *arguments, given=given, seconds=_SECONDS)
    if done is None:
        raise PluginError("systemd-creds is not installed", "it comes with systemd 250 and newer")
    return done
