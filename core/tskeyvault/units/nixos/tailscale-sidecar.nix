# Tailscale sidecars in podman, any number of them, and any number of containers behind each.
{ config, lib, ... }:

let
  inherit (lib) mkOption types;

  cfg = config.universe;

  isName = text: builtins.match "[A-Za-z0-9][A-Za-z0-9_.-]*" text != null;
  isHost = text: builtins.match "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?" text != null;
  isPlace = path: builtins.match "/[A-Za-z0-9_./@-]+" path != null;
  isInStore = path: lib.hasPrefix builtins.storeDir path;
  isArgument = text: builtins.match "--[a-z][a-z0-9-]*(=[^[:space:]]+)?" text != null;
  isKey = text: builtins.match "--auth-?key(=.*)?|.*tskey-.*" text != null;

  sidecarOptions = defaults: {
    secret = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "The auth key's name in the vault. Either this or `authKeyFile`.";
    };
    authKeyFile = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "A file with the auth key that you keep yourself, in plain text.";
    };
    hostname = mkOption (
      {
        type = types.str;
        description = "The name in the tailnet.";
      }
      // defaults.hostname
    );
    tags = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Tags to advertise, like `tag:ai`.";
    };
    extraArgs = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "More long options of `tailscale up`, each one word.";
    };
    stateDir = mkOption {
      type = types.str;
      default = "/var/lib/${defaults.container}";
      defaultText = lib.literalMD defaults.stateDir;
      description = "Where the node's own key is kept; not used when `ephemeral`.";
    };
    ephemeral = mkOption {
      type = types.bool;
      default = false;
      description = "Keep no state: a new node at every start, so the key has to be reusable and should be an ephemeral one.";
    };
    once = mkOption {
      type = types.nullOr types.bool;
      default = null;
      defaultText = lib.literalMD "not `ephemeral`";
      description = "Use the key only where there is no state yet (`TS_AUTH_ONCE`); a one-shot key needs that.";
    };
    portMappings = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Ports to publish on the host, beside those of the `serviceContainers` behind it.";
    };
    image = mkOption {
      type = types.str;
      default = "docker.io/tailscale/tailscale:stable";
      description = "The sidecar's image.";
    };
    autoStart = mkOption {
      type = types.bool;
      default = true;
      description = "Start at boot.";
    };
  };

  container = name: "tailscale-${name}";

  containerOptions =
    { name, ... }:
    {
      options = {
        enable = mkOption {
          type = types.bool;
          default = true;
          description = "Whether there is this container.";
        };
        image = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "Its image; null when another module defines the container, and only its network is set here.";
        };
        useTailscaleSidecar = mkOption {
          type = types.either types.bool types.str;
          default = false;
          description = "The name in `tailscale-sidecars` of the sidecar whose network it uses; true is `tailscale-sidecar`.";
        };
        portMappings = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "Ports to publish on the host, as podman's `-p`; behind a sidecar they are published there.";
        };
        autoStart = mkOption {
          type = types.bool;
          default = true;
          description = "Start at boot, and with its sidecar.";
        };
        dataDir = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "A directory of the host for its data, made when it is not there.";
        };
        dataMount = mkOption {
          type = types.str;
          default = "/data";
          description = "Where it finds `dataDir`.";
        };
      };
    };

  # Sidecars by the name of their container, each with the option that it comes from.
  sidecars =
    lib.optionalAttrs cfg.tailscale-sidecar.enable {
      tailscale-sidecar = cfg.tailscale-sidecar // {
        option = "universe.tailscale-sidecar";
      };
    }
    // lib.mapAttrs' (
      name: sidecar:
      lib.nameValuePair (container name) (sidecar // { option = "universe.tailscale-sidecars.${name}"; })
    ) (lib.filterAttrs (_: sidecar: sidecar.enable) cfg.tailscale-sidecars);

  containers = lib.filterAttrs (_: it: it.enable) cfg.serviceContainers;
  hasSidecar = it: it.useTailscaleSidecar != false;
  sidecarOf = it: if it.useTailscaleSidecar == true then "tailscale-sidecar" else container it.useTailscaleSidecar;
  behind = name: builtins.filter (it: hasSidecar it && sidecarOf it == name) (lib.attrValues containers);
  ports = name: sidecars.${name}.portMappings ++ builtins.concatMap (it: it.portMappings) (behind name);
  isOnce = sidecar: if sidecar.once == null then !sidecar.ephemeral else sidecar.once;

  # A directory of the vault's is bound as a whole: a bound file would keep its old inode, and the old key.
  # Of a file that somebody keeps, only that: other keys may lie beside it.
  keyOf =
    name: sidecar:
    if sidecar.secret != null then
      {
        volume = "/run/${name}:/run/secrets/tailscale:ro";
        path = "/run/secrets/tailscale/tskey";
      }
    else
      {
        volume = "${toString sidecar.authKeyFile}:/run/secrets/tailscale-authkey:ro";
        path = "/run/secrets/tailscale-authkey";
      };

  sidecarContainer =
    name: sidecar:
    let
      key = keyOf name sidecar;
      arguments =
        lib.optional (sidecar.tags != [ ]) "--advertise-tags=${lib.concatStringsSep "," sidecar.tags}"
        ++ sidecar.extraArgs;
    in
    {
      inherit (sidecar) image autoStart;
      # Published here: podman discards what a container behind it would publish.
      ports = ports name;
      environment = {
        # The path and never the key: a value of TS_AUTHKEY would stand among the arguments of a process.
        TS_AUTHKEY = "file:${key.path}";
        TS_HOSTNAME = sidecar.hostname;
        TS_USERSPACE = "false"; # it has a network device, and the right to use it
        TS_AUTH_ONCE = if isOnce sidecar then "true" else "false";
      }
      // lib.optionalAttrs (!sidecar.ephemeral) { TS_STATE_DIR = "/var/lib/tailscale"; }
      // lib.optionalAttrs (arguments != [ ]) { TS_EXTRA_ARGS = lib.concatStringsSep " " arguments; };
      volumes = [ key.volume ] ++ lib.optional (!sidecar.ephemeral) "${sidecar.stateDir}:/var/lib/tailscale";
      extraOptions = [
        "--cap-add=NET_ADMIN"
        "--cap-add=NET_RAW"
        "--device=/dev/net/tun"
      ];
    };

  serviceContainer =
    _: it:
    {
      inherit (it) autoStart;
      ports = lib.optionals (!hasSidecar it) it.portMappings;
      volumes = lib.optional (it.dataDir != null) "${it.dataDir}:${it.dataMount}";
      extraOptions = lib.optional (hasSidecar it) "--network=container:${sidecarOf it}";
    }
    // lib.optionalAttrs (it.image != null) { inherit (it) image; };

  # Bound, since a network namespace is gone with the sidecar; wanted by it, so that it comes back with it.
  serviceUnit =
    name: it:
    lib.nameValuePair "podman-${name}" (
      lib.optionalAttrs (hasSidecar it) (
        {
          bindsTo = [ "podman-${sidecarOf it}.service" ];
          after = [ "podman-${sidecarOf it}.service" ];
        }
        // lib.optionalAttrs it.autoStart { wantedBy = [ "podman-${sidecarOf it}.service" ]; }
      )
    );

  # The directory is that which the module for containers gives every unit.
  keyUnit =
    name: sidecar:
    lib.nameValuePair "podman-${name}" {
      runtimeDirectory = null;
      secrets.tskey = {
        inherit (sidecar) secret;
        path = "/run/${name}/tskey";
      };
    };

  check = where: assertion: message: {
    inherit assertion;
    message = "${where}: ${message}";
  };

  sidecarAssertions =
    name: sidecar:
    let
      that = check sidecar.option;
      others = lib.attrValues (lib.filterAttrs (other: _: other != name) sidecars);
    in
    [
      (that ((sidecar.secret == null) != (sidecar.authKeyFile == null))
        "set exactly one of `secret`, the key's name in the vault, and `authKeyFile`, a file that you keep; without a key the sidecar would wait for somebody to log it in"
      )
      (that (
        sidecar.authKeyFile == null || isPlace sidecar.authKeyFile
      ) "authKeyFile is an absolute path of letters, digits, _, -, ., @ and /, and never the key itself")
      (that (
        sidecar.authKeyFile == null || !isInStore sidecar.authKeyFile
      ) "authKeyFile is in the Nix store, which everybody can read")
      (that (isName name) "a sidecar is named by letters, digits, _, - and .")
      (that (isHost sidecar.hostname)
        "the hostname '${sidecar.hostname}' is not one: at most 63 lower-case letters, digits and dashes"
      )
      (that (lib.all (
        other: other.hostname != sidecar.hostname
      ) others) "another sidecar has the hostname '${sidecar.hostname}': the second one would be renamed")
      (that (
        sidecar.ephemeral || isPlace sidecar.stateDir
      ) "stateDir is an absolute path of letters, digits, _, -, ., @ and /")
      (that (
        sidecar.ephemeral || lib.all (other: other.ephemeral || other.stateDir != sidecar.stateDir) others
      ) "another sidecar has the stateDir '${sidecar.stateDir}': both would be one node")
      (that (
        !(sidecar.ephemeral && sidecar.once == true)
      ) "once and ephemeral exclude each other: without state it logs in at each start")
      (that (lib.all (
        tag: builtins.match "tag:[a-zA-Z][a-zA-Z0-9-]*" tag != null
      ) sidecar.tags) "a tag is written as tag:NAME")
      (that (lib.all (
        it: !isKey it
      ) sidecar.extraArgs) "extraArgs hold a key or an option for one: set `secret` or `authKeyFile`")
      (that (lib.all isArgument
        sidecar.extraArgs
      ) "each of extraArgs is one word, a long option like --accept-routes or --advertise-tags=tag:ai")
      (that (lib.unique (ports name) == ports name) "a port is published twice, by it or by containers behind it")
    ];

  containerAssertions =
    name: it:
    let
      that = check "universe.serviceContainers.${name}";
      known = lib.attrNames (lib.filterAttrs (_: sidecar: sidecar.enable) cfg.tailscale-sidecars);
    in
    [
      (that (isName name) "a container is named by letters, digits, _, - and .")
      (that (!(sidecars ? ${name})) "has the name of a sidecar's container")
      (that (
        it.useTailscaleSidecar != true || cfg.tailscale-sidecar.enable
      ) "useTailscaleSidecar = true needs universe.tailscale-sidecar.enable = true; or name one of tailscale-sidecars")
      (that (!builtins.isString it.useTailscaleSidecar || lib.elem it.useTailscaleSidecar known)
        "there is no sidecar '${toString it.useTailscaleSidecar}' in universe.tailscale-sidecars; there are: ${lib.concatStringsSep ", " known}"
      )
      (that (it.dataDir == null || isPlace it.dataDir) "dataDir is an absolute path of letters, digits, _, -, ., @ and /")
      (that (isPlace it.dataMount) "dataMount is an absolute path of letters, digits, _, -, ., @ and /")
    ];
in
{
  imports = [ ./vault-materialize.nix ];

  options.universe = {
    tailscale-sidecar =
      sidecarOptions {
        hostname = { };
        container = "tailscale-sidecar";
        stateDir = "`/var/lib/tailscale-sidecar`";
      }
      // {
        enable = mkOption {
          type = types.bool;
          default = false;
          description = "Whether there is the sidecar that has no name of its own: container `tailscale-sidecar`.";
        };
      };

    tailscale-sidecars = mkOption {
      type = types.attrsOf (
        types.submodule (
          { name, ... }:
          {
            options =
              sidecarOptions {
                hostname = {
                  default = name;
                  defaultText = lib.literalMD "the name of the sidecar";
                };
                container = container name;
                stateDir = "`/var/lib/tailscale-NAME`";
              }
              // {
                enable = mkOption {
                  type = types.bool;
                  default = true;
                  description = "Whether there is this sidecar.";
                };
              };
          }
        )
      );
      default = { };
      description = "Sidecars by name: each its own node, in the container `tailscale-NAME`.";
    };

    serviceContainers = mkOption {
      type = types.attrsOf (types.submodule containerOptions);
      default = { };
      description = "Containers by name, alone or behind a sidecar.";
    };
  };

  config = lib.mkIf (sidecars != { } || containers != { }) {
    assertions = [
      (check "universe.tailscale-sidecars" (
        !(cfg.tailscale-sidecars ? sidecar)
      ) "the name 'sidecar' is that of universe.tailscale-sidecar")
    ]
    ++ builtins.concatLists (
      lib.mapAttrsToList sidecarAssertions sidecars ++ lib.mapAttrsToList containerAssertions containers
    );

    virtualisation.oci-containers = {
      backend = "podman";
      containers = lib.mapAttrs sidecarContainer sidecars // lib.mapAttrs serviceContainer containers;
    };

    systemd.services = lib.mapAttrs' serviceUnit containers;

    systemd.tmpfiles.rules =
      lib.mapAttrsToList (_: it: "d ${it.stateDir} 0700 root root -") (
        lib.filterAttrs (_: it: !it.ephemeral) sidecars
      )
      ++ lib.mapAttrsToList (_: it: "d ${it.dataDir} 0700 root root -") (
        lib.filterAttrs (_: it: it.dataDir != null) containers
      );

    services.vault-materialize.units = lib.mapAttrs' keyUnit (
      lib.filterAttrs (_: it: it.secret != null) sidecars
    );
  };
}
