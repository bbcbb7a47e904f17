"""``vault plugins``: list the installed plugins, without loading one."""

from argparse import ArgumentParser, Namespace

from tskeyvault import __version__, names
from tskeyvault.plugins import BUILT_IN, GROUP

from . import terminal


def arguments(parser: ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--json", action="store_true", help="as JSON: name, package, version and what is wrong"
    )


def run(options: Namespace) -> int:
    """Print name, package and version of each, and why one cannot be used."""
    found = _installed()
    if options.json:
        terminal.as_json(found)
    else:
        width = max(len(row["name"]) for row in found)
        terminal.lines(
            f"{row['name']:{width}}  {row['package']} {row['version']}" + (f"  ({row['refused']})" if row["refused"] else "")
            for row in found
        )  # fmt: skip
    return 0


def _installed() -> list[dict[str, str]]:
    from importlib.metadata import entry_points

    rows = [_row(name, "tskeyvault", __version__, "") for name in sorted(BUILT_IN)]
    others = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    seen = [point.name for point in others]
    for point in others:
        refused = ""
        if point.name in BUILT_IN:
            refused = "refused: a built-in plugin has this name"
        elif not names.is_plugin(point.name):
            refused = "refused: not a name for a plugin"
        elif seen.count(point.name) > 1:
            refused = "refused: several packages provide it"
        package, version = (point.dist.name, point.dist.version) if point.dist else ("", "")
        rows.append(_row(names.shown(point.name), package, version, refused))
    return rows


def _row(name: str, package: str, version: str, refused: str) -> dict[str, str]:
    return {"name": name, "package": package, "version": version, "refused": refused}
