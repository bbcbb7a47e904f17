"""Credentials: secrets that systemd asks for when it starts a unit, and that never lie in a file of ours."""
