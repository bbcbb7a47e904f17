"""A fragment of a compose file: a Tailscale sidecar, and the network of the containers behind it."""

import json
import os
import shlex

from tskeyvault.errors import UsageError
from tskeyvault.materialize import record

from .order import Delivery
from .quadlet import SECRETS, STATE, Choices, environment, state_of
from .sidecar import Sidecar
from .text import printable


def fragment(sidecar: Sidecar, delivery: Delivery, choices: Choices) -> str:
    """Return the fragment; every text in it stands in the quotes of JSON, which are YAML's too.

    Raises UsageError where the directory of the key is somebody else's: its files would be in the container.
    """
    name = sidecar.name
    _refuse_foreign(name)
    directory = f"/run/{name}"
    made = [directory] if sidecar.ephemeral or choices.state else [directory, state_of(sidecar, choices)]
    binds = [_bind(directory, SECRETS, read_only=True)]
    if not sidecar.ephemeral:
        binds.append(_bind(state_of(sidecar, choices), STATE, read_only=False))
    lines = [
        f"# vault unit {name} --for compose",
        "# Before each up, with --force-recreate for a new key, as root: without its key the sidecar ends at once",
        *(f"#   mkdir -p -m 0700 {it}" for it in made),
        f"#   {shlex.join(map(printable, delivery.materialize(directory)))}",
        "# After each stop",
        f"#   {shlex.join(map(printable, delivery.clean(directory)))}",
        "services:",
        f"  {_text(name)}:",
        f"    image: {_text(choices.image)}",
        f"    container_name: {_text(name)}",
        "    environment:",
        *(f"      {key}: {_text(value)}" for key, value in environment(sidecar, choices).items()),
        "    volumes:",
        *(line for bind in binds for line in bind),
    ]
    if not choices.userspace:
        lines += ['    cap_add: ["NET_ADMIN", "NET_RAW"]', '    devices: ["/dev/net/tun:/dev/net/tun"]']
    if sidecar.publish:
        lines += ["    ports:", *(f"      - {_text(it)}" for it in sidecar.publish)]
    for container in sidecar.containers:
        lines += [
            f"  {_text(container)}:",
            f"    network_mode: {_text(f'service:{name}')}",
            # A restarted sidecar has a new network.
            f"    depends_on: {{{_text(name)}: {{condition: service_started, restart: true}}}}",
        ]
    return "\n".join([*lines, ""])


def _refuse_foreign(name: str) -> None:
    if os.path.lexists(path := f"/run/{name}") and not os.path.lexists(f"{path}/{record.name_of(name)}"):
        raise UsageError(
            f"'{path}' is there, and nothing was delivered there for '{name}'",
            "the container would see all that is in it; remove it, or choose another name",
        )


def _bind(source: str, target: str, *, read_only: bool) -> list[str]:
    return [
        "      - type: bind",
        f"        source: {_text(source)}",
        f"        target: {_text(target)}",
        *(["        read_only: true"] if read_only else []),
        "        bind: {create_host_path: false}",
    ]


def _text(value: str) -> str:
    return json.dumps(value.replace("$", "$$"))
