"""The fenced blocks of the project's own documents, for tests that run what the documents say."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]

_SECONDS = 120
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_UNIT = re.compile(r"# /etc/systemd/system/(\S+)\n")


class Block(NamedTuple):
    """One fenced block."""

    document: str
    language: str
    """``""`` for a drawing."""
    text: str


def names() -> list[str]:
    """Return the documents whose blocks have to be run, relative to the checkout."""
    pages = sorted((CHECKOUT / "docs").rglob("*.md"))
    return ["README.md", *(str(page.relative_to(CHECKOUT)) for page in pages)]


def blocks(document: str) -> list[Block]:
    """Return all fenced blocks of *document*, in order."""
    text = (CHECKOUT / document).read_text()
    found = [Block(document, *match.groups()) for match in _FENCED.finditer(text)]
    assert len(found) * 2 == text.count("```"), f"{document} has a fence that is not understood"
    return found


def texts(document: str, language: str) -> list[str]:
    """Return the contents of the blocks of *document* in *language*, in order."""
    return [block.text for block in blocks(document) if block.language == language]


def shell(script: str, *, cwd: Path, data: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script of a document with the checkout's ``vault`` on PATH; it stops at the first failure."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["sh", "-euc", script],
        check=False,
        capture_output=True,
        cwd=cwd,
        input=data,
        env={**os.environ, "PATH": path, **env},
        timeout=_SECONDS,
    )


def units(document: str) -> dict[str, str]:
    """Return the unit files that *document* shows whole, by the name that their first line gives them."""
    found: dict[str, str] = {}
    for text in texts(document, "ini"):
        if match := _UNIT.match(text):
            assert match[1] not in found, f"{document} shows {match[1]} twice"
            found[match[1]] = text
    return found
