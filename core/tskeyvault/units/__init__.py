"""What a service manager has to be told so that a service gets its secrets: units, quadlets, compose files."""
