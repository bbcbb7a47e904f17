"""``vault unit --for nixos``: what is printed is Nix, says what vault.toml says, and nothing that was put into it."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from support import needs
from support.nixos import MODULES, Evaluated, Nix
from support.vaults import Result, make_vault, run_vault, services

PLAIN = """
[services.web.files.tskey]
secret = "tailscale/web-key"
[services.web.files."web.env"]
format = "env"
mode = "0440"
owner = "web"
group = "1000"
values = { TS_AUTHKEY = "tailscale/web-key", in = "pass:db/password" }

[services.page.files."app.conf"]
format = "template"
template = "one = ${A} # \\"quoted\\" and \\\\\\nprice = $$5\\n"
values = { A = "one" }

[services.two]
units = ["first.service", "second.service"]
[services.two.files.key]
secret = "one"
format = "line"

[services.ai.files.tskey]
secret = "tailscale/ai"
[services.ai.sidecar]
hostname = "ai-services"
tags = ["tag:ai", "tag:b"]
arguments = ["--accept-routes"]
publish = ["127.0.0.1:8188:8188"]
containers = ["comfyui", "invokeai"]

[services.temp.files.tskey]
secret = "tailscale/temp"
format = "line"
[services.temp.files.config]
secret = "tailscale/config"
[services.temp.sidecar]
ephemeral = true

[services.asks]
credentials = { tskey = "tailscale/web-key", "in" = "db/password" }
units = ["asks.service", "other.service"]
[services.both]
credentials = { tskey = "tailscale/web-key" }
[services.both.files.key]
secret = "one"

[services.again.files.tskey]
secret = "tailscale/again"
[services.again.sidecar]
once = false
"""
WEB = """\
# vault unit web --for nixos
{
  services.vault-materialize.units."web".secrets = {
    tskey = {
      secret = "tailscale/web-key";
    };
    "web.env" = {
      values = {
        "TS_AUTHKEY" = "tailscale/web-key";
        "in" = "pass:db/password";
      };
      format = "env";
      mode = "0440";
      owner = "web";
      group = "1000";
    };
  };
}
"""
AI = """\
# vault unit ai --for nixos
{
  universe.tailscale-sidecars."ai" = {
    secret = "tailscale/ai";
    hostname = "ai-services";
    tags = [
      "tag:ai"
      "tag:b"
    ];
    extraArgs = [
      "--accept-routes"
    ];
    portMappings = [
      "127.0.0.1:8188:8188"
    ];
  };
  universe.serviceContainers."comfyui" = {
    useTailscaleSidecar = "ai";
  };
  universe.serviceContainers."invokeai" = {
    useTailscaleSidecar = "ai";
  };
}
"""

HOSTILE = [
    '${builtins.throw "taken over"}',
    '$${builtins.throw "taken over"}',
    '"; mode = "0444',
    '"; }; }; evil = throw "taken over"; x = { y = { z = "',
    "''${x}''",
    "a'b # c",
    "$",
    "$$",
    "${",
    "in",
    "ü $ {x}",
    "</etc/passwd>",
    "%n $HOME",
]
"""Names that somebody may commit, of secrets and of files."""

UNSAYABLE = {
    "a service with a quote": ('[services.\'a"b\'.files.f]\nsecret = "one"\n', 'a"b', "cannot be named"),
    "a service with an antiquotation": (
        "[services.'${x}'.files.f]\nsecret = \"one\"\n",
        "${x}",
        "cannot be named",
    ),
    "a template": (
        '[services.t]\nunits = ["t@.service"]\n[services.t.files.f]\nsecret = "one"\n',
        "t",
        "cannot be named",
    ),
    "an owner of two lines": (
        '[services.o.files.f]\nsecret = "one"\nowner = "a\\nb"\n',
        "o",
        "cannot be written",
    ),
    "an owner with an invisible character": (
        '[services.i.files.f]\nsecret = "one"\nowner = "a\\u202Eb"\n',
        "i",
        "cannot be written",
    ),
    "a sidecar of several keys": (
        '[services.k.files.tskey]\nformat = "json"\nvalues = { a = "one" }\n[services.k.sidecar]\n',
        "k",
        "is not one secret",
    ),
}


def hostile() -> str:
    """Return services h0, h1, … each with one hostile name, as a secret, an owner and a file."""
    return "".join(
        f"[services.h{number}.files.{json.dumps(text.replace('/', '-'))}]\n"
        f"secret = {json.dumps(text)}\nowner = {json.dumps(text + chr(92))}\n"
        for number, text in enumerate(map(_component, HOSTILE))
    )


def _component(text: str) -> str:
    return text.replace("/", "-")


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a vault with all the services of this file."""
    top = tmp_path_factory.mktemp("unit")
    with pytest.MonkeyPatch.context() as patched:
        for kind in ("CONFIG", "STATE"):
            patched.setenv(f"XDG_{kind}_HOME", f"{top}/{kind}")
        made = make_vault(top / "vault")
    services(made.directory, PLAIN + hostile() + "".join(text for text, _, _ in UNSAYABLE.values()))
    return made.directory


@pytest.fixture(scope="module")
def nix(tmp_path_factory: pytest.TempPathFactory) -> Nix:
    """Give the real Nix."""
    needs.program("nix-instantiate")
    return Nix(tmp_path_factory.mktemp("nix"))


GIVEN = {"two": ["first", "second"], "asks": ["asks", "other"]}
"""Units that are not called like the service, and so have to be given."""


def printed(vault: Path, service: str, *options: str) -> Result:
    units = [it for unit in GIVEN.get(service, ()) for it in ("--unit", f"{unit}.service")]
    return run_vault("unit", service, "--for", "nixos", *units, *options, "--vault", vault)


@pytest.fixture(scope="module")
def evaluated(vault: Path, nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Evaluated]:
    """Give what NixOS gets of what is printed for each service; every one of them is parsed by itself, too."""
    scratch = tmp_path_factory.mktemp("printed")
    names = [
        "web",
        "page",
        "two",
        "asks",
        "both",
        "ai",
        "temp",
        "again",
        *(f"h{number}" for number in range(len(HOSTILE))),
    ]
    texts = {}
    for name in names:
        done = printed(vault, name)
        assert done.code == 0, done.err
        (scratch / f"{name}.nix").write_bytes(done.out)
        texts[name] = done.out.decode()
    parsed = nix.run("--parse", *(scratch / f"{name}.nix" for name in names))
    assert parsed.returncode == 0, parsed.stderr
    images = "".join(f'universe.serviceContainers.{name}.image = "i";' for name in ("comfyui", "invokeai"))
    texts["ai"] = f"{{ imports = [ ({texts['ai']}) {{ {images} }} ]; }}"
    return nix.evaluate(texts)


def delivered(found: Evaluated, unit: str) -> dict[str, object]:
    """Return what *unit* gets: the manifest that its first line names."""
    line = found.services[unit]["serviceConfig"]["ExecStartPre"][0]
    value = json.loads(Path(line.split(" --manifest ")[1].split()[0]).read_text())
    assert isinstance(value, dict)
    return value


def a_file(secret: str, **changes: str) -> dict[str, str]:
    return {"secret": secret, "mode": "0400", "format": "raw", "owner": "", "group": "", **changes}


@pytest.mark.parametrize(("service", "text"), [("web", WEB), ("ai", AI)])
def test_what_is_printed_can_be_read(vault: Path, service: str, text: str) -> None:
    done = printed(vault, service)
    assert (done.code, done.out.decode()) == (0, text)
    assert done.err.startswith("hint: docs/nixos.md ")
    assert done.err.endswith(f"{MODULES}\n")


def test_a_service_gets_what_vault_toml_says(evaluated: Mapping[str, Evaluated]) -> None:
    assert evaluated["web"].failed == []
    assert delivered(evaluated["web"], "web") == {
        "service": "web",
        "directory": "/run/web",
        "files": {
            "tskey": a_file("tailscale/web-key"),
            "web.env": {
                "values": {"TS_AUTHKEY": "tailscale/web-key", "in": "pass:db/password"},
                "format": "env",
                "mode": "0440",
                "owner": "web",
                "group": "1000",
            },
        },
    }


def test_each_of_the_units_of_a_service_gets_it(evaluated: Mapping[str, Evaluated]) -> None:
    assert set(evaluated["two"].services) == {"first", "second"}
    for unit in ("first", "second"):
        assert delivered(evaluated["two"], unit) == {
            "service": unit,
            "directory": f"/run/{unit}",
            "files": {"key": a_file("one", format="line")},
        }


def test_credentials_come_from_the_socket(vault: Path, evaluated: Mapping[str, Evaluated]) -> None:
    socket = "/run/vault/encrypted.sock"
    found = {name: evaluated["asks"].services[name]["serviceConfig"] for name in ("asks", "other")}
    assert set(evaluated["asks"].services) == set(found)
    for config in found.values():
        assert config == {"LoadCredentialEncrypted": [f"tskey:{socket}", f"in:{socket}"]}
    both = evaluated["both"].services["both"]["serviceConfig"]
    assert both["LoadCredentialEncrypted"] == [f"tskey:{socket}"]
    assert delivered(evaluated["both"], "both")["files"] == {"key": a_file("one")}
    assert f"hint: credentials come from {socket}" in printed(vault, "asks").err


def test_the_text_of_a_template_stays_what_it_is(evaluated: Mapping[str, Evaluated]) -> None:
    assert evaluated["page"].failed == []
    assert delivered(evaluated["page"], "page")["files"] == {
        "app.conf": {
            "values": {"A": "one"},
            "format": "template",
            "template": 'one = ${A} # "quoted" and \\\nprice = $$5\n',
            "mode": "0400",
            "owner": "",
            "group": "",
        }
    }


def test_a_sidecar_gets_what_vault_toml_says(evaluated: Mapping[str, Evaluated]) -> None:
    found = evaluated["ai"]
    assert found.failed == []
    sidecar = found.containers["tailscale-ai"]
    assert sidecar["ports"] == ["127.0.0.1:8188:8188"]
    assert sidecar["environment"]["TS_HOSTNAME"] == "ai-services"
    assert sidecar["environment"]["TS_EXTRA_ARGS"] == "--advertise-tags=tag:ai,tag:b --accept-routes"
    assert sidecar["environment"]["TS_AUTH_ONCE"] == "true"
    assert delivered(found, "podman-tailscale-ai")["files"] == {"tskey": a_file("tailscale/ai")}
    for name in ("comfyui", "invokeai"):
        assert found.containers[name]["extraOptions"] == ["--network=container:tailscale-ai"]


def test_all_files_of_a_sidecar_are_delivered_as_they_should_be(evaluated: Mapping[str, Evaluated]) -> None:
    found = evaluated["temp"]
    assert found.failed == []
    assert delivered(found, "podman-tailscale-temp") == {
        "service": "podman-tailscale-temp",
        "directory": "/run/tailscale-temp",
        "files": {"tskey": a_file("tailscale/temp", format="line"), "config": a_file("tailscale/config")},
    }
    assert "TS_STATE_DIR" not in found.containers["tailscale-temp"]["environment"]


@pytest.mark.parametrize(("service", "once"), [("again", "false"), ("temp", "false"), ("ai", "true")])
def test_a_key_is_used_as_often_as_vault_toml_says(
    evaluated: Mapping[str, Evaluated], service: str, once: str
) -> None:
    assert evaluated[service].containers[f"tailscale-{service}"]["environment"]["TS_AUTH_ONCE"] == once


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_what_somebody_committed_stays_a_text(evaluated: Mapping[str, Evaluated], number: int) -> None:
    text = _component(HOSTILE[number])
    found = evaluated[f"h{number}"]
    assert found.failed == []
    assert delivered(found, f"h{number}")["files"] == {text: a_file(text, owner=f"{text}\\")}
    assert set(found.services) == {f"h{number}"}


@pytest.mark.parametrize("case", UNSAYABLE)
def test_what_cannot_be_said_is_refused(vault: Path, case: str) -> None:
    _, service, message = UNSAYABLE[case]
    done = printed(vault, service)
    assert (done.code, done.out) == (2, b"")
    assert message in done.err


@pytest.mark.parametrize(
    "options", [("--install",), ("--uninstall",), ("--image", "x"), ("--directory", "/run/x")]
)
def test_options_of_the_other_kinds_are_refused(vault: Path, options: tuple[str, ...]) -> None:
    assert printed(vault, "web", *options).code == 2
