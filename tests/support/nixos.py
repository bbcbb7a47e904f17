"""The NixOS modules, evaluated by the real Nix with stand-ins of our own for nixpkgs."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from support.documents import CHECKOUT

MODULES = CHECKOUT / "core/tskeyvault/units/nixos"
_STAND_INS = Path(__file__).with_name("nix")
_SECTIONS = {
    "after": "After",
    "bindsTo": "BindsTo",
    "partOf": "PartOf",
    "requires": "Requires",
    "wants": "Wants",
}


class Evaluated(NamedTuple):
    """What NixOS would get of a configuration; nothing when it is refused."""

    failed: list[str]
    """The messages of the assertions that do not hold."""
    services: Mapping[str, Any] = MappingProxyType({})
    containers: Mapping[str, Any] = MappingProxyType({})
    backend: str = ""
    tmpfiles: Sequence[str] = ()


class Nix:
    """Nix with a store of its own below *scratch*, where manifests land."""

    def __init__(self, scratch: Path) -> None:
        self.store = scratch / "store"
        self._scratch = scratch
        kinds = ("STORE", "STATE", "LOG", "DATA", "CONF")
        places = {f"NIX_{kind}_DIR": str(scratch / kind.lower()) for kind in kinds}
        # Nothing is built, so the group of builders, which not every host has, is not wanted.
        places["NIX_CONFIG"] = "build-users-group ="
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(scratch), **places}

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run nix-instantiate."""
        return subprocess.run(
            ["nix-instantiate", *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=60,
        )

    def value(self, expression: str) -> Any:
        """Return what *expression* evaluates to."""
        done = self.run("--eval", "--read-write-mode", "--strict", "--json", "--expr", expression)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def evaluate(self, configurations: Mapping[str, str]) -> dict[str, Evaluated]:
        """Evaluate modules, as text by name, all at once."""
        found = self.value(self._evaluation(configurations))
        return {name: Evaluated(**value) for name, value in found.items()}

    def refusal(self, configuration: str) -> str:
        """Return what Nix says of a module that does not evaluate at all."""
        done = self.run(
            "--eval",
            "--read-write-mode",
            "--strict",
            "--json",
            "--expr",
            self._evaluation({"it": configuration}),
        )
        assert done.returncode != 0, done.stdout
        return done.stderr

    def options(self) -> list[dict[str, str]]:
        """Return all options of the modules: name, type, default and description."""
        found = self.value(f"import {_STAND_INS}/options.nix {{ modules = [ {MODULES}/default.nix ]; }}")
        assert isinstance(found, list)
        return found

    def table(self) -> str:
        """Return the options as tables of Markdown, one for each set."""
        lines: list[str] = []
        last = ""
        for option in sorted(self.options(), key=lambda it: it["name"].rpartition(".")[::2]):
            top, _, name = option["name"].rpartition(".")
            if top != last:
                lines += [
                    "",
                    f"### `{top}`",
                    "",
                    "| option | type | default | meaning |",
                    "|---|---|---|---|",
                ]
                last = top
            cells = (f"`{name}`", option["type"], option["default"] or "has to be set", option["description"])
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def _evaluation(self, configurations: Mapping[str, str]) -> str:
        cases = " ".join(f"{json.dumps(name)} = ({text});" for name, text in configurations.items())
        return (
            f"import {_STAND_INS}/evaluate.nix {{ modules = [ {MODULES}/default.nix ];"
            f" configurations = {{ {cases} }}; }}"
        )


def unit_file(service: Mapping[str, Any]) -> str:
    """Return the unit file that NixOS makes of a service."""
    lines = ["[Unit]"]
    lines += [
        f"{_SECTIONS[key]}={' '.join(value)}" for key, value in service.items() if key in _SECTIONS and value
    ]
    lines.append("[Service]")
    for key, value in service["serviceConfig"].items():
        lines += [f"{key}={one}" for one in (value if isinstance(value, list) else [value])]
    if service["wantedBy"]:
        lines += ["[Install]", f"WantedBy={' '.join(service['wantedBy'])}"]
    return "\n".join(lines) + "\n"
