"""The core's own ``vault_materialize``: the plaintext as it is, in a new file."""

from tskeyvault import files
from tskeyvault.spec import hookimpl
from tskeyvault.values import Target


@hookimpl
def vault_materialize(plaintext: bytes, target: Target) -> str:
    """Stage *plaintext* in the target's directory with its mode and owner; return the temporary name."""
    return files.stage(target.directory, plaintext, mode=target.mode, owner=(target.uid, target.gid))
