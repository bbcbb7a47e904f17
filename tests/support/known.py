"""Values of a vault that nothing tells from other text, and what looks for such by their fingerprints."""

import os
import string

from support.planted import drawn
from tskeyvault_hooks.finder import Finder
from tskeyvault_hooks.fingerprints import render
from tskeyvault_hooks.own import KEY_LENGTH, Own

KEY = os.urandom(KEY_LENGTH)


def finder_of(*values: bytes) -> Finder:
    """Return what looks for *values*, of which none is left out."""
    data, left_out = render([(f"name/{number}", value) for number, value in enumerate(values)], KEY)
    assert left_out == []
    return Finder(own=Own(data, KEY))


def names(finder: Finder, data: bytes) -> list[str]:
    """Return what is found in *data*."""
    found = [hit.kind for hit in finder.find(data)]
    assert finder.may_hold(data) or not found, "what is found has to be told quickly too"
    return sorted(set(found))


def password(size: int = 20) -> str:
    """Return a random value that is of no kind."""
    return drawn(string.ascii_letters + string.digits, size)
