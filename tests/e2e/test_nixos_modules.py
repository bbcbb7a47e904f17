"""The NixOS modules: what NixOS gets of a configuration, and how a wrong one is explained, by the real Nix."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from support import documents, needs
from support.documents import CHECKOUT
from support.nixos import MODULES, Evaluated, Nix

DOCUMENT = "docs/nixos.md"
DELIVERS = "+/opt/tskeyvault/bin/vault --vault /srv/vault materialize --manifest {} --timeout 60"


def shown(kind: str) -> list[str]:
    """Return the configurations of the document that are marked as *kind*, before or after, in order."""
    return [text for text in documents.texts(DOCUMENT, "nix") if text.startswith(f"# {kind}\n")]


SERVICE, ONE, SHARED, HYBRID, SEVERAL, PASS, SEALED = range(7)
"""The configurations of the document that hold, in order."""

SIDECAR = 'universe.tailscale-sidecar = {{ enable = true; hostname = "node"; {} }};'
NAMED = 'universe.tailscale-sidecars.a = {{ secret = "ts/key"; {} }};'
UNIT = 'services.vault-materialize.units.web.secrets.tskey = {{ secret = "ts/key"; {} }};'
CONTAINER = 'universe.serviceContainers.c = {{ image = "i"; {} }};'

FAILS: dict[str, tuple[str, str]] = {
    "two keys": (
        SIDECAR.format('secret = "ts/key"; authKeyFile = "/etc/key";'),
        "set exactly one of `secret`",
    ),
    "no key": (SIDECAR.format(""), "universe.tailscale-sidecar: set exactly one of `secret`"),
    "a named sidecar without a key": (
        "universe.tailscale-sidecars.a = { };",
        "universe.tailscale-sidecars.a: set exactly one of `secret`",
    ),
    "the guide's empty key": (SIDECAR.format("authKeyFile = null;"), "set exactly one of `secret`"),
    "a key as its file": (SIDECAR.format('authKeyFile = "tskey-auth-x";'), "never the key itself"),
    "a key file in the store": (
        SIDECAR.format('authKeyFile = "${builtins.storeDir}/key";'),
        "in the Nix store, which everybody can read",
    ),
    "a key in the arguments": (
        NAMED.format('extraArgs = [ "--auth-key=file:/x" ];'),
        "universe.tailscale-sidecars.a: extraArgs hold a key or an option for one",
    ),
    "a key among the arguments": (
        NAMED.format('extraArgs = [ "--x=tskey-auth-x" ];'),
        "extraArgs hold a key",
    ),
    "two arguments in one": (NAMED.format('extraArgs = [ "--ssh --x" ];'), "each of extraArgs is one word"),
    "an argument that is none": (NAMED.format('extraArgs = [ "up" ];'), "each of extraArgs is one word"),
    "a tag that is none": (NAMED.format('tags = [ "ai" ];'), "a tag is written as tag:NAME"),
    "a tag with an option": (NAMED.format('tags = [ "tag:a --ssh" ];'), "a tag is written as tag:NAME"),
    "a hostname that is none": (NAMED.format('hostname = "My_Host";'), "the hostname 'My_Host' is not one"),
    "one hostname twice": (
        NAMED.format('hostname = "b";') + 'universe.tailscale-sidecars.b.secret = "ts/b";',
        "another sidecar has the hostname 'b'",
    ),
    "one state twice": (
        NAMED.format('stateDir = "/var/lib/tailscale-b";') + 'universe.tailscale-sidecars.b.secret = "ts/b";',
        "another sidecar has the stateDir '/var/lib/tailscale-b'",
    ),
    "once and always": (
        NAMED.format("once = true; ephemeral = true;"),
        "once and ephemeral exclude each other",
    ),
    "a volume in a directory": (NAMED.format('stateDir = "/x:/y";'), "stateDir is an absolute path"),
    "the other sidecar's name": (
        'universe.tailscale-sidecars.sidecar.secret = "ts/key";',
        "the name 'sidecar' is that of universe.tailscale-sidecar",
    ),
    "a sidecar that is missing": (
        NAMED.format("") + CONTAINER.format('useTailscaleSidecar = "b";'),
        "there is no sidecar 'b' in universe.tailscale-sidecars; there are: a",
    ),
    "a sidecar that is off": (
        NAMED.format("enable = false;") + CONTAINER.format('useTailscaleSidecar = "a";'),
        "there is no sidecar 'a'",
    ),
    "no sidecar at all": (
        CONTAINER.format("useTailscaleSidecar = true;"),
        "needs universe.tailscale-sidecar.enable = true",
    ),
    "one port twice": (
        NAMED.format("")
        + CONTAINER.format('useTailscaleSidecar = "a"; portMappings = [ "1:1" ];')
        + 'universe.serviceContainers.d = { image = "i"; useTailscaleSidecar = "a"; portMappings = [ "1:1" ]; };',
        "a port is published twice",
    ),
    "a container like a sidecar": (
        NAMED.format("") + 'universe.serviceContainers.tailscale-a.image = "i";',
        "has the name of a sidecar's container",
    ),
    "a relative directory": (CONTAINER.format('dataDir = "data";'), "dataDir is an absolute path"),
    "a mode for everybody": (
        UNIT.format('mode = "0444";'),
        "would open the secret to every user of the host",
    ),
    "a mode for strangers to write": (UNIT.format('mode = "642";'), "would open the secret to every user"),
    "a mode in letters": (UNIT.format('mode = "u=r";'), "the mode 'u=r' is not three octal digits"),
    "a mode to execute": (UNIT.format('mode = "0500";'), "makes no sense for a secret"),
    "a mode for nobody": (UNIT.format('mode = "0000";'), "makes no sense for a secret"),
    "a mode to write alone": (UNIT.format('mode = "0220";'), "makes no sense for a secret"),
    "a path on a disk": (UNIT.format('path = "/etc/tskey";'), "is not in a directory below /run"),
    "a path out of it": (UNIT.format('path = "/run/web/../../etc/x";'), "is not in a directory below /run"),
    "a path in no directory": (UNIT.format('path = "/run/tskey";'), "is not in a directory below /run"),
    "a path in another unit's": (UNIT.format('path = "/run/other/tskey";'), "is not in /run/web"),
    "one path twice": (
        UNIT.format("") + 'services.vault-materialize.units.web.secrets.b.path = "/run/web/tskey";',
        "two secrets have the same path",
    ),
    "two directories": (
        """services.vault-materialize.units.web = {
          runtimeDirectory = null;
          secrets.a.path = "/run/a/a";
          secrets.b.path = "/run/b/b";
        };""",
        "the path '/run/b/b' is not in /run/a",
    ),
    "one directory for two": (
        UNIT.format("")
        + 'services.vault-materialize.units.b = { runtimeDirectory = "web"; secrets.x = { }; };',
        "two units have the same runtimeDirectory",
    ),
    "two runtime directories": (
        'services.vault-materialize.units.web = { runtimeDirectory = "a b"; secrets.x = { }; };',
        "runtimeDirectory is one name",
    ),
    "a key where a name comes": (
        'services.vault-materialize.units.web.secrets.t.secret = "tskey-auth-x";',
        "looks like a key itself",
    ),
    "a file where a name comes": (
        'services.vault-materialize.units.web.secrets.t.secret = "/etc/key";',
        "not by a path",
    ),
    "values for a line": (UNIT.format('values.A = "b";'), "env, json and template take `values`"),
    "a secret for env": (UNIT.format('format = "env";'), "env, json and template take `values`"),
    "no secrets": ("services.vault-materialize.units.web = { };", "has no secrets"),
    "a unit with its ending": (
        'services.vault-materialize.units."web.service".secrets.x = { };',
        "a unit is named without .service",
    ),
    "a unit with a line in it": (
        'services.vault-materialize.units."a\\nUser=x".secrets.x = { };',
        "a unit is named without .service, by letters",
    ),
    "a restart of no service": (UNIT.format('restartUnits = [ "nginx" ];'), "like nginx.service"),
    "a restart of itself": (UNIT.format('restartUnits = [ "web.service" ];'), "gets the secret itself"),
    "a vault in the store": (
        UNIT.format("") + 'services.vault-materialize.storeDir = "${builtins.storeDir}/x-vault";',
        "storeDir is in the Nix store",
    ),
    "a vault with an option": (
        UNIT.format("") + 'services.vault-materialize.storeDir = "/srv/vault --identity=/x";',
        "storeDir is an absolute path of letters",
    ),
    "a credential with a line in it": (
        UNIT.format("") + 'services.vault-materialize.credential.x = "/a\\nUser=x";',
        "a credential is an absolute path of letters",
    ),
}

DOES_NOT_EVALUATE: dict[str, tuple[str, str]] = {
    "an unknown option": (UNIT.format('command = "id";'), "undefined option(s)"),
    "an unknown option of a sidecar": (NAMED.format('key = "x";'), "undefined option(s)"),
    "a format of no kind": (
        UNIT.format('format = "xml";'),
        "format: not of type one of raw, line, env, json",
    ),
    "a mode as a number": (UNIT.format("mode = 400;"), "mode: not of type str"),
    "a vault by a path that Nix would copy": (
        UNIT.format("") + "services.vault-materialize.storeDir = /srv/vault;",
        "storeDir: not of type str",
    ),
    "no hostname": (
        'universe.tailscale-sidecar = { enable = true; secret = "ts/key"; };',
        "option universe.tailscale-sidecar.hostname has no value",
    ),
    "docker": (
        NAMED.format("") + 'virtualisation.oci-containers.backend = "docker";',
        "conflicting definitions",
    ),
    "the guide's text among lists": (
        NAMED.format("") + 'systemd.services.podman-tailscale-a.serviceConfig.ExecStartPre = "/x";',
        "are a mix of list and non-list",
    ),
}


@pytest.fixture(scope="module")
def nix(tmp_path_factory: pytest.TempPathFactory) -> Nix:
    """Give the real Nix."""
    needs.program("nix-instantiate")
    return Nix(tmp_path_factory.mktemp("nix"))


@pytest.fixture(scope="module")
def documented(nix: Nix) -> list[Evaluated]:
    """Give what NixOS gets of the document's configurations."""
    found = nix.evaluate({str(number): text for number, text in enumerate(shown("after"))})
    return [found[str(number)] for number in range(len(found))]


@pytest.fixture(scope="module")
def refused(nix: Nix) -> dict[str, Evaluated]:
    """Give what becomes of the configurations that assertions refuse: evaluated at once, since Nix starts slowly."""
    return nix.evaluate({name: f"{{ {text} }}" for name, (text, _) in FAILS.items()})


def manifest_of(found: Evaluated, unit: str) -> dict[str, object]:
    """Return the manifest that *unit* delivers by, as its first line names it."""
    line = found.services[unit]["serviceConfig"]["ExecStartPre"][0]
    path = line.split(" --manifest ")[1].split()[0]
    assert line == DELIVERS.format(path)
    value = json.loads(Path(path).read_text())
    assert isinstance(value, dict)
    return value


def plain(secret: str) -> dict[str, str]:
    return {"secret": secret, "mode": "0400", "format": "raw", "owner": "", "group": ""}


# what holds


def test_every_configuration_of_the_document_that_should_hold_does(documented: list[Evaluated]) -> None:
    assert [found.failed for found in documented] == [[]] * 7


def test_every_old_configuration_of_the_document_is_refused(nix: Nix) -> None:
    old = shown("before")
    assert len(old) == 5
    for text in old[:3]:
        # The containers' modules are not ours; a sidecar as it was is.
        assert "undefined option(s): universe." in nix.refusal(text)
    [found] = nix.evaluate({"it": old[3]}).values()
    assert "set exactly one of `secret`" in found.failed[0]
    assert "are a mix of list and non-list" in nix.refusal(old[4])


def test_a_service_gets_its_files_before_all_else(documented: list[Evaluated]) -> None:
    found = documented[SERVICE]
    assert manifest_of(found, "web") == {
        "service": "web",
        "directory": "/run/web",
        "files": {
            "tskey": plain("tailscale/web-key"),
            "web.env": {
                "values": {"DB_PASSWORD": "db/password", "TS_AUTHKEY": "tailscale/web-key"},
                "mode": "0400",
                "format": "env",
                "owner": "",
                "group": "",
            },
        },
    }
    unit = found.services["web"]["serviceConfig"]
    assert unit | {"ExecStartPre": []} == {
        "ExecStart": "/usr/local/bin/sidecar /run/web/tskey",
        "ExecStartPre": [],
        "DynamicUser": True,
        "EnvironmentFile": ["-/run/web/web.env"],
        "LimitCORE": 0,
        "RuntimeDirectory": "web",
        "RuntimeDirectoryMode": "0700",
        "TimeoutStartSec": 90,
    }
    worker = found.services["web-worker"]
    assert (worker["partOf"], worker["after"]) == (["web.service"], ["web.service"])
    assert set(found.services) == {"web", "web-worker"}


def test_the_keys_come_before_the_lines_of_other_modules(nix: Nix) -> None:
    other = 'systemd.services.web.serviceConfig.ExecStartPre = [ "/x" ];'
    [found] = nix.evaluate({"it": f"{{ {other} {UNIT.format('')} }}"}).values()
    lines = found.services["web"]["serviceConfig"]["ExecStartPre"]
    assert len(lines) == 2
    assert (lines[0][:6], lines[1]) == ("+/opt/", "/x")


class Example(NamedTuple):
    """What one of the guide's examples comes to."""

    number: int
    hostname: str
    secret: str
    behind: list[str]
    ports: list[str]


EXAMPLES = [
    Example(ONE, "comfyui-server", "tailscale/container-key", ["comfyui"], []),
    Example(SHARED, "ai-services", "tailscale/ai-services-key", ["comfyui", "invokeai"], []),
    Example(HYBRID, "ollama-server", "tailscale/ollama-key", ["ollama"], ["127.0.0.1:11434:11434"]),
    Example(PASS, "my-container", "pass:tailscale/container-key", [], []),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.hostname)
def test_the_guides_examples(documented: list[Evaluated], example: Example) -> None:
    found = documented[example.number]
    assert set(found.containers) == {"tailscale-sidecar", *example.behind}
    tags = {"TS_EXTRA_ARGS": "--advertise-tags=tag:ai-containers"} if example.number == ONE else {}
    assert found.containers["tailscale-sidecar"] == {
        "image": "docker.io/tailscale/tailscale:stable",
        "autoStart": True,
        "environment": {
            "TS_AUTHKEY": "file:/run/secrets/tailscale/tskey",
            "TS_AUTH_ONCE": "true",
            "TS_HOSTNAME": example.hostname,
            "TS_STATE_DIR": "/var/lib/tailscale",
            "TS_USERSPACE": "false",
            **tags,
        },
        "extraOptions": ["--cap-add=NET_ADMIN", "--cap-add=NET_RAW", "--device=/dev/net/tun"],
        "ports": example.ports,
        "volumes": [
            "/run/tailscale-sidecar:/run/secrets/tailscale:ro",
            "/var/lib/tailscale-sidecar:/var/lib/tailscale",
        ],
    }
    assert manifest_of(found, "podman-tailscale-sidecar") == {
        "service": "podman-tailscale-sidecar",
        "directory": "/run/tailscale-sidecar",
        "files": {"tskey": plain(example.secret)},
    }
    assert found.tmpfiles[0] == "d /var/lib/tailscale-sidecar 0700 root root -"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.hostname)
def test_the_containers_of_the_guides_examples(documented: list[Evaluated], example: Example) -> None:
    found = documented[example.number]
    for name in example.behind:
        assert found.containers[name]["extraOptions"] == ["--network=container:tailscale-sidecar"]
        assert found.containers[name]["ports"] == []
        unit = found.services[f"podman-{name}"]
        assert unit["bindsTo"] == unit["after"] == ["podman-tailscale-sidecar.service"]
        assert "podman-tailscale-sidecar.service" in unit["wantedBy"]


def test_the_data_of_a_container_is_kept_where_it_says(documented: list[Evaluated]) -> None:
    assert documented[ONE].containers["comfyui"]["volumes"] == ["/var/lib/comfyui:/comfyui/data"]
    assert documented[ONE].tmpfiles[1:] == ["d /var/lib/comfyui 0700 root root -"]


def test_any_number_of_sidecars_with_any_number_of_containers_behind_each(
    documented: list[Evaluated],
) -> None:
    found = documented[SEVERAL]
    networks = {name: it["extraOptions"] for name, it in found.containers.items() if "tailscale" not in name}
    assert networks == {
        "comfyui": ["--network=container:tailscale-ai-services"],
        "invokeai": ["--network=container:tailscale-ai-services"],
        "ollama": ["--network=container:tailscale-ollama"],
        "local": [],
    }
    ports = {name: it["ports"] for name, it in found.containers.items()}
    assert ports == {
        "tailscale-ai-services": ["127.0.0.1:8188:8188", "127.0.0.1:9090:9090"],
        "tailscale-ollama": [],
        "tailscale-temp": [],
        "comfyui": [],
        "invokeai": [],
        "ollama": [],
        "local": ["127.0.0.1:8080:80"],
    }
    assert found.services["podman-local"]["bindsTo"] == []
    assert found.services["podman-ollama"]["bindsTo"] == ["podman-tailscale-ollama.service"]
    sidecars = {name: found.containers[f"tailscale-{name}"] for name in ("ai-services", "ollama", "temp")}
    assert {name: it["environment"]["TS_HOSTNAME"] for name, it in sidecars.items()} == {
        "ai-services": "ai-services",
        "ollama": "ollama-server",
        "temp": "temp-dev-container",
    }
    assert (
        sidecars["ollama"]["environment"]["TS_EXTRA_ARGS"]
        == "--advertise-tags=tag:ai,tag:local --accept-routes"
    )
    manifests = {name: manifest_of(found, f"podman-tailscale-{name}") for name in sidecars}
    assert {name: (it["directory"], it["files"]) for name, it in manifests.items()} == {
        "ai-services": ("/run/tailscale-ai-services", {"tskey": plain("tailscale/ai-services-key")}),
        "ollama": ("/run/tailscale-ollama", {"tskey": plain("tailscale/ollama-key")}),
        "temp": ("/run/tailscale-temp", {"tskey": plain("pass:tailscale/ephemeral-key")}),
    }


def test_an_ephemeral_sidecar_keeps_no_state(documented: list[Evaluated]) -> None:
    found = documented[SEVERAL]
    assert found.containers["tailscale-temp"]["volumes"] == ["/run/tailscale-temp:/run/secrets/tailscale:ro"]
    environment = found.containers["tailscale-temp"]["environment"]
    assert "TS_STATE_DIR" not in environment
    assert environment["TS_AUTH_ONCE"] == "false"
    assert [line.split()[1] for line in found.tmpfiles] == [
        "/var/lib/tailscale-ai-services",
        "/var/lib/tailscale-ollama",
    ]


def test_a_file_that_somebody_keeps_is_bound_alone_and_nothing_is_delivered(nix: Nix) -> None:
    text = SIDECAR.format('authKeyFile = "/etc/tailscale-keys/container-key"; once = false;')
    [found] = nix.evaluate({"it": f"{{ {text} }}"}).values()
    sidecar = found.containers["tailscale-sidecar"]
    assert sidecar["volumes"][0] == "/etc/tailscale-keys/container-key:/run/secrets/tailscale-authkey:ro"
    assert sidecar["environment"]["TS_AUTHKEY"] == "file:/run/secrets/tailscale-authkey"
    assert sidecar["environment"]["TS_AUTH_ONCE"] == "false"
    assert found.services["podman-tailscale-sidecar"]["serviceConfig"]["ExecStartPre"] == ["/bin/true"]


def test_a_container_of_another_module_is_put_behind_a_sidecar(nix: Nix) -> None:
    theirs = 'virtualisation.oci-containers.containers.c = { image = "theirs"; volumes = [ "/a:/b" ]; };'
    ours = 'universe.serviceContainers.c.useTailscaleSidecar = "a";'
    [found] = nix.evaluate({"it": f"{{ {NAMED.format('')} {theirs} {ours} }}"}).values()
    assert (found.containers["c"]["image"], found.containers["c"]["volumes"]) == ("theirs", ["/a:/b"])
    assert found.containers["c"]["extraOptions"] == ["--network=container:tailscale-a"]


def test_the_hosts_identity_comes_as_an_encrypted_credential(documented: list[Evaluated]) -> None:
    unit = documented[SEALED].services["sealed"]["serviceConfig"]
    assert unit["LoadCredentialEncrypted"] == [
        "tskeyvault-identity:/etc/credstore.encrypted/tskeyvault-identity"
    ]


def test_modules_without_a_configuration_change_nothing(nix: Nix) -> None:
    assert nix.evaluate({"it": "{ }"}) == {"it": Evaluated([], {}, {}, "podman", [])}


# what does not


@pytest.mark.parametrize("case", FAILS)
def test_a_wrong_configuration_is_explained(refused: dict[str, Evaluated], case: str) -> None:
    message = FAILS[case][1]
    assert any(message in failed for failed in refused[case].failed), refused[case].failed
    assert all(
        failed.startswith(("universe.", "services.vault-materialize")) for failed in refused[case].failed
    )
    assert all("tskey-auth-" not in failed for failed in refused[case].failed)


@pytest.mark.parametrize("case", DOES_NOT_EVALUATE)
def test_a_configuration_of_another_kind_does_not_evaluate(nix: Nix, case: str) -> None:
    text, message = DOES_NOT_EVALUATE[case]
    assert message in nix.refusal(f"{{ {text} }}")


# the flake, and the document


def flake(nix: Nix, expression: str) -> object:
    """Evaluate *expression* with ``self`` the outputs of the flake, and ``nixpkgs`` a stand-in."""
    stand_ins = CHECKOUT / "tests/support/nix"
    return nix.value(
        f"""
        let
          lib = import {stand_ins}/minilib.nix // {{
            makeBinPath = map (it: "${{it}}/bin");
            licenses.mit = "MIT";
            platforms.linux = [ ];
            nixosSystem = {{ modules }}: lib.evalModules {{
              modules = modules ++ [ {stand_ins}/nixos.nix {{ _module.args.pkgs = pkgs; }} ];
            }};
          }};
          pkgs = {{
            writeText = builtins.toFile;
            git = "/git";
            gnupg = "/gnupg";
            python3Packages = {{
              buildPythonApplication = it: it // {{ type = "derivation"; outPath = "/${{it.pname}}-${{it.version}}"; }};
              hatchling = "hatchling";
              bcrypt = "bcrypt";
              cryptography = "cryptography";
              pluggy = "pluggy";
            }};
          }};
          nixpkgs = {{ inherit lib; legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (_: pkgs); }};
          self = (import {CHECKOUT}/flake.nix).outputs {{ inherit self nixpkgs; }};
        in
        {expression}
        """
    )


def test_the_flake_has_the_modules_an_overlay_packages_and_checks(nix: Nix) -> None:
    assert flake(nix, "builtins.mapAttrs (_: builtins.attrNames) (removeAttrs self [ ])") == {
        "checks": ["aarch64-linux", "x86_64-linux"],
        "nixosModules": ["default", "tailscale-sidecar", "vault-materialize"],
        "overlays": ["default"],
        "packages": ["aarch64-linux", "x86_64-linux"],
    }
    names = "builtins.attrNames self.checks.x86_64-linux"
    assert flake(nix, names) == ["package", "units"]


def test_the_package_is_this_version_with_all_that_it_needs(nix: Nix) -> None:
    import tomllib

    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    package = "(self.overlays.default pkgs null).tskeyvault"
    assert flake(nix, f"{package}.version") == project["version"]
    needed = {text.partition(">")[0].partition("=")[0] for text in project["dependencies"]}
    assert needed | {"bcrypt"} == set(flake(nix, f"{package}.dependencies"))  # type: ignore[call-overload] # a list


def test_the_flakes_modules_can_be_taken_together_and_bring_the_program(nix: Nix) -> None:
    modules = "[ self.nixosModules.default self.nixosModules.tailscale-sidecar self.nixosModules.vault-materialize ]"
    unit = f"{{ {UNIT.format('')} }}"
    line = flake(
        nix,
        f"(lib.nixosSystem {{ modules = {modules} ++ [ {unit} ]; }})"
        ".config.systemd.services.web.serviceConfig.ExecStartPre",
    )
    assert isinstance(line, list)
    assert len(line) == 1
    assert line[0].startswith("+/tskeyvault-")


def test_the_documents_flake_takes_ours(nix: Nix, tmp_path: Path) -> None:
    [text] = [text for text in documents.texts(DOCUMENT, "nix") if text.startswith("# flake.nix\n")]
    (tmp_path / "flake.nix").write_text(text)
    (tmp_path / "configuration.nix").write_text(shown("after")[SERVICE])
    host = f"((import {tmp_path}/flake.nix).outputs {{ inherit nixpkgs; tskeyvault = self; }}).nixosConfigurations.host"
    assert flake(nix, f"builtins.attrNames {host}.config.systemd.services") == ["web", "web-worker"]


def test_every_block_of_the_document_is_of_a_kind_that_is_looked_at() -> None:
    blocks = documents.texts(DOCUMENT, "nix")
    assert len(blocks) == len(shown("before")) + len(shown("after")) + 1


def test_the_options_in_the_document_are_those_of_the_modules(nix: Nix) -> None:
    text = (CHECKOUT / DOCUMENT).read_text()
    assert text.partition("## Options\n")[2] == nix.table(), (
        "take what Nix(...).table() in tests/support returns"
    )


@pytest.mark.parametrize("file", sorted(path.name for path in MODULES.iterdir()))
def test_every_file_of_the_modules_is_nix(nix: Nix, file: str) -> None:
    done = nix.run("--parse", MODULES / file)
    assert (done.returncode, done.stderr) == (0, "")
