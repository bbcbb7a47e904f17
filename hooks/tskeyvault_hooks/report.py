"""What is said of a scan: for people, as JSON, and as SARIF 2.1.0; never with a key."""

from tskeyvault_hooks.scan import Finding, Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 50
"""Findings that people are shown."""
_LONG = 300
"""Characters of a path that people are shown."""
_SHORT_ID = 10
_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


def lines(findings: "Sequence[Finding]") -> "list[str]":
    """Return a line for each of *findings*, up to a number that can be read."""
    told = [_line(found) for found in findings[:_MOST]]
    return told + ([f"  and {len(findings) - _MOST} more"] if len(findings) > _MOST else [])


def counted(scan: Scan) -> str:
    """Return how much was scanned."""
    return f"scanned {_number(scan.objects, 'object')}, {_number(scan.bytes, 'byte')}"


def total(findings: "Sequence[Finding]") -> str:
    """Return how many keys were found."""
    return f"{_number(len(findings), 'key')} found" if findings else "no key found"


def as_json(scan: Scan) -> "dict[str, object]":
    """Return the findings and what was scanned, ready for :mod:`json`."""
    return {
        "findings": [
            {
                "place": _text(found.place),
                "path": _text(found.path),
                "line": found.line,
                "kind": found.kind,
                "masked": found.masked,
                "fingerprint": found.fingerprint,
                "object": found.object,
                "commit": found.commit,
            }
            for found in scan.findings
        ],
        "objects": scan.objects,
        "bytes": scan.bytes,
    }


def as_sarif(scan: Scan, version: str) -> "dict[str, object]":
    """Return the findings as a SARIF log of one run of *version* of this program."""
    rules = {_rule(found.kind): _title(found.kind) for found in scan.findings}
    driver = {
        "name": "vault scan",
        "version": version,
        "rules": [{"id": rule, "shortDescription": {"text": rules[rule]}} for rule in sorted(rules)],
    }
    results = [_result(found) for found in scan.findings]
    return {"$schema": _SARIF, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def shown(text: str) -> str:
    """Return *text*, which comes from a repository, fit for a terminal: one line, without control characters."""
    cut = text if len(text) <= _LONG else f"{text[: _LONG // 2]}…{text[-_LONG // 2 :]}"
    return "".join(c if c.isprintable() else _escape(c) for c in cut)


def _line(found: Finding) -> str:
    commit = f" in commit {found.commit[:_SHORT_ID]}" if found.commit else ""
    return f"  {_where(found)}:{found.line}: {found.kind} {found.masked}{commit} (fingerprint {found.fingerprint})"


def _where(found: Finding) -> str:
    more = found.path if found.path != found.place else ""
    return f"{shown(found.place)} {shown(more)}".rstrip() if more else shown(found.place)


def _result(found: Finding) -> "dict[str, object]":
    commit = f" in commit {found.commit}" if found.commit else ""
    return {
        "ruleId": _rule(found.kind),
        "level": "error",
        "message": {"text": f"{found.kind} {found.masked} in {_where(found)}{commit}"},
        "locations": [_location(found)],
        "partialFingerprints": {"vault/v1": found.fingerprint},
    }


def _location(found: Finding) -> "dict[str, object]":
    if not found.path:
        return {"logicalLocations": [{"fullyQualifiedName": found.place}]}
    from urllib.parse import quote

    path = quote(found.path, errors="surrogateescape")
    uri = f"file://{path}" if path.startswith("/") else path
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": found.line}}}


def _title(kind: str) -> str:
    return "value of a secret of the vault" if kind.startswith("value of secret") else kind


def _rule(kind: str) -> str:
    return "own-value" if kind.startswith("value of secret") else kind.lower().replace(" ", "-")


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _text(name: str) -> str:
    """Return *name* with an escape for each byte that is no UTF-8: JSON has no place for such."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _escape(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # noqa: PLR2004 - a byte that is no UTF-8
        number -= 0xDC00
    width = "x02" if number < 0x100 else "u04" if number < 0x10000 else "U08"  # noqa: PLR2004 - as Python writes them
    return f"\\{width[0]}{number:{width[1:]}x}"
