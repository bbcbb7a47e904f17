"""The gpg plugin: secrets as OpenPGP messages for a team, whose public keys travel with the vault."""
