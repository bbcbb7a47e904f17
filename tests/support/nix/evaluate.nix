# Evaluates configurations (module by name) with our modules: what NixOS would get of each, or what it is refused for.
{ modules, configurations }:

let
  lib = import ./minilib.nix;

  # Where the tests install the program.
  program = {
    type = "derivation";
    outPath = "/opt/tskeyvault";
  };

  evaluate =
    configuration:
    let
      inherit
        (lib.evalModules {
          modules = modules ++ [
            ./nixos.nix
            {
              _module.args.pkgs = {
                tskeyvault = program;
                writeText = builtins.toFile;
              };
            }
            configuration
          ];
        })
        config
        ;
      failed = map (it: it.message) (builtins.filter (it: !it.assertion) config.assertions);
    in
    if failed != [ ] then
      { inherit failed; }
    else
      {
        inherit failed;
        inherit (config.systemd) services;
        inherit (config.virtualisation.oci-containers) backend containers;
        tmpfiles = config.systemd.tmpfiles.rules;
      };
in
builtins.mapAttrs (_: evaluate) configurations
