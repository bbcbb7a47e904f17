"""``vault init``: make a vault whose only reader is its maker."""

import os
from argparse import ArgumentParser, Namespace

from tskeyvault import config, files, git, local, names, recipients
from tskeyvault.backend import NO_KEYS
from tskeyvault.errors import DeliveryError, UsageError
from tskeyvault.journal import Note
from tskeyvault.plugins import Plugins, recipients_file, suffix
from tskeyvault.recipients import Recipient, Recipients
from tskeyvault.store import FOLDER, PUBLIC_KEYS
from tskeyvault.values import Secret
from tskeyvault.vault import opened

from . import keygen, place, terminal

_VAULT_TOML = """\
# A vault of tskeyvault: encrypted secrets for services. Change it by hand; see docs/systemd.md.

[vault]
format = 1
id = "{id}"
backend = "{backend}"

# [services.tailscale-sidecar.files.tskey]
# secret = "tailscale/container-key"
"""

_ATTRIBUTES = """\
# Ciphertexts are binary: no line-end conversion, no merging of lines. Recipients are text.
* binary
.* -text diff merge
"""


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("directory", nargs="?", default=".", metavar="DIR", help="where (default: here)")
    parser.add_argument(
        "--backend", default=keygen.PLUGIN, metavar="PLUGIN", help="for new secrets (default: age)"
    )
    parser.add_argument(
        "--recipient", default="", metavar="RECIPIENT", help="the first reader (default: yourself)"
    )
    parser.add_argument("--no-commit", action="store_true", help="do not commit to git")


def run(options: Namespace) -> int:
    """Make the vault, and first a git work tree and an age key where there is none."""
    directory = os.path.abspath(options.directory)
    if os.path.lexists(os.path.join(directory, config.FILE)):
        raise UsageError(f"'{directory}' is a vault already")
    backend = names.plugin(options.backend)
    readers = _readers(backend, options.recipient.strip(), place(options).identity)
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError:
        raise DeliveryError(f"'{directory}' cannot be made") from None
    if not git.work_tree(directory):
        git.init(directory)
        terminal.say(f"made a git repository in '{directory}'")
    written = _write(directory, backend, readers)
    with opened(place(options)._replace(vault=directory), os.environ, terminal.USER) as vault:
        if readers.path in written:
            made = vault.resolve(backend, recipients.load(vault.store, readers.path))
            vault.state.approve({readers.path: made.approvable})
            whom = ", ".join(map(names.shown, made.texts))
            terminal.say(f"made a vault in '{directory}'; it is read by {whom}")
        else:
            terminal.say(f"made a vault in '{directory}'; its recipients were there: vault recipients ack")
        if not options.no_commit and vault.local.commit:
            vault.changes.commit(written, Note("Make a vault", commit=True))
    return 0


def _readers(backend: str, recipient: str, identity: str) -> Recipients:
    """Return who is to read the new vault: *recipient*, or the user, and their public keys."""
    path = f"{FOLDER}/{recipients_file(backend)}"
    identities = local.identities(identity, os.environ)
    label = f"{os.environ.get('USER') or 'user'} at {os.uname().nodename}"
    if backend == keygen.PLUGIN and not recipient and not identities:
        terminal.say("there is no age key yet: making one")
        made = keygen.make(keygen.own_file(os.environ))
        return Recipients(path, tuple(Recipient(text, label) for text in made))
    options, credentials = local.load(os.environ).plugins, local.credentials(os.environ)
    plugins = Plugins(options, identities, terminal.USER, credentials)
    try:
        loaded = plugins.get(backend)
        own = [recipient] if recipient else loaded.own_recipients()
        has_keys = loaded.implements("vault_public_key")
        if has_keys and len(own) > 1:
            raise UsageError(f"you have several keys: {', '.join(own)}", "--recipient says which")
        keys = [key for text in own if (key := loaded.public_key(text, NO_KEYS))]
        entries = [Recipient(key.recipient, names.shown(key.name)) for key in keys]
        entries = entries or [Recipient(text, "" if recipient else label) for text in own]
        texts, public_keys = [entry.text for entry in entries], {key.file: key.content for key in keys}
        probe = Secret("recipient", f"{FOLDER}/recipient{suffix(backend)}")
        loaded.encrypt(probe, b"", texts, b"", public_keys)
    finally:
        plugins.close()
    return Recipients(path, tuple(entries), public_keys=public_keys)


def _write(directory: str, backend: str, readers: Recipients) -> list[str]:
    """Write what a new vault consists of, but over nothing that is there; return what was written."""
    contents = {
        f"{FOLDER}/.gitattributes": _ATTRIBUTES.encode(),
        readers.path: recipients.render(readers),
        **{f"{FOLDER}/{PUBLIC_KEYS}/{name}": data for name, data in readers.public_keys.items()},
        config.FILE: _VAULT_TOML.format(id=os.urandom(16).hex(), backend=backend).encode(),
    }
    written = []
    with files.directory(directory) as root:
        for path, data in contents.items():
            *parts, name = path.split("/")
            fd = files.descend(root, parts, create=True)
            try:
                if files.create(fd, name, data, mode=0o644):
                    written.append(path)
            finally:
                os.close(fd)
    return written
