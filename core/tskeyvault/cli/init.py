"""``vault init``: make a vault whose only reader is its maker."""

import os
from argparse import ArgumentParser, Namespace

from tskeyvault import config, files, git, local, names, recipients
from tskeyvault.errors import DeliveryError, UsageError
from tskeyvault.journal import Note
from tskeyvault.plugins import Plugins, recipients_file
from tskeyvault.recipients import Recipient, Recipients
from tskeyvault.store import FOLDER
from tskeyvault.vault import opened

from . import keygen, place, terminal

_BACKEND = "age"
_RECIPIENTS = f"{FOLDER}/{recipients_file(_BACKEND)}"

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
    parser.add_argument("--no-commit", action="store_true", help="do not commit to git")


def run(options: Namespace) -> int:
    """Make the vault, and first a git work tree and an age key where there is none."""
    directory = os.path.abspath(options.directory)
    if os.path.lexists(os.path.join(directory, config.FILE)):
        raise UsageError(f"'{directory}' is a vault already")
    own = _own_recipients(place(options).identity)
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError:
        raise DeliveryError(f"'{directory}' cannot be made") from None
    if not git.work_tree(directory):
        git.init(directory)
        terminal.say(f"made a git repository in '{directory}'")
    written = _write(directory, own)
    with opened(place(options)._replace(vault=directory), os.environ, terminal.USER) as vault:
        if _RECIPIENTS in written:
            vault.state.approve({_RECIPIENTS: recipients.load(vault.store, _RECIPIENTS).approvable})
            terminal.say(f"made a vault in '{directory}'; it is read by {', '.join(map(names.shown, own))}")
        else:
            terminal.say(f"made a vault in '{directory}'; its recipients were there: vault recipients ack")
        if not options.no_commit and vault.local.commit:
            vault.commit(written, Note("Make a vault", commit=True))
    return 0


def _own_recipients(identity: str) -> list[str]:
    identities = local.identities(identity, os.environ)
    if not identities:
        terminal.say("there is no age key yet: making one")
        return keygen.make(keygen.own_file(os.environ))
    plugins = Plugins({}, identities, terminal.USER)
    try:
        return plugins.get(_BACKEND).own_recipients()
    finally:
        plugins.close()


def _write(directory: str, own: list[str]) -> list[str]:
    """Write what a new vault consists of, but over nothing that is there; return what was written."""
    label = f"{os.environ.get('USER') or 'user'} at {os.uname().nodename}"
    readers = Recipients(_RECIPIENTS, tuple(Recipient(text, label) for text in own))
    contents = {
        f"{FOLDER}/.gitattributes": _ATTRIBUTES.encode(),
        _RECIPIENTS: recipients.render(readers),
        config.FILE: _VAULT_TOML.format(id=os.urandom(16).hex(), backend=_BACKEND).encode(),
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
