"""The plugin for the stores of pass, the standard unix password manager."""
