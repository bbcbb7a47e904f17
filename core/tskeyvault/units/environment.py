"""Files of variables that a unit's own user can write: systemd gives what they say to root's lines of the unit too.

A line with ``+`` is run by root, in the environment of the unit. Whoever can write what ``EnvironmentFile=`` names
has root load a library of theirs, by ``LD_PRELOAD``.
"""

from collections.abc import Mapping, Sequence

_LASTING = {"StateDirectory": "/var/lib", "CacheDirectory": "/var/cache", "LogsDirectory": "/var/log"}
"""What systemd makes for the unit's user and never removes (systemd.exec(5))."""
_ROOT = {"root", "0"}
_NO = {"no", "false", "off", "0", "n", "f"}

Settings = Mapping[str, Sequence[str]]
"""What the section ``[Service]`` assigns, by key; without what an empty assignment has taken back."""


def files_of_user(unit: str, settings: Settings, *, outlasts: bool) -> list[str]:
    """Return those ``EnvironmentFile=`` of the service *unit* that lie in directories of its user.

    *outlasts*: a line of root's is run once the service was, and finds its runtime directory as that has left it.
    """
    if not is_on(settings, "DynamicUser") and settings.get("User", ["root"])[-1] in _ROOT:
        return []
    kinds = {**_LASTING, "RuntimeDirectory": "/run"} if outlasts else _LASTING
    owned = [
        f"{above}{middle}/{_expanded(unit, word.partition(':')[0])}/"
        for kind, above in kinds.items()
        for word in " ".join(settings.get(kind, ())).split()
        for middle in ("", "/private")
    ]
    given = [_expanded(unit, it.removeprefix("-")) for it in settings.get("EnvironmentFile", ())]
    return [path for path in given if path.startswith(tuple(owned))]


def is_on(settings: Settings, key: str) -> bool:
    """Tell whether the setting *key*, of which "no" is the default, is anything else."""
    return settings.get(key, ["no"])[-1].lower() not in _NO


def _expanded(unit: str, text: str) -> str:
    """Return *text* with the specifiers that such a directory is named by (systemd.unit(5))."""
    stem = unit.removesuffix(".service")
    known = {"%t": "/run", "%S": "/var/lib", "%C": "/var/cache", "%L": "/var/log"}
    known |= {"%N": stem, "%n": unit, "%p": stem.partition("@")[0]}
    for form, meaning in known.items():
        text = text.replace(form, meaning)
    return text
