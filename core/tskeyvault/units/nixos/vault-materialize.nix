# Secrets of a vault for systemd services: delivered under /run before a service starts, and never in the Nix store.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;

  cfg = config.services.vault-materialize;
  vault = "${cfg.package}/bin/vault";

  isSafe = text: builtins.match "[A-Za-z0-9_./-]+" text != null;
  isName = text: builtins.match "[A-Za-z0-9_][A-Za-z0-9_.-]*" text != null;
  isService = text: builtins.match "[A-Za-z0-9_][A-Za-z0-9_.@-]*\\.service" text != null;
  isInStore = path: lib.hasPrefix builtins.storeDir path;
  isKey = text: builtins.match ".*(tskey-[a-z]+-|AGE-SECRET-KEY-|PRIVATE KEY).*" text != null;
  isBelowRun = path: builtins.match "/run/[^/]+/.+" path != null && builtins.match ".*/\\.\\.?(/.*)?" path == null;

  secretOptions =
    directory:
    { name, config, ... }:
    {
      options = {
        secret = mkOption {
          type = types.nullOr types.str;
          default = if config.values == { } then name else null;
          defaultText = lib.literalMD "the name of this entry";
          description = "The secret's name in the vault, `tailscale/key` or `pass:tailscale/key`; null with `values`.";
        };
        values = mkOption {
          type = types.attrsOf types.str;
          default = { };
          description = "For the formats env, json and template: variables, and the names of their secrets.";
        };
        template = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "For the format template: the text that they are put into, as `\${NAME}`; `$$` is a dollar.";
        };
        path = mkOption {
          type = types.str;
          default = "${directory}/${baseNameOf name}";
          defaultText = lib.literalMD "in the unit's directory, by the name of this entry";
          description = "The file. All files of one unit lie in one directory under /run.";
        };
        owner = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "A user's name or number; null is the owner of the directory, so the service's user.";
        };
        group = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "A group's name or number; null is that of the directory, or the owner's own.";
        };
        mode = mkOption {
          type = types.str;
          default = "0400";
          description = "Three octal digits after an optional 0; none for others, none to execute.";
        };
        format = mkOption {
          type = types.enum [
            "raw"
            "line"
            "env"
            "json"
            "template"
          ];
          default = "raw";
          description = "The secret's bytes, the same without the newline at the end, or several `values`.";
        };
        restartUnits = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "Other services that read this file: they stop and restart with this unit (`PartOf=`, `After=`).";
        };
      };
    };

  unitOptions =
    { name, config, ... }:
    {
      options = {
        runtimeDirectory = mkOption {
          type = types.nullOr types.str;
          default = name;
          defaultText = lib.literalMD "the name of the unit";
          description = "The unit's `RuntimeDirectory=`; null when another module sets it, which for containers is so.";
        };
        secrets = mkOption {
          type = types.attrsOf (
            types.submodule (
              secretOptions "/run/${if config.runtimeDirectory == null then name else config.runtimeDirectory}"
            )
          );
          default = { };
          description = "The files that the unit gets: all of them, or it does not start.";
        };
      };
    };

  directoryOf = unit: dirOf (builtins.head (lib.attrValues unit.secrets)).path;

  fileOf =
    secret:
    {
      inherit (secret) mode format;
      owner = if secret.owner == null then "" else secret.owner;
      group = if secret.group == null then "" else secret.group;
    }
    // (if secret.secret == null then { inherit (secret) values; } else { inherit (secret) secret; })
    // lib.optionalAttrs (secret.template != null) { inherit (secret) template; };

  manifest =
    name: unit:
    pkgs.writeText "vault-materialize-${name}.json" (
      builtins.toJSON {
        service = name;
        directory = directoryOf unit;
        files = lib.mapAttrs' (_: secret: lib.nameValuePair (baseNameOf secret.path) (fileOf secret)) unit.secrets;
      }
    );

  delivering = name: unit: {
    serviceConfig = {
      # A list, as other modules have it, and before what they run. The + is root, outside of the sandbox.
      # Nothing cleans up: systemd takes the directory away, and a postStop= of another module is no list.
      ExecStartPre = lib.mkBefore [
        "+${vault} --vault ${cfg.storeDir} materialize --manifest ${manifest name unit} --timeout ${toString cfg.timeout}"
      ];
      # Longer than our own, which says what took so long. Other modules' values come first.
      TimeoutStartSec = lib.mkDefault (cfg.timeout + 30);
      LimitCORE = lib.mkDefault 0;
      RuntimeDirectoryMode = lib.mkDefault "0700";
    }
    // lib.optionalAttrs (unit.runtimeDirectory != null) { RuntimeDirectory = unit.runtimeDirectory; }
    // lib.optionalAttrs (cfg.credential != { }) {
      LoadCredentialEncrypted = lib.mapAttrsToList (id: path: "${id}:${path}") cfg.credential;
    };
  };

  restarted =
    name: unit:
    let
      others = lib.unique (builtins.concatMap (secret: secret.restartUnits) (lib.attrValues unit.secrets));
      follows = {
        partOf = [ "${name}.service" ];
        after = [ "${name}.service" ];
      };
    in
    builtins.listToAttrs (map (other: lib.nameValuePair (lib.removeSuffix ".service" other) follows) others);

  check = where: assertion: message: {
    inherit assertion;
    message = "${where}: ${message}";
  };

  secretAssertions =
    unitName: unit: name: secret:
    let
      that = check "services.vault-materialize.units.${unitName}.secrets.${name}";
      directory = if unit.runtimeDirectory == null then directoryOf unit else "/run/${unit.runtimeDirectory}";
      several = lib.elem secret.format [
        "env"
        "json"
        "template"
      ];
      references = lib.attrValues secret.values ++ lib.optional (secret.secret != null) secret.secret;
    in
    [
      (that (
        (secret.secret == null) == several && (secret.values != { }) == several
      ) "the formats raw and line take `secret`, env, json and template take `values`")
      (that (
        (secret.template != null) == (secret.format == "template")
      ) "the format template takes a `template`, and no other does")
      (that (lib.all (it: !isKey it)
        references
      ) "looks like a key itself: here stands a secret's name, and everybody can read the Nix store")
      (that (lib.all (
        it: it != "" && !lib.hasPrefix "/" it
      ) references) "a secret is named as in `vault ls`, like tailscale/key, and not by a path")
      (that (
        builtins.match "0?[0-7]{3}" secret.mode != null
      ) "the mode '${secret.mode}' is not three octal digits, like 0400 or 0440")
      (that (
        builtins.match "0?[0-7]{2}[1-7]" secret.mode == null
      ) "the mode '${secret.mode}' would open the secret to every user of the host; use 0400, or 0440 with a group")
      (that (
        builtins.match "0?([0-7]*[1357][0-7]*|[0-3]{2}0)" secret.mode == null
        || builtins.match "0?[0-7]{2}[1-7]" secret.mode != null
      ) "the mode '${secret.mode}' makes no sense for a secret; use 0400 or 0440")
      (that (
        isBelowRun secret.path
      ) "the path '${secret.path}' is not in a directory below /run, where nothing reaches a disk")
      (that (dirOf secret.path == directory)
        "the path '${secret.path}' is not in ${directory}: all files of one unit lie in its own directory, which systemd makes and removes"
      )
      (that (lib.all isService secret.restartUnits) "restartUnits are names of services, like nginx.service")
      (that (
        !lib.elem "${unitName}.service" secret.restartUnits
      ) "restartUnits: ${unitName}.service gets the secret itself, at every start")
    ];

  unitAssertions =
    name: unit:
    let
      that = check "services.vault-materialize.units.${name}";
      paths = map (secret: secret.path) (lib.attrValues unit.secrets);
    in
    [
      (that (isName name) "a unit is named without .service, by letters, digits, _, - and .")
      (that (!lib.hasSuffix ".service" name) "a unit is named without .service")
      (that (unit.secrets != { }) "has no secrets")
      (that (lib.unique paths == paths) "two secrets have the same path")
      (that (
        unit.runtimeDirectory == null || isName unit.runtimeDirectory
      ) "runtimeDirectory is one name, which systemd makes below /run")
    ]
    ++ lib.optionals (unit.secrets != { }) (
      builtins.concatLists (lib.mapAttrsToList (secretAssertions name unit) unit.secrets)
    );

  ownDirectories = builtins.filter (it: it != null) (
    map (unit: unit.runtimeDirectory) (lib.attrValues cfg.units)
  );

  that = check "services.vault-materialize";
in
{
  options.services.vault-materialize = {
    package = mkOption {
      type = types.package;
      default =
        pkgs.tskeyvault
          or (throw "services.vault-materialize.package: pkgs has no tskeyvault; use the flake's overlay, or set it");
      defaultText = lib.literalExpression "pkgs.tskeyvault";
      description = "The program `vault`.";
    };
    storeDir = mkOption {
      type = types.str;
      default = "/srv/vault";
      description = "The host's clone of the vault's repository; never in the Nix store, which everybody can read.";
    };
    timeout = mkOption {
      type = types.ints.positive;
      default = 60;
      description = "Seconds that a delivery may take before the unit fails.";
    };
    credential = mkOption {
      type = types.attrsOf types.str;
      default = { };
      description = "Encrypted credentials (`LoadCredentialEncrypted=`) by name, like `tskeyvault-identity`, the host's identity.";
    };
    units = mkOption {
      type = types.attrsOf (types.submodule unitOptions);
      default = { };
      description = "Services, named without `.service`, and the secrets that they get.";
    };
  };

  config = lib.mkIf (cfg.units != { }) {
    assertions = [
      (that (
        lib.hasPrefix "/" cfg.storeDir && isSafe cfg.storeDir
      ) "storeDir is an absolute path of letters, digits, _, -, . and /")
      (that (!isInStore cfg.storeDir) "storeDir is in the Nix store: the vault is a clone of its own, like /srv/vault")
      (that (lib.all isName (
        lib.attrNames cfg.credential
      )) "a credential is named by letters, digits, _, - and .")
      (that (lib.all (
        it: lib.hasPrefix "/" it && isSafe it
      ) (lib.attrValues cfg.credential)) "a credential is an absolute path of letters, digits, _, -, . and /")
      (that (
        lib.unique ownDirectories == ownDirectories
      ) "two units have the same runtimeDirectory: the first that stops would take it from the other")
    ]
    ++ builtins.concatLists (lib.mapAttrsToList unitAssertions cfg.units);

    systemd.services = lib.mkMerge (
      [ (lib.mapAttrs delivering cfg.units) ] ++ lib.mapAttrsToList restarted cfg.units
    );
  };
}
