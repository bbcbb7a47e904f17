"""Plugins that each break one obligation: the kit has to find it."""
