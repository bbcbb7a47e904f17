"""``[services.NAME.sidecar]`` and ``units``: what vault.toml may say of them, and what it may not."""

import pytest

from support.vaults import made_key
from tskeyvault import config
from tskeyvault.errors import ConfigError, UsageError
from tskeyvault.services import Service
from tskeyvault.units import sidecar
from tskeyvault.units.sidecar import Sidecar

VAULT = f'[vault]\nformat = 1\nid = "{"0123456789abcdef" * 2}"\n'
LEAST = Sidecar("ts-ai", "ts-ai", (), (), (), (), once=True, ephemeral=False)


def service(lines: str, name: str = "ts-ai", file: str = "tskey") -> Service:
    text = f'{VAULT}[services."{name}".files.{file}]\nsecret = "a"\n[services."{name}".sidecar]\n{lines}\n'
    return config.parse(text.encode()).service(name)


def refusal(lines: str, name: str = "ts-ai", file: str = "tskey") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        service(lines, name, file)
    assert caught.value.message.isprintable()
    return caught.value


def test_the_least_is_an_empty_table() -> None:
    assert service("").sidecar == LEAST


def test_every_key() -> None:
    found = service(
        """hostname = "ai-services"
tags = ["tag:ai", "tag:gpu-2"]
arguments = ["--accept-routes", "--advertise-routes=10.0.0.0/8,fd00::/8"]
publish = ["127.0.0.1:8188:8188", "[::1]:53:5353/udp"]
containers = ["comfyui", "web.1_x"]
once = false
ephemeral = true"""
    ).sidecar
    assert found == Sidecar(
        "ts-ai",
        "ai-services",
        ("tag:ai", "tag:gpu-2"),
        ("--accept-routes", "--advertise-routes=10.0.0.0/8,fd00::/8"),
        ("127.0.0.1:8188:8188", "[::1]:53:5353/udp"),
        ("comfyui", "web.1_x"),
        once=False,
        ephemeral=True,
    )


@pytest.mark.parametrize("lines", ["ephemeral = true", "once = false"])
def test_once_is_the_contrary_of_ephemeral_unless_it_is_said(lines: str) -> None:
    found = service(lines).sidecar
    assert found
    assert (found.once, found.ephemeral) == (False, "ephemeral" in lines)


ATTACKS = {
    "a line in a host name": 'hostname = "a\\nExecStartPre=/bin/x"',
    "a specifier in a host name": 'hostname = "%h"',
    "a quote in a host name": "hostname = 'a\"'",
    "a variable in a host name": 'hostname = "${HOME}"',
    "an argument in a tag": 'tags = ["tag:a,--ssh"]',
    "a space in a tag": 'tags = ["tag:a --ssh"]',
    "a line in an argument": 'arguments = ["--accept-routes\\nImage=evil"]',
    "two arguments in one": 'arguments = ["--accept-routes --ssh"]',
    "a short argument": 'arguments = ["-x"]',
    "no option": 'arguments = ["up"]',
    "a specifier in an argument": 'arguments = ["--accept-routes=%h"]',
    "a quote in an argument": "arguments = ['--accept-routes=\"']",
    "a variable in an argument": 'arguments = ["--accept-routes=$HOME"]',
    "another server": 'arguments = ["--login-server=https://evil.example.org"]',
    "a shell": 'arguments = ["--ssh"]',
    "an operator": 'arguments = ["--operator=nobody"]',
    "an exit node": 'arguments = ["--exit-node=evil"]',
    "another key": 'arguments = ["--auth-key=x"]',
    "another key by its old name": 'arguments = ["--authkey=file:/etc/shadow"]',
    "a second host name": 'arguments = ["--hostname=x"]',
    "a second set of tags": 'arguments = ["--advertise-tags=tag:x"]',
    "a port for everybody": 'publish = ["0.0.0.0:80:80"]',
    "a port for everybody in IPv6": 'publish = ["[::]:80:80"]',
    "a port without an address": 'publish = ["80:80"]',
    "a port of the network": 'publish = ["192.0.2.1:80:80"]',
    "no address": 'publish = ["127.0.0.999:80:80"]',
    "a port that is none": 'publish = ["127.0.0.1:80:65536"]',
    "port nothing": 'publish = ["127.0.0.1:0:80"]',
    "a line in a port": 'publish = ["127.0.0.1:80:80\\nPodmanArgs=--privileged"]',
    "a container elsewhere": 'containers = ["../sshd"]',
    "a container with a line": 'containers = ["a\\n"]',
    "a container with a specifier": 'containers = ["%n"]',
    "a container of capital letters": 'containers = ["Web"]',
    "all containers that begin alike": 'containers = ["web-"]',
    "itself": 'containers = ["ts-ai"]',
    "a container twice": 'containers = ["a", "a"]',
    "more than is printed": f'arguments = ["--accept-routes={"a" * 501}"]',
    "many that are more than is printed": f"tags = {[f'tag:a{number}' for number in range(300)]}",
    "an image": 'image = "evil.example.org/x"',
    "a directory": 'state = "/etc"',
    "options of podman": 'podman = ["--privileged"]',
    "a text for a list": 'containers = "a"',
    "a number in a list": "tags = [1]",
    "a text for a flag": 'once = "true"',
    "once and ephemeral": "once = true\nephemeral = true",
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_vault_toml_cannot_say(attack: str) -> None:
    assert "[services.ts-ai.sidecar]" in refusal(ATTACKS[attack]).message


@pytest.mark.parametrize("name", ["%h", "a b", "$x", "Web", "a;b", "é", "-a".replace("-", "_"), "a" * 64])
def test_a_sidecar_has_a_name_for_a_container(name: str) -> None:
    assert "cannot name a container" in refusal("", name=name).message


def test_a_sidecar_without_a_key_is_refused() -> None:
    assert "no file 'tskey'" in refusal("", file="other").message


def test_a_key_in_the_place_of_a_name_is_not_repeated() -> None:
    key = made_key().decode()
    error = refusal(f'hostname = "{key}"')
    assert key not in error.message + error.hint


@pytest.mark.parametrize("argument", ["--ssh", "--login-server=https://headscale.example.org:8443/x"])
def test_the_host_may_add_what_may_not_be_committed(argument: str) -> None:
    found = sidecar.extended(LEAST, [argument], ["0.0.0.0:80:80"])
    assert (found.arguments, found.publish) == ((argument,), ("0.0.0.0:80:80",))


@pytest.mark.parametrize(
    ("argument", "port"),
    [("--auth-key=x", "127.0.0.1:1:1"), ("--a b", "127.0.0.1:1:1"), ("--ssh", "80:80"), ("--ssh", "x:1:1")],
)
def test_the_host_is_told_what_is_no_argument_and_no_port(argument: str, port: str) -> None:
    with pytest.raises(UsageError):
        sidecar.extended(LEAST, [argument], [port])


def units(text: str) -> tuple[str, ...]:
    data = f'{VAULT}[services.web]\nunits = {text}\nfiles.a.secret = "a"\n'
    return config.parse(data.encode()).service("web").units


def test_a_service_may_name_its_units() -> None:
    assert units(r"""["web.service", "worker@.service", 'a\x2db:c.service']""") == (
        "web.service",
        "worker@.service",
        r"a\x2db:c.service",
    )


@pytest.mark.parametrize("text", [
    '"web.service"', '["web"]', '["../x.service"]', '["a/b.service"]', '["a b.service"]', '["a\\n.service"]', '["%n.service"]',
    '["-a.service"]', '[".service"]', '["web.socket"]', "[1]", f'["{"a" * 248}.service"]',
])  # fmt: skip
def test_what_is_no_unit_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        units(text)
