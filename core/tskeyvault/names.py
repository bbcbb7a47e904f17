"""The one validator of names: of secrets, services, delivered files, plugins, variables, units and credentials."""

import re
from typing import NamedTuple

from .errors import NameInvalidError

MAX_COMPONENT = 200
"""Bytes (UTF-8) in one component; a file name of 255 leaves room for a suffix."""
MAX_NAME = 1000
"""Bytes (UTF-8) in a whole name."""

_SHOWN = 80
_MASKED = 10_000
_BLANK = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0") | {chr(code) for code in range(0xFE00, 0xFE10)}
_FORBIDDEN = {
    "Cc": "a control character",
    "Cf": "an invisible character",
    "Cs": "bytes that are not UTF-8",
    "Zl": "a line separator",
    "Zp": "a line separator",
}
_KEY = re.compile(
    r"(tskey-[a-z]+-[0-9A-Za-z_-]*CNTRL-|hskey-[a-z]+-[0-9A-Za-z_-]{40}|AGE-(SECRET-KEY|PLUGIN)-)\S+",
    re.ASCII,
)
_LOADER = re.compile(
    r"(LD|DYLD|GLIBC|BASH|PYTHON|PERL|RUBY|NODE|JAVA|JDK|_JAVA|GIT|LUA|PHP|GCONV|MALLOC|GUILE|TCL)(_.*|[A-Z0-9]*)"
    r"|ENV|PATH|IFS|PS4|SHELLOPTS|PROMPT_COMMAND|SHELL|HOME|EDITOR|VISUAL|PAGER|BROWSER|CLASSPATH|OPENSSL_CONF"
    r"|(RUSTC?|CARGO|DOTNET|CORECLR|COR|GTK|QT|NPM|npm|LESS|TSKEYVAULT)_.*|LESSOPEN|LESSCLOSE|MANPAGER|ZDOTDIR"
    r"|VIMINIT|EXINIT|SSH_ASKPASS|SUDO_ASKPASS|R_PROFILE.*|R_ENVIRON.*"
    r"|OPENSSL_MODULES|OPENSSL_ENGINES|LOCPATH|NLSPATH|TMPDIR|TERMINFO|HOSTALIASES|RESOLV_HOST_CONF|XDG_.*",
    re.ASCII,
)
"""Variables by which a loader or an interpreter finds code; the list cannot be complete."""
_VALUE = re.compile(r"[A-Z0-9_]+_(TOKEN|PASSWORD|SECRET)", re.ASCII)
"""Variables of the same programs that only hold a value: ``NPM_TOKEN``, ``CARGO_REGISTRY_TOKEN``, ``GIT_PASSWORD``."""
_PLUGIN = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_UNIT = re.compile(r"[A-Za-z0-9:_\\@][A-Za-z0-9:_.\\@-]*\.service", re.ASCII)
_MAX_UNIT = 255
_CREDENTIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,79}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}", re.ASCII)


class Reference(NamedTuple):
    """A secret as the user names it: ``tailscale/key`` or ``age:tailscale/key``."""

    plugin: str
    """The plugin it names, or ``""``."""
    name: str

    def __str__(self) -> str:
        return f"{self.plugin}:{self.name}" if self.plugin else self.name


def shown(text: str, longest: int = _SHOWN) -> str:
    """Return *text* short and safe to print: control and invisible characters escaped, at most *longest* of them."""
    masked = _KEY.sub("[a key]", text[:_MASKED])
    safe = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in masked[: longest + 1])
    return safe if len(safe) <= longest else f"{safe[: longest - 1]}…"


def holds_key(text: str) -> bool:
    """Tell whether *text* holds what looks like a key: people paste them into the wrong place."""
    return _KEY.search(text) is not None


def component(text: str, what: str) -> str:
    """Return *text* when it may be one path component, for a thing called *what*.

    Raises NameInvalidError.
    """
    if holds_key(text):
        raise NameInvalidError(
            f"the {what.split(maxsplit=1)[0]} looks like a key itself", "a name comes here, no key"
        )
    if reason := _objection(text):
        raise NameInvalidError(f"{what} '{shown(text)}': {reason}")
    return text


def secret(text: str) -> str:
    """Return *text* when it may name a secret: components joined by ``/``.

    Raises NameInvalidError.
    """
    if holds_key(text):
        raise NameInvalidError(
            "the name looks like a key itself", "a name comes here, the key on standard input"
        )
    if len(text.encode(errors="surrogatepass")) > MAX_NAME:
        raise NameInvalidError(f"secret '{shown(text)}': longer than {MAX_NAME} bytes")
    for part in text.split("/"):
        component(part, "secret" if part == text else f"secret '{shown(text)}': component")
    return text


def reference(text: str) -> Reference:
    """Split ``plugin:name``, or a plain name, into a Reference.

    Raises NameInvalidError.
    """
    prefix, colon, rest = text.partition(":")
    if not colon:
        return Reference("", secret(text))
    return Reference(plugin(prefix), secret(rest))


def folder(text: str) -> Reference:
    """Split ``plugin:folder``, a folder, ``plugin:`` or nothing at all into a Reference; its name may be ``""``.

    Raises NameInvalidError.
    """
    prefix, colon, rest = text.rstrip("/").rpartition(":")
    return Reference(plugin(prefix) if colon else "", secret(rest) if rest else "")


def plugin(text: str) -> str:
    """Return *text* when it may name a plugin: lower-case letters, digits and dashes, at most 32.

    Raises NameInvalidError.
    """
    if not _PLUGIN.fullmatch(text):
        raise NameInvalidError(f"plugin '{shown(text)}': lower-case letters, digits and dashes only")
    return text


def is_plugin(text: str) -> bool:
    """Tell whether *text* may name a plugin."""
    return _PLUGIN.fullmatch(text) is not None


def variable(text: str) -> str:
    """Return *text* when it may name an environment variable for a secret (POSIX portable names).

    Raises NameInvalidError.
    """
    if not _VARIABLE.fullmatch(text):
        raise NameInvalidError(f"variable '{shown(text)}': letters, digits and underscores only")
    if _LOADER.fullmatch(text) and not _VALUE.fullmatch(text):
        raise NameInvalidError(f"variable '{text}' can make a program load code, and so is not for secrets")
    return text


def unit(text: str) -> str:
    """Return *text* when it may name a service unit of systemd; a template, ``x@.service``, stands for its instances.

    Raises NameInvalidError.
    """
    if not is_unit(text):
        raise NameInvalidError(f"unit '{shown(text)}': not the name of a service unit", "like web.service")
    return text


def is_unit(text: str) -> bool:
    """Tell whether *text* may name a service unit."""
    return _UNIT.fullmatch(text) is not None and len(text) <= _MAX_UNIT


def is_credential(text: str) -> bool:
    """Tell whether *text* may be the ID of a systemd credential."""
    return not holds_key(text) and _CREDENTIAL.fullmatch(text) is not None


def credential(text: str) -> str:
    """Return *text* when it may be the ID of a systemd credential: letters, digits and ``_.@-``, at most 80.

    Raises NameInvalidError.
    """
    if not is_credential(text):
        raise NameInvalidError(f"credential '{shown(text)}': letters, digits and _.@- only, at most 80")
    return text


def _objection(text: str) -> str:
    """Return why *text* may not be a component, or ``""``."""
    size = len(text.encode(errors="surrogatepass"))
    found, normal = _characters(text)
    marks = next((c for c in text if c in "/\\:"), "")
    reasons = {
        "an empty name or component": not text,
        "must not begin with a dot or a dash": text[:1] in {".", "-"},
        f"longer than {MAX_COMPONENT} bytes": size > MAX_COMPONENT,
        f"must not contain {found}": found,
        f"must not contain '{marks}'": marks,
        "must not begin or end with a space": text != text.strip(),
        "must be in Unicode normal form C": not normal,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _characters(text: str) -> tuple[str, bool]:
    """Return which forbidden kind of character *text* has, or ``""``, and whether it is in form C."""
    if text.isascii() and text.isprintable():
        return "", True  # nearly all names are, and the tables below cost 2 ms
    import unicodedata

    kinds = (_kind(unicodedata.category(character), character) for character in text)
    return next(filter(None, kinds), ""), unicodedata.is_normalized("NFC", text)


def _kind(category: str, character: str) -> str:
    blank = character in _BLANK or (category == "Zs" and character != " ")
    return "a character that cannot be seen" if blank else _FORBIDDEN.get(category, "")
