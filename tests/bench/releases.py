"""Repositories made of the releases of public Python packages, each release a commit."""

import json
import os
import re
import subprocess
import tarfile
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

ACCEPT = {"Accept": "application/vnd.pypi.simple.v1+json"}
SECONDS = 300


class File(NamedTuple):
    """A file or a link of a release."""

    mode: bytes
    path: str
    data: bytes


def repository(place: Path, archives: Sequence[Path]) -> None:
    """Make the repository *place*, without files checked out: a commit for each of *archives*, in one pack of real deltas."""
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", place], check=True)
    argv = ["git", "-C", str(place), "fast-import", "--quiet"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as importing:
        assert importing.stdin
        for number, archive in enumerate(archives):
            _commit(importing.stdin, number, archive)
        importing.stdin.close()
    if importing.returncode:
        raise RuntimeError("git fast-import failed")
    subprocess.run(["git", "-C", place, "repack", "-adfq"], check=True)


def fetched(cache: Path, project: str, versions: Sequence[str]) -> list[Path]:
    """Return the source distributions of these *versions*, downloaded to *cache* where they are not there."""
    folder = cache / project
    folder.mkdir(parents=True, exist_ok=True)
    there = {version: _archive_of(sorted(folder.iterdir()), project, version) for version in versions}
    if not all(there.values()):
        base = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
        index = f"{base}/{project}/"
        addresses = {Path(file["filename"]): file["url"] for file in json.loads(_get(index))["files"]}
        for version in versions:
            archive = _archive_of(list(addresses), project, version)
            if not archive:
                raise RuntimeError(f"there is no source distribution of {project} {version}")
            there[version] = _download(folder, archive, urllib.parse.urljoin(index, addresses[archive]))
    return [archive for archive in there.values() if archive]


def _archive_of(files: Sequence[Path], project: str, version: str) -> Path | None:
    wanted = {f"{project}-{version}{suffix}" for suffix in (".tar.gz", ".zip", ".tar.bz2")}
    return next((file for file in files if re.sub("[-_]+", "-", file.name).lower() in wanted), None)


def _download(folder: Path, archive: Path, url: str) -> Path:
    path = folder / archive.name
    if not path.exists():
        part = path.with_suffix(".part")
        part.write_bytes(_get(url))
        part.rename(path)
    return path


def _get(url: str) -> bytes:
    request = urllib.request.Request(url, headers=ACCEPT)  # noqa: S310 - the index is the user's
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - as above
        data: bytes = answer.read()
    return data


def _commit(stream: IO[bytes], number: int, archive: Path) -> None:
    """Write *archive* to *stream* as a commit, in the language of fast-import."""
    message = archive.name.encode()
    stream.write(
        b"commit refs/heads/main\ncommitter Bench <bench@example.invalid> %d +0000\ndata %d\n%s\ndeleteall\n"
        % (number * 86400, len(message), message)
    )
    for file in files(archive):
        name = file.path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        stream.write(b'M %s inline "%s"\ndata %d\n' % (file.mode, os.fsencode(name), len(file.data)))
        stream.write(file.data)
        stream.write(b"\n")


def files(archive: Path) -> Iterator[File]:
    """Yield what is in *archive*, without its uppermost folder."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    yield File(b"100644", _below(info.filename), zipped.read(info))
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content:
                yield File(
                    b"100755" if member.mode & 0o100 else b"100644", _below(member.name), content.read()
                )
            elif member.issym():
                yield File(b"120000", _below(member.name), os.fsencode(member.linkname))


def _below(name: str) -> str:
    return "/".join(part for part in name.split("/")[1:] if part not in {"", ".", "..", ".git"}) or name
