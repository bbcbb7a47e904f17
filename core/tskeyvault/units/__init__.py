"""Units: what a service manager needs to hand a service its secrets, printed from ``vault.toml``."""
