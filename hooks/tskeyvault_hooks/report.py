"""What is said of a scan: for people, as JSON, and as SARIF 2.1.0."""

from tskeyvault_hooks.scan import Finding, Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 50
"""Findings that people are shown."""
_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


def lines(findings: "Sequence[Finding]") -> "list[str]":
    """Return a line for each of *findings*."""
    told = [_line(found) for found in findings[:_MOST]]
    return told + ([f"and {len(findings) - _MOST} more"] if len(findings) > _MOST else [])


def hints(findings: "Sequence[Finding]", *, staged: bool) -> "list[str]":
    """Return what to do about *findings*, in lines."""
    first = findings[0]
    told = []
    if staged and first.object:
        told.append(f"git restore --staged -- {_shown(first.place)} takes it out of this commit")
    told.append("vault insert NAME keeps a key where it belongs; what was ever pushed has to be revoked")
    told.append(
        f"what is no secret: vault scan --allow {first.fingerprint} --reason TEXT, or vault:allow TEXT in its line"
    )
    return told


def counted(scan: Scan) -> str:
    """Return how much was scanned."""
    return f"scanned {scan.objects} object{'' if scan.objects == 1 else 's'}, {scan.bytes} bytes"


def as_json(scan: Scan) -> "dict[str, object]":
    """Return the findings and what was scanned, ready for :mod:`json`."""
    found = [{name: getattr(it, name) for name in sorted(Finding.__slots__)} for it in scan.findings]
    return {"findings": found, "objects": scan.objects, "bytes": scan.bytes}


def as_sarif(scan: Scan, version: str) -> "dict[str, object]":
    """Return the findings as a SARIF log of one run of *version* of this program."""
    kinds = sorted({found.kind for found in scan.findings})
    rules = [{"id": _rule(kind), "shortDescription": {"text": kind}} for kind in kinds]
    driver = {"name": "vault scan", "version": version, "rules": rules}
    results = [_result(found) for found in scan.findings]
    return {"$schema": _SARIF, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _result(found: Finding) -> "dict[str, object]":
    from urllib.parse import quote

    place = {"uri": quote(found.place, errors="surrogateescape")}
    where = {"artifactLocation": place, "region": {"startLine": found.line}}
    return {
        "ruleId": _rule(found.kind),
        "level": "error",
        "message": {
            "text": f"{found.kind} {found.masked}" + (f" in commit {found.commit}" if found.commit else "")
        },
        "locations": [{"physicalLocation": where}],
        "partialFingerprints": {"vault/v1": found.fingerprint},
    }


def _rule(kind: str) -> str:
    return "own-value" if kind.startswith("value of secret") else kind.lower().replace(" ", "-")


def _line(found: Finding) -> str:
    commit = f" in commit {found.commit}" if found.commit else ""
    return f"  {_shown(found.place)}:{found.line}: {found.kind} {found.masked}{commit} (fingerprint {found.fingerprint})"


def _shown(text: str) -> str:
    """Return *text*, which comes from a repository, fit for a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c) & 0xFF:02x}" for c in text[:500])
