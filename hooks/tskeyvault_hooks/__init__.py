"""Git hooks that let no key pass: the scanner, what it looks for, where it looks, and the installer.

Everything here runs as a plain file under ``python -I -S`` with the standard library alone, and
what a commit without a finding needs is imported alone: a developer waits for it each time.
"""
