{
  description = "A Git-friendly vault for service keys, and the NixOS modules that deliver them";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;

      each =
        make:
        lib.genAttrs [
          "x86_64-linux"
          "aarch64-linux"
        ] (system: make nixpkgs.legacyPackages.${system});

      package =
        pkgs:
        pkgs.python3Packages.buildPythonApplication {
          pname = "tskeyvault";
          inherit ((builtins.fromTOML (builtins.readFile ./pyproject.toml)).project) version;
          pyproject = true;
          src = self;
          build-system = [ pkgs.python3Packages.hatchling ];
          dependencies = [
            pkgs.python3Packages.bcrypt
            pkgs.python3Packages.cryptography
            pkgs.python3Packages.pluggy
          ];
          # Found by services too, whose PATH is short.
          makeWrapperArgs = [
            "--suffix"
            "PATH"
            ":"
            (lib.makeBinPath [
              pkgs.git
              pkgs.gnupg
            ])
          ];
          pythonImportsCheck = [ "tskeyvault" ];
          meta = {
            mainProgram = "vault";
            license = lib.licenses.mit;
            platforms = lib.platforms.linux;
          };
        };

      # By its key NixOS counts it once, however many modules import it.
      withPackage =
        { pkgs, ... }:
        {
          key = "tskeyvault-package";
          services.vault-materialize.package = lib.mkDefault (package pkgs);
        };

      module = file: {
        imports = [
          file
          withPackage
        ];
      };

      example = system: {
        nixpkgs.hostPlatform = system;
        boot.isContainer = true;
        system.stateVersion = lib.trivial.release;
        universe.tailscale-sidecars.ai.secret = "tailscale/ai-services-key";
        universe.serviceContainers.comfyui = {
          image = "localhost/comfyui";
          useTailscaleSidecar = "ai";
        };
      };
    in
    {
      nixosModules = {
        vault-materialize = module ./core/tskeyvault/units/nixos/vault-materialize.nix;
        tailscale-sidecar = module ./core/tskeyvault/units/nixos/tailscale-sidecar.nix;
        default = module ./core/tskeyvault/units/nixos;
      };

      overlays.default = final: _: { tskeyvault = package final; };

      packages = each (pkgs: {
        default = package pkgs;
      });

      checks = each (pkgs: {
        package = package pkgs;
        # The units of a sidecar and a container behind it, by the module system of nixpkgs itself.
        units =
          let
            inherit
              (lib.nixosSystem {
                modules = [
                  self.nixosModules.default
                  (example pkgs.stdenv.hostPlatform.system)
                ];
              })
              config
              ;
          in
          pkgs.linkFarm "tskeyvault-units" (
            map
              (name: {
                inherit name;
                path = config.systemd.units.${name}.unit;
              })
              [
                "podman-tailscale-ai.service"
                "podman-comfyui.service"
              ]
          );
      });
    };
}
