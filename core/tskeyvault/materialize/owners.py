"""Whose a delivered file is: users and groups by name, by number, or as the directory has them."""

from tskeyvault.errors import DeliveryError
from tskeyvault.names import shown


def owner(otherwise: tuple[int, int], user: str, group: str) -> tuple[int, int]:
    """Return uid and gid of *user* and *group*, names or numbers; for ``""`` those of *otherwise*.

    With a user but no group, the group is that user's own.

    Raises DeliveryError for a name that this host does not know.
    """
    uid, gid = _user(user) if user else otherwise
    return uid, _group(group) if group else gid


def _user(name: str) -> tuple[int, int]:
    import pwd

    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError, ValueError):
        raise DeliveryError(f"this host has no user '{shown(name)}'") from None
    return entry.pw_uid, entry.pw_gid


def _group(name: str) -> int:
    import grp

    try:
        entry = grp.getgrgid(int(name)) if name.isdecimal() else grp.getgrnam(name)
    except (KeyError, OverflowError, ValueError):
        raise DeliveryError(f"this host has no group '{shown(name)}'") from None
    return entry.gr_gid
