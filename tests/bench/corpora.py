"""Prints what `vault scan --history` finds in the releases of public Python packages, to be judged by a person.

    .venv/bin/python tests/bench/corpora.py CACHE [PACKAGE...]

Several releases of each package, over years, are the commits of one repository, whose every object is
scanned. Those of CLEAN hold no key: whatever is found there is a false alarm, and the exit status is 1.
Those of KEYS ship private keys, most as test data; what is found there is printed and not judged here, and nobody
has verified each of these keys. Twelve hits are known to be no whole keys: excerpts in the documentation of Salt
(salt/states/file.py and the modules and states debbuild, rpmbuild, rpmbuild_pkgbuild and pkgbuild). They stay
alarms: of a block that was cut the first lines do not tell how much of the private numbers is left elsewhere in the
file, behind a mark of any shape, and a rule that counts lines would let a key by whose lines have something between
them. Downloads are kept in the folder CACHE. No key is shown.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
from bench import releases
from support import vaults

CLEAN = {
    "django": ("1.4.22", "1.8.19", "2.2.28", "3.2.25", "4.2.16", "5.1.3"),
    "sympy": ("1.0", "1.4", "1.8", "1.12", "1.13.3"),
    "pandas": ("0.20.3", "0.25.3", "1.2.5", "1.5.3", "2.2.3"),
    "sqlalchemy": ("1.0.19", "1.2.19", "1.4.54", "2.0.36"),
    "numpy": ("1.13.3", "1.17.5", "1.21.6", "1.26.4", "2.1.3"),
    "scikit-learn": ("0.19.2", "0.22.2.post1", "0.24.2", "1.2.2", "1.5.2"),
    "homeassistant": ("0.90.2", "2021.12.10", "2023.12.4", "2024.3.3"),
    "botocore": ("1.5.95", "1.12.253", "1.20.112", "1.35.70"),
    "boto3": ("1.4.8", "1.9.253", "1.17.112", "1.35.70"),
}
KEYS = {
    "ansible-core": ("2.11.12", "2.13.13", "2.15.13", "2.17.7"),
    "cryptography": ("1.9", "2.8", "3.4.8", "41.0.7", "44.0.0"),
    "cryptography-vectors": ("2.8", "3.4.8", "41.0.7", "44.0.0"),
    "paramiko": ("1.18.5", "2.4.3", "2.12.0", "3.5.0"),
    "twisted": ("16.6.0", "18.9.0", "20.3.0", "22.10.0", "24.10.0"),
    "requests": ("2.10.0", "2.20.0", "2.25.1", "2.32.3"),
    "tornado": ("4.5.3", "5.1.1", "6.1", "6.4.2"),
    "urllib3": ("1.22", "1.24.3", "1.26.20", "2.2.3"),
    "pyopenssl": ("16.2.0", "18.0.0", "20.0.1", "24.2.1"),
    "pyjwt": ("1.5.3", "1.7.1", "2.0.1", "2.10.0"),
    "detect-secrets": ("0.12.7", "0.14.3", "1.2.0", "1.5.0"),
    "checkov": ("2.0.1140", "2.2.0", "3.0.0", "3.2.300"),
    "salt": ("2016.11.10", "2019.2.8", "3001.8", "3006.9"),
}


def main() -> int:
    """Scan every package, print the table, tell whether there were false alarms."""
    cache, *chosen = sys.argv[1:] or sys.exit(__doc__)
    alarms = 0
    for project, versions in {**CLEAN, **KEYS}.items():
        if chosen and project not in chosen:
            continue
        found = _scan(Path(cache), project, versions)
        alarms += len(found["findings"]) if project in CLEAN else 0
        _table(project, versions, found)
    print(f"\nfalse alarms in packages without keys: {alarms}")
    return 1 if alarms else 0


def _scan(cache: Path, project: str, versions: Sequence[str]) -> dict[str, Any]:
    archives = releases.fetched(cache, project, versions)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        place = Path(work, "repository")
        releases.repository(place, archives)
        begin = time.perf_counter()
        argv = [sys.executable, "-m", "tskeyvault", "scan", "--history", "--json"]
        done = subprocess.run(
            argv,
            cwd=place,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": vaults.PATH},
            check=False,
            capture_output=True,
        )
        if done.returncode not in {0, 1}:
            raise RuntimeError(done.stderr.decode())
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer | {"seconds": time.perf_counter() - begin}


def _table(project: str, versions: Sequence[str], found: dict[str, Any]) -> None:
    megabytes = found["bytes"] / 1e6
    print(
        f"\n{project} {', '.join(versions)}: {found['objects']} objects, {megabytes:.0f} MB,"
        f" {found['seconds']:.1f} s, {len(found['findings'])} hits",
        flush=True,
    )
    for kind, count in sorted(Counter(it["kind"] for it in found["findings"]).items()):
        print(f"  {count} x {kind}")
        places = Counter(
            (it["place"], it["line"], it["masked"]) for it in found["findings"] if it["kind"] == kind
        )
        for (place, line, masked), times in sorted(places.items()):
            print(f"    {place}:{line} {masked}" + (f" ({times} times)" if times > 1 else ""))


if __name__ == "__main__":
    sys.exit(main())
