"""The plugin for keys in a YubiKey: its PIV application opens what age encrypted to it."""
