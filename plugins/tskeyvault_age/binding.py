"""The binding stanza, ``-> tskeyvault v1``: what the core stores under the protection of the MAC.

Its body is the binding, opaque bytes. Other age programs ignore it, as they must ignore every
stanza of a type that they do not know.
"""

from collections.abc import Sequence

from tskeyvault.errors import IntegrityError
from tskeyvault.values import Stanza
from tskeyvault_age.faults import damaged

_TYPE = "tskeyvault"
_ARGS = (_TYPE, "v1")


def wrap(binding: bytes) -> Stanza:
    """Return the stanza that holds *binding*, which is not empty."""
    return Stanza(_ARGS, binding)


def find(stanzas: Sequence[Stanza]) -> bytes:
    """Return the binding among *stanzas*, ``b""`` when there is none.

    Raises IntegrityError when there is more than one, or one of another form.
    """
    ours = [stanza for stanza in stanzas if stanza.args[0] == _TYPE]
    if not ours:
        return b""
    if len(ours) > 1:
        raise damaged("binding", "there is more than one")
    args, body = ours[0]
    if args[1:2] not in ((), _ARGS[1:]):
        raise IntegrityError("the ciphertext was written by a newer version", "upgrade tskeyvault")
    if args != _ARGS or not body:
        raise damaged("binding", "malformed")
    return body
