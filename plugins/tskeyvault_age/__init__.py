"""age v1 files and their keys: the whole format, and the plugin that the vault opens them with."""
