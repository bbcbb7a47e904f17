"""Quadlets (podman-systemd.unit(5)) of a Tailscale sidecar, and of the containers behind it."""

import os
import re
from typing import NamedTuple

from tskeyvault.errors import UsageError

from . import containers, manager, systemd, text
from .order import Delivery
from .sidecar import KEY, Sidecar
from .text import Piece

DIRECTORY = "/etc/containers/systemd"
IMAGE = "docker.io/tailscale/tailscale:stable"
STATE = "/var/lib/tailscale"
"""Where the state lies inside the container."""
SECRETS = "/run/secrets/tailscale"
"""Where the key lies inside the container. The directory is bound: a file would stay the old one for ever."""

_LAST = "ExecStopPost=-podman rm -v -f -i --depend --cidfile=%t/%N.cid"
"""When it ends by itself, what is behind it ends too: it would be left without a network."""
_PULL = 300
"""Seconds to start in: the image may have to be fetched."""
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,500}", re.ASCII)
_STATE = re.compile(r"(/[A-Za-z0-9_.@+-]+)+", re.ASCII)


class Choices(NamedTuple):
    """What this host, and not the vault, says about a sidecar."""

    image: str
    state: str
    """A directory of this host that is there, or ``""``: one of its own under ``/var/lib``."""
    userspace: bool
    """Without a network device of its own."""


def choices(image: str, state: str, *, userspace: bool) -> Choices:
    """Return the Choices. Raises UsageError for what is no image, or no plain absolute path."""
    if not _IMAGE.fullmatch(image):
        raise UsageError("--image: not the name of an image", f"like {IMAGE}")
    if state and not _STATE.fullmatch(state):
        raise UsageError("--state: not an absolute path of plain characters", "like /srv/tailscale/web")
    return Choices(image, state, userspace)


def environment(sidecar: Sidecar, choices: Choices) -> dict[str, str]:
    """Return what containerboot, the entry of Tailscale's image, is told.

    Source: https://tailscale.com/kb/1282/docker, and cmd/containerboot/settings.go of tailscale.
    """
    arguments = list(sidecar.arguments)
    if sidecar.tags:
        arguments.insert(0, f"--advertise-tags={','.join(sidecar.tags)}")
    found = {
        "TS_AUTHKEY": f"file:{SECRETS}/{KEY}",
        "TS_HOSTNAME": sidecar.hostname,
        "TS_USERSPACE": "true" if choices.userspace else "false",
        "TS_AUTH_ONCE": "true" if sidecar.once else "false",
    }
    if arguments:
        found["TS_EXTRA_ARGS"] = " ".join(arguments)
    if not sidecar.ephemeral:
        found["TS_STATE_DIR"] = STATE  # without it the state is kept in memory
    return found


def pieces(sidecar: Sidecar, delivery: Delivery, choices: Choices) -> list[Piece]:
    """Return the quadlet of the sidecar, and a drop-in for each container behind it."""
    systemd.refuse_foreign(f"{sidecar.name}.service", sidecar.name)
    own = Piece(f"{DIRECTORY}/{sidecar.name}.container", _container(sidecar, delivery, choices))
    behind = "\n".join([mark(sidecar.name), "[Container]", f"Network={sidecar.name}.container", ""])
    return [
        own,
        *(Piece(f"{DIRECTORY}/{it}.container.d/{systemd.DROP_IN}", behind) for it in sidecar.containers),
    ]


def _container(sidecar: Sidecar, delivery: Delivery, choices: Choices) -> str:
    name = sidecar.name
    variables = [f'Environment="{key}={value}"' for key, value in environment(sidecar, choices).items()]
    device = [] if choices.userspace else ["AddCapability=NET_ADMIN NET_RAW", "AddDevice=/dev/net/tun"]
    kept = [] if sidecar.ephemeral else [f"Volume={state_of(sidecar, choices)}:{STATE}"]
    made = (
        []
        if sidecar.ephemeral or choices.state
        else [f"StateDirectory=tailscale-{name}", "StateDirectoryMode=0700"]
    )
    lines = [
        mark(name), "[Unit]", f"Description=Tailscale sidecar {name}", "",
        "[Container]", f"ContainerName={name}", f"Image={choices.image}", *variables,
        f"Volume=/run/{name}:{SECRETS}:ro", *kept, *device, *(f"PublishPort={it}" for it in sidecar.publish), "",
        "[Service]", f"RuntimeDirectory={name}", "RuntimeDirectoryMode=0700", *made,
        f"ExecStartPre=+{text.command(delivery.materialize())}",
        f"TimeoutStartSec={max(_PULL, delivery.longest)}", "LimitCORE=0", _LAST, "",
        "[Install]", "WantedBy=multi-user.target", "",
    ]  # fmt: skip
    return "\n".join(lines)


def state_of(sidecar: Sidecar, choices: Choices) -> str:
    """Return the directory of this host that keeps the sidecar's state."""
    return choices.state or f"/var/lib/tailscale-{sidecar.name}"


def mark(service: str) -> str:
    """Return the first line of every file that is made for the sidecar *service*."""
    return f"# vault unit {service} --for quadlet"


def refuse_conflicts(sidecar: Sidecar) -> list[str]:
    """Look at the quadlets that the containers behind *sidecar* have; return the names of those without one.

    Raises UsageError for a network or ports of their own: podman would not start them, or would discard the ports.
    """
    unit = manager.ask(f"{sidecar.name}.service")
    if unit.is_there and not containers.made(unit.source):
        raise UsageError(
            f"there is a unit '{sidecar.name}.service' that no quadlet made", "give the service another name"
        )
    for path in containers.quadlets_of(sidecar.name):
        if os.path.dirname(path) != os.path.realpath(DIRECTORY):
            hint = "remove it, or give the service another name"
            raise UsageError(f"'{path}' is a quadlet of that name", hint)
    missing = []
    for container in sidecar.containers:
        texts = containers.texts(container)
        found = text.settings(texts, "Container")
        if not texts:
            missing.append(container)
        if ports := found.get("PublishPort"):
            raise UsageError(
                f"container '{container}' publishes ports, which podman discards behind a sidecar",
                f"take PublishPort={ports[0]} from its quadlet, and say so of the sidecar: publish",
            )
        if networks := found.get("Network"):
            raise UsageError(
                f"container '{container}' has a network of its own, and so cannot use that of a sidecar",
                f"take Network={networks[0]} from its quadlet",
            )
    return missing
