# Both modules: secrets for systemd services, and Tailscale sidecars that use them.
{
  imports = [
    ./vault-materialize.nix
    ./tailscale-sidecar.nix
  ];
}
