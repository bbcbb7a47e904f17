"""What the place that is pushed to has already, for sure: of a push only that need not be scanned.

Git says what the refs are there that are pushed, and FETCH_HEAD what was there at the last fetch. All else
is in the tracking refs of the remote, which say nothing of a place that the remote was changed to since, nor
where it pushes to another place than it fetches from. Which place they are of, git does not say; so it is kept.
"""

import os
from _blake2 import blake2b  # hashlib would load OpenSSL first

from tskeyvault_hooks import git

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FILE = "places"
"""The file in the directory of state: a line of hexadecimal words for each remote, its name and place as digests,
and the objects that its tracking refs were at when it came there from another place."""
_SETTINGS = r"^remote\..*\.(url|pushurl|fetch)$"
_TRACKING = "refs/remotes/"
_CLONED = "\tclone: from "
_MOST = 16 << 20
_DIGEST = 16


class Place:
    """Where a push goes: to *url*, and as *name*, which is that of a remote or what was typed in place of it."""

    def __init__(self, state: str, name: str, url: str):
        self._file = f"{state}/{FILE}"
        self._url = url
        self._remotes = _remotes()
        self._remote = name if name in self._remotes else self._with_url(name)
        self._row = b""

    def has(self, there: "Iterable[str]") -> "list[str]":
        """Return ids of objects that it has, with all that they lead to; *there* are those that git names.

        Raises ScanError.
        """
        own, common = git.ask("rev-parse", "--git-dir", "--git-common-dir").split(b"\n")[:2]
        ids = [*there, *self._fetched(os.fsdecode(own)), *self._tracked(os.fsdecode(common))]
        asked = git.ask_about(["cat-file", "--batch-check=%(objectname)"], dict.fromkeys(ids))
        return [line.decode() for line in asked.split(b"\n") if line and not line.endswith(b" missing")]

    def remember(self) -> None:
        """Keep that the tracking refs are from now on those of this place."""
        before = _read(self._file)
        if not self._row or self._row in before:
            return
        rows = [row for row in before if row and row.split(b" ")[0] != self._row.split(b" ")[0]]
        try:
            os.makedirs(os.path.dirname(self._file), mode=0o700, exist_ok=True)
            with open(f"{self._file}.new", "wb") as file:
                file.write(b"".join(row + b"\n" for row in [*rows, self._row]))
            os.rename(file.name, self._file)
        except OSError:
            return  # more than needed is scanned next time

    def _with_url(self, name: str) -> str:
        """Return the remote whose URL was typed, or ``""``."""
        here = {_place(name), _place(self._url)}
        return next(
            (
                it
                for it, rows in self._remotes.items()
                if here & {*map(_place, rows["url"] + rows["pushurl"])}
            ),
            "",
        )

    def _fetched(self, directory: str) -> "Iterable[str]":
        """Yield what the last fetch found here, where it was from this place."""
        for line in _read(f"{directory}/FETCH_HEAD"):
            name, _, said = os.fsdecode(line).partition("\t")
            if not name.strip("0123456789abcdef") and _place(said.rpartition(" of ")[2]) == _place(self._url):
                yield name

    def _tracked(self, directory: str) -> "list[str]":
        """Return what the tracking refs of the remote are at, as far as they are of this place."""
        if not self._remote or self._places() != {_place(self._url)}:
            return []
        ids = self._tracking()
        name, place = _digest(self._remote), _digest(_place(self._url))
        known = {row[0]: row[1:] for row in (line.split(b" ") for line in _read(self._file)) if row[1:]}
        if name not in known:
            others = [] if self._is_clone(directory) else ids
        elif known[name][0] != place:
            others = ids
        else:
            others = [it.decode() for it in known[name][1:]]
        stale = sorted({*others} & {*ids})
        self._row = b" ".join([name, place, *(it.encode() for it in stale)])
        return sorted({*ids} - {*stale})

    def _places(self) -> "set[str]":
        """Return the places that the remote fetches from and pushes to."""
        found: set[str] = set()
        for whose in ([], ["--push"]):
            asked = git.Process(["remote", "get-url", *whose, "--all", self._remote])
            urls = os.fsdecode(git.read_some(asked.output, None)).split("\n")
            if asked.status()[0]:
                return set()
            found |= {_place(url) for url in urls if url}
        return found

    def _is_clone(self, directory: str) -> bool:
        """Tell whether this repository was cloned from this place, and its log says so."""
        first = next(iter(_read(f"{directory}/logs/HEAD")), b"")
        _, cloned, source = os.fsdecode(first).partition(_CLONED)
        return bool(cloned) and _place(source) in map(
            _place, [self._url, *self._remotes[self._remote]["url"]]
        )

    def _tracking(self) -> "list[str]":
        """Return what the tracking refs are at that are of this remote and of no other."""
        listed = git.ask("for-each-ref", "--format=%(objectname) %(refname)", _TRACKING)
        patterns = {remote: [_target(it) for it in rows["fetch"]] for remote, rows in self._remotes.items()}
        ours = patterns.pop(self._remote)
        others = [it for rows in patterns.values() for it in rows]
        rows = (os.fsdecode(line).partition(" ") for line in listed.split(b"\n")[:-1])
        return [name for name, _, ref in rows if _matches(ref, ours) and not _matches(ref, others)]


def _remotes() -> "dict[str, dict[str, list[str]]]":
    """Return what git's configuration says of each remote: the values of url, pushurl and fetch."""
    asked = git.Process(["config", "-z", "--get-regexp", _SETTINGS])
    output = os.fsdecode(git.read_some(asked.output, None))
    asked.status()  # 1 where there is none
    found: dict[str, dict[str, list[str]]] = {}
    for row in output.split("\0")[:-1]:
        key, _, value = row.partition("\n")
        name, _, what = key.removeprefix("remote.").rpartition(".")
        found.setdefault(name, {"url": [], "pushurl": [], "fetch": []})[what].append(value)
    return found


def _target(refspec: str) -> str:
    """Return where *refspec* puts what is fetched, or ``""``."""
    return "" if refspec.startswith("^") else refspec.partition(":")[2]


def _matches(ref: str, patterns: "Sequence[str]") -> bool:
    for pattern in patterns:
        before, star, after = pattern.partition("*")
        if star and len(ref) >= len(pattern) and ref.startswith(before) and ref.endswith(after):
            return True
        if ref == pattern:
            return True
    return False


def _place(url: str) -> str:
    """Return of *url* what says where it leads: not by which protocol, and as whom."""
    scheme, given, rest = url.partition("://")
    if not given:
        host, given, rest = url.partition(":")
        given = given if host and "/" not in host else ""
    else:
        host, _, rest = ("", "", rest) if scheme == "file" else rest.partition("/")
    if not given or not host:
        path = os.path.realpath(rest if given else url)
        return path.removesuffix("/.git").removesuffix(".git")
    host = host.rpartition("@")[2].lower()
    for port in (":22", ":80", ":443"):
        host = host.removesuffix(port)
    return f"{host}/{rest.strip('/').removesuffix('.git')}"


def _digest(text: str) -> bytes:
    return blake2b(os.fsencode(text), digest_size=_DIGEST, person=b"vault place").hexdigest().encode()


def _read(path: str) -> "list[bytes]":
    try:
        with open(path, "rb") as file:
            return file.read(_MOST).split(b"\n")
    except OSError:
        return []
