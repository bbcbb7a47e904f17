"""What to do about keys that were found, in lines with commands that can be copied from there as they stand."""

import os

from tskeyvault_hooks import caller, git
from tskeyvault_hooks.scan import HEAD_OF, NAME_OF_REF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tskeyvault_hooks.scan import Finding

STAGED, PUSHED, RECEIVED, COMMITTED, HISTORY, FILES, OUTSIDE = (
    "staged", "pushed", "received", "committed", "history", "files", "outside"
)  # fmt: skip
"""Where keys were found: in what is about to be committed, to be pushed, to be received, in commits, in all of
a repository, in files or a stream, and in those where there is no repository."""
_OF_TAGS = ("the message of a tag", f"{HEAD_OF} tag")
_LONG = 1500
"""Characters of a command that are still shown whole."""
_EVERYTHING = "':(top)*'"
_UNDER_WAY = (
    ("rebase-merge", "git rebase --abort"),
    ("rebase-apply/applying", "git am --abort"),
    ("rebase-apply", "git rebase --abort"),
    ("MERGE_HEAD", "git merge --abort"),
    ("CHERRY_PICK_HEAD", "git cherry-pick --abort"),
    ("REVERT_HEAD", "git revert --abort"),
)
"""Files in git's directory that tell what is going on, and how to give it up."""

_KEPT = (
    "all", "allow-empty", "allow-empty-message", "amend", "cleanup", "gpg-sign", "no-gpg-sign", "reset-author",
    "verbose",
)  # fmt: skip
"""Options of ``git commit`` that the next one needs as well."""
_NEEDLESS = (
    "edit", "file", "message", "no-edit", "no-signoff", "no-status", "no-verbose", "no-verify", "quiet", "signoff",
    "squash", "status", "template", "trailer", "verify",
)  # fmt: skip
"""Those that are about the message alone, which git has written by then, or about what git says."""


def lines(findings: "Sequence[Finding]", where: str, event: str = "") -> "list[str]":
    """Return what to do about *findings*, which were found *where*, for the hook *event* where it is one."""
    if where == STAGED:
        out = _out_of_the_commit(findings, event)
    elif where in {PUSHED, RECEIVED, COMMITTED}:
        out = _out_of_commits(findings)
    elif where == HISTORY:
        out = _out_of_the_history(findings)
    else:
        out = []
    if not all(found.kind.startswith("value of secret") for found in findings):
        out.append("keep it in the vault:  vault insert NAME")
    return [*out, _no_secret(findings, where), _revoke(where)]


def pathspec(path: str) -> str:
    """Return, as a word for a POSIX shell, what names the file *path* to git, from any folder of the work tree.

    What no terminal shows, and what was masked, stands there as a wildcard.
    """
    from shlex import quote

    if (
        (path[:1].isalnum() or path[:1] == ".")
        and path.isprintable()
        and not any(c in "*?[\\…" for c in path)
    ):
        return quote(f":/{path}")
    if path.isprintable() and "…" not in path:
        return quote(f":(top,literal){path}")
    return quote(f":(top){''.join(map(_wildcard, path))}")


def _wildcard(character: str) -> str:
    if character == "…":
        return "*"
    if not character.isprintable():
        return "[^ -~]" * len(character.encode(errors="surrogateescape"))
    return f"\\{character}" if character in "*?[\\" else character


def _out_of_the_commit(findings: "Iterable[Finding]", event: str) -> "list[str]":
    paths = list(dict.fromkeys(found.path for found in findings if found.path))
    told = []
    if paths:
        under_way = "git merge --abort" if event == "pre-merge-commit" else _under_way()
        if under_way:
            told = ["take it out of the file and git add that, or give it all up:  " + under_way]
        elif os.environ.get("GIT_INDEX_FILE", "").endswith(".lock"):
            # git commit -a, or with paths: what git restore --staged does, the next one undoes.
            told = ["take it out of the file, and commit again"]
        else:
            told = [f"take it out of this commit:  {_unstage(paths)}"]
    if any(not found.path for found in findings):
        told.append(_out_of_the_message(caller.commands()))
    return told


def _out_of_the_message(asked: "Sequence[tuple[str, list[str]]]") -> str:
    """Return how to commit with another message what git, by its commands *asked*, did not commit with this one."""
    names = [command for command, _ in asked]
    name = "MERGE_MSG" if names[:1] == ["merge"] else "COMMIT_EDITMSG"
    options = caller.of_commit(asked[0][1]) if names[:1] == ["commit"] else {}
    if options is None or options.keys() - {*_KEPT, *_NEEDLESS}:
        return "take it out of the message, and commit again as before"
    kept = "".join(
        f" --{option}{f'={value}' if value else ''}" for option, value in options.items() if option in _KEPT
    )
    file = f'"$(git rev-parse --git-path {name})"'
    then = next((f" && git {command} --continue" for command in names if _goes_on(command)), "")
    return f"take it out of the message:  git commit{kept} --edit --file={file}{then}"


def _goes_on(command: str) -> bool:
    """Tell whether *command* of git has more to do than the commit that was blocked."""
    if command not in {"cherry-pick", "revert"}:
        return command == "rebase"
    try:
        with open(f"{_directory()}/sequencer/todo", "rb") as file:
            return len(file.readlines()) > 1
    except OSError:
        return False


def _unstage(paths: "Iterable[str]") -> str:
    named = " ".join(map(pathspec, paths))
    command = "git restore --staged" if _commit("HEAD") else "git rm --quiet --force --cached"
    return f"{command} {named if len(named) <= _LONG else _EVERYTHING}"


def _out_of_commits(findings: "Iterable[Finding]") -> "list[str]":
    told = []
    commits = list(dict.fromkeys(found.commit for found in findings if found.commit))
    if commits == [_commit("HEAD")]:
        told = ["take it out of the last commit:  git add the file without it, and git commit --amend"]
    elif commits:
        told = [f"take it out of its commit, marked as edit:  git rebase --interactive {_before(commits)}"]
    if any(found.place == f"{HEAD_OF} commit" for found in findings):
        told.append(
            "of its author or committer, when git config user.name is right:  git commit --amend --reset-author"
        )
    if any(found.place in _OF_TAGS for found in findings):
        told.append("take it out of the tag:  git tag --annotate --force NAME NAME^{}")
    return told + _out_of_the_names(findings)


def _out_of_the_names(findings: "Iterable[Finding]") -> "list[str]":
    names = [it.place.removeprefix(NAME_OF_REF) for it in findings if it.place.startswith(NAME_OF_REF)]
    told = []
    if any(name.startswith(" refs/heads/") for name in names):
        told.append("give the branch another name:  git branch --move OLD NEW")
    if any(name.startswith(" refs/tags/") for name in names):
        told.append("give the tag another name:  git tag NEW OLD && git tag --delete OLD")
    return told


def _out_of_the_history(findings: "Iterable[Finding]") -> "list[str]":
    told = []
    if any(found.commit for found in findings):
        told = ["take it out of all commits, here and in every clone:  git filter-repo --replace-text FILE"]
    if any(found.place.startswith("object ") for found in findings):
        told.append("remove what no commit has:  git gc --prune=now")
    return told + _out_of_the_names(findings)


def _no_secret(findings: "Sequence[Finding]", where: str) -> str:
    if where == OUTSIDE:
        return "or, when it is no secret, say so in its line:  vault:allow TEXT"
    if where == RECEIVED:  # the server's own list is that of its HEAD, and its salt may be another
        return (
            "or, when it is no secret, scan in your clone, allow it there, and push .tskeyvault-allow first"
        )
    allow = f"vault scan --allow {findings[0].fingerprint} --reason TEXT && git add :/.tskeyvault-allow"
    return f"or, when it is no secret (or vault:allow TEXT in its line):  {allow}"


def _revoke(where: str) -> str:
    if where == RECEIVED:
        return "it has left the machine that it was on: revoke it"
    return "what was ever pushed or shown has to be revoked"


def _before(commits: "Sequence[str]") -> str:
    """Return, for git rebase, what is before all of *commits*."""
    asked = git.Process(["merge-base", "--octopus", *commits])
    base = git.read_some(asked.output, None).decode().strip()
    if asked.status()[0] or (base in commits and not _commit(f"{base}^")):
        return "--root"
    return f"{base[:10]}^" if base in commits else base[:10]


def _commit(name: str) -> str:
    """Return the id of the commit *name*, or ``""``."""
    asked = git.Process(["rev-parse", "--quiet", "--verify", f"{name}^{{commit}}"])
    answer = git.read_some(asked.output, None).decode().strip()
    return answer if asked.status()[0] == 0 else ""


def _under_way() -> str:
    """Return what gives up the merge, rebase and so on that is under way, or ``""``."""
    directory = _directory()
    return next((end for name, end in _UNDER_WAY if os.path.exists(f"{directory}/{name}")), "")


def _directory() -> str:
    return git.ask("rev-parse", "--git-dir").decode(errors="surrogateescape").removesuffix("\n")
