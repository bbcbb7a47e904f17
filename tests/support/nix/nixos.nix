# A stand-in of our own for the parts of NixOS that our modules write to: services, tmpfiles, containers in podman.
# As strict as the strictest NixOS in use: a setting is all lists or all single values.
{ config, lib, ... }:

let
  inherit (lib) mkOption types;

  setting = {
    name = "systemd option";
    check = _: true;
    merge =
      loc: values:
      if !lib.any lib.isList values then
        lib.mergeEqualOption loc values
      else if lib.all lib.isList values then
        lib.concatLists values
      else
        throw "the definitions of ${lib.concatStringsSep "." loc} are a mix of list and non-list";
  };

  listOption = mkOption {
    type = types.listOf types.str;
    default = [ ];
  };

  service = {
    options = {
      serviceConfig = mkOption {
        type = types.attrsOf setting;
        default = { };
      };
      after = listOption;
      bindsTo = listOption;
      partOf = listOption;
      requires = listOption;
      wantedBy = listOption;
      wants = listOption;
    };
  };

  container = {
    options = {
      image = mkOption { type = types.str; };
      environment = mkOption {
        type = types.attrsOf types.str;
        default = { };
      };
      volumes = listOption;
      ports = listOption;
      extraOptions = listOption;
      autoStart = mkOption {
        type = types.bool;
        default = true;
      };
    };
  };

  quoted = text: builtins.toJSON (builtins.replaceStrings [ "%" ] [ "%%" ] text);

  # What nixpkgs' module for containers makes of one, as far as it meets ours.
  containerService =
    name: it:
    lib.nameValuePair "podman-${name}" {
      wantedBy = lib.optional it.autoStart "multi-user.target";
      serviceConfig = {
        Type = "notify";
        NotifyAccess = "all";
        User = "root";
        RuntimeDirectory = name;
        TimeoutStartSec = 0;
        Restart = "always";
        ExecStartPre = [ "/bin/true" ];
        ExecStart = lib.concatStringsSep " " (
          [ "/usr/local/bin/podman run --name=${name}" ]
          ++ lib.mapAttrsToList (key: value: "-e ${quoted "${key}=${value}"}") it.environment
          ++ map (port: "-p ${quoted port}") it.ports
          ++ map (volume: "-v ${quoted volume}") it.volumes
          ++ map quoted it.extraOptions
          ++ [ (quoted it.image) ]
        );
        ExecStopPost = "/bin/true";
      };
    };
in
{
  options = {
    assertions = mkOption {
      type = types.listOf types.unspecified;
      default = [ ];
    };
    systemd.services = mkOption {
      type = types.attrsOf (types.submodule service);
      default = { };
    };
    systemd.tmpfiles.rules = listOption;
    virtualisation.oci-containers = {
      backend = mkOption {
        type = types.enum [
          "podman"
          "docker"
        ];
        default = "podman";
      };
      containers = mkOption {
        type = types.attrsOf (types.submodule container);
        default = { };
      };
    };
  };

  config.systemd.services = lib.mapAttrs' containerService config.virtualisation.oci-containers.containers;
}
